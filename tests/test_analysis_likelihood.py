"""The likelihood of a horizon: that of a slow twin, and no surer than the seeds allow."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit
from scipy.stats import binomtest, norm

from rnnlab.analysis import likelihood
from rnnlab.seeding import generator

DISTANCES = np.array([5.0, 10, 20, 40, 80])


def rows(*solved: str) -> np.ndarray:
    """One row for each seed, from strings such as `11.0`: solved, solved, no result, not solved."""
    return np.array([[mark == "1" for mark in seed] + [mark == "0" for mark in seed] for seed in solved], dtype=float)


def counts(seeds: int, *solving: int) -> np.ndarray:
    """Outcomes of so many seeds, the first of which solve at each distance."""
    return rows(*("".join("01"[seed < k] for k in solving) for seed in range(seeds)))


def interval(outcomes: np.ndarray, distances: np.ndarray | None = None) -> tuple[float, float]:
    distances = DISTANCES[: outcomes.shape[1] // 2] if distances is None else distances
    (found,) = likelihood.intervals(distances, [outcomes])
    return found


def probability(reach: np.ndarray, shared: float, outcome: np.ndarray) -> float:
    """Of one seed's outcomes, by adaptive integration over its luck."""
    J = len(reach)

    def given_luck(u: float) -> float:
        solves = norm.cdf((reach - math.sqrt(shared) * u) / math.sqrt(1 - shared))
        return norm.pdf(u) * float(np.prod(solves ** outcome[:J] * (1 - solves) ** outcome[J:]))

    return quad(given_luck, -9, 9, points=[float(value) for value in reach], limit=200)[0]


@pytest.mark.parametrize("shared", likelihood.SHARED)
def test_probabilities_of_three_seeds_at_three_distances_equal_direct_integration(shared):
    random = generator(0, "test.integration")
    reach = np.sort(random.normal(0, 1.5, (3, 3)))[:, ::-1]
    outcomes = np.concatenate([rows("111", "101", "0.1"), [[2, 0, 0, 0, 1, 1]]])
    found = np.exp(likelihood.log_probabilities(reach, shared, outcomes))
    slow = [[probability(curve, shared, outcome) for curve in reach] for outcome in outcomes]
    assert found == pytest.approx(np.array(slow), rel=0.01, abs=1e-4)


@pytest.mark.parametrize("wrong", [0.0, math.inf, math.nan, -5.0])
def test_a_distance_without_a_logarithm_is_refused_in_a_line(wrong):
    with pytest.raises(ValueError, match=r"^distances must be positive and finite: .*\Z"):
        interval(counts(4, 4, 0), np.array([wrong, 10.0]))


def test_seeds_that_share_luck_across_distances_say_less():
    """The same rates: once the same seeds solve the near and the far distances, once each distance has its own."""
    ordered = counts(10, 9, 7, 5, 3, 1)
    solved = np.stack([np.roll(ordered[:, place], 3 * place) for place in range(5)], axis=1)
    low, high = interval(ordered)
    other_low, other_high = interval(np.concatenate([solved, 1 - solved], axis=1))
    assert math.log(high / low) > 1.2 * math.log(other_high / other_low)


@pytest.mark.parametrize("solving", [(18, 17, 16, 15, 14), (19, 18, 17, 16, 15)])
def test_a_horizon_far_outside_is_likelier_than_one_beside_the_distances_where_the_rates_fall_slowly(solving):
    """Nine to seven tenths solve at all distances: the end is where a straight line on the scale of Phi^-1, fitted
    freely, says, or farther: many shapes are possible, but none falls to a half just after the last distance.
    """
    rates, places = np.array(solving) / 20, np.log(DISTANCES)
    slope, level = np.polyfit(places, norm.ppf(rates), 1)
    low, high = interval(counts(20, *solving))
    assert high == math.inf
    assert DISTANCES[-1] < math.exp(-level / slope)
    assert low > DISTANCES[-2]


@pytest.mark.parametrize("shared", likelihood.SHARED)
def test_probabilities_of_all_outcomes_add_up_to_one(shared):
    reach = generator(1, "test.integration").normal(0, 2, (4, 3))
    every = rows(*map("".join, itertools.product("01", repeat=3)))
    assert np.exp(likelihood.log_probabilities(reach, shared, every)).sum(axis=0) == pytest.approx(np.ones(4))


def test_seeds_without_shared_luck_are_coins():
    reach = norm.ppf([[0.9, 0.5, 0.2]])
    found = np.exp(likelihood.log_probabilities(reach, 0.0, rows("110", "0.1")))
    assert found[:, 0] == pytest.approx([0.9 * 0.5 * 0.8, 0.1 * 0.2], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("case", range(3))
def test_the_grid_of_shapes_misses_little_of_the_likelihood(case):
    """Beside the largest likelihood over even links by direct search: its logarithm is less by 0.15 at most."""
    random = generator(case, "test.grid")
    places = np.log(DISTANCES)
    solves = norm.cdf((math.log(20) - places + random.normal(0, 0.4, (8, 1))) / 0.6)
    solved = (random.random(solves.shape) < solves).astype(float)
    outcomes = np.concatenate([solved, 1 - solved], axis=1)
    found, number = np.unique(outcomes, axis=0, return_counts=True)
    middles = np.log([14.0, 20, 28])
    best = likelihood._profiles(places, middles, found, csr_array(number[None].astype(float)))[0]

    def lost(numbers: np.ndarray, middle: float) -> float:
        scale, shared = math.exp(numbers[0]), 0.95 * float(expit(numbers[1]))
        reach = np.clip((middle - places) / scale, -4.75, 4.75)[None]
        return -float(number @ likelihood.log_probabilities(reach, shared, found)[:, 0])

    starts = list(itertools.product([-1.0, 0.0], [-1, 1]))
    for middle, most in zip(middles, best, strict=True):
        exact = -min(minimize(lost, start, (middle,), "Nelder-Mead").fun for start in starts)
        assert most >= exact - 0.15  # there are other links and plateaus too, so it may be more


@pytest.mark.parametrize(("seeds", "bounded"), [(1, False), (2, False), (3, False), (5, False), (6, True), (8, True)])
def test_perfect_separation_bounds_a_horizon_as_the_sign_test_does(seeds, bounded):
    """That all of n seeds solve, or none, where half would: 2^(1 - n) two-sided."""
    assert (binomtest(seeds, seeds).pvalue < 0.05) == bounded
    assert interval(counts(seeds, seeds, 0)) == ((5, 10) if bounded else (0, math.inf))


def test_one_seed_that_goes_another_way_does_not_move_the_interval_beyond_the_next_distances():
    low, high = interval(counts(12, 12, 12, 0, 0, 0))
    other = np.concatenate([counts(11, 11, 11, 0, 0, 0), rows("11100")])
    assert 10 <= low < high <= 20.5
    assert 10 <= interval(other)[0] <= interval(other)[1] <= 40


def test_more_seeds_of_the_same_kind_never_widen_the_interval():
    kind = rows("11110", "11000", "11100", "10000")
    ends = [interval(np.tile(kind, (times, 1))) for times in (2, 4, 8)]
    assert [low for low, _ in ends] == sorted(low for low, _ in ends)
    assert [high for _, high in ends] == sorted((high for _, high in ends), reverse=True)


def test_all_solved_and_none_solved_leave_one_end_open():
    low, high = interval(counts(10, *[10] * 5))
    assert (low, high) == (pytest.approx(80, rel=0.02), math.inf)
    low, high = interval(counts(10, *[0] * 5))
    assert (low, high) == (0, pytest.approx(5, rel=0.02))


def test_a_plateau_above_one_half_is_no_horizon_before_it_ends():
    """Three of 20 never learn; the others do up to 40: the horizon is there, though no distance is solved by all."""
    low, high = interval(counts(20, 17, 17, 17, 17, 0))
    assert 35 < low <= high <= 80


def test_rates_that_rise_have_the_interval_of_rates_that_fall_slowly():
    """0, 8, 2, 6 and 2 of 8: to say where they pass a half takes more than these."""
    assert interval(counts(8, 0, 8, 2, 6, 2)) == (0, math.inf)
    low, high = interval(counts(20, 20, 10, 14, 4, 0))
    assert 5 < low < 14
    assert 20 < high < 60


def test_one_distance_tells_on_which_side_the_horizon_is():
    assert interval(counts(10, 10)) == (5, math.inf)
    assert interval(counts(10, 0)) == (0, 5)
    assert interval(counts(10, 5)) == (0, math.inf)


def test_a_missing_result_is_left_out():
    full = rows(*["111.0"] * 6, *["110.0"] * 6)
    less = np.delete(full, [3, 8], axis=1)
    assert interval(full)[0] == pytest.approx(interval(less, DISTANCES[[0, 1, 2, 4]])[0], rel=0.05)
    assert interval(rows(*["11..0"] * 8)) == pytest.approx(interval(rows(*["110"] * 8), DISTANCES[[0, 1, 4]]), rel=0.03)


def test_settings_do_not_depend_on_each_other():
    beside = [counts(10, 10, 9, 4, 1, 0), counts(5, 5, 3, 0, 0, 0), rows("11.00", "10000", "11110")]
    together = likelihood.intervals(DISTANCES, beside)
    assert together == pytest.approx(np.array([interval(one) for one in beside]))


def test_the_unit_of_distance_does_not_matter():
    outcomes = counts(10, 10, 8, 5, 1, 0)
    low, high = interval(outcomes)
    assert interval(outcomes, 7 * DISTANCES) == pytest.approx((7 * low, 7 * high))


@settings(max_examples=25)
@given(st.lists(st.text("01.", min_size=5, max_size=5), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_an_interval_is_within_the_distances_or_open_whatever_the_outcomes(seeds, random):
    outcomes = rows(*seeds)
    low, high = interval(outcomes)
    assert low == 0 or 5 <= low <= 80 * (1 + 1e-9)
    assert high == math.inf or 5 * (1 - 1e-9) <= high <= 80 * (1 + 1e-9)
    assert low <= high
    random.shuffle(seeds)
    assert interval(rows(*seeds)) == pytest.approx((low, high))
