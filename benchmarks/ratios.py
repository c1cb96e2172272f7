"""Two settings tried with the same seeds: how often intervals of the ratio of their horizons hold the true one.

Beside it how often the test of `rnnlab.analysis.compare` calls two settings different at 0.05: where they are alike it
may in 5 % of draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from benchmarks.truths import TRUTHS, Draws
from rnnlab.analysis import CHANCE, wilson
from rnnlab.analysis.comparisons import common_luck, exchange_probability, ratio_interval
from rnnlab.seeding import generator


@dataclass(frozen=True)
class Pair:
    """Two settings."""

    first: str  # a truth
    second: str
    ratio: float  # of the second's horizon to the first's
    common: float  # correlation of what the two share of a seed's luck, and of that of a trial


PAIRS = [
    Pair(first, second, ratio, common)
    for first, second in (("shallow", "shallow"), ("steep", "shallow"), ("skewed", "plateau"), ("step", "skewed"))
    for ratio in (1.0, 2.0)
    for common in (0.0, 0.8)
]


def draw(pair: Pair, distances: np.ndarray, seeds: int, shared: float, draws: int) -> tuple[Draws, Draws]:
    """Sweeps of both settings with the same seeds, both horizons within the distances."""
    random = generator(seeds, f"ratios {pair} {shared:g} {len(distances)}")
    places, half = np.log(distances), math.log(pair.ratio) / 2
    fifth = (places[-1] - places[0]) / 5
    centre = random.uniform(places[0] + fifth + half, places[-1] - fifth - half, draws)
    sides = []
    alike = random.standard_normal((draws, seeds, 1)), random.standard_normal((draws, seeds, len(places)))
    for name, middle in ((pair.first, centre - half), (pair.second, centre + half)):
        luck, chance = (
            math.sqrt(pair.common) * of + math.sqrt(1 - pair.common) * random.standard_normal(of.shape) for of in alike
        )
        reach = norm.ppf(TRUTHS[name].shares(places, middle))[:, None]
        solved = math.sqrt(shared) * luck + math.sqrt(1 - shared) * chance < reach
        sides.append(Draws(distances, np.exp(middle), solved))
    return sides[0], sides[1]


def judged(
    pair: Pair, sides: Sequence[Draws], estimates: Sequence[np.ndarray], intervals: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Of the estimates (draws) and intervals (draws, 2) of both settings."""
    inside = [np.where((found > 0) & np.isfinite(found), found, math.nan) for found in estimates]
    each = [np.column_stack([place, ends]) for place, ends in zip(inside, intervals, strict=True)]
    reached = [side.solved.sum(axis=2) for side in sides]  # distances solved by each seed
    luck = [common_luck(*both) for both in zip(*reached, strict=True)]
    found = np.array([ratio_interval(*both, common) for *both, common in zip(*each, luck, strict=True)])
    held = int(((found[:, 1] <= pair.ratio) & (pair.ratio <= found[:, 2])).sum())
    bounded = (found[:, 1] > 0) & np.isfinite(found[:, 2])
    scores = (sides[0].solved.astype(float) - sides[1].solved).sum(axis=2) / 2
    called = int(sum(exchange_probability(one) <= CHANCE for one in scores))
    return vars(pair) | {
        "coverage": held / len(found),
        "interval": wilson(held, len(found)),
        "open": float(1 - bounded.mean()),
        "median_factor": float(np.median(np.sqrt(found[bounded, 2] / found[bounded, 1]))) if bounded.any() else None,
        "called_different": called / len(found),
    }
