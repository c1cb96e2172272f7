"""From the frame of trials to the numbers that a figure shows. Frame in, frame out; nothing else.

What counts: a trial that was solved, exhausted its budget or diverged is a result. One that still runs, or
that crashed (`failed`), is missing: it is reported beside the result and never counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest, norm, spearmanr, t

from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RESULTS, SOLVED

CONFIDENCE = 0.95  # level of all intervals
INTERVAL = "Wilson"  # name of the interval of a rate, for captions
MEAN_INTERVAL = "Student t"  # that of a mean over seeds
HORIZON_INTERVAL = "inverted Wilson"  # that of a horizon
RANK_INTERVAL, LEAST_RANKED = "Bonett-Wright", 8  # that of a rank correlation, and the pairs that it takes
HALF = 0.5  # of the seeds solve the task at its horizon
ROUNDING = 1e-9  # what a fitted rate may be off by
WITHIN, BELOW, ABOVE, UNKNOWN = "", "<", ">", "?"  # where a horizon lies, seen from the distances tested


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


def endings(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How trials ended, for each combination of values in the columns `by`: solved, exhausted, diverged, unfinished,
    failed; and `counted`, the first three together.
    """
    status = frame["status"]
    flags = {name: status == name for name in (SOLVED, EXHAUSTED, DIVERGED)}
    flags |= {"unfinished": ~status.isin((*RESULTS, FAILED)), FAILED: status == FAILED}
    counts = frame[list(by)].assign(**flags).groupby(list(by), dropna=False)[list(flags)].sum().reset_index()
    return counts.assign(counted=counts[[SOLVED, EXHAUSTED, DIVERGED]].sum(axis=1))


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


def horizon(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The distance at which half of the seeds solve the task, for each combination of values in the columns `by`.

    Columns: those of `by`, then

        horizon             steps; NaN where it lies outside the distances tested: nothing is extrapolated
        outside             "" within them, "<" below the nearest, ">" above the farthest, "?" without a result
        low, high           its interval at level `CONFIDENCE`; 0 and inf where an end lies outside, NaN: no result
        nearest, farthest   the least and the largest distance with a result
        distances           how many there are
        counted, unfinished, failed   trials, over all distances

    The estimate (`crossing`) takes for granted that farther is not easier. It is a point of a curve through the rates
    at the distances tested: with no rates between 0 and 1 it is the geometric middle of two of them, no better known
    than that. It depends on the budget of steps like every rate.

    The interval (`horizon_interval`) inverts a test at each distance. Resampling whole seeds was tried instead, on
    invented seeds whose horizons scatter by a factor of 1.6 and which were tested at 8 distances: its 95 % intervals,
    widened to the two distances next to the estimate, held the horizon in 81 % of 300 draws with 3 seeds and in 92 %
    with 5; those of the tests in 100 % and 96 %. They are up to 1.7 times as wide (on the logarithm).
    """
    rates = success_rate(frame.dropna(subset="distance"), [*by, "distance"])
    found = [dict(zip(by, key, strict=True)) | _horizon_of(rows) for key, rows in rates.groupby(list(by), dropna=False)]
    return pd.DataFrame(found, columns=[*by, *_horizon_of(rates.iloc[:0])])


def _horizon_of(rates: pd.DataFrame) -> dict[str, object]:
    """The numbers of one setting, from the rows of `success_rate`, one per distance."""
    told = rates[rates["counted"] > 0].sort_values("distance")
    row: dict[str, object] = {"horizon": math.nan, "outside": UNKNOWN, "low": math.nan, "high": math.nan}
    if len(told):
        place = crossing(*told[["distance", "rate", "counted"]].to_numpy(dtype="float64").T)
        low, high = horizon_interval(told)
        row["outside"] = BELOW if place == 0 else ABOVE if place == math.inf else WITHIN
        row |= {"low": min(low, place), "high": max(high, place)}
        row |= {"horizon": place} if row["outside"] == WITHIN else {}
    row |= {"nearest": told["distance"].min(), "farthest": told["distance"].max(), "distances": len(told)}
    return row | {name: int(rates[name].sum()) for name in ("counted", "unfinished", FAILED)}


def crossing(distances: np.ndarray, rates: np.ndarray, weights: np.ndarray) -> float:
    """Where rates that can only fall with the distance pass `HALF`; 0 before the first distance, inf after the last.

    The rates that fit best (weighted least squares) among those that nowhere rise, with lines between them over the
    logarithm of the distance; of a stretch at exactly a half, its middle. `distances` must increase.

    Source: Barlow, Bartholomew, Bremner, Brunk 1972, "Statistical inference under order restrictions", section 1.2
    (isotonic regression by pooling adjacent violators).
    """
    fitted = isotonic_regression(rates, weights=weights, increasing=False).x
    places = np.log(distances)
    above, reached = int((fitted > HALF + ROUNDING).sum()), int((fitted >= HALF - ROUNDING).sum())
    if reached > above:
        return float(np.exp((places[above] + places[reached - 1]) / 2))
    if above in (0, len(fitted)):
        return math.inf if above else 0.0
    share = (fitted[above - 1] - HALF) / (fitted[above - 1] - fitted[above])
    return float(np.exp(places[above - 1] + share * (places[above] - places[above - 1])))


def horizon_interval(rates: pd.DataFrame) -> tuple[float, float]:
    """From the farthest distance where more than half surely solve to the nearest where fewer surely do.

    Surely: the Wilson interval of the rate there lies on one side of `HALF`. 0 and inf where no distance tells; fewer
    than four seeds never do. It ends at distances that were tested and so has a width always. If every seed has a
    horizon of its own, this is the interval of the sign test for their median; seeds may share luck across distances.
    Where the two ends are in the wrong order (rates that rise) they are exchanged.
    """
    far = rates.loc[rates["low"] > HALF, "distance"].max()
    near = rates.loc[rates["high"] < HALF, "distance"].min()
    low, high = 0.0 if pd.isna(far) else float(far), math.inf if pd.isna(near) else float(near)
    return min(low, high), max(low, high)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation, -1 to 1, ties at their mean rank; NaN where a side does not vary."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float(spearmanr(x, y).statistic)


def rank_interval(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The Bonett-Wright interval of `rank_correlation` at level `CONFIDENCE`; NaN for fewer than `LEAST_RANKED` pairs.

    On the scale of Fisher's z, with variance (1 + rho^2 / 2) / (n - 3). A perfect order, which lies at infinity there,
    counts as the nearest to it: two neighbours exchanged. In 400 draws each of normal pairs with rho = 0.5, 0.8 and
    0.95, without ties and with 30 % of one side tied at its end, it held the true value in 94 to 97 % with 15 or 30
    pairs, 90 to 99 % with 8, 60 to 96 % with 5; percentiles of a bootstrap over pairs did no better.

    Source: Bonett, Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations".
    """
    rho, count = rank_correlation(x, y), len(x)
    if count < LEAST_RANKED or math.isnan(rho):
        return math.nan, math.nan
    nearly = 1 - 12 / (count * (count**2 - 1))
    z = math.atanh(min(max(rho, -nearly), nearly))
    half = norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt((1 + math.tanh(z) ** 2 / 2) / (count - 3))
    return min(math.tanh(z - half), rho), max(math.tanh(z + half), rho)


def rank_probability(x: Sequence[float], y: Sequence[float]) -> float:
    """The share of all orders of y whose rank correlation is as far from 0; NaN for `LEAST_RANKED` pairs or more."""
    rho = rank_correlation(x, y)
    if len(x) >= LEAST_RANKED or math.isnan(rho):
        return math.nan
    return float(np.mean([abs(rank_correlation(x, order)) >= abs(rho) - ROUNDING for order in permutations(y)]))


def mean_course(trials: pd.DataFrame, courses: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The mean over trials of metrics over training (`courses`: `frame.COURSE`), for each combination in `by`.

    Of trials with a result. One that has ended keeps its last value, so that all means are over the same trials; it is
    interpolated between its points. Columns: those of `by`, `metric`; `step`, each at which a trial has a point;
    `mean`; `low`, `high`, its `student` interval; `counted`, its trials; `training`, the share not yet ended.
    """
    ended = trials.loc[trials["status"].isin(RESULTS), ["key", *by]]
    points = ended.merge(courses.dropna(subset="value"), on="key").sort_values("step", kind="stable")
    groups = points.groupby([*by, "metric"], dropna=False)
    rows = [(*key, *row) for key, found in groups for row in _course_of([one for _, one in found.groupby("key")])]
    return pd.DataFrame(rows, columns=[*by, "metric", "step", "mean", "low", "high", "counted", "training"])


def _course_of(trials: Sequence[pd.DataFrame]) -> Iterator[tuple[float, ...]]:
    """The rows of one metric of some trials, each sorted by step."""
    steps = np.unique(np.concatenate([one["step"] for one in trials]))
    values = np.array([np.interp(steps, one["step"], one["value"], left=math.nan) for one in trials])
    lasts = np.array([one["step"].iloc[-1] for one in trials])
    for step, column in zip(steps, values.T, strict=True):
        known = column[~np.isnan(column)]
        yield step, known.mean(), *student(known), len(known), float((lasts >= step).mean())


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of `columns` that hold more than one value in `frame`; missing (clipping off) is a value."""
    return [name for name in columns if frame[name].nunique(dropna=False) > 1]
