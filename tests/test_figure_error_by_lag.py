"""The figure of the error by lag: its means are those of like trials, and its caption says what was measured."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, clipping_sweep, copy_sweep, frame_of, unlucky, with_lags, with_status

from reports import lags, lines
from reports.figures import applies, error_by_lag
from rnnlab.analysis import student
from rnnlab.record import BY_LAG_POINTS, EXHAUSTED, RUNNING, SOLVED

FRAME = with_lags(frame_of(adding_sweep(seed=range(4), init="gaussian")))
MANY = with_lags(frame_of(clipping_sweep(hidden_size=[16, 64, 128, 256], seed=range(2))))


def courses_of(frame):
    return Diagnosed(frame).courses("synthetic", error_by_lag.COURSES)


def titles_of(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def test_it_applies_where_trials_were_evaluated_by_lag_alone():
    assert applies(error_by_lag, FRAME)
    assert not applies(error_by_lag, FRAME.drop(columns=BY_LAG_POINTS))
    assert not applies(error_by_lag, FRAME.assign(**{BY_LAG_POINTS: math.nan}))
    assert not applies(error_by_lag, FRAME.assign(**{BY_LAG_POINTS: 1.0}))
    assert not applies(error_by_lag, FRAME.iloc[:0])


def test_a_mean_is_that_of_the_seeds_of_one_setting():
    table, points = error_by_lag.table(FRAME, courses_of(FRAME)), courses_of(FRAME)
    loss = points[points["metric"] == "by_lag/loss"].set_index(["key", "step"])["value"]
    assert table["counted"].eq(4).all()
    assert table["outputs"].eq(10 + 11 + 12 + 13).all()
    for row in table.to_dict("records"):
        like = FRAME["distance"].eq(row["distance"]) & FRAME[lines.RADIUS].eq(row[lines.RADIUS])
        values = np.array([loss[key, row["lag"]] for key in FRAME.loc[like, "key"]]) * 6
        assert row["mean"] == pytest.approx(values.mean())
        assert row["low"] * row["high"] == pytest.approx(row["mean"] ** 2)
        half = student(values)[1] - values.mean()
        assert math.log(row["high"] / row["mean"]) == pytest.approx(half / row["mean"])
    assert len(table) == 4 * (5 + 10 + 16 + 16)


def test_losses_that_are_zero_have_a_place_on_a_logarithmic_axis():
    rows = pd.DataFrame({lags.RELATIVE: [0.0, 0.0, 0.0], "outputs": [4.0, 5.0, 6.0]})
    assert lags.mean_of(rows) == (lags.LEAST, lags.LEAST, lags.LEAST, 3, 15)
    (mean, low, high, *_) = lags.mean_of(rows.assign(**{lags.RELATIVE: [0.0, 0.0, 1.0]}))
    assert mean == pytest.approx(1 / 3)
    assert 0 < low < mean < high
    assert all(math.isnan(end) for end in lags.mean_of(rows[:1])[1:3])


def test_each_trained_distance_has_a_panel_with_its_own_lags():
    figure = error_by_lag.draw(FRAME, courses_of(FRAME))
    titles = [title.replace("\n", " · ") for title in titles_of(figure)]
    assert titles == [f"adding problem · distance up to {farthest}" for farthest in (9, 19, 39, 79)]
    for ax, farthest in zip(figure.axes, (9, 19, 39, 79), strict=True):
        drawn = [line for line in ax.lines if not line.get_label().startswith("_")]
        assert [float(line.get_label()) for line in drawn] == sorted(set(FRAME[lines.RADIUS]))
        assert all(
            (line.get_xdata().min(), line.get_xdata().max()) == (farthest - farthest // 2, farthest) for line in drawn
        )
        (baseline,) = [line for line in ax.lines if line.get_label() == "_baseline"]
        assert set(baseline.get_ydata()) == {1}
    limits = {ax.get_ylim() for ax in figure.axes}
    assert len(limits) == 1


def test_what_was_not_evaluated_is_not_there_and_what_is_missing_is_told():
    frame = with_lags(unlucky(frame_of([*adding_sweep(seed=range(4), init="gaussian"), *copy_sweep(seed=[0])])))
    table = error_by_lag.table(frame, courses_of(frame))
    assert set(table["task"]) == {"adding"}
    adding = frame[frame["task"] == "adding"]
    counts = adding.groupby(["distance", lines.RADIUS])["status"].agg(
        lambda ends: ends.isin(["running", "failed"]).sum()
    )
    for row in table.to_dict("records"):
        assert row["missing"] == counts[row["distance"], row[lines.RADIUS]]
        assert row["counted"] + row["missing"] <= 4
    assert "some trials missing" in [
        text.get_text() for legend in error_by_lag.draw(frame, courses_of(frame)).legends for text in legend.get_texts()
    ]
    assert "faded lines miss some of theirs." in error_by_lag.caption(frame, courses_of(frame))


def test_many_panels_are_thinned_out_and_the_caption_says_so():
    frame = with_lags(
        frame_of(adding_sweep(clip_threshold=[0.1, 1.0, None], hidden_size=[16, 64], init="gaussian", seed=[0]))
    )
    figure = error_by_lag.draw(frame, courses_of(frame))
    assert len(figure.axes) == 12
    assert {title.rpartition(" ")[2] for title in titles_of(figure)} == {"9", "79"}
    assert "Drawn are 12 of 24 panels; the table (CSV) alone has distances 19 and 39." in error_by_lag.caption(
        frame, courses_of(frame)
    )
    assert error_by_lag.table(frame, courses_of(frame))["distance"].nunique() == 4
    figure = error_by_lag.draw(MANY, courses_of(MANY))
    assert len(set(titles_of(figure))) == len(figure.axes) == error_by_lag.MOST_PANELS
    assert "Drawn are" not in error_by_lag.caption(FRAME, courses_of(FRAME))


def test_the_caption_compares_the_far_third_with_the_near_one_over_seeds():
    frame = with_status(FRAME, EXHAUSTED, FRAME["distance"] > 30)
    frame = with_lags(with_status(frame, SOLVED, FRAME["distance"] < 30))
    points = courses_of(frame)
    told = error_by_lag.caption(frame, points)
    loss = points[points["metric"] == "by_lag/loss"].set_index("key")[["step", "value"]]
    for chosen, name in ((frame["distance"] > 30, "not solved"), (frame["distance"] < 30, "solved")):
        by_seed = {seed: [] for seed in range(4)}
        for row in frame[chosen].to_dict("records"):
            own = loss.loc[row["key"]]
            third = np.ptp(own["step"]) / 3
            far = own.loc[own["step"] >= own["step"].max() - third, "value"].mean()
            near = own.loc[own["step"] <= own["step"].min() + third, "value"].mean()
            by_seed[row["seed"]].append(math.log(far / near))
        seeds = np.array([np.mean(ratios) for ratios in by_seed.values()])
        low, high = np.exp(student(seeds))
        times = f"{np.exp(seeds.mean()):.2f} [{low:.2f}, {high:.2f}]"
        assert f"{times} ({chosen.sum()} {name})" in told
    assert "Student t 95 % intervals over seeds" in told


def test_the_caption_compares_the_farthest_trained_distance_with_the_nearest_over_seeds():
    told, points = error_by_lag.caption(FRAME, courses_of(FRAME)), courses_of(FRAME)
    means = points[points["metric"] == "by_lag/loss"].groupby("key")["value"].mean()  # all have as many outputs
    by_seed = []
    for seed in range(4):
        ends = [FRAME[(FRAME["seed"] == seed) & (FRAME["distance"] == distance)]["key"] for distance in (9, 79)]
        near, far = (np.log([means[key] for key in keys]).mean() for keys in ends)
        by_seed.append(far - near)
    low, high = np.exp(student(np.array(by_seed)))
    times = f"{lags.rounded(np.exp(np.mean(by_seed)))} [{lags.rounded(low)}, {lags.rounded(high)}]"
    assert f". Sequences of distance 79 against 9: {times} times the loss. Geometric means" in told


def test_ratios_have_no_more_digits_than_one_reads():
    told = {0.066: "0.07", 1.04: "1.04", 1.99: "1.99", 2.06: "2.1", 9.94: "9.9", 9.96: "10", 14.71: "15"}
    assert {ratio: lags.rounded(ratio) for ratio in told} == told


def test_a_loss_of_zero_counts_as_the_least_one_and_leaves_no_trial_out():
    """Two seeds; each has one trial of distance 30, one of 60, five outputs at each of its distances, and no loss."""
    rows = [
        {"key": f"{seed} {distance}", "seed": seed, "distance": distance, "status": SOLVED, lags.LAG: lag}
        for seed, distance, lag in itertools.product((0, 1), (30.0, 60.0), (10.0, 20.0, 30.0))
    ]
    points = pd.DataFrame(rows).assign(**{lags.RELATIVE: 0.0, "outputs": 5.0})
    assert lags._ratios(points)["ratio"].tolist() == [0, 0, 0, 0]
    points.loc[points[lags.LAG] == 30, lags.RELATIVE] = 10 * lags.LEAST
    assert lags._ratios(points)["ratio"].tolist() == pytest.approx([math.log(10)] * 4)
    points[lags.RELATIVE] = np.where(points["distance"] == 60, 10 * lags.LEAST, 0)
    assert lags._from_task_to_task(points).startswith(" Sequences of distance 60 against 30: 10 [10, 10] times")


def test_without_seeds_or_distances_to_compare_the_caption_says_nothing():
    for frame in (FRAME[FRAME["seed"] == 0], FRAME[FRAME["distance"] == 9].assign(**{BY_LAG_POINTS: 2.0})):
        points = courses_of(frame.reset_index(drop=True))
        assert "far third" not in error_by_lag.caption(frame.reset_index(drop=True), points)


def test_a_store_without_points_has_a_figure_that_says_so():
    empty = courses_of(FRAME).iloc[:0]
    assert error_by_lag.table(FRAME, empty).empty
    texts = [text.get_text() for ax in error_by_lag.draw(FRAME, empty).axes for text in ax.texts]
    assert set(texts) == {"no finished trial yet"}
    plain = FRAME.drop(columns=BY_LAG_POINTS)
    (text,) = error_by_lag.draw(plain, empty).texts
    assert text.get_text() == "no evaluation by lag in this store"
    assert error_by_lag.caption(plain, empty) == "No trial of this store was evaluated by lag."
    running = with_status(FRAME, RUNNING).assign(**{BY_LAG_POINTS: FRAME[BY_LAG_POINTS]})
    error_by_lag.draw(running, empty).canvas.draw()


def test_the_caption_names_what_an_output_has_to_reach():
    told = error_by_lag.caption(FRAME, courses_of(FRAME))
    assert "the largest lag, in steps, that it needs (adding problem: to the earlier marker), one line per" in told
