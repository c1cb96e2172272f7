"""Settings are compared within seeds: exactly, with open ends where the data leave them open."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from frames import copy_sweep, frame_of, unlucky, with_status
from statsmodels.duration.survfunc import survdiff
from statsmodels.stats.multitest import multipletests

from rnnlab.analysis import compare, exchanges, horizon, least_probability
from rnnlab.analysis.comparisons import _compared, common_luck, exchange_probability, holm, ratio_interval, sooner
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RESULTS, RUNNING, SOLVED
from rnnlab.seeding import generator

BUDGET = 1000.0
DISTANCES = (5.0, 10.0, 20.0, 40.0, 80.0)
COLUMNS = ["group", "first", "second", "ratio", "ratio_low", "ratio_high", "seeds", "p", "p_adjusted", "difference"]


def sweep(radii: dict[float, float], seeds: int = 8, case: int = 0, luck: float = 1.0) -> pd.DataFrame:
    """Radius -> its horizon; a seed's luck is the same for all radii, that of a trial is its own."""
    rows = []
    for seed, distance in itertools.product(range(seeds), DISTANCES):
        shared = generator(seed, f"luck {case}").standard_normal()
        for radius, middle in radii.items():
            own = generator(seed, f"{distance} {radius} {case}").standard_normal()
            steps = BUDGET * math.exp(1.5 * math.log(distance / middle) + luck * 0.5 * (shared + own))
            rows.append((seed, distance, radius, SOLVED if steps <= BUDGET else EXHAUSTED, steps))
    frame = pd.DataFrame(rows, columns=["seed", "distance", "radius", "status", "steps_to_solve"])
    frame["trained_steps"] = frame["steps_to_solve"].clip(upper=BUDGET)
    frame["steps_to_solve"] = frame["steps_to_solve"].where(frame["status"] == SOLVED)
    return frame.assign(group="a", **{"train.max_steps": BUDGET})


def cells_of(time, event, other_time, other) -> pd.DataFrame:
    return pd.DataFrame(
        {"time_first": time, "event_first": event, "time_second": other_time, "event_second": other}, index=[0]
    )


def compared(frame: pd.DataFrame) -> dict:
    (row,) = compare(frame, ["group"], "radius").to_dict("records")
    return row


@pytest.mark.parametrize(
    ("cell", "score"),
    [
        ((10, True, 20, True), 0.5),
        ((20, True, 10, True), -0.5),
        ((10, True, 10, True), 0),
        ((10, True, 10, False), 0.5),
        ((20, True, 10, False), 0),  # the second left before the first solved
        ((10, False, 20, False), 0),
    ],
)
def test_who_is_sooner_worked_by_hand(cell, score):
    assert sooner(cells_of(*cell)) == [score]


@pytest.mark.parametrize("case", range(5))
def test_scores_add_up_to_the_stratified_log_rank_statistic(case):
    """In a stratum of two the variance is 1/4 where one of them alone solves first, and 0 else."""
    frame = sweep({0.5: 12, 1.0: 25}, seeds=4, case=case)
    sides = [frame[frame["radius"] == radius].set_index(["seed", "distance"]) for radius in (0.5, 1.0)]
    cells = pd.DataFrame(
        {
            f"{what}_{side}": values
            for side, rows in zip(("first", "second"), sides, strict=True)
            for what, values in (("time", rows["trained_steps"]), ("event", rows["status"] == SOLVED))
        }
    )
    scores = sooner(cells)
    strata = frame.groupby(["seed", "distance"]).ngroup()
    found, _ = survdiff(frame["trained_steps"], frame["status"] == SOLVED, frame["radius"], strata=strata)
    assert scores.sum() ** 2 / (scores**2).sum() == pytest.approx(found)


@pytest.mark.parametrize("case", range(4))
def test_p_is_the_share_of_exchanges_that_are_as_extreme(case):
    """The log-rank statistic anew for each of the 2^n ways to exchange the two names within whole seeds."""
    frame, seeds = sweep({0.5: 12, 1.0: 22}, seeds=4, case=case), 4
    strata, event = frame.groupby(["seed", "distance"]).ngroup(), frame["status"] == SOLVED
    found = []
    for exchanged in itertools.product([False, True], repeat=seeds):
        turned = frame["seed"].map(dict(enumerate(exchanged)))
        name = (frame["radius"] == 1.0) ^ turned
        found.append(survdiff(frame["trained_steps"], event, name, strata=strata)[0])
    assert compared(frame)["p"] == pytest.approx(np.mean([one >= found[0] - 1e-9 for one in found]))


def test_few_seeds_can_show_nothing():
    for seeds in (1, 2, 5):
        assert compared(sweep({0.5: 6, 1.0: 200}, seeds=seeds))["p"] == pytest.approx(2.0 ** (1 - seeds))


def test_many_seeds_are_exchanged_at_random_and_always_alike():
    scores = generator(0, "test.exchange").standard_normal(16) + 0.4
    exact = np.mean(
        [abs(np.dot(signs, scores)) >= abs(scores.sum()) - 1e-9 for signs in itertools.product([-1, 1], repeat=16)]
    )
    assert exchange_probability(scores) == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999) + 1e-3)
    assert exchange_probability(scores) == exchange_probability(scores)


@pytest.mark.parametrize("seeds", [6, 13, 14, 20])
def test_no_p_is_below_the_least_that_so_many_seeds_can_give(seeds):
    scores = np.ones(seeds)
    assert exchange_probability(scores) >= least_probability(seeds, 1)
    assert exchange_probability(scores) == pytest.approx(least_probability(seeds, 1), rel=2 if seeds == 14 else 1e-6)
    assert least_probability(seeds, 3) == pytest.approx(3 * least_probability(seeds, 1))


@pytest.mark.parametrize("sixths", [(-6, -4, 4, 2, 5, 0, -1), (6, -4, -5, -5, 3, 6, -1), (5, 3, -2, 6, 1, 4, -1)])
def test_sums_of_sixths_are_ties_where_they_are_equal(sixths):
    """Three trials of a seed at a distance: binary numbers do not hold their mean."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(sixths))))
    exact = np.mean(abs(signs @ sixths) >= abs(sum(sixths)))
    assert exchange_probability(np.array(sixths) / 6) == pytest.approx(exact)


def test_p_is_a_chance_where_nothing_differs():
    """Settings that are alike but for the luck of each trial: p is not below a level more often than it says.

    Somewhat less often, as few values of p are possible.
    """
    draws, seeds = 1000, 8
    luck, own = generator(0, "test.null").standard_normal((2, draws, seeds, 2, len(DISTANCES)))
    steps = np.exp(luck[:, :, :1, :1] + own)  # (draws, seeds, settings, distances)
    first, second = (steps[:, :, side] for side in (0, 1))
    sooner_first = ((first < second) & (first < 2)).astype(float) - ((second < first) & (second < 2))
    found = np.array([exchange_probability(scores) for scores in sooner_first.sum(axis=2) / 2])
    for level in (0.05, 0.2, 0.5):
        chance = 2.6 * math.sqrt(level * (1 - level) / draws)
        assert 0.8 * level - chance <= (found <= level).mean() <= level + chance


def test_equal_settings_have_a_ratio_of_one():
    frame = sweep({0.5: 20}, luck=0.8)
    row = compared(pd.concat([frame, frame.assign(radius=1.0)]))
    assert (row["ratio"], row["p"], row["difference"]) == (1, 1, 0)
    assert row["ratio_low"] < 1 < row["ratio_high"]


def test_the_other_way_round_everything_is_turned():
    frame = sweep({0.5: 12, 1.0: 24})
    row, turned = compared(frame), compared(frame.assign(radius=-frame["radius"]))
    assert turned["ratio"] == pytest.approx(1 / row["ratio"])
    assert (turned["ratio_low"], turned["ratio_high"]) == pytest.approx((1 / row["ratio_high"], 1 / row["ratio_low"]))
    assert turned["p"] == row["p"]
    assert turned["difference"] == pytest.approx(-row["difference"])


def test_the_interval_of_a_ratio_is_that_of_a_difference_where_both_are_normal():
    """On the logarithm m +- z s: the difference has the standard error sqrt(s^2 + s'^2)."""
    m, s, m_2, s_2 = 3.0, 0.1, 3.5, 0.2
    sides = [[math.exp(middle + k * error) for k in (0, -1, 1)] for middle, error in ((m, s), (m_2, s_2))]
    for common in (0.0, 0.6):
        error = math.sqrt(s**2 + s_2**2 - 2 * common * s * s_2)
        assert ratio_interval(*sides, common) == pytest.approx([math.exp(0.5 + k * error) for k in (0, -1, 1)])


def test_common_luck_is_a_lower_end_of_the_correlation_between_seeds():
    first = np.array([1.0, 2, 3, 4, 5, 6, 7])
    assert common_luck(first, first) == 0.9
    assert common_luck(first, -first) == common_luck(first, np.ones(7)) == common_luck(first[:4], first[:4]) == 0
    second = np.array([2.0, 1, 4, 3, 7, 5, 6])
    correlation = np.corrcoef(first, second)[0, 1]
    assert common_luck(first, second) == pytest.approx(math.tanh(math.atanh(correlation) - 1 / 2))


def test_a_seed_is_not_unlucky_for_being_tried_at_far_distances_alone():
    """All seeds solve the two nearest distances, none another, in both settings: there is no luck to share."""
    frame = sweep({0.5: 14, 1.0: 14}, luck=0)
    there = (frame["seed"] < 4) | (frame["distance"] > 10)
    _, found, _ = _compared(frame[there], ["group"], "radius")
    assert found["common"].tolist() == [0]


def test_luck_that_settings_share_makes_the_interval_of_their_ratio_narrower():
    """The same horizons and intervals, once with the seeds as they were and once with those of one setting mixed."""
    frame = sweep({0.5: 12, 1.0: 24}, seeds=12, luck=2.0)
    mixed = frame.assign(seed=frame["seed"].where(frame["radius"] == 0.5, (frame["seed"] * 5 + 3) % 12))
    row, apart = compared(frame), compared(mixed)
    assert row["ratio"] == apart["ratio"]
    assert apart["ratio_low"] < row["ratio_low"] < row["ratio_high"] < apart["ratio_high"]


def test_open_ends_stay_open_on_their_side():
    known, open_above, open_below = (20, 10, 40), (30, 15, math.inf), (15, 0, 30)
    assert ratio_interval(known, open_above, 0.0)[2] == math.inf
    assert 0 < ratio_interval(known, open_above, 0.0)[1] < 1.5
    assert ratio_interval(open_above, known, 0.0)[1] == 0
    assert ratio_interval(known, open_below, 0.0)[1] == 0
    lower = 30 / 15 * math.exp(-math.hypot(math.log(30 / 15), math.log(30 / 15)))
    assert ratio_interval(open_below, open_above, 0.0)[1:] == (pytest.approx(lower), math.inf)


def test_of_a_horizon_beyond_the_distances_the_least_ratio_is_known():
    beyond, known, nothing = (math.nan, 160, math.inf), (20, 10, 40), (math.nan, math.nan, math.nan)
    ratio, low, high = ratio_interval(known, beyond, 0.0)
    assert math.isnan(ratio)
    assert (low, high) == (pytest.approx(4), math.inf)
    assert ratio_interval(beyond, known, 0.0)[1:] == (0, pytest.approx(1 / 4))
    assert all(math.isnan(value) for value in ratio_interval(known, nothing, 0.0))


def test_numbers_are_compared_with_the_next_and_names_each_with_each():
    frame = sweep({0.5: 10, 1.0: 20, 1.5: 30}, seeds=3)
    frame.loc[frame["radius"] == 1.5, "radius"] = math.nan  # such as clipping off
    rows = compare(frame, ["group"], "radius")
    assert list(rows.columns) == COLUMNS
    assert rows["first"].tolist() == [0.5, 1.0]
    assert rows["second"].tolist() == pytest.approx([1.0, math.nan], nan_ok=True)
    named = compare(frame.assign(radius=frame["radius"].map({0.5: "b", 1.0: "a"}).fillna("c")), ["group"], "radius")
    assert list(zip(named["first"], named["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_p_is_adjusted_by_holm_for_the_rows_of_each_combination():
    frame = sweep({0.5: 6, 0.6: 14, 0.7: 16, 0.8: 60})
    rows = compare(frame, ["group"], "radius")
    order, most, expected = np.argsort(rows["p"].to_numpy(), kind="stable"), 0.0, np.empty(len(rows))
    for rank, place in enumerate(order):
        most = max(most, min(1.0, (len(rows) - rank) * rows["p"][place]))
        expected[place] = most
    assert rows["p_adjusted"].to_numpy() == pytest.approx(expected)
    assert len(set(expected)) > 1
    both = compare(pd.concat([frame, frame.assign(group="b")]), ["group"], "radius")
    assert both["p_adjusted"].tolist() == 2 * rows["p_adjusted"].tolist()


@pytest.mark.parametrize("case", range(5))
def test_the_adjustment_equals_that_of_another_implementation(case):
    random = generator(case, "test.holm")
    p = pd.Series(np.round(random.random(8) ** 3, 2), index=random.permutation(8))  # with ties
    assert holm(p).to_numpy() == pytest.approx(multipletests(p, method="holm")[1])
    known = p.mask(p.index == 3)
    assert holm(known).isna().tolist() == known.isna().tolist()
    assert holm(known).dropna().to_numpy() == pytest.approx(multipletests(known.dropna(), method="holm")[1])


def test_the_least_p_of_a_table_is_that_of_a_difference_in_every_seed():
    rows = compare(sweep({0.5: 4, 1.0: 30, 1.5: 200}, seeds=7), ["group"], "radius")
    assert rows["p_adjusted"].min() == pytest.approx(least_probability(7, 2)) == 2 * 2.0**-6
    assert least_probability(2, 5) == 1


@pytest.mark.parametrize("status", [RUNNING, FAILED])
def test_what_only_one_setting_has_a_result_of_changes_nothing(status):
    frame = sweep({0.5: 12, 1.0: 24})
    far = frame["distance"] == 80
    lost = with_status(frame, status, far & (frame["radius"] == 1.0))
    both = frame[~far]
    assert compared(lost) == compared(both)
    unseen = with_status(frame, status, (frame["seed"] > 2) & (frame["radius"] == 0.5))
    assert compared(unseen)["seeds"] == 3


def test_diverged_trials_never_solve_however_early_they_diverged():
    frame = with_status(sweep({0.5: 20, 1.0: 20}, luck=0), DIVERGED)
    frame = with_status(frame, SOLVED, frame["radius"] == 1.0).fillna({"steps_to_solve": 900.0})
    early = frame.assign(trained_steps=10.0)
    row = compared(early)
    assert row == pytest.approx(compared(frame), nan_ok=True)
    assert row["p"] == pytest.approx(2.0**-7)
    assert row["difference"] == 1


def test_without_common_seeds_nothing_is_said():
    frame = sweep({0.5: 20, 1.0: 20})
    frame.loc[frame["radius"] == 1.0, "seed"] += 100
    row = compared(frame)
    assert row["seeds"] == 0
    assert all(math.isnan(row[name]) for name in ("ratio", "ratio_low", "ratio_high", "p", "p_adjusted", "difference"))


def test_a_single_value_and_no_trials_give_no_rows_and_the_same_columns():
    frame = sweep({0.5: 20}, seeds=2)
    for rows in (compare(frame, ["group"], "radius"), compare(frame.iloc[:0], ["group"], "radius")):
        assert len(rows) == 0
        assert list(rows.columns) == COLUMNS


def test_the_order_of_rows_and_the_names_of_seeds_change_nothing():
    frame = sweep({0.5: 12, 1.0: 24})
    mixed = frame.sample(frac=1, random_state=3).assign(seed=lambda rows: 7 - rows["seed"])
    assert compared(mixed) == pytest.approx(compared(frame))


def test_ratios_are_those_of_the_horizons_of_the_same_trials():
    frame = unlucky(frame_of(copy_sweep(init="gaussian")))
    field = "init.spectral_radius"
    results = frame[frame["status"].isin(RESULTS)]
    for row in compare(frame, ["init"], field).to_dict("records"):
        sides = [results[results[field] == row[side]] for side in ("first", "second")]
        cells = sides[0].merge(sides[1], on=["seed", "distance"])[["seed", "distance"]]
        one, two = (horizon(side.merge(cells), ["init"]).iloc[0]["horizon"] for side in sides)
        assert row["ratio"] == pytest.approx(two / one, nan_ok=True)
        assert row["seeds"] == cells["seed"].nunique()


def test_two_trials_of_a_seed_at_a_distance_do_not_weigh_twice():
    frame = sweep({0.5: 12, 1.0: 24})
    twice = compared(pd.concat([frame, frame], ignore_index=True))
    assert (twice["p"], twice["difference"]) == pytest.approx((compared(frame)["p"], compared(frame)["difference"]))


def test_without_ratios_all_else_is_the_same():
    frame = sweep({0.5: 4, 1.0: 30, 1.5: 200}, seeds=7)
    rows = compare(frame, ["group"], "radius")
    alone = exchanges(frame, ["group"], "radius")
    assert list(rows.columns.drop(list(alone.columns))) == ["ratio", "ratio_low", "ratio_high"]
    pd.testing.assert_frame_equal(alone, rows[alone.columns])
