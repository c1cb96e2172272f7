"""Invented sweeps with a known horizon, and what one could say of it who knew the shape of the truth.

Outcomes of n seeds at J distances: seed i solves the task at distance j where sqrt(r) u_i + sqrt(1 - r) e_ij <
Phi^-1(p_j), u and e standard normal; r is the luck that a seed shares across distances (a Gaussian copula, which the
analysis takes for granted). In one truth luck is shared in another way (`clayton`). Each draw has a horizon of its own,
even on the logarithm, so that no set of distances favours it.

The peer is the likelihood interval of the truth's own family, all of whose numbers (horizon, scale, share that learns
where it is below one, r) are unknown: all horizons whose largest likelihood over the others is within the quantile of
chi-squared. It shares no code with `rnnlab.analysis`: probabilities of all 2^J outcomes of a seed by doubling, Gauss-
Hermite quadrature over the luck, a fine grid over the rest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.sparse import csr_array, vstack
from scipy.special import expit, logit
from scipy.stats import chi2, gamma, norm

from rnnlab.analysis import CONFIDENCE
from rnnlab.seeding import generator

SHARED = (0.0, 0.25, 0.5, 0.7, 0.8, 0.9)  # the peer's r
SCALES = np.geomspace(0.02, 5, 15)  # and s
LEARNING = np.linspace(0.58, 1, 7)  # and lambda, in the truth with a plateau
PER_GAP, EDGE, BEYOND = 10, 0.01, (0.03, 0.3, 1.0, 2.0)  # horizons: between two distances, beside them, outside
ORDER, NEGLIGIBLE = 48, 1e-9  # of the quadrature; weight of a node that is left out
FLOOR = 0.15  # share of seeds that always solve, in the truth with a floor
CERTAIN = 1e-9  # probabilities end at this and at one less it


def logistic(ease: np.ndarray, learning: float = 1.0) -> np.ndarray:
    """Share that solves the task; `ease` = (mu - x) / s."""
    return learning / (1 + (2 * learning - 1) * np.exp(np.clip(-ease, -40, 40)))


def gompertz(ease: np.ndarray, learning: float = 1.0) -> np.ndarray:
    """Falls slowly to zero on the far side and fast from one on the near side."""
    return learning * -np.expm1(np.log1p(-0.5 / learning) * np.exp(np.clip(ease, -40, 40)))


def two_kinds(ease: np.ndarray, learning: float = 1.0) -> np.ndarray:
    """Two fifths of the seeds reach less far than the others by a factor of e^(8 s)."""
    near = 0.4 * expit(np.asarray(ease) - 8)
    return learning * (near + 0.6 * expit(ease + logit((0.5 / learning - 0.4 * expit(-8)) / 0.6)))


def floored(ease: np.ndarray, learning: float = 1.0) -> np.ndarray:
    """Some seeds solve the task at any distance."""
    return FLOOR + (learning - FLOOR) * expit(ease + logit((0.5 - FLOOR) / (learning - FLOOR)))


def gaussian(shares: np.ndarray, luck: np.ndarray, shared: float) -> np.ndarray:
    """Probability that a seed of known luck u solves the task, where a share p of all seeds does."""
    return norm.cdf((norm.ppf(shares) - math.sqrt(shared) * luck) / math.sqrt(1 - shared))


def clayton(shares: np.ndarray, luck: np.ndarray, shared: float) -> np.ndarray:
    """The same, where the few seeds that solve a far distance solve most others, and those that fail have less in
    common: a Clayton copula with the rank correlation (Kendall's tau) of the Gaussian one.

    Source: Marshall, Olkin 1988, "Families of multivariate distributions" (its gamma variable, here of quantile
    Phi(u)).
    """
    if not shared:
        return shares + 0 * luck
    tau = 2 / math.pi * math.asin(shared)
    theta = 2 * tau / (1 - tau)
    hardship = gamma.ppf(norm.cdf(luck), 1 / theta)
    return np.exp(-hardship * np.expm1(-theta * np.log(shares)))


@dataclass(frozen=True)
class Truth:
    """A shape of the share that solves the task, over the logarithm of the distance."""

    family: Callable[[np.ndarray, float], np.ndarray] = logistic
    scale: float = 0.0  # s; 0: a step, all solve up to the horizon and none after
    learning: float = 1.0  # lambda; below 1 the peer does not know it either
    inside: bool = True  # where the horizon is
    given: Callable[[np.ndarray, np.ndarray, float], np.ndarray] = gaussian  # how seeds share luck across distances
    expected: bool = True  # whether the method under test reckons with such a shape

    def shares(self, places: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """p (..., J) at the logarithms `places` (J) of distances, for horizons `middle`."""
        ease = np.asarray(middle)[..., None] - places
        return self.family(ease / self.scale, self.learning) if self.scale else (ease >= 0).astype(float)

    def middles(self, places: np.ndarray, random: np.random.Generator, draws: int) -> np.ndarray:
        """Horizons: away from the ends of the distances by a fifth of their span; or beyond an end, up to as far."""
        fifth = (places[-1] - places[0]) / 5
        if self.inside:
            return random.uniform(places[0] + fifth, places[-1] - fifth, draws)
        beyond = random.uniform(0, fifth, draws)
        return np.where(random.random(draws) < 0.5, places[0] - beyond, places[-1] + beyond)


TRUTHS = {
    "steep": Truth(scale=0.1),
    "shallow": Truth(scale=0.6),
    "skewed": Truth(gompertz, scale=0.5),
    "plateau": Truth(scale=0.25, learning=0.8),
    "step": Truth(),
    "outside": Truth(scale=0.3, inside=False),
    "clayton": Truth(scale=0.6, given=clayton),
    "two kinds": Truth(two_kinds, scale=0.15, expected=False),
    "floor": Truth(floored, scale=0.3, expected=False),
}


@dataclass(frozen=True)
class Draws:
    """Sweeps that share their distances and the number of their seeds."""

    distances: np.ndarray  # (J)
    horizons: np.ndarray  # (draws)
    solved: np.ndarray = field(repr=False)  # (draws, seeds, J), true or false

    @property
    def seeds(self) -> int:
        return self.solved.shape[1]


def draw(name: str, distances: np.ndarray, seeds: int, shared: float, draws: int) -> Draws:
    """Sweeps of the truth `name`, always the same."""
    random = generator(seeds, f"coverage {name} {shared:g} {len(distances)}")
    places = np.log(distances)
    middles = TRUTHS[name].middles(places, random, draws)
    shares = TRUTHS[name].shares(places, middles)[:, None]
    luck, chance = random.standard_normal((draws, seeds, 1)), random.standard_normal((draws, seeds, len(places)))
    return Draws(distances, np.exp(middles), norm.cdf(chance) < TRUTHS[name].given(shares, luck, shared))


def peer(name: str, sweeps: Sequence[Draws]) -> list[np.ndarray]:
    """The likelihood intervals (draws, 2) of one truth for each of `sweeps`, all at the same distances.

    An end outside the distances is 0 or inf.
    """
    truth, places = TRUTHS[name], np.log(sweeps[0].distances)
    if not truth.scale:
        return [_gap(one) for one in sweeps]
    counts, middles = _counts(sweeps), _grid(places)
    best = np.full((counts.shape[0], len(middles)), -math.inf)
    for logs in _log_probabilities(truth, places, middles):
        np.maximum(best, counts @ logs, out=best)
    inside = np.sqrt(2 * (best.max(axis=1, keepdims=True) - best)) - math.sqrt(chi2.ppf(CONFIDENCE, 1))
    ends = np.array([_ends(row, middles, places) for row in inside])
    return np.split(ends, np.cumsum([len(one.horizons) for one in sweeps])[:-1])


def _gap(one: Draws) -> np.ndarray:
    """A step lies between the farthest distance solved and the next."""
    solved = one.solved[:, 0].sum(axis=1)
    edges = np.concatenate([[0.0], one.distances, [math.inf]])
    return np.stack([edges[solved], edges[solved + 1]], axis=1)


def _counts(sweeps: Sequence[Draws]) -> csr_array:
    """How many seeds of each draw have each of the 2^J outcomes, the first distance in the lowest bit."""
    parts = []
    for one in sweeps:
        draws, seeds, J = one.solved.shape
        codes = one.solved.reshape(-1, J) @ (1 << np.arange(J))
        rows = np.repeat(np.arange(draws), seeds)
        parts.append(csr_array((np.ones(len(codes)), (rows, codes)), shape=(draws, 1 << J)))
    return csr_array(vstack(parts))


def _grid(places: np.ndarray) -> np.ndarray:
    """Logarithms of horizons at which the peer is asked."""
    gap = np.diff(places).mean()
    within = np.linspace(places[0], places[-1], PER_GAP * (len(places) - 1) + 1)
    beyond = gap * np.array(BEYOND)
    return np.unique(np.concatenate([within, places - EDGE, places + EDGE, places[0] - beyond, places[-1] + beyond]))


def _log_probabilities(truth: Truth, places: np.ndarray, middles: np.ndarray) -> Iterator[np.ndarray]:
    """The logarithm of the probability of each outcome (2^J, middles), for each scale, share that learns and r."""
    learning = LEARNING if truth.learning < 1 else (1.0,)
    nodes, weights = hermegauss(ORDER)
    nodes, weights = (values[weights > NEGLIGIBLE] for values in (nodes, weights / weights.sum()))
    for scale, share, shared in itertools.product(SCALES, learning, SHARED):
        p = np.clip(truth.family((middles[:, None] - places) / scale, share), CERTAIN, 1 - CERTAIN)
        u, of = (nodes, weights) if shared else (np.zeros(1), np.ones(1))
        given = truth.given(p[..., None], u, shared)
        outcomes = np.ones((1, len(middles), len(u)))
        for j in range(len(places)):
            outcomes = np.concatenate([outcomes * (1 - given[:, j]), outcomes * given[:, j]])
        yield np.log(np.maximum(outcomes @ of, 1e-300))


def _ends(inside: np.ndarray, middles: np.ndarray, places: np.ndarray) -> tuple[float, float]:
    """From the first horizon that is possible to the last; `inside`: below 0 where it is."""
    possible = np.flatnonzero(inside <= 0)
    first, last = possible[[0, -1]]
    low, high = 0.0, math.inf
    if middles[first] >= places[0]:
        low = math.exp(max(np.interp(0, inside[[first, first - 1]], middles[[first, first - 1]]), places[0]))
    if middles[last] <= places[-1]:
        high = math.exp(min(np.interp(0, inside[[last, last + 1]], middles[[last, last + 1]]), places[-1]))
    return low, high
