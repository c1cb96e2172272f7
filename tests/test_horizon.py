"""Where half of the seeds solve: never outside what was tested, never surer than the seeds allow."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import copy_sweep, frame_of, unlucky, with_status

from rnnlab.analysis import (
    ABOVE,
    BELOW,
    UNKNOWN,
    WITHIN,
    crossing,
    endings,
    horizon,
    mean_metric,
    rank_correlation,
    rank_interval,
    rank_probability,
    student,
    success_rate,
    wilson,
)
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED
from rnnlab.seeding import generator


def seeds(solved: dict[float, int], of: int = 8) -> pd.DataFrame:
    """Distance -> how many of the seeds solve there."""
    rows = [(d, SOLVED if seed < k else EXHAUSTED, seed) for d, k in solved.items() for seed in range(of)]
    return pd.DataFrame(rows, columns=["distance", "status", "seed"]).assign(group="a", steps_to_solve=1.0)


def horizon_of(frame: pd.DataFrame) -> dict:
    (row,) = horizon(frame, ["group"]).to_dict("records")
    return row


def falling_slowly(rates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Isotonic regression by its min-max formula, one entry at a time."""

    def mean(a: int, b: int) -> float:
        return float(np.average(rates[a : b + 1], weights=weights[a : b + 1]))

    n = len(rates)
    return np.array([min(max(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)])


def crossing_slowly(distances: np.ndarray, fitted: np.ndarray) -> float:
    """The middle of all places on a fine grid, over the logarithm, where the fitted line is at a half."""
    if fitted[0] < 0.5 - 1e-9 or fitted[-1] > 0.5 + 1e-9:
        return 0.0 if fitted[0] < 0.5 else math.inf
    grid = np.linspace(np.log(distances[0]), np.log(distances[-1]), 200_001)
    gap = np.abs(np.interp(grid, np.log(distances), fitted) - 0.5)
    return float(np.exp(grid[gap <= gap.min() + 1e-9].mean()))


@pytest.mark.parametrize("case", range(40))
def test_the_crossing_equals_a_slow_twin(case):
    random = generator(case, "test.crossing")
    count = random.integers(1, 9)
    distances = np.cumsum(random.integers(1, 20, count)).astype(float)
    weights = random.integers(1, 9, count).astype(float)
    rates = np.round(random.uniform(0, 1, count) * weights) / weights
    slow = crossing_slowly(distances, falling_slowly(rates, weights))
    assert crossing(distances, rates, weights) == pytest.approx(slow, rel=1e-3)


def test_a_horizon_worked_by_hand():
    """7 of 8 at 10 and 1 of 8 at 40: half way between 10 and 40 on the logarithm; both are sure."""
    row = horizon_of(seeds({5: 8, 10: 7, 40: 1, 80: 0}))
    assert row["horizon"] == pytest.approx(20)
    assert (row["low"], row["high"]) == (10, 40)
    assert (row["outside"], row["nearest"], row["farthest"], row["distances"]) == (WITHIN, 5, 80, 4)
    assert (row["counted"], row["unfinished"], row["failed"]) == (32, 0, 0)


def test_perfect_separation_leaves_the_gap_between_two_distances():
    row = horizon_of(seeds({10: 8, 40: 0}))
    assert row["horizon"] == pytest.approx(20)
    assert (row["low"], row["high"]) == (10, 40)


def test_nothing_is_extrapolated():
    near, far = horizon_of(seeds({10: 2, 40: 0})), horizon_of(seeds({10: 8, 40: 8}))
    assert (near["outside"], far["outside"]) == (BELOW, ABOVE)
    assert math.isnan(near["horizon"])
    assert math.isnan(far["horizon"])
    assert (near["low"], near["high"]) == (0, 40)  # 2 of 8 at 10 may be half
    assert (far["low"], far["high"]) == (40, math.inf)


def test_one_distance_and_exactly_a_half():
    assert horizon_of(seeds({10: 4}))["horizon"] == pytest.approx(10)
    assert horizon_of(seeds({10: 5}))["outside"] == ABOVE
    assert horizon_of(seeds({10: 4, 40: 4}))["horizon"] == pytest.approx(20)
    assert horizon_of(seeds({5: 8, 10: 4, 40: 4, 80: 0}))["horizon"] == pytest.approx(20)


@pytest.mark.parametrize(("count", "open_ended"), [(1, True), (2, True), (3, True), (4, False)])
def test_fewer_than_four_seeds_never_bound_a_horizon(count, open_ended):
    row = horizon_of(seeds({10: count, 40: 0}, of=count))
    assert ((row["low"], row["high"]) == (0, math.inf)) == open_ended


def test_rates_that_rise_are_pooled_and_their_interval_holds_the_estimate():
    pooled = horizon_of(seeds({10: 5, 20: 7, 40: 6, 80: 0}))
    assert pooled["horizon"] == pytest.approx(horizon_of(seeds({10: 6, 20: 6, 40: 6, 80: 0}))["horizon"])
    absurd = horizon_of(seeds({10: 0, 20: 8}))
    assert absurd["low"] <= 10
    assert absurd["high"] >= 20


@pytest.mark.parametrize("case", range(30))
def test_the_interval_holds_the_estimate_and_ends_at_tested_distances(case):
    random = generator(case, "test.interval")
    frame = seeds({d: int(random.integers(0, 9)) for d in (5, 10, 20, 40)})
    row = horizon_of(frame)
    place = {BELOW: 0, ABOVE: math.inf}.get(row["outside"], row["horizon"])
    assert row["low"] <= place <= row["high"]
    assert row["low"] < row["high"]
    assert {row["low"], row["high"]} <= {0, 5, 10, 20, 40, math.inf, place}


def test_the_interval_is_that_of_tests_at_each_distance():
    frame = frame_of(copy_sweep(init="gaussian"))
    rates = success_rate(frame, ["init.spectral_radius", "distance"])
    for row in horizon(frame, ["init.spectral_radius"]).to_dict("records"):
        of_radius = rates[rates["init.spectral_radius"] == row["init.spectral_radius"]]
        possible = [0.0, *of_radius["distance"], math.inf]
        tests = [wilson(int(k), int(n)) for k, n in zip(of_radius["solved"], of_radius["counted"], strict=True)]
        surely_more = [d for d, (low, _) in zip(of_radius["distance"], tests, strict=True) if low > 0.5]
        surely_fewer = [d for d, (_, high) in zip(of_radius["distance"], tests, strict=True) if high < 0.5]
        assert row["low"] == max([possible[0], *surely_more])
        assert row["high"] == min([possible[-1], *surely_fewer])


def test_missing_trials_count_for_nothing_and_diverged_ones_as_not_solved():
    frame = seeds({10: 8, 40: 0})
    more = pd.concat([frame, with_status(frame, RUNNING), with_status(frame, FAILED)])
    row, with_more = horizon_of(frame), horizon_of(more)
    assert (with_more.pop("unfinished"), with_more.pop("failed")) == (16, 16)
    assert {name: row[name] for name in with_more} == with_more
    assert horizon_of(with_status(frame, DIVERGED))["outside"] == BELOW


def test_without_a_result_the_horizon_is_not_known():
    row = horizon_of(with_status(seeds({10: 8, 40: 0}), RUNNING))
    assert row["outside"] == UNKNOWN
    assert all(math.isnan(row[name]) for name in ("horizon", "low", "high", "nearest", "farthest"))
    assert (row["distances"], row["counted"], row["unfinished"]) == (0, 0, 16)


def test_no_trials_give_no_rows_and_the_same_columns():
    frame = seeds({10: 8})
    assert list(horizon(frame.iloc[:0], ["group"]).columns) == list(horizon(frame, ["group"]).columns)


def test_the_interval_holds_the_true_horizon_as_often_as_it_says():
    """Seeds with horizons of their own around 20 steps, few of them: at least 95 % of the intervals hold 20."""
    held, draws = 0, 300
    distances = np.array([4.0, 7, 12, 20, 34, 58, 99])
    for draw in range(draws):
        own = 20.5 * np.exp(0.5 * generator(draw, "test.coverage").standard_normal(5))
        row = horizon_of(seeds({d: int((own >= d).sum()) for d in distances}, of=5))
        held += row["low"] <= 20.5 <= row["high"]
    assert held / draws >= 0.94


# Endings, means, ranks


def test_endings_account_for_every_trial():
    frame = unlucky(frame_of(copy_sweep()))
    counts = endings(frame, ["init.spectral_radius"])
    assert counts[["counted", "unfinished", "failed"]].to_numpy().sum() == len(frame)
    for status in (SOLVED, EXHAUSTED, DIVERGED, FAILED):
        assert counts[status].sum() == (frame["status"] == status).sum()


def test_a_mean_worked_by_hand_leaves_missing_trials_out_and_counts_silent_ones():
    status = [SOLVED, EXHAUSTED, DIVERGED, FAILED, RUNNING]
    frame = pd.DataFrame({"status": status, "clip": math.nan, "accuracy": [1.0, 0.5, math.nan, 0.0, 0.0]})
    (row,) = mean_metric(frame, ["clip"], "accuracy").to_dict("records")
    assert row["mean"] == 0.75
    assert (row["counted"], row["silent"], row["unfinished"], row["failed"]) == (2, 1, 1, 1)
    assert (row["low"], row["high"]) == (0, 1)  # 0.75 +- 12.7 * 0.25: cut off
    low, high = student(np.array([0.4, 0.5, 0.6]))
    assert (low, high) == pytest.approx((0.5 - 4.302653 * 0.1 / math.sqrt(3), 0.5 + 4.302653 * 0.1 / math.sqrt(3)))
    assert all(math.isnan(end) for end in student(np.array([1.0])))


def test_rank_correlation_of_what_does_not_vary_is_not_a_number():
    assert rank_correlation([1, 2, 3], [1, 5, math.inf]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 0]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1, 2, 3], [1, 1, 1]))


def test_the_interval_of_a_rank_correlation_is_that_of_another_implementation():
    """ci.spear of the R package statpsych, with the data of its manual."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    assert rank_correlation(x, y) == pytest.approx(0.8699639, abs=1e-7)
    assert rank_interval(x, y) == pytest.approx((0.5840951, 0.9638297), abs=1e-6)
    assert rank_interval(x, [-value for value in y]) == pytest.approx((-0.9638297, -0.5840951), abs=1e-6)


def test_a_perfect_order_leaves_doubt_and_few_pairs_have_no_interval():
    low, high = rank_interval(range(8), range(8))
    assert 0.8 < low < high == 1
    assert rank_interval(range(8), range(8, 0, -1)) == (-high, -low)
    assert all(math.isnan(end) for end in rank_interval(range(7), range(7)))
    assert all(math.isnan(end) for end in rank_interval(range(9), [1] * 9))


def test_the_interval_of_a_rank_correlation_holds_as_often_as_it_says():
    """Normal pairs with Pearson's rho 0.8, whose Spearman's is 6 / pi arcsin(0.4)."""
    held, draws, true = 0, 400, 6 / math.pi * math.asin(0.4)
    for draw in range(draws):
        x, noise = generator(draw, "test.ranks").standard_normal((2, 15))
        low, high = rank_interval(x, 0.8 * x + 0.6 * noise)
        held += low <= true <= high
    assert 0.93 <= held / draws <= 0.98


def test_the_probability_of_an_order_counts_all_orders():
    assert rank_probability([1, 2, 3], [4, 5, 9]) == pytest.approx(2 / 6)
    assert rank_probability([1, 2, 3, 4], [2, 1, 3, math.inf]) == pytest.approx(8 / 24)
    assert math.isnan(rank_probability(range(8), range(8)))
    assert math.isnan(rank_probability([1, 2, 3], [1, 1, 1]))
