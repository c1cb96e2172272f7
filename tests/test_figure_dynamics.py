"""Exponents over training: of which trials, over which seeds, and what the caption says of them."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, copy_sweep, diagnosed, frame_of, sweep, with_status

from reports import lines
from reports.figures import applies, dynamics
from rnnlab.analysis import student, wilson
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, SOLVED

SWEEP = frame_of(copy_sweep(delay=[5, 20], init="gaussian", spectral_radius=[0.5, 1.0], seed=range(4)))
NETWORKS = diagnosed(SWEEP)
STEPS = (0.0, 100.0, 200.0)


def courses_of(frame: pd.DataFrame, **of_metric) -> pd.DataFrame:
    """The same values at STEPS for every trial, of each metric: `exponent`, `accuracy`, ..."""
    names = {
        "exponent": dynamics.LYAPUNOV,
        "radius": dynamics.SPECTRAL,
        "accuracy": dynamics.ACCURACY,
        "converged": dynamics.CONVERGED,
    }
    points = [
        (key, names[name], step, value)
        for key in frame["key"]
        for name, values in of_metric.items()
        for step, value in zip(STEPS, values, strict=False)
    ]
    return pd.DataFrame(points, columns=["key", "metric", "step", "value"])


def drawn(ax, label: str) -> list:
    return [line for line in ax.lines if line.get_label() == label]


def test_the_means_and_intervals_are_those_over_seeds():
    courses = Diagnosed(NETWORKS).courses("", dynamics.COURSES)
    points = dynamics.table(NETWORKS, courses)
    far = NETWORKS[(NETWORKS["distance"] == 23) & (NETWORKS["init.spectral_radius"] == 0.5)]
    for metric in dynamics.ROWS:
        rows = points[(points["metric"] == metric) & (points["distance"] == 23) & (points[lines.RADIUS] == 0.5)]
        last = rows.iloc[-1]
        values = [
            courses[(courses["key"] == key) & (courses["metric"] == metric)]["value"].iloc[-1] for key in far["key"]
        ]
        assert last["mean"] == pytest.approx(np.mean(values))
        assert last["low"] == pytest.approx(student(np.array(values))[0])
        assert (last["counted"], last["step"]) == (4, far["trained_steps"].max())


def test_a_trial_that_has_ended_stays_in_the_mean_and_one_that_runs_is_in_none():
    frame = with_status(NETWORKS, RUNNING, NETWORKS["seed"] == 0)
    courses = courses_of(frame, exponent=[-1, -0.5, -0.2], accuracy=[0, 0.5, 1])
    early = frame.loc[frame["seed"] == 1, "key"]
    courses = courses[~(courses["key"].isin(early) & (courses["step"] > 100))]
    points = dynamics.table(frame, courses)
    rows = points[(points["metric"] == dynamics.LYAPUNOV) & (points["step"] == 200)]
    assert rows["counted"].eq(3).all()
    assert rows["training"].to_numpy() == pytest.approx(2 / 3)
    assert rows["mean"].to_numpy() == pytest.approx((-0.5 - 0.2 - 0.2) / 3)


def test_lines_are_dotted_from_where_half_of_the_seeds_have_ended():
    courses = courses_of(NETWORKS, exponent=[-1, -0.5, -0.2], accuracy=[0, 0.5, 1])
    early = NETWORKS.loc[NETWORKS["seed"] < 2, "key"]
    courses = courses[~(courses["key"].isin(early) & (courses["step"] > 100))]
    figure = dynamics.draw(NETWORKS, courses)
    exponents = figure.axes[2]  # first the upper row of both panels
    (whole,), (many,) = ([*drawn(exponents, label)][:1] for label in ("_few", "0.5"))
    assert whole.get_xdata().tolist() == [0, 100, 200]
    assert many.get_xdata().tolist() == [0, 100]
    assert "half of the seeds or more have ended" in [text.get_text() for text in figure.legends[-1].get_texts()]


@pytest.mark.parametrize(("share", "open_marks"), [(1.0, False), (0.2, True), (None, True)])
def test_exponents_that_have_not_converged_are_open(share, open_marks):
    known = {} if share is None else {"converged": [share] * 3}
    figure = dynamics.draw(NETWORKS, courses_of(NETWORKS, exponent=[-1, -1, -1], **known))
    marks = [mark for ax in figure.axes for mark in drawn(ax, "_marks")]
    assert {mark.get_markerfacecolor() == "white" for mark in marks} == {open_marks}
    told = "exponent not converged" in [text.get_text() for text in figure.legends[-1].get_texts()]
    assert told == open_marks


def test_what_separates_fading_from_growing_is_marked():
    axes = dynamics.draw(NETWORKS, Diagnosed(NETWORKS).courses("", dynamics.COURSES)).axes
    marked = [[line.get_ydata()[0] for line in drawn(ax, "_critical")] for ax in axes]
    assert marked == [[1], [1], [0], [0], [], []]


def test_of_many_distances_the_nearest_a_middle_one_and_the_farthest_are_shown():
    frame = diagnosed(frame_of(copy_sweep(init="gaussian", seed=[0])))
    assert sorted(set(dynamics.shown(frame)["distance"])) == [8, 23, 103]
    assert "Drawn are 3 of the 6 distances tested: copy memory 8, 23 and 103 steps." in dynamics.caption(
        frame, Diagnosed(frame).courses("", dynamics.COURSES)
    )
    scales = diagnosed(frame_of(copy_sweep(init="gaussian", seed=[0], input_scale=[0.1, 0.2, 0.5, 1.0])))
    assert set(dynamics.shown(scales)["distance"]) == {23}
    many = diagnosed(
        frame_of(copy_sweep(init="gaussian", seed=[0], hidden_size=[4, 8, 16, 32], input_scale=[0.1, 0.5, 1.0]))
    )
    assert not applies(dynamics, many)


def test_without_a_finished_trial_there_is_nothing_to_show():
    assert applies(dynamics, NETWORKS)
    assert not applies(dynamics, with_status(NETWORKS, RUNNING))
    assert not applies(dynamics, SWEEP)


def test_the_caption_tells_where_exponents_went():
    frame = diagnosed(frame_of(sweep(task="copy", delay=20, spectral_radius=[0.5, 1.0], seed=range(3))))
    frame = with_status(with_status(frame, EXHAUSTED), SOLVED, frame["init.spectral_radius"] == 1)
    courses = courses_of(frame, exponent=[-0.8, -0.6, -0.5], accuracy=[0, 1, 1])
    lost = frame["init.spectral_radius"] == 0.5
    falling = courses["key"].isin(frame.loc[lost, "key"]) & (courses["metric"] == dynamics.LYAPUNOV)
    courses.loc[falling, "value"] -= courses.loc[falling, "step"] / 100
    told = dynamics.caption(frame, courses)
    assert "from -0.80 [-0.80, -0.80] to -2.50 [-2.50, -2.50] with radius 0.5 and -0.80" in told
    low = f"{100 * wilson(3, 3)[0]:.0f}"
    high = f"{100 * wilson(0, 3)[1]:.0f}"
    assert (
        f"nearer to 0 in 100 % [{low}, 100; Wilson] of the 3 networks that solved the task and 0 % [0, {high}; " in told
    )
    turned = courses.assign(value=courses["value"].where(~falling, -0.1 * courses["step"] / 200 - 0.1))
    assert "and 100 %" not in dynamics.caption(frame, turned)  # from -0.10 to -0.20
    positive = courses.assign(value=courses["value"].where(~falling, 0.9 - courses["step"] / 250))
    assert f"and 100 % [{low}, 100; Wilson] of the 3 networks that did not." in dynamics.caption(frame, positive)


def test_exponents_before_training_are_those_at_step_0_alone():
    courses = courses_of(NETWORKS, exponent=[math.nan, -0.6, -0.5], accuracy=[0, 1, 1])
    assert "in training the exponent went" not in dynamics.caption(NETWORKS, courses)


def test_the_caption_tells_in_how_many_sequences_exponents_had_converged():
    courses = courses_of(NETWORKS, exponent=[-1, -1, -1], converged=[0.5, 0.5, 0.2])
    assert "had converged in 40 % of the sequences" in dynamics.caption(NETWORKS, courses)
    unknown = courses_of(NETWORKS, exponent=[-1, -1, -1])
    assert "in no sequence, as far as is known" in dynamics.caption(NETWORKS, unknown)


def test_a_trial_that_diverged_counts_up_to_its_last_value():
    frame = with_status(NETWORKS, DIVERGED, NETWORKS["seed"] == 0)
    courses = courses_of(frame, exponent=[-1, -1, math.nan])
    points = dynamics.table(frame, courses)
    assert points["counted"].eq(4).all()
    assert "Kept up to their last values: 4 trials that diverged." in dynamics.caption(frame, courses)
