"""Success rates count what they say they count, with the interval they name."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import adding_sweep, copy_sweep, frame_of, unlucky, with_status

from rnnlab.analysis import CONFIDENCE, mean_course, student, success_rate, varying, wilson
from rnnlab.frame import COURSE
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED

Z = 1.959963984540054  # the 97.5 % point of the standard normal distribution


def outcomes(*statuses: str, **columns) -> pd.DataFrame:
    return pd.DataFrame({"status": pd.Series(statuses, dtype="str"), "group": "a"} | columns)


def wilson_by_hand(k: int, n: int) -> tuple[float, float]:
    centre = (k + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * math.sqrt(k * (n - k) / n + Z**2 / 4)
    return centre - half, centre + half


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 5), (2, 5), (5, 5), (7, 10), (10, 10), (20, 20), (3, 1000)])
def test_interval_equals_the_closed_form(k, n):
    assert wilson(k, n) == pytest.approx(wilson_by_hand(k, n), abs=1e-12)


@pytest.mark.parametrize(("n", "low"), [(5, 0.57), (10, 0.72), (20, 0.84)])
def test_all_seeds_solved_still_leaves_doubt(n, low):
    assert wilson(n, n)[0] == pytest.approx(low, abs=0.005)


def test_interval_has_the_level_it_names():
    assert CONFIDENCE == 0.95
    assert wilson(0, 0) == pytest.approx((math.nan, math.nan), nan_ok=True)


def test_interval_lies_within_zero_and_one_and_holds_the_rate():
    rates = success_rate(unlucky(frame_of(copy_sweep())), ["init", "init.spectral_radius", "distance"])
    counted = rates[rates["counted"] > 0]
    assert (counted["low"] >= 0).all()
    assert (counted["high"] <= 1).all()
    assert (counted["low"] <= counted["rate"]).all()
    assert (counted["rate"] <= counted["high"]).all()


def test_diverged_counts_as_not_solved_and_failed_and_running_do_not_count():
    rates = success_rate(outcomes(SOLVED, EXHAUSTED, DIVERGED, FAILED, FAILED, RUNNING), ["group"])
    (row,) = rates.to_dict("records")
    assert (row["solved"], row["counted"], row["failed"], row["unfinished"]) == (1, 3, 2, 1)
    assert row["rate"] == pytest.approx(1 / 3)
    assert (row["low"], row["high"]) == pytest.approx(wilson_by_hand(1, 3))


@pytest.mark.parametrize("status", [FAILED, RUNNING])
def test_missing_trials_change_no_rate(status):
    frame = frame_of(copy_sweep(seed=range(3)))
    more = pd.concat([frame, with_status(frame, status)])
    columns = ["solved", "counted", "rate", "low", "high"]
    by = ["init", "init.spectral_radius", "distance"]
    pd.testing.assert_frame_equal(success_rate(frame, by)[columns], success_rate(more, by)[columns])


def test_every_trial_is_in_the_account():
    frame = unlucky(frame_of([*copy_sweep(seed=range(3)), *adding_sweep(seed=range(3))]))
    frame.loc[frame.index[0], "status"] = None  # a run whose status was never written
    rates = success_rate(frame, ["task", "distance"])
    assert rates[["counted", "unfinished", "failed"]].to_numpy().sum() == len(frame)


def test_nothing_counted_gives_no_rate():
    (row,) = success_rate(outcomes(RUNNING, FAILED), ["group"]).to_dict("records")
    assert row["counted"] == 0
    assert all(math.isnan(row[name]) for name in ("rate", "low", "high"))


def test_missing_values_in_by_are_a_group():
    frame = outcomes(SOLVED, EXHAUSTED, SOLVED, clip=[1.0, math.nan, math.nan])
    rates = success_rate(frame, ["group", "clip"])
    assert rates["clip"].tolist() == pytest.approx([1.0, math.nan], nan_ok=True)
    assert rates["counted"].tolist() == [1, 2]
    assert rates["rate"].tolist() == [1.0, 0.5]


def test_columns_are_those_that_are_promised():
    numbers = ["solved", "counted", "rate", "low", "high", "unfinished", "failed"]
    for frame in (outcomes(SOLVED), outcomes()):
        rates = success_rate(frame, ["group"])
        assert list(rates.columns) == ["group", *numbers]
        assert all(np.issubdtype(rates[name].dtype, np.number) for name in numbers)


def test_frame_is_left_as_it_was():
    frame = frame_of(copy_sweep(seed=range(2)))
    before = frame.copy()
    success_rate(frame, ["init"])
    pd.testing.assert_frame_equal(frame, before)


def test_varying_takes_a_missing_value_for_a_value():
    frame = pd.DataFrame({"same": [1, 1], "different": [1, 2], "off": [1.0, math.nan], "none": [math.nan, math.nan]})
    assert varying(frame, ["none", "off", "different", "same"]) == ["off", "different"]


def test_the_course_of_a_mean_keeps_the_last_values_of_trials_that_have_ended():
    """Worked by hand: a ends at step 2, b is first known at step 2, c still runs."""
    trials = pd.DataFrame({"key": list("abc"), "status": [SOLVED, EXHAUSTED, RUNNING], "clip": math.nan})
    points = [("a", 0, 1.0), ("a", 2, 3.0), ("b", 0, math.nan), ("b", 2, 1.0), ("b", 4, 5.0), ("c", 1, 9.0)]
    courses = pd.DataFrame([(key, "loss", step, value) for key, step, value in points], columns=list(COURSE))
    rows = mean_course(trials, courses, ["clip"])
    assert rows["step"].tolist() == [0, 2, 4]
    assert rows["mean"].tolist() == [1, 2, 4]
    assert rows["counted"].tolist() == [1, 2, 2]
    assert rows["training"].tolist() == [1, 1, 0.5]
    assert rows["clip"].isna().all()
    assert (rows["low"][2], rows["high"][2]) == pytest.approx(student(np.array([3.0, 5.0])))


@pytest.mark.parametrize("case", range(5))
def test_the_course_of_a_mean_equals_a_slow_twin(case):
    random = np.random.Generator(np.random.Philox(case))
    found = {key: sorted({0, *random.integers(1, 50, 4).tolist()}) for key in "abcd"}
    values = {(key, step): random.normal() for key, steps in found.items() for step in steps}
    courses = pd.DataFrame([(key, "m", step, value) for (key, step), value in values.items()], columns=list(COURSE))
    trials = pd.DataFrame({"key": list("abcd"), "status": DIVERGED, "group": ["x", "x", "x", "y"]})
    rows = mean_course(trials, courses.sample(frac=1, random_state=case), ["group"])

    def at(key, step):
        before = max(known for known in found[key] if known <= step)
        after = min((known for known in found[key] if known >= step), default=before)
        share = (step - before) / (after - before) if after > before else 0
        return (1 - share) * values[key, before] + share * values[key, after]

    for row in rows.to_dict("records"):
        keys = "abc" if row["group"] == "x" else "d"
        assert row["mean"] == pytest.approx(np.mean([at(key, row["step"]) for key in keys]))
        assert row["training"] == np.mean([found[key][-1] >= row["step"] for key in keys])
    assert len(rows) == len({step for key in "abc" for step in found[key]}) + len(found["d"])
