"""From the frame of trials to the numbers that a figure shows. Frame in, frame out; nothing else.

What counts: a trial that was solved, exhausted its budget or diverged is a result. One that still runs, or
that crashed (`failed`), is missing: it is reported beside the result and never counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd
from scipy.stats import binomtest

from rnnlab.record import FAILED, RESULTS, SOLVED

CONFIDENCE = 0.95  # level of all intervals
INTERVAL = "Wilson"  # its name, for captions


def success_rate(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The share of trials that were solved, for each combination of values in the columns `by`.

    One row per combination, sorted; a missing value is a value like any other (clipping off). Columns: those
    of `by`, then

        solved       trials that were solved
        counted      trials with a result: solved, exhausted or diverged
        rate         solved / counted
        low, high    its Wilson interval at level `CONFIDENCE`
        unfinished   trials without an end so far; not counted
        failed       trials that crashed; not counted

    rate, low and high are NaN where nothing is counted.
    """
    status = frame["status"]
    flags = {"solved": status == SOLVED, "counted": status.isin(RESULTS), "failed": status == FAILED}
    flags["unfinished"] = ~(flags["counted"] | flags["failed"])  # so that no trial is left out of the account
    counts = frame[list(by)].assign(**flags).groupby(list(by), dropna=False)[list(flags)].sum().reset_index()
    pairs = list(zip(counts["solved"].astype(int), counts["counted"].astype(int), strict=True))
    counts["rate"] = [k / n if n else math.nan for k, n in pairs]
    intervals = pd.DataFrame([wilson(k, n) for k, n in pairs], columns=["low", "high"], dtype="float64")
    ordered = [*by, "solved", "counted", "rate", "low", "high", "unfinished", "failed"]
    return pd.concat([counts, intervals], axis=1)[ordered]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson interval of a proportion at level `CONFIDENCE`; (NaN, NaN) without trials.

    Unlike the interval of the normal approximation it keeps its level for few trials and has a width at 0 of n
    and n of n.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; Brown, Cai,
    DasGupta 2001, "Interval estimation for a binomial proportion", section 3.1.1, eq. 4.
    """
    if trials == 0:
        return math.nan, math.nan
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that hold more than one value in `frame`; missing (clipping off) is a value."""
    return [name for name in columns if frame[name].nunique(dropna=False) > 1]
