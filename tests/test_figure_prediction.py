"""Horizons against predicted reach: what is predicted of a setting, where its point stands, how the two go together."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, copy_sweep, diagnosed, frame_of, input_sweep, undiagnosed, unlucky, with_status

from reports import distances, lines, words
from reports.figures import applies, horizon, prediction
from rnnlab.analysis import rank_interval, student
from rnnlab.record import EXHAUSTED, FAILED, SOLVED
from rnnlab.theory import EPSILON, MeanField

SCALES = (0.1, 0.5, 2.0)
RADII = (0.5, 0.8, 1.0)
SWEEP = frame_of(copy_sweep(init="gaussian", spectral_radius=RADII, input_scale=SCALES, seed=range(4)))
SETTINGS = diagnosed(SWEEP)


def courses_of(frame: pd.DataFrame) -> pd.DataFrame:
    return Diagnosed(frame).courses("", prediction.COURSES)


def as_predicted(frame: pd.DataFrame, factor: float = 1) -> pd.DataFrame:
    """Every seed solves the task as far as `factor` times the reach of theory."""
    reaches = frame[prediction.SLOPE].map(prediction.reach)
    return with_status(with_status(frame, EXHAUSTED), SOLVED, frame["distance"] <= factor * reaches)


@pytest.mark.parametrize("chi", [0.01, 0.5, 0.99, 1.0, 1.5, math.nan])
def test_the_reach_of_a_slope_is_that_of_theory(chi):
    field = MeanField(1.0, 0.1, 0.2, chi)
    assert prediction.reach(field.slope) == pytest.approx(field.reach(), nan_ok=True)
    assert EPSILON == 0.01


def test_of_each_seed_the_network_with_the_longest_known_sequences_counts():
    """Twin: seed by seed, the farthest distance at which the slope is known."""
    frame = undiagnosed(SETTINGS)
    far = (frame["seed"] == 2) & (frame["distance"] == frame["distance"].max())
    frame[prediction.SLOPE] = (frame[prediction.SLOPE] - frame["distance"] / 1000).mask(far)
    for row in prediction.table(frame, courses_of(frame)).to_dict("records"):
        own = frame[(frame[lines.RADIUS] == row[lines.RADIUS]) & (frame["init.input_scale"] == row["init.input_scale"])]
        slopes = []
        for seed in range(4):
            known = [
                r for r in own.to_dict("records") if r["seed"] == seed and r[prediction.SLOPE] == r[prediction.SLOPE]
            ]
            slopes += [max(known, key=lambda r: r["distance"])[prediction.SLOPE]] if known else []
        assert row["theory_networks"] == len(slopes) == (0 if row[lines.RADIUS] == 0.5 else 3)
        if slopes:
            low, high = student(np.array(slopes))
            expected = [prediction.reach(slope) for slope in (np.mean(slopes), low, high)]
            assert [row[f"theory_{end}"] for end in ("reach", "low", "high")] == pytest.approx(expected)


def test_the_exponent_is_that_before_training():
    courses = courses_of(SETTINGS)
    row = prediction.table(SETTINGS, courses).iloc[0]
    own = SETTINGS[
        (SETTINGS[lines.RADIUS] == row[lines.RADIUS]) & (SETTINGS["init.input_scale"] == row["init.input_scale"])
    ]
    assert row["exponent_rate"] == pytest.approx(0.6 * own[prediction.LYAPUNOV].mean())  # Diagnosed: 0.6 at step 0
    later = courses[courses["step"] > 0]
    assert prediction.table(SETTINGS, later)["exponent_reach"].isna().all()


def test_horizons_are_those_of_the_settings_and_nothing_is_pooled():
    points = prediction.table(SETTINGS, courses_of(SETTINGS))
    assert len(points) == len(SCALES) * len(RADII)
    assert points["counted"].eq(len(SETTINGS) / len(points)).all()
    expected = horizon.table(SETTINGS)
    assert points["horizon"].tolist() == pytest.approx(expected["horizon"].tolist(), nan_ok=True)


def marks(ax) -> list:
    return [line for line in ax.lines if line.get_label() == "_points"]


def test_points_stand_at_reach_and_horizon_with_both_intervals():
    points = prediction.table(SETTINGS, courses_of(SETTINGS))
    ax = prediction.draw(SETTINGS, courses_of(SETTINGS)).axes[0]
    inside = points[(points["outside"] == "") & (points["theory_reach"] < 300)]
    drawn = {(float(mark.get_xdata()[0]), float(mark.get_ydata()[0])) for mark in marks(ax)}
    assert set(zip(inside["theory_reach"], inside["horizon"], strict=True)) <= drawn
    assert len(marks(ax)) == len(points)
    line = next(line for line in ax.lines if len(line.get_xdata()) == 50)
    assert line.get_xdata() == pytest.approx(line.get_ydata())


def test_reaches_without_end_and_horizons_outside_stand_in_the_grey():
    frame = SETTINGS.assign(**{prediction.SLOPE: SETTINGS[prediction.SLOPE].where(SETTINGS[lines.RADIUS] < 1, 0.1)})
    ax = prediction.draw(with_status(frame, SOLVED), courses_of(frame)).axes[0]
    tested = distances.Axis(frame["distance"], lines=1)
    most = max(float(box.get_x()) for box in ax.patches)
    endless = [mark for mark in marks(ax) if mark.get_xdata()[0] > most]
    assert len(endless) == len(SCALES)
    assert len({mark.get_xdata()[0] for mark in endless}) == len(SCALES)  # beside each other
    assert {float(mark.get_ydata()[0]) for mark in marks(ax)} == {tested.beyond(horizon.OUTSIDE)[1]}
    arrows = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    assert len(arrows) == len(marks(ax))


def test_colours_are_radii_and_markers_are_what_else_varies():
    figure = prediction.draw(SETTINGS, courses_of(SETTINGS))
    above, below = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert above == ["0.5", "0.8", "1.0"]
    assert below == ["input scale 0.1", "input scale 0.5", "input scale 2", "horizon = reach"]
    assert len({mark.get_marker() for mark in marks(figure.axes[0])}) == len(SCALES)
    one = SETTINGS[SETTINGS["init.input_scale"] == 0.1]
    assert len(prediction.draw(one, courses_of(one)).legends[-1].get_texts()) == 1


def test_there_must_be_predictions_that_differ_at_several_distances():
    assert applies(prediction, SETTINGS)
    assert not applies(prediction, SWEEP)
    assert not applies(prediction, SETTINGS[SETTINGS["distance"] < 20])
    clips = diagnosed(
        frame_of(copy_sweep(init="gaussian", spectral_radius=1.0, clip_threshold=[0.1, 1.0, 10.0], seed=[0]))
    )
    assert not applies(prediction, clips)
    assert not applies(prediction, SETTINGS.assign(**{prediction.SLOPE: math.nan}))


def test_the_caption_tells_how_well_the_horizon_was_predicted_and_turns_with_it():
    courses = courses_of(SETTINGS)
    frame = as_predicted(SETTINGS)
    points = prediction.table(frame, courses)
    ranks = rank_interval(points["theory_reach"], horizon.ranked_horizon(points))
    told = prediction.caption(frame, courses)
    assert f"[{ranks[0]:.2f}, {ranks[1]:.2f}] by mean field" in told
    assert "9 settings: the rank correlation of horizon and reach is 0.9" in told
    turned = frame.assign(status=frame["status"].map({SOLVED: EXHAUSTED, EXHAUSTED: SOLVED}))
    nearer = SETTINGS["distance"].max() + SETTINGS["distance"].min() - turned["distance"]
    assert "the rank correlation of horizon and reach is \N{MINUS SIGN}0.9" in prediction.caption(
        turned.assign(distance=nearer), courses
    )


def test_the_caption_tells_by_what_factor_the_horizon_differs():
    courses = courses_of(SETTINGS)
    points = prediction.table(as_predicted(SETTINGS, 3), courses)
    known = points[np.isfinite(points["horizon"]) & np.isfinite(points["theory_reach"])]
    ratios = known["horizon"] / known["theory_reach"]
    low, high = np.exp(student(np.log(ratios.to_numpy())))
    told = prediction.caption(as_predicted(SETTINGS, 3), courses)
    mean, low, high = (words.rounded(factor) for factor in (np.exp(np.log(ratios).mean()), low, high))
    assert f"{mean} [{low}, {high}] times the reach" in told
    near = int(((ratios <= 2) & (ratios >= 0.5)).sum())
    assert f"({near} of {len(known)} settings where both are known within a factor of 2) by mean field" in told


def test_the_caption_tells_in_how_many_of_the_sequences_that_count_exponents_had_converged():
    courses = courses_of(SETTINGS)
    far = SETTINGS.loc[SETTINGS["distance"] == SETTINGS["distance"].max(), "key"]
    converged = courses["metric"] == prediction.CONVERGED
    courses = courses.assign(value=courses["value"].mask(converged, courses["key"].isin(far) * 0.25))
    assert "had converged in 25 % of these sequences." in prediction.caption(SETTINGS, courses)
    assert "had converged" not in prediction.caption(SETTINGS, courses[~converged])


def test_few_settings_have_a_probability_instead_of_an_interval():
    frame = as_predicted(SETTINGS[SETTINGS["init.input_scale"] == 0.5])
    assert "(p 0.33) by mean field" in prediction.caption(frame, courses_of(frame))  # 3 settings in order: 2 of 6


def test_without_results_the_caption_says_that_there_is_nothing_to_compare():
    told = prediction.caption(with_status(SETTINGS, FAILED), courses_of(SETTINGS))
    assert "Copy memory: too few settings with a horizon and a prediction that differ." in told


def test_tasks_have_rows_of_their_own():
    frame = diagnosed(unlucky(frame_of(input_sweep())))
    titles = [ax.get_title(loc="left").split("\n")[0] for ax in prediction.draw(frame, courses_of(frame)).axes]
    assert titles == [
        f"{task} · {name}" for task in ("copy memory", "random permutation") for name in prediction.PREDICTORS.values()
    ]
