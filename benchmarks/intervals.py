"""Intervals of the horizons of many invented sweeps at once: of rnnlab, what else might be used, and their widths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.truths import Draws
from rnnlab.analysis import likelihood, wilson
from rnnlab.seeding import generator

RESAMPLES, RESAMPLED = 400, 300  # by the bootstrap, in so many draws of each cell
ROUNDING = 1e-9  # what a fitted rate may be off by


def ours(sweeps: Sequence[Draws]) -> list[np.ndarray]:
    """As `rnnlab.analysis.horizon` gives them."""
    outcomes = [np.concatenate([seeds, ~seeds], axis=1).astype(float) for one in sweeps for seeds in one.solved]
    ends = np.array(likelihood.intervals(sweeps[0].distances, outcomes))
    places = np.concatenate([crossings(one.distances, one.solved.mean(axis=1)) for one in sweeps])
    ends = np.stack([np.minimum(ends[:, 0], places), np.maximum(ends[:, 1], places)], axis=1)
    return np.split(ends, np.cumsum([len(one.horizons) for one in sweeps])[:-1])


def inverted_wilson(one: Draws) -> np.ndarray:
    tests = np.array([wilson(k, one.seeds) for k in range(one.seeds + 1)])[one.solved.sum(axis=1)]
    surely_more, surely_fewer = tests[..., 0] > 0.5, tests[..., 1] < 0.5
    low = np.where(surely_more, one.distances, 0).max(axis=1)
    high = np.where(surely_fewer, one.distances, math.inf).min(axis=1)
    return np.stack([np.minimum(low, high), np.maximum(low, high)], axis=1)


def bootstrap(one: Draws) -> np.ndarray:
    """Percentiles of the horizon over whole seeds that are drawn again."""
    random = generator(one.seeds, "coverage bootstrap")
    ends = []
    for solved in one.solved[:RESAMPLED]:
        rates = solved[random.integers(one.seeds, size=(RESAMPLES, one.seeds))].mean(axis=1)
        ends.append(np.quantile(crossings(one.distances, rates), [0.025, 0.975], method="inverted_cdf"))
    return np.array(ends)


def crossings(distances: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """`rnnlab.analysis.crossing` of many rates (draws, J) at once, of equal weight."""
    J, places, draws = len(distances), np.log(distances), np.arange(len(rates))
    sums = np.concatenate([np.zeros((len(rates), 1)), np.cumsum(rates, axis=1)], axis=1)
    means = np.zeros((J, J, len(rates)))  # from a to b
    for a, b in itertools.combinations_with_replacement(range(J), 2):
        means[a, b] = (sums[:, b + 1] - sums[:, a]) / (b + 1 - a)
    falling = np.stack([means[: i + 1, i:].max(axis=1).min(axis=0) for i in range(J)], axis=1)
    above, reached = (falling > 0.5 + ROUNDING).sum(axis=1), (falling >= 0.5 - ROUNDING).sum(axis=1)
    before, after = np.clip(above - 1, 0, J - 1), np.clip(above, 0, J - 1)
    drop = falling[draws, before] - falling[draws, after]
    share = (falling[draws, before] - 0.5) / np.where(drop > 0, drop, 1)
    found = np.exp(places[before] + share * (places[after] - places[before]))
    flat = np.exp((places[after] + places[np.clip(reached - 1, 0, J - 1)]) / 2)
    outside = np.select([above == 0, above == J], [0.0, math.inf], found)
    return np.where(reached > above, flat, outside)


def log_widths(ends: np.ndarray) -> np.ndarray:
    """Of intervals (draws, 2), on the logarithm; infinite where an end is open."""
    bounded = (ends[:, 0] > 0) & np.isfinite(ends[:, 1])
    low, high = np.where(bounded[:, None], ends, 1).T
    return np.where(bounded, np.log(high / low), math.inf)


def ratio_of_medians(widths: np.ndarray) -> float | None:
    """Of the first row of widths (2, draws) to the second; none without draws or where either is infinite."""
    medians = np.median(widths, axis=1) if widths.size else np.full(2, math.inf)
    return float(medians[0] / medians[1]) if np.isfinite(medians).all() else None
