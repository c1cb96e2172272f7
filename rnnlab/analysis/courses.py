"""Metrics over training: means, medians and quartiles over trials, on the steps that they have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from rnnlab.analysis.rates import CONFIDENCE
from rnnlab.record import DIVERGED, RESULTS

QUARTILES = {"median": 0.5, "low": 0.25, "high": 0.75}  # of trials

# (values of trials at steps, how many are known, which lie beyond the end of one that diverged) -> columns
Summary = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, np.ndarray]]


def mean_course(trials: pd.DataFrame, courses: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The mean over trials of metrics over training (`courses`: `frame.COURSE`), for each combination in `by`.

    Of trials with a result, each with a `key` of its own (the reader of a store gives a row for each). One that has
    ended keeps its last value, so that all means are over the same trials; it is interpolated between its points, of
    which those that are not finite are left out. Columns: those of `by`, `metric`; `step`, each at which a trial has a
    point; `mean`; `low`, `high`, its `student` interval; `counted`, its trials; `training`, the share not yet ended.
    """

    def summary(values: np.ndarray, counted: np.ndarray, _: np.ndarray) -> dict[str, np.ndarray]:
        mean = np.nansum(values, axis=0) / counted
        squares = np.nansum((values - mean) ** 2, axis=0)
        more = np.maximum(counted - 1, 1)  # than one trial, else there is no interval
        half = t.ppf((1 + CONFIDENCE) / 2, more) * np.sqrt(squares / more / counted)
        half = np.where(counted > 1, half, math.nan)
        return {"mean": mean, "low": mean - half, "high": mean + half}

    return _summarised(trials, courses, by, summary, ("mean", "low", "high"))


def median_course(trials: pd.DataFrame, courses: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """As `mean_course`, but the `median` and the quartiles (`low`, `high`) of the trials.

    Each is the value of a trial: the least that at least half, a quarter, three quarters of the trials do not exceed.
    So they are the same on any scale, and the median falls when half of the trials have, as the curve of
    `time_to_solve` passes a half then. One that diverged is above all others from its last finite value on: infinite;
    without one, from the first step on that any trial has.
    """

    def summary(values: np.ndarray, counted: np.ndarray, lost: np.ndarray) -> dict[str, np.ndarray]:
        ordered = np.sort(np.where(lost, math.inf, values), axis=0)  # NaN comes last
        places = {name: np.ceil(share * counted).astype(int) - 1 for name, share in QUARTILES.items()}
        return {name: np.take_along_axis(ordered, place[None], axis=0)[0] for name, place in places.items()}

    return _summarised(trials, courses, by, summary, tuple(QUARTILES), never=True)


def _summarised(
    trials: pd.DataFrame,
    courses: pd.DataFrame,
    by: Sequence[str],
    summary: Summary,
    names: Sequence[str],
    never: bool = False,
) -> pd.DataFrame:
    """A row for each combination in `by`, metric and step, with the columns of `summary`, `counted` and `training`.

    `never`: trials that diverged count even if they never had a finite value.
    """
    ended = trials[trials["status"].isin(RESULTS)].reset_index(drop=True)
    lost = (ended["status"] == DIVERGED).to_numpy()
    firsts, metrics, parts = [], [], []
    for metric, members, steps, values, lasts in _on_common_steps(ended, courses, by, lost & never):
        beyond = lost[members, None] & (steps > lasts[:, None])
        counted = (~np.isnan(values) | beyond).sum(axis=0)
        training = (lasts[:, None] >= steps).mean(axis=0)
        columns = summary(values, counted, beyond)
        parts.append(pd.DataFrame({"step": steps} | columns | {"counted": counted, "training": training}))
        firsts.append(members[0])
        metrics.append(metric)
    if not parts:
        return pd.DataFrame(columns=[*by, "metric", "step", *names, "counted", "training"])
    lengths = [len(part) for part in parts]
    told = ended.loc[np.repeat(firsts, lengths), list(by)].assign(metric=np.repeat(metrics, lengths))
    return pd.concat([told.reset_index(drop=True), pd.concat(parts, ignore_index=True)], axis=1)


def _on_common_steps(
    ended: pd.DataFrame, courses: pd.DataFrame, by: Sequence[str], counting: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """For each combination in `by` and metric: it, the places of its N trials in `ended`, all S steps at which one of
    them has a point, the values (N, S), and the N last steps. A trial keeps its last value; NaN before its first.

    Trials without a point are left out, but for those marked in `counting` (all trials): NaN, last seen before all.
    """
    places = pd.Index(ended["key"]).get_indexer(courses["key"])
    found = courses["value"].to_numpy(dtype="float64", na_value=math.nan)
    known = np.flatnonzero((places >= 0) & np.isfinite(found))
    metrics, names = pd.factorize(courses["metric"].to_numpy()[known], sort=True)
    setting = ended.groupby(list(by), dropna=False).ngroup().to_numpy()
    groups = setting[places[known]] * len(names) + metrics
    step = courses["step"].to_numpy(dtype="float64")[known]
    order = np.lexsort((step, places[known], groups))
    places, groups, step, found = places[known][order], groups[order], step[order], found[known][order]
    for start, end in _stretches(groups):
        steps = np.unique(step[start:end])
        parts = [(start + first, start + last) for first, last in _stretches(places[start:end])]
        values = [np.interp(steps, step[a:b], found[a:b], left=math.nan) for a, b in parts]
        members, lasts = (
            np.array(column) for column in zip(*((places[a], step[b - 1]) for a, b in parts), strict=True)
        )
        silent = np.setdiff1d(np.flatnonzero(counting & (setting == groups[start] // len(names))), members)
        values += [np.full(len(steps), math.nan)] * len(silent)
        lasts = np.append(lasts, np.full(len(silent), -math.inf))
        yield names[groups[start] % len(names)], np.append(members, silent), steps, np.array(values), lasts


def _stretches(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """The ends of each stretch of equal values."""
    borders = np.flatnonzero(np.diff(values)) + 1
    return zip([0, *borders], [*borders, len(values)], strict=True) if len(values) else iter(())
