"""Comparisons of settings that were tried with the same seeds: ratios of horizons, and a test."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from rnnlab.analysis.horizons import horizon
from rnnlab.analysis.survival import last_seen
from rnnlab.record import RESULTS

TEST = "permutation test of the stratified log-rank statistic"  # for captions
CORRECTION = "Holm"  # of p, for many comparisons
RATIO_INTERVAL = "MOVER"  # name of the interval of a ratio, for captions
PERMUTATIONS = 9_999  # where there are more, so many are drawn
MOST_COMMON = 0.9  # correlation: more would trust a few seeds too far
ROUNDING, PLACES = 1e-9, 9  # what a number may be off by; its decimals
SIDES = ("first", "second")
TESTED = ("seeds", "p", "p_adjusted", "difference")
NUMBERS = ("ratio", "ratio_low", "ratio_high", *TESTED)


def compare(frame: pd.DataFrame, by: Sequence[str], field: str) -> pd.DataFrame:
    """How settings that differ in `field` compare, for each combination of values in the columns `by`.

    A number is compared with the next larger one, a missing one (clipping off) being the largest; names are compared
    each with each. Columns: those of `by`, then

        first, second           values of `field`
        ratio                   horizon of the second over that of the first; NaN where one is outside what was tested
        ratio_low, ratio_high   its interval at level `CONFIDENCE`; 0 and inf where it has no end
        seeds                   those that both have a result of, at one distance at least
        p                       of the hypothesis that the two do not differ; NaN without seeds
        p_adjusted              p, for all rows of the same combination together
        difference              share solved by the second less that by the first

    What is paired: a seed's trials of both settings at one distance, which share their data. Where only one of the two
    has a result, it is left out, of the horizons too. Ratios are of horizons within the budget of steps; a ratio is a
    difference on the logarithm, the scale of distances and of intervals.

    The interval (`ratio_interval`) is made from those of the two horizons, and narrower the more luck they share
    (`common_luck`). `benchmarks.coverage` says how often it holds the truth.

    The test: were the two settings alike in all, then exchanging their names in all trials of a seed would change
    nothing; seeds are independent. (Settings with the same horizon may still differ, and be found to.) It counts all
    exchanges for up to 13 seeds, else `PERMUTATIONS` drawn at random, always the same. What is counted is the numerator
    of the log-rank statistic with a stratum for each seed and distance: half the number of trials in which the first
    setting solves sooner less half of those in which the second does, where a trial that diverged never solves. With n
    seeds p is at least 2^(1 - n): five seeds or fewer show nothing at 0.05.

    p is adjusted by Holm's method, which holds for any dependence between the rows. Each combination in `by` is a
    question of its own: over all rows of a large table no p of ten seeds could be small enough (`least_probability`).

    Source: Mantel 1966, "Evaluation of survival data and two new rank order statistics arising in its consideration"
    (log-rank); Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    results, found, paired = _compared(frame, by, field)
    found = found.join(_ratios([_sides(results, cells) for cells in paired], found["common"]))
    return found[[*by, *SIDES, *NUMBERS]]


def exchanges(frame: pd.DataFrame, by: Sequence[str], field: str) -> pd.DataFrame:
    """What `compare` gives, but for the ratios and their intervals, which take most of its time."""
    _, found, _ = _compared(frame, by, field)
    return found[[*by, *SIDES, *TESTED]]


def _compared(
    frame: pd.DataFrame, by: Sequence[str], field: str
) -> tuple[pd.DataFrame, pd.DataFrame, list[pd.DataFrame]]:
    """The trials with a result; the row of each pair of settings, without ratios, with `common`; and its `_cells`."""
    results = frame[frame["status"].isin(RESULTS)].dropna(subset="distance").reset_index(drop=True)
    results = results.assign(**dict(zip(("time", "event"), last_seen(results), strict=True)))
    rows: list[list[object]] = []
    paired: list[pd.DataFrame] = []
    for number, (key, group) in enumerate(results.groupby(list(by), dropna=False)):
        trials = group[["seed", "distance", "time", "event"]].assign(row=group.index)
        for first, second in _pairs(group[field]):
            cells = _cells(trials, group[field], first, second)
            paired.append(cells)
            rows.append([*key, first, second, number, *_numbers(cells)])
    found = pd.DataFrame(rows, columns=[*by, *SIDES, "number", "seeds", "p", "difference", "common"])
    found["p_adjusted"] = found["p"].astype("float64").groupby(found["number"]).transform(holm)
    return results, found, paired


def _pairs(column: pd.Series) -> Iterator[tuple[object, object]]:
    values = [*sorted(column.dropna().unique()), *([math.nan] if column.isna().any() else [])]
    return pairwise(values) if pd.api.types.is_numeric_dtype(column) else combinations(values, 2)


def _cells(trials: pd.DataFrame, column: pd.Series, first: object, second: object) -> pd.DataFrame:
    """A row for each two trials of the two settings that share seed and distance, with the columns of both."""
    those = [trials[column.isna() if value != value else column == value] for value in (first, second)]
    return those[0].merge(those[1], on=["seed", "distance"], suffixes=[f"_{side}" for side in SIDES])


def _numbers(cells: pd.DataFrame) -> tuple[int, float, float, float]:
    """Seeds, p, the difference of the shares solved, and `common_luck`."""
    if cells.empty:
        return 0, math.nan, math.nan, 0.0
    scored = cells.assign(score=sooner(cells))
    means = scored.groupby(["seed", "distance"])[["score", *(f"event_{side}" for side in SIDES)]].mean()
    scores = means["score"].groupby("seed").sum().to_numpy()
    solved = [means[f"event_{side}"] for side in SIDES]
    farther = [(share - share.groupby("distance").transform("mean")).groupby("seed").sum() for share in solved]
    difference = float(solved[1].mean() - solved[0].mean())
    return len(scores), exchange_probability(scores), difference, common_luck(*(side.to_numpy() for side in farther))


def sooner(cells: pd.DataFrame) -> np.ndarray:
    """1/2 where the first of two trials solves while the second has not, -1/2 for the converse, else 0.

    It is what a stratum of two trials adds to events less expected ones in the log-rank statistic.
    """
    (time, event), (other_time, other) = ((cells[f"time_{side}"], cells[f"event_{side}"]) for side in SIDES)
    first = event & ((time < other_time) | ((time == other_time) & ~other))
    second = other & ((other_time < time) | ((time == other_time) & ~event))
    return (first.astype("float64") - second.astype("float64")).to_numpy() / 2


def exchange_probability(scores: np.ndarray) -> float:
    """Two-sided p of a sum of scores, one for each seed, whose signs are a coin's if nothing differs."""
    random = np.random.Generator(np.random.Philox(key=len(scores)))
    if len(scores) < 2:
        return 1.0
    halves = (scores / 2, -scores / 2)
    test = permutation_test(
        halves, _gap, permutation_type="samples", vectorized=True, n_resamples=PERMUTATIONS, rng=random
    )
    return float(test.pvalue)


def _gap(first: np.ndarray, second: np.ndarray, axis: int) -> Any:
    """Rounded, so that sums of thirds that are equal are found to be."""
    return np.round((first - second).sum(axis=axis), PLACES)


def least_probability(seeds: int, comparisons: int) -> float:
    """The least adjusted p that so many seeds can give to one of so many comparisons."""
    return min(1.0, comparisons * max(2.0 ** (1 - seeds), 2 / (PERMUTATIONS + 1)))


def holm(p: pd.Series) -> pd.Series:
    """Holm's adjustment of those p that are known: the least by their number, the next by one less, and so on.

    That of statsmodels collects all garbage of the process at every call, which takes longer than the comparisons.
    """
    ordered = p.dropna().sort_values()
    adjusted = (ordered * np.arange(len(ordered), 0, -1)).clip(upper=1).cummax()
    return adjusted.reindex(p.index)


def _sides(results: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The trials of both settings that have a partner."""
    parts = [results.loc[cells[f"row_{side}"].unique(), ["seed", "distance", "status"]] for side in SIDES]
    return pd.concat([part.assign(side=side) for part, side in zip(parts, SIDES, strict=True)])


def common_luck(first: np.ndarray, second: np.ndarray) -> float:
    """How far the seeds that reach far in one setting do so in the other: a correlation that is likely there.

    Of the distances solved by each seed in both, less one standard error on the scale of Fisher's z (a one-sided bound
    at about 84 %), and no less than 0. The estimate itself would be too large in half of all sweeps, and the intervals
    of ratios too narrow in these.
    """
    spread = float(first.std() * second.std())
    if len(first) < 5 or spread <= ROUNDING:
        return 0.0
    correlation = float(np.mean((first - first.mean()) * (second - second.mean()))) / spread
    likely = math.atanh(min(correlation, 1 - ROUNDING)) - 1 / math.sqrt(len(first) - 3) if correlation > 0 else 0.0
    return min(max(math.tanh(likely), 0.0), MOST_COMMON)


def _ratios(parts: Sequence[pd.DataFrame], common: pd.Series) -> pd.DataFrame:
    """Ratio, ratio_low and ratio_high of each pair, whose trials are in `parts`."""
    columns = ["seed", "distance", "status", "side", "pair"]
    trials = [part.assign(pair=pair) for pair, part in enumerate(parts)]
    found = horizon(pd.concat(trials) if trials else pd.DataFrame(columns=columns), ["pair", "side"])
    ends = {(row["pair"], row["side"]): row for row in found.to_dict("records")}
    nothing = dict.fromkeys(("horizon", "low", "high"), math.nan)
    sides = [[ends.get((pair, side), nothing) for side in SIDES] for pair in range(len(parts))]
    numbers = [[[row["horizon"], row["low"], row["high"]] for row in pair] for pair in sides]
    rows = [ratio_interval(first, second, float(luck)) for (first, second), luck in zip(numbers, common, strict=True)]
    return pd.DataFrame(rows, columns=list(NUMBERS[:3]), dtype="float64")


def ratio_interval(first: Sequence[float], second: Sequence[float], common: float) -> tuple[float, float, float]:
    """The ratio of the second horizon to the first, and its interval; each horizon is given with its low and high.

    On the logarithm, from the distances between the estimates and the ends of their intervals (MOVER): below the
    ratio, a of the second to its lower and b of the first to its upper end give sqrt(a^2 + b^2 - 2 `common` a b), where
    `common` is the correlation of the estimates. An end is open where one of the two is. Where an estimate is not
    known, the interval is that of all ratios between horizons within the two intervals, which is wider.

    Source: Zou, Donner 2008, "Construction of confidence limits about effect measures: a general approach"; Zou 2007,
    "Toward using confidence intervals to compare correlations" (with a correlation).
    """
    (one, low, high), (other, other_low, other_high) = map(_logarithms, (first, second))
    ratio = other - one
    if math.isnan(ratio):
        return math.nan, math.exp(other_low - high), math.exp(other_high - low)
    below, above = (
        math.inf if math.isinf(a + b) else math.sqrt(a**2 + b**2 - 2 * common * a * b)
        for a, b in ((other - other_low, high - one), (other_high - other, one - low))
    )
    return math.exp(ratio), math.exp(ratio - below), math.exp(ratio + above)


def _logarithms(horizon_and_ends: Sequence[float]) -> list[float]:
    return [-math.inf if value == 0 else math.log(value) for value in horizon_and_ends]
