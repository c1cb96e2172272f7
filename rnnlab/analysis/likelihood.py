"""What the outcomes of seeds at several distances say of the horizon: a likelihood over many shapes of the curve.

The share of seeds that solve a task at the distance d, with x = ln d:

    p(x) = lambda G((mu - x) / s + g),    g = G^-1(1 / (2 lambda)), so that p(mu) = 1/2

    mu       logarithm of the horizon
    s        how slowly the share falls
    lambda   share of seeds that learn the task at all, more than a half
    G        one of `LINKS`: even, or with a longer tail on either side

Seeds are independent of each other. The outcomes of one share its luck u: seed i solves the task at distance j where
sqrt(r) u_i + sqrt(1 - r) e_ij < Phi^-1(p(x_j)), u and e standard normal (a Gaussian copula; r = 0: no shared luck).

s, lambda, G and r are not asked about: for each mu the likelihood is the largest over a grid of them. A distance at
which a seed has no result is left out of its likelihood.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import f

from rnnlab.analysis.rates import CONFIDENCE

LINKS: tuple[tuple[Callable, Callable], ...] = (  # G and its inverse
    (ndtr, ndtri),
    (lambda z: -np.expm1(-np.exp(z)), lambda p: np.log(-np.log1p(-p))),
    (lambda z: np.exp(-np.exp(-z)), lambda p: -np.log(-np.log(p))),
)
LEARNING = (1.0, 0.9, 0.8, 0.7, 0.6)  # lambda
SHARED = (0.0, 0.4, 0.8, 0.95)  # r
STEEPEST, SHALLOWEST, FINENESS = 0.01, 3.0, 1.5  # s: of the least gap, of the range of distances, between neighbours
WITHIN_GAP = (0.0, 0.02, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.98)  # mu, between two distances
OUTSIDE = (0.02, 0.25, 1.0, 3.0)  # mu, in gaps beyond the outermost distances: to tell whether an end is open
LAPSE = 1e-6  # no outcome is less probable: one that a steep curve excludes must not decide alone
NODES = np.linspace(-4, 4, 21)  # of u
FARTHEST, STEP = 4.76, 0.005  # Phi^-1(1 - LAPSE), rounded up; what Phi^-1(p) is rounded to, to look it up
LEAST = 1e-35  # probability of the outcomes of a seed
CLAMP = 30.0  # |z| beyond it is as good as infinite
AT_ONCE = 2**22  # numbers in a table


def intervals(distances: np.ndarray, outcomes: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """The interval of the horizon at level `CONFIDENCE`, for each of several settings tested at the same distances.

    `distances` (J) must be positive, finite (else `ValueError`) and increase. `outcomes` has an array (seeds, 2 J) for
    each setting: how many trials of a seed were solved at each distance, then how many were not. An end outside the
    distances tested is 0 or inf.

    All mu whose deviance from the best is at most the quantile of F(1, n - 1), n the number of seeds, and what lies
    between them. F in the place of chi-squared makes room for few seeds: where all of them solve the near one of two
    distances and none the far one, five say nothing yet and six bound the horizon, as in the exact sign test.
    """
    if not (np.isfinite(distances) & (distances > 0)).all():
        raise ValueError(f"distances must be positive and finite: {distances.tolist()}")
    places = np.log(distances)
    found, which = np.unique(np.concatenate(outcomes), axis=0, return_inverse=True)
    setting = np.repeat(np.arange(len(outcomes)), [len(rows) for rows in outcomes])
    counts = csr_array((np.ones(len(which)), (setting, which.reshape(-1))), shape=(len(outcomes), len(found)))
    middles = _middles(places)
    best = _profiles(places, middles, found, counts)
    deviances = 2 * (best.max(axis=1, keepdims=True) - best)
    limits = [f.ppf(CONFIDENCE, 1, len(rows) - 1) if len(rows) > 1 else math.inf for rows in outcomes]
    return [_ends(distances, middles, *one) for one in zip(deviances, limits, strict=True)]


def _ends(distances: np.ndarray, middles: np.ndarray, deviance: np.ndarray, limit: float) -> tuple[float, float]:
    """Where the deviance passes the limit: between the middles on either side, by a line through its root.

    Beside a distance it may change all at once, as steep curves pass it: then the end is that distance.
    """
    places, accepted = np.log(distances), np.flatnonzero(deviance <= limit)
    first, last = accepted[[0, -1]]
    root, edge = np.sqrt(deviance), math.sqrt(limit)

    def between(outer: int, inner: int) -> float:
        if middles[outer] in places:
            return float(distances[places == middles[outer]][0])
        share = (root[outer] - edge) / (root[outer] - root[inner])
        return math.exp(middles[outer] + share * (middles[inner] - middles[outer]))

    low = 0.0 if middles[first] < places[0] else max(distances[0], between(first - 1, first))
    high = math.inf if middles[last] > places[-1] else min(distances[-1], between(last + 1, last))
    return float(low), float(high)


def _middles(places: np.ndarray) -> np.ndarray:
    """The values of mu: within the distances tested and a little outside, ascending."""
    gaps = np.diff(places) if len(places) > 1 else np.ones(1)
    within = (places[:-1, None] + np.diff(places)[:, None] * WITHIN_GAP).reshape(-1)
    beyond = np.array(OUTSIDE)
    return np.concatenate([places[0] - gaps[0] * beyond[::-1], within, places[-1:], places[-1] + gaps[-1] * beyond])


def _profiles(places: np.ndarray, middles: np.ndarray, found: np.ndarray, counts: csr_array) -> np.ndarray:
    """The largest log-likelihood (settings, middles) over all shapes.

    `found` (patterns, 2 J): different outcomes of a seed; `counts` (settings, patterns): how many seeds have them.
    """
    settings = counts.shape[0]
    best = np.full((settings, len(middles)), -math.inf)
    for reach in _shapes(places, middles):
        for shared in SHARED:
            logs = log_probabilities(reach.reshape(-1, len(places)), shared, found)
            step = max(1, AT_ONCE // logs.shape[1])
            for start in range(0, settings, step):
                rows = slice(start, start + step)
                sums = (counts[rows] @ logs).reshape(-1, len(middles), reach.shape[1])
                np.maximum(best[rows], sums.max(axis=2), out=best[rows])
    return best


def _shapes(places: np.ndarray, middles: np.ndarray) -> Iterator[np.ndarray]:
    """Phi^-1(p) (middles, shapes, J), in parts: one for each s, with a shape for each G and lambda."""
    gaps = np.diff(places) if len(places) > 1 else np.ones(1)
    least, most = STEEPEST * gaps.min(), SHALLOWEST * gaps.sum()
    for scale in np.geomspace(least, most, 1 + math.ceil(math.log(most / least) / math.log(FINENESS))):
        ease = (middles[:, None] - places) / scale
        shares = [
            learning * link(np.clip(ease + inverse(0.5 / learning), -CLAMP, CLAMP))
            for link, inverse in LINKS
            for learning in LEARNING
        ]
        yield ndtri(np.clip(np.stack(shares, axis=1), LAPSE, 1 - LAPSE))


def log_probabilities(reach: np.ndarray, shared: float, found: np.ndarray) -> np.ndarray:
    """The logarithm of the probability of a seed's outcomes (patterns, curves), for each of several curves.

    `reach` (curves, J): Phi^-1 of the share that solves each distance, rounded to `STEP`; `found` (patterns, 2 J): how
    often it was solved and how often not.
    """
    levels = np.rint((np.clip(reach, -FARTHEST, FARTHEST) + FARTHEST) / STEP).astype(np.intp)
    solves, fails, weights = _given_luck(shared)
    told = np.concatenate([table[levels.T].reshape(reach.shape[1], -1) for table in (solves, fails)])
    step = max(1, AT_ONCE // told.shape[1])
    patterns = found.astype(np.float32)
    each = [np.exp(patterns[start : start + step] @ told) for start in range(0, len(found), step)]
    sums = np.concatenate([part.reshape(-1, len(weights)) @ weights for part in each])
    return np.log(np.maximum(sums.astype(float), LEAST)).reshape(len(found), len(reach))


@functools.lru_cache(maxsize=8)
def _given_luck(shared: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln P(solves | u) and ln P(does not | u) (levels of reach, nodes of u), and the weights of the nodes.

    The trapezoidal rule: its error vanishes fast for what is smooth and has ended.
    """
    nodes = NODES if shared else np.zeros(1)
    weights = np.exp(-(nodes**2) / 2)
    levels = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
    given = (levels[:, None] - math.sqrt(shared) * nodes) / math.sqrt(1 - shared)
    return (*(log_ndtr(sign * given).astype(np.float32) for sign in (1, -1)), (weights / weights.sum()).astype("f4"))
