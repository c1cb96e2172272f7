"""Where half of the seeds solve: never outside what was tested, never surer than the seeds allow."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import copy_sweep, frame_of, unlucky, with_status
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import Protocol, measure
from benchmarks.intervals import crossings
from benchmarks.truths import TRUTHS
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
    of_benchmark = crossings(distances, np.stack([rates, np.sort(rates)]))[0]
    assert of_benchmark == pytest.approx(crossing(distances, rates, np.ones(count)))


def test_a_horizon_worked_by_hand():
    """7 of 8 at 10 and 1 of 8 at 40: half way between 10 and 40 on the logarithm."""
    row = horizon_of(seeds({5: 8, 10: 7, 40: 1, 80: 0}))
    assert row["horizon"] == pytest.approx(20)
    assert 5 < row["low"] < 20 < row["high"] < 80
    assert (row["outside"], row["nearest"], row["farthest"], row["distances"]) == (WITHIN, 5, 80, 4)
    assert (row["counted"], row["unfinished"], row["failed"]) == (32, 0, 0)


def test_perfect_separation_leaves_the_gap_between_two_distances():
    row = horizon_of(seeds({10: 8, 40: 0}))
    assert row["horizon"] == pytest.approx(20)
    assert (row["low"], row["high"]) == pytest.approx((10, 40), rel=0.03)


def test_nothing_is_extrapolated():
    near, far = horizon_of(seeds({10: 2, 40: 0})), horizon_of(seeds({10: 8, 40: 8}))
    assert (near["outside"], far["outside"]) == (BELOW, ABOVE)
    assert math.isnan(near["horizon"])
    assert math.isnan(far["horizon"])
    assert near["low"] == 0
    assert 10 < near["high"] <= 40  # 2 of 8 at 10 may be half
    assert (far["low"], far["high"]) == (pytest.approx(40, rel=0.03), math.inf)


def test_one_distance_and_exactly_a_half():
    assert horizon_of(seeds({10: 4}))["horizon"] == pytest.approx(10)
    assert horizon_of(seeds({10: 5}))["outside"] == ABOVE
    assert horizon_of(seeds({10: 4, 40: 4}))["horizon"] == pytest.approx(20)
    assert horizon_of(seeds({5: 8, 10: 4, 40: 4, 80: 0}))["horizon"] == pytest.approx(20)


@pytest.mark.parametrize(("count", "open_ended"), [(1, True), (2, True), (3, True), (5, True), (6, False)])
def test_fewer_than_six_seeds_that_agree_do_not_bound_a_horizon(count, open_ended):
    row = horizon_of(seeds({10: count, 40: 0}, of=count))
    assert ((row["low"], row["high"]) == (0, math.inf)) == open_ended


def test_rates_that_rise_are_pooled_and_their_interval_holds_the_estimate():
    pooled = horizon_of(seeds({10: 5, 20: 7, 40: 6, 80: 0}))
    assert pooled["horizon"] == pytest.approx(horizon_of(seeds({10: 6, 20: 6, 40: 6, 80: 0}))["horizon"])
    absurd = horizon_of(seeds({10: 0, 20: 8}))
    assert absurd["low"] <= 10
    assert absurd["high"] >= 20


@settings(max_examples=25)
@given(st.lists(st.text("sed.fr", min_size=4, max_size=4), min_size=1, max_size=10))
def test_the_interval_holds_the_estimate_however_trials_end(endings_of_seeds):
    """A letter for each distance: solved, exhausted, diverged, never tried, failed, running."""
    names = {"s": SOLVED, "e": EXHAUSTED, "d": DIVERGED, "f": FAILED, "r": RUNNING}
    rows = [
        (distance, names[end], seed)
        for seed, ends in enumerate(endings_of_seeds)
        for distance, end in zip((5.0, 10.0, 20.0, 40.0), ends, strict=True)
        if end != "."
    ]
    if not rows:
        return
    row = horizon_of(pd.DataFrame(rows, columns=["distance", "status", "seed"]).assign(group="a"))
    place = {BELOW: 0, ABOVE: math.inf}.get(row["outside"], row["horizon"])
    if row["outside"] == UNKNOWN:
        assert math.isnan(row["low"])
        return
    assert 0 <= row["low"] <= place <= row["high"]
    assert row["low"] == 0 or row["nearest"] - 1e-9 <= row["low"]
    assert row["high"] == math.inf or row["high"] <= row["farthest"] + 1e-9


def test_the_names_of_seeds_and_the_order_of_trials_change_nothing():
    frame = frame_of(copy_sweep(init="gaussian"))
    mixed = frame.sample(frac=1, random_state=1).assign(seed=lambda rows: (7 * rows["seed"]) % 5 + 100)
    by = ["init.spectral_radius"]
    pd.testing.assert_frame_equal(horizon(mixed, by), horizon(frame, by))


def test_a_setting_does_not_depend_on_those_beside_it():
    frame = unlucky(frame_of(copy_sweep()))
    together = horizon(frame, ["init", "init.spectral_radius"])
    apart = [horizon(rows, ["init", "init.spectral_radius"]) for _, rows in frame.groupby(["init.spectral_radius"])]
    apart = pd.concat(apart).sort_values(["init", "init.spectral_radius"], ignore_index=True)
    pd.testing.assert_frame_equal(together, apart)


def test_several_trials_of_a_seed_at_a_distance_are_not_further_seeds():
    frame = seeds({5: 5, 10: 4, 20: 2, 40: 0}, of=5)
    row, doubled = horizon_of(frame), horizon_of(pd.concat([frame, frame]))
    more_seeds = horizon_of(pd.concat([frame, frame.assign(seed=frame["seed"] + 5)]))
    assert doubled["horizon"] == row["horizon"]
    assert doubled["low"] <= more_seeds["low"]
    assert doubled["high"] >= more_seeds["high"]


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
    """Seeds with horizons of their own around 20 steps, few of them: at least 93 % of the intervals hold 20."""
    held, draws = 0, 300
    distances = np.array([4.0, 7, 12, 20, 34, 58, 99])
    frames = []
    for draw in range(draws):
        own = 20.5 * np.exp(0.5 * generator(draw, "test.coverage").standard_normal(5))
        frames.append(seeds({d: int((own >= d).sum()) for d in distances}, of=5).assign(group=draw))
    found = horizon(pd.concat(frames), ["group"])
    held = ((found["low"] <= 20.5) & (found["high"] >= 20.5)).sum()
    assert held / draws >= 0.93


@pytest.mark.slow
@pytest.mark.parametrize("truth", [name for name, truth in TRUTHS.items() if truth.expected])
def test_the_interval_covers_every_shape_of_truth(truth):
    """With ten seeds, 300 draws: at least 93 %, but for what chance may take from it (2.6 standard errors)."""
    protocol = Protocol(seeds=(10,), shared=(0.5,), draws=300)
    (row,) = measure(protocol, truth, "coarse")
    assert row["ours"]["coverage"] >= 0.93 - 2.6 * math.sqrt(0.93 * 0.07 / 300)
    assert row["ours"]["width_ratio"] is None or row["ours"]["width_ratio"] <= 1.5


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
