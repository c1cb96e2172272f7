"""Time to solve: the estimate is that of a textbook, and every trial is in its place."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import copy_sweep, frame_of, unlucky
from statsmodels.duration.survfunc import SurvfuncRight

from rnnlab.analysis import time_to_solve, wilson
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED
from rnnlab.seeding import generator

BUDGET = 100.0
Z = 1.959963984540054  # the 97.5 % point of the standard normal distribution
COLUMNS = ["group", "step", "solved", "low", "high", "at_risk", "events", "censored", "failed"]


def trials(*ends: tuple[str, float]) -> pd.DataFrame:
    """(status, step): where a solved trial was solved, and where another was seen last."""
    rows = [(status, step if status == SOLVED else math.nan, step) for status, step in ends]
    frame = pd.DataFrame(rows, columns=["status", "steps_to_solve", "trained_steps"])
    return frame.assign(group="a", **{"train.max_steps": BUDGET})


def curve(*ends: tuple[str, float]) -> pd.DataFrame:
    return time_to_solve(trials(*ends), ["group"])


def test_an_estimate_worked_by_hand():
    """One of 5 solves at 10 (4/5 left), one leaves at 20, one of 3 solves at 30 (8/15 left), two remain."""
    rows = curve((SOLVED, 10), (RUNNING, 20), (SOLVED, 30), (EXHAUSTED, 100), (EXHAUSTED, 100))
    assert list(rows.columns) == COLUMNS
    assert rows["step"].tolist() == [0, 10, 20, 30, 100]
    assert rows["solved"].tolist() == pytest.approx([0, 1 / 5, 1 / 5, 7 / 15, 7 / 15])
    assert rows["at_risk"].tolist() == [5, 5, 4, 3, 2]
    assert rows["events"].tolist() == [0, 1, 0, 1, 0]
    assert rows["censored"].tolist() == [0, 0, 1, 0, 2]


def test_an_interval_worked_by_hand():
    """Greenwood's variance of log S at 30: 1/(5*4) + 1/(3*2); on the scale of log(-log S)."""
    rows = curve((SOLVED, 10), (RUNNING, 20), (SOLVED, 30), (EXHAUSTED, 100), (EXHAUSTED, 100))
    survivors, half = 8 / 15, Z * math.sqrt(1 / 20 + 1 / 6) / abs(math.log(8 / 15))
    ends = sorted(1 - survivors ** math.exp(sign * half) for sign in (-1, 1))
    assert (rows["low"][3], rows["high"][3]) == pytest.approx(ends)
    assert (rows["low"][4], rows["high"][4]) == pytest.approx(ends)


@pytest.mark.parametrize("case", range(20))
def test_the_estimate_equals_that_of_another_implementation(case):
    random = generator(case, "test.survival")
    count = int(random.integers(2, 12))
    status = np.where(random.random(count) < 0.6, SOLVED, EXHAUSTED)
    steps = random.integers(1, 6, count) * 10.0  # with ties
    rows = curve(*zip(status, steps, strict=True)).set_index("step")
    other = SurvfuncRight(steps, status == SOLVED)
    assert (1 - rows["solved"][other.surv_times]).to_numpy() == pytest.approx(other.surv_prob)
    assert rows["at_risk"][other.surv_times].to_numpy() == pytest.approx(other.n_risk)
    assert rows["events"][other.surv_times].to_numpy() == pytest.approx(other.n_events)
    share = rows["solved"][other.surv_times].to_numpy()
    told = (share > 0) & (share < 1)
    half = Z * other.surv_prob_se[told] / (other.surv_prob[told] * np.log(other.surv_prob[told]))
    assert rows["low"][other.surv_times].to_numpy()[told] == pytest.approx(1 - other.surv_prob[told] ** np.exp(half))
    assert rows["high"][other.surv_times].to_numpy()[told] == pytest.approx(1 - other.surv_prob[told] ** np.exp(-half))


def test_without_missing_trials_it_is_the_share_solved_so_far():
    rows = curve((SOLVED, 10), (SOLVED, 10), (SOLVED, 40), (EXHAUSTED, 100), (EXHAUSTED, 100))
    assert rows["solved"].tolist() == pytest.approx([0, 2 / 5, 3 / 5, 3 / 5])


def test_trials_that_leave_where_another_solves_are_at_risk_there():
    rows = curve((RUNNING, 10), (SOLVED, 10))
    assert rows["solved"].tolist() == [0, 0.5]
    assert rows["at_risk"].tolist() == [2, 2]


def test_a_trial_that_diverged_never_solves():
    late, early = (curve((DIVERGED, step), (SOLVED, 50)) for step in (90, 10))
    pd.testing.assert_frame_equal(late, early)
    assert early["solved"].tolist() == [0, 0.5, 0.5]
    assert early["step"].tolist() == [0, 50, BUDGET]


def test_a_running_trial_of_unknown_step_leaves_at_once_and_a_failed_one_was_never_there():
    rows = curve((RUNNING, math.nan), (FAILED, 5), (SOLVED, 50), (EXHAUSTED, 100))
    assert rows["solved"].tolist() == pytest.approx([0, 0.5, 0.5])
    assert (rows["censored"][0], rows["at_risk"][0], rows["failed"][0]) == (1, 3, 1)
    without = time_to_solve(trials((RUNNING, 7), (SOLVED, 50)).drop(columns="trained_steps"), ["group"])
    assert without["censored"].tolist() == [1, 0, 0]


def test_no_events_leave_the_doubt_of_the_wilson_interval():
    rows = curve((EXHAUSTED, 100), (EXHAUSTED, 100), (EXHAUSTED, 100))
    assert rows["solved"].tolist() == rows["low"].tolist() == [0, 0]
    assert rows["high"].tolist() == [wilson(0, 3)[1]] * 2


@pytest.mark.parametrize("steps", [[20], [20] * 4, [10, 20, 20, 30, 40, 50, 60, 80]])
def test_once_all_have_solved_the_doubt_is_that_of_the_wilson_interval_whenever_they_did(steps):
    rows = curve(*((SOLVED, step) for step in steps))
    end = rows["solved"].eq(1)
    assert rows.loc[end, "step"].tolist() == [steps[-1], BUDGET]
    assert set(rows.loc[end, "low"]) == {wilson(len(steps), len(steps))[0]}
    assert set(rows.loc[end, "high"]) == {1}
    assert rows[["at_risk", "events", "censored"]].iloc[-1].tolist() == [0, 0, 0]


def test_the_end_of_the_budget_is_no_row_where_all_solve_at_it_and_where_not_all_have():
    assert curve((SOLVED, 10), (SOLVED, BUDGET))["step"].tolist() == [0, 10, BUDGET]
    assert curve((SOLVED, 10), (RUNNING, 20))["step"].tolist() == [0, 10, 20]
    assert curve((RUNNING, 20), (SOLVED, 20))["step"].tolist() == [0, 20]
    assert curve((FAILED, 20))["step"].tolist() == [0]


@pytest.mark.parametrize("count", [2, 3, 5, 10, 40])
def test_no_event_takes_back_anything_of_what_was_known(count):
    rows = curve(*((SOLVED, step) for step in np.linspace(10, 100, count)))
    for name in ("solved", "low", "high"):
        assert rows[name].is_monotonic_increasing


def test_trials_that_left_before_the_last_event_are_no_evidence_that_all_solve():
    rows = curve((SOLVED, 10), (RUNNING, 20), (SOLVED, 30))
    assert rows["solved"].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1, 1])
    assert rows["low"].iloc[-1] == wilson(1, 1)[0] < wilson(3, 3)[0]
    assert rows["step"].iloc[-1] == BUDGET


def test_the_last_event_takes_back_nothing_where_trials_left_before_it():
    rows = curve((RUNNING, 5), *((SOLVED, step) for step in range(10, 100, 10)))
    assert rows["low"].iloc[-1] == rows["low"].iloc[-2] == rows["low"].iloc[-3] > 0.5


@pytest.mark.parametrize("endless", [math.inf, -math.inf])
def test_steps_that_are_infinite_are_unknown(endless):
    one, other = (
        trials((SOLVED, 50), (SOLVED, step), (RUNNING, step), (EXHAUSTED, step)) for step in (endless, math.nan)
    )
    pd.testing.assert_frame_equal(time_to_solve(one, ["group"]), time_to_solve(other, ["group"]))


def test_every_trial_is_in_the_account_and_intervals_hold_the_estimate():
    frame = unlucky(frame_of(copy_sweep(init="gaussian")))
    by = ["init.spectral_radius", "distance"]
    for key, rows in time_to_solve(frame, by).groupby(by):
        own = frame[(frame[by[0]] == key[0]) & (frame[by[1]] == key[1])]
        assert rows["events"].sum() + rows["censored"].sum() + rows["failed"].iloc[0] == len(own)
        assert rows["events"].sum() == (own["status"] == SOLVED).sum()
        assert (rows["low"] <= rows["solved"]).all()
        assert (rows["solved"] <= rows["high"]).all()
        assert rows["step"].iloc[0] == 0


def test_nothing_but_failures_and_nothing_at_all():
    (row,) = curve((FAILED, 5), (FAILED, 6)).to_dict("records")
    assert (row["at_risk"], row["failed"], row["solved"], row["low"], row["high"]) == (0, 2, 0, 0, 1)
    assert list(time_to_solve(trials(), ["group"]).columns) == COLUMNS
