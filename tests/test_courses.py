"""Medians and quartiles over training are those of the trials, wherever these have points."""

import math

import numpy as np
import pandas as pd
import pytest

from rnnlab.analysis import mean_course, median_course
from rnnlab.frame import COURSE
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, SOLVED


def courses_of(points: dict[str, dict[float, float]], metric: str = "m") -> pd.DataFrame:
    """Key -> step -> value, as a store has it."""
    rows = [(key, metric, step, value) for key, of_key in points.items() for step, value in of_key.items()]
    return pd.DataFrame(rows, columns=list(COURSE)).astype({"step": "float64"})


def trials_of(statuses: dict[str, str], **columns) -> pd.DataFrame:
    return pd.DataFrame({"key": list(statuses), "status": list(statuses.values()), "group": "a"} | columns)


def test_median_and_quartiles_are_values_of_trials_and_follow_any_scale():
    """Of four, in order: the first is the lower quartile, the second the median, the third the upper."""
    trials = trials_of(dict.fromkeys("abcd", EXHAUSTED))
    courses = courses_of({key: {0: value} for key, value in zip("abcd", (1e-4, 1e-3, 1.0, 100.0), strict=True)})
    (row,) = median_course(trials, courses, ["group"]).to_dict("records")
    assert (row["low"], row["median"], row["high"], row["counted"]) == (1e-4, 1e-3, 1.0, 4)
    logs = median_course(trials, courses.assign(value=np.log(courses["value"])), ["group"])
    assert math.exp(logs["median"][0]) == pytest.approx(row["median"])


@pytest.mark.parametrize("case", range(5))
def test_medians_over_training_equal_a_slow_twin(case):
    random = np.random.Generator(np.random.Philox(case))
    points = {key: {step: random.normal() for step in {0, *random.integers(1, 30, 3).tolist()}} for key in "abcde"}
    trials = trials_of(dict.fromkeys("abcde", EXHAUSTED), group=list("xxxxy"))
    courses = courses_of(points).sample(frac=1, random_state=case)
    rows = median_course(trials, courses, ["group"])

    def at(key, step):
        known = sorted(points[key].items())
        before = max(point for point in known if point[0] <= step)
        after = min((point for point in known if point[0] >= step), default=before)
        share = (step - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0
        return (1 - share) * before[1] + share * after[1]

    for row in rows.to_dict("records"):
        keys = "abcd" if row["group"] == "x" else "e"
        values = sorted(at(key, row["step"]) for key in keys)
        for name, share in {"low": 0.25, "median": 0.5, "high": 0.75}.items():
            assert row[name] == pytest.approx(min(v for v in values if np.mean([w <= v for w in values]) >= share))
    for group, keys in {"x": "abcd", "y": "e"}.items():
        assert set(rows.loc[rows["group"] == group, "step"]) == {step for key in keys for step in points[key]}


def test_a_trial_that_diverged_is_above_all_others_after_its_last_finite_value():
    trials = trials_of({"a": SOLVED, "b": DIVERGED, "c": DIVERGED})
    courses = courses_of(
        {"a": {0: 1.0, 2: 0.1, 4: 0.1}, "b": {0: 1.0, 2: 0.5, 3: math.inf}, "c": {0: 1.0, 1: math.nan}}
    )
    rows = median_course(trials, courses, ["group"]).set_index("step")
    assert rows["median"].to_dict() == {0: 1.0, 2: 0.5, 4: math.inf}
    assert rows["low"].to_dict() == {0: 1.0, 2: 0.1, 4: 0.1}
    assert rows["counted"].eq(3).all()


def test_a_trial_that_diverged_without_a_finite_value_is_above_all_others_from_the_start():
    trials = trials_of({"a": SOLVED, "b": DIVERGED, "c": DIVERGED, "d": DIVERGED, "e": EXHAUSTED}, group=list("xxxxy"))
    courses = courses_of({"a": {0: 1.0, 2: 0.01}, "b": {0: math.nan}, "c": {0: math.inf, 2: math.inf}, "e": {0: 3.0}})
    rows = median_course(trials, courses, ["group"]).set_index(["group", "step"])
    assert rows["median"].to_dict() == {("x", 0): math.inf, ("x", 2): math.inf, ("y", 0): 3.0}
    assert rows["low"].to_dict() == {("x", 0): 1.0, ("x", 2): 0.01, ("y", 0): 3.0}
    assert rows["counted"].tolist() == [4, 4, 1]
    means = mean_course(trials, courses, ["group"])
    assert means["mean"].tolist() == [1.0, 0.01, 3.0]
    assert means["counted"].tolist() == [1, 1, 1]
    assert means["training"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("course", [mean_course, median_course])
def test_values_that_are_not_finite_and_trials_without_a_result_are_left_out(course):
    trials = trials_of({"a": SOLVED, "b": EXHAUSTED, "c": RUNNING, "d": EXHAUSTED})
    some = {"a": {0: 1.0, 2: math.inf, 4: 3.0}, "b": {0: math.nan, 2: 5.0}, "c": {1: 7.0}, "d": {0: math.nan}}
    rows = course(trials, courses_of(some), ["group"])
    assert rows["step"].tolist() == [0, 2, 4]
    assert rows["counted"].tolist() == [1, 2, 2]
    assert rows.drop(columns=["low", "high"]).notna().all(axis=None)
    empty = course(trials, courses_of({"x": {0: 1.0}}), ["group"])
    assert len(empty) == 0
    assert list(empty.columns) == list(rows.columns)


def test_groups_keep_their_missing_values_and_metrics_stand_apart():
    trials = trials_of(dict.fromkeys("ab", SOLVED), clip=[math.nan, 1.0])
    courses = pd.concat([courses_of({"a": {0: 1.0}, "b": {0: 2.0}}, name) for name in ("loss", "accuracy")])
    rows = median_course(trials, courses, ["group", "clip"])
    assert rows["clip"].tolist()[:2] == [1.0, 1.0]
    assert rows["clip"].isna().tolist() == [False, False, True, True]
    assert rows["metric"].tolist() == ["accuracy", "loss"] * 2
    assert rows["median"].tolist() == [2.0, 2.0, 1.0, 1.0]
