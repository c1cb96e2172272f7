"""Means of metrics over trials at their end."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from rnnlab.analysis.rates import CONFIDENCE, endings
from rnnlab.record import FAILED, RESULTS

MEAN_INTERVAL = "Student t"  # name of the interval of a mean over seeds, for captions


def mean_metric(frame: pd.DataFrame, by: Sequence[str], metric: str) -> pd.DataFrame:
    """The mean of the column `metric` over the trials with a result, for each combination of values in `by`.

    Columns: those of `by`, then `mean`; `low`, `high`: its `student` interval, cut off at 0 and 1; `counted`, the
    trials in the mean; `silent`, those with a result but without the metric (they diverged before it was measured);
    `unfinished`, `failed`. For shares: where all trials agree the interval has no width, which says nothing about the
    next trial.
    """
    counts = endings(frame, by)
    results = frame[frame["status"].isin(RESULTS)]
    groups = {_key(key): rows[metric].dropna() for key, rows in results.groupby(list(by), dropna=False)}
    values = [groups.get(_key(row), pd.Series(dtype="float64")) for row in counts[list(by)].itertuples(index=False)]
    intervals = [student(found.to_numpy(dtype="float64")) for found in values]
    counts["mean"] = [found.mean() for found in values]
    counts["low"] = np.clip([low for low, _ in intervals], 0, 1)
    counts["high"] = np.clip([high for _, high in intervals], 0, 1)
    counts["silent"] = counts["counted"] - [len(found) for found in values]
    counts["counted"] -= counts["silent"]
    return counts[[*by, "mean", "low", "high", "counted", "silent", "unfinished", FAILED]]


def _key(values: Sequence[object]) -> tuple[object, ...]:
    """A combination of values that can be looked up: NaN is not equal to itself."""
    return tuple(None if value != value else value for value in values)


def student(values: np.ndarray) -> tuple[float, float]:
    """The Student interval of a mean at level `CONFIDENCE`; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
