"""The figures of gradients by lag: their numbers by a slow obvious twin, and what their captions say of them."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, copy_sweep, diagnosed, flow_sweep, frame_of, given, scale_sweep, with_status

from reports import curves, flows, lines, style
from reports.figures import gradient_flow, vanishing
from reports.flows import LAG, LAW, LOG, NETWORKS, SPREAD, THEORY
from rnnlab.analysis import student
from rnnlab.record import EXHAUSTED, RUNNING, SOLVED

STAGE, BEFORE, UNSOLVED, SOLVED_IT = gradient_flow.STAGE, *gradient_flow.STAGES
RADIUS, SCALE = lines.RADIUS, flows.INPUT_SCALE


def flow_frames(**axes) -> list[pd.DataFrame]:
    """A frame, half of whose networks solve their task, and its observations."""
    fields = {"delay": 20, "spectral_radius": [0.7, 0.9], "seed": range(6)}
    frame = frame_of(flow_sweep(**fields | axes))
    frame = with_status(with_status(frame, EXHAUSTED), SOLVED, frame["seed"] < 3)
    return given(gradient_flow, diagnosed(frame))


def scale_frames(**axes) -> list[pd.DataFrame]:
    return given(vanishing, diagnosed(frame_of(scale_sweep(**{"length": 40} | axes))))


def value(observations, key, when, quantity, index) -> float:
    """One number of layer 1."""
    same = (observations["key"] == key) & (observations["when"] == when) & (observations["layer"] == "layer 1")
    found = observations[same & (observations["quantity"] == quantity) & (observations["index"] == index)]
    return found["value"].item()


def put(observations, quantity, number, **where) -> pd.DataFrame:
    """A copy in which a quantity has this value where the columns have those."""
    chosen = observations["quantity"] == quantity
    for column, content in where.items():
        chosen &= observations[column] == content
    assert chosen.any()
    return observations.assign(value=observations["value"].mask(chosen, number))


# The numbers


def test_a_curve_is_the_mean_of_its_networks_and_its_band_their_spread():
    frame, observations = flow_frames()
    table = gradient_flow.table(frame, observations)
    outcomes = {BEFORE: ("initial", frame["seed"] < 6), SOLVED_IT: ("final", frame["seed"] < 3)}
    for stage, (when, chosen) in (outcomes | {UNSOLVED: ("final", frame["seed"] >= 3)}).items():
        for lag in (0, 7, 23):
            keys = frame.loc[chosen & (frame[RADIUS] == 0.7), "key"]
            logs = [value(observations, key, when, "gradient/mean", lag) for key in keys]
            (row,) = table[(table[STAGE] == stage) & (table[LAG] == lag) & (table[RADIUS] == 0.7)].to_dict("records")
            assert row[LOG] == pytest.approx(np.mean(logs))
            assert row[SPREAD] == pytest.approx(np.std(logs, ddof=1))
            assert row[NETWORKS] == row["observed"] == len(keys)
            assert row["zero"] == sum(value(observations, key, when, "gradient/zero", lag) for key in keys)
            assert row["sequences"] == sum(value(observations, key, when, "gradient/counted", lag) for key in keys)


def test_a_slope_is_that_of_the_least_squares_line_over_the_lags_in_the_middle():
    frame, observations = flow_frames(spectral_radius=0.9)
    table, lags = gradient_flow.table(frame, observations), range(2, 23)  # of lags 0 to 24
    fitted = [
        np.polyfit(lags, [value(observations, key, "initial", "gradient/mean", lag) for lag in lags], 1)[0]
        for key in frame["key"]
    ]
    found = table.loc[table[STAGE] == BEFORE, ["slope", "slope_low", "slope_high"]].drop_duplicates()
    assert found.to_numpy()[0] == pytest.approx([np.mean(fitted), *student(np.array(fitted))])
    assert "lags 2 to 22: before training " + flows.with_interval(pd.Series(fitted)) in gradient_flow.caption(
        frame, observations
    )


def test_theory_and_law_are_lines_of_the_untrained_networks_alone():
    frame, observations = flow_frames()
    table = gradient_flow.table(frame, observations)
    before = table[table[STAGE] == BEFORE]
    assert before[LAW].to_numpy() == pytest.approx((before[LAG] * np.log(before[RADIUS])).to_numpy())
    assert before[THEORY].to_numpy() == pytest.approx((before[LAG] * np.log(0.95 * before[RADIUS])).to_numpy())
    assert table.loc[table[STAGE] != BEFORE, [THEORY, LAW]].isna().all(axis=None)
    other = frame.drop(columns=[name for name in frame if name.startswith("theory/")])
    assert gradient_flow.table(other, observations)[[THEORY, LAW]].isna().all(axis=None)
    assert ", theory" not in gradient_flow.caption(other, observations)


def test_without_inputs_the_law_stands_alone():
    frame, observations = scale_frames()
    table = vanishing.table(frame, observations)
    silent = table[table[SCALE] == 0]
    assert silent[THEORY].isna().all()
    assert table.loc[table[SCALE] > 0, THEORY].notna().all()
    assert silent[LOG].to_numpy() == pytest.approx((silent[LAG] * np.log(silent[RADIUS])).to_numpy())


def test_networks_that_still_train_are_shown_as_they_began():
    frame, _ = flow_frames()
    frame = with_status(frame, RUNNING, frame["seed"] == 0)
    frames = given(gradient_flow, frame)
    counts = gradient_flow.table(*frames).groupby(STAGE)[NETWORKS].max()
    assert counts.to_dict() == {BEFORE: 6, SOLVED_IT: 2, UNSOLVED: 3}
    assert "2 unfinished trials, 0 failed trials; those that still train are shown" in gradient_flow.caption(*frames)


def test_nothing_is_pooled_that_differs():
    frame, observations = flow_frames(delay=[10, 20], clip_threshold=[1.0, None], seed=range(2))
    table = gradient_flow.table(frame, observations)
    assert table.loc[table[STAGE] == BEFORE, NETWORKS].max() == 2
    assert len(gradient_flow.draw(frame, observations).axes) == 8


# What is zero or broken


def test_a_network_with_a_gradient_of_zero_has_no_slope_and_the_caption_says_so():
    frame, observations = flow_frames(spectral_radius=0.9)
    key = frame.loc[frame["seed"] == 5, "key"].item()
    holes = put(observations, "gradient/zero", 1, key=key, when="initial", index=10)
    table, holed = (gradient_flow.table(frame, given) for given in (observations, holes))
    assert holed.loc[holed[STAGE] == BEFORE, "slope"].iloc[0] != table.loc[table[STAGE] == BEFORE, "slope"].iloc[0]
    told = gradient_flow.caption(frame, holes)
    assert "Without a slope: 1 observation of a network with a gradient among them that is zero or not finite." in told
    assert "Gradients that were exactly zero, over all lags, sequences and networks: before training 1 of 3,001" in told
    assert "zero" not in gradient_flow.caption(frame, observations).partition("Slopes are")[2]


def test_a_network_with_fewer_lags_than_its_mates_has_a_slope_over_those_that_all_have():
    frame, observations = flow_frames(spectral_radius=0.9)
    key, most = (
        frame.loc[frame["seed"] == 5, "key"].item(),
        observations[observations["quantity"] == "gradient/mean"]["index"].max(),
    )
    gradient = observations["quantity"].str.startswith("gradient/")
    shorter = observations[~(gradient & (observations["key"] == key) & (observations["index"] > most - 5))]
    assert "Without a slope" not in gradient_flow.caption(frame, shorter)
    assert gradient_flow.table(frame, shorter)["slope"].notna().all()


def test_lags_with_gradients_that_are_lost_are_marked_and_have_no_band():
    frame, observations = flow_frames(spectral_radius=0.9)
    key = frame["key"].iloc[0]
    observations = put(observations, "gradient/zero", 3, key=key, when="initial", index=10)
    observations = put(observations, "gradient/broken", 20, key=key, when="initial", index=20)
    observations = put(observations, "gradient/mean", math.nan, key=key, when="initial", index=20)
    (ax,) = gradient_flow.draw(frame, observations).axes
    marks = {line.get_label(): list(line.get_xdata()) for line in ax.lines if len(line.get_xdata())}
    assert (marks["_zero"], marks["_broken"]) == ([10], [20])
    (curve,) = [line for line in ax.lines if line.get_label() == BEFORE]
    assert np.isnan(curve.get_ydata()).nonzero()[0].tolist() == [10, 20]
    (faded,) = [line for line in ax.lines if line.get_label() == "_faded"]
    assert np.isfinite(faded.get_ydata()).all()
    texts = [text.get_text() for text in gradient_flow.draw(frame, observations).legends[1].get_texts()]
    assert texts[-2:] == ["some exactly zero", "some not finite"]


def test_a_curve_that_leaves_the_panel_is_told():
    frame, observations = flow_frames(spectral_radius=0.9)
    far = put(observations, "gradient/mean", -100, when="final", index=20)
    assert "Means below 1e-20 lie outside the panels." in gradient_flow.caption(frame, far)
    assert curves.LEAST - 2 < gradient_flow.draw(frame, far).axes[0].get_ylim()[0] < curves.LEAST
    assert "outside the panels" not in gradient_flow.caption(frame, observations)


@pytest.mark.parametrize("shrunk", [0, 0.03, 0.1, 0.3, 1, 3, 10])
def test_the_axis_says_what_is_there_however_small_the_factors_are(shrunk):
    frame, observations = flow_frames(spectral_radius=0.9)
    mean = observations["quantity"] == "gradient/mean"
    observations = observations.assign(value=observations["value"].mask(mean, shrunk * observations["value"]))
    (ax,) = gradient_flow.draw(frame.drop(columns="theory/layer_1/slope"), observations).axes
    decades = ax.get_yticks()
    told = [
        text.replace("$10^{", "1e").replace("}$", "") for text in ax.yaxis.get_major_formatter().format_ticks(decades)
    ]
    assert [float(text) for text in told] == pytest.approx(10.0**decades)
    low, high = ax.get_ylim()
    assert sum(low <= place <= high for place in decades) >= 2


@pytest.mark.parametrize("module", [gradient_flow, vanishing])
def test_without_observations_a_figure_says_that_there_are_none(module):
    frame, observations = scale_frames()
    nothing = observations.iloc[:0]
    figure = module.draw(frame, nothing)
    assert [text.get_text() for text in figure.texts] == ["no network has been observed yet"]
    assert "Not observed: the networks of 45 trials." in module.caption(frame, nothing)
    assert module.table(frame, nothing).empty


# Gradient flow: what the caption says


def test_the_caption_says_in_how_many_panels_theory_is_within_the_interval():
    frame, observations = flow_frames()
    column = "theory/layer_1/slope"
    for shift, told in (
        (0, "in 2 of 2 panels; gradients fade more slowly in 0, faster in 0"),
        (-0.5, "in 0 of 2 panels; gradients fade more slowly in 2, faster in 0"),
        (+0.5, "in 0 of 2 panels; gradients fade more slowly in 0, faster in 2"),
    ):
        assert told in gradient_flow.caption(frame.assign(**{column: frame[column] + shift}), observations)


def test_the_caption_says_how_training_changed_the_slope_by_outcome():
    """In the synthetic frame radii grow by a tenth: gradients fade more slowly. Turned around, faster."""
    frame, observations = flow_frames()
    told = gradient_flow.caption(frame, observations)
    assert "After training, solved: gradients fade more slowly than before in 2 of 2 panels, faster in 0; in 0" in told
    turned = observations.assign(when=observations["when"].map({"initial": "final", "final": "initial"}))
    told = gradient_flow.caption(frame, turned)
    assert "After training, solved: gradients fade more slowly than before in 0 of 2 panels, faster in 2; in 0" in told
    assert "After training, not solved: gradients fade more slowly than before in 0 of 2 panels, faster in 2" in told


def test_layers_that_are_not_compared_stand_side_by_side_with_their_own_theory():
    frame, observations = flow_frames(layers=2, spectral_radius=0.9)
    observations = observations[observations["quantity"] != "gradient/log_norm"]
    figure = gradient_flow.draw(frame, observations)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["copy memory · layer 1", "copy memory · layer 2"]
    assert "Below the top layer gradients also come from the layers above" in gradient_flow.caption(frame, observations)
    frame["theory/layer_2/slope"] = -0.7
    table = gradient_flow.table(frame, observations)
    second = table[(table["layer"] == "layer 2") & (table[STAGE] == BEFORE)]
    assert second[THEORY].to_numpy() == pytest.approx((-0.7 * second[LAG]).to_numpy())


def test_of_too_many_panels_those_at_the_largest_distance_are_drawn():
    axes = {"delay": [10, 20], "clip_threshold": [0.1, 1.0, None], "spectral_radius": [0.5, 0.6, 0.7, 0.8, 0.9]}
    frame, observations = flow_frames(**axes, seed=[0])
    assert len(gradient_flow.draw(frame, observations).axes) == 15
    assert "Drawn of 30 panels are those at each task's largest distance." in gradient_flow.caption(frame, observations)
    assert set(gradient_flow.table(frame, observations)["task.delay"]) == {10, 20}
    frame, observations = flow_frames(**axes | {"hidden_size": [16, 64]}, seed=[0])
    assert len(gradient_flow.draw(frame, observations).axes) == flows.MOST_PANELS
    assert "Drawn of 60 panels are the first 24 of those at" in gradient_flow.caption(frame, observations)


# The textbook law


def test_lines_are_radii_in_panels_by_the_scale_of_the_inputs():
    frame, observations = scale_frames()
    figure = vanishing.draw(frame, observations)
    titles = [f"adding problem · input scale {scale}" for scale in ("0", "0.1", "1")]
    assert [ax.get_title(loc="left") for ax in figure.axes] == titles
    for ax in figure.axes:
        drawn = [line.get_label() for line in ax.lines if not line.get_label().startswith("_")]
        assert drawn == ["0.9", "1.0", "1.1"]
        assert len([line for line in ax.lines if line.get_label() == "_zero_state_law"]) == 3
    assert [len([line for line in ax.lines if line.get_label() == "_theory"]) for ax in figure.axes] == [0, 3, 3]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1


def test_the_caption_says_what_is_left_at_the_largest_lag_by_law_and_as_measured():
    frame, observations = scale_frames()
    told = vanishing.caption(frame, observations)
    keys = frame.loc[(frame[RADIUS] == 0.9) & (frame[SCALE] == 1), "key"]
    logs = np.array([value(observations, key, "initial", "gradient/mean", 39) for key in keys])
    low, high = student(logs)
    measured = f"{flows.factor(logs.mean())} ({flows.factor(low)} to {flows.factor(high)}) at 1"
    assert f"left at lag 39: radius 0.9, law {flows.factor(39 * math.log(0.9))}, measured 0.016 at input" in told
    assert f" and {measured};" in told
    assert "Without inputs no network is farther from the law than" in told


def test_the_caption_contradicts_the_law_where_the_networks_do():
    frame, observations = scale_frames()
    key = frame.loc[(frame[RADIUS] == 1) & (frame[SCALE] == 0), "key"].iloc[0]
    off = put(observations, "gradient/mean", math.log(0.2), key=key, when="initial", index=30)
    assert "no network is farther from the law than a factor of 5, at any lag" in vanishing.caption(frame, off)
    near = put(observations, "gradient/mean", math.log(1.02), key=key, when="initial", index=30)
    assert "no network is farther from the law than 2 %, at any lag" in vanishing.caption(frame, near)


def test_the_caption_counts_the_lines_that_vanish_although_the_law_has_none_vanish():
    frame, observations = scale_frames()
    start = "gradients at the largest lag are smaller than at lag 0 in"
    assert f"{start} 3 of 4 lines and larger in 1; in 0 the interval holds 1" in vanishing.caption(frame, observations)
    mean = observations["quantity"] == "gradient/mean"
    turned = observations.assign(value=observations["value"].where(~mean, -observations["value"]))
    assert f"{start} 1 of 4 lines and larger in 3; in 0 the interval holds 1" in vanishing.caption(frame, turned)


def test_the_caption_counts_the_lines_where_theory_is_within_the_interval_also_with_clipping_off():
    frame, observations = scale_frames(clip_threshold=None)
    assert "within the interval of the measured one in 6 of 6 lines" in vanishing.caption(frame, observations)
    column = "theory/layer_1/slope"
    steep = frame.assign(**{column: frame[column] - 1})
    told = vanishing.caption(steep, observations)
    assert "in 0 of 6 lines; gradients fade more slowly in 6, faster in 0." in told


def test_networks_of_which_theory_does_not_speak_are_left_out():
    trials = [*scale_sweep(length=20), *adding_sweep(length=20, cell="lstm", input_scale=[0.0, 1.0])]
    frame = diagnosed(frame_of(trials))
    slopes = [name for name in frame if name.startswith("theory/")]
    frame[slopes] = frame[slopes].where(frame["cell"] == "elman")
    table = vanishing.table(*given(vanishing, frame))
    assert set(table[RADIUS]) == {0.9, 1.0, 1.1}
    assert not vanishing.applies(frame[frame["cell"] == "lstm"])
    assert not vanishing.applies(frame[frame[SCALE] == 0])
    assert vanishing.applies(frame)


def test_figures_of_gradients_need_diagnosed_networks():
    frame = frame_of(copy_sweep(delay=10))
    assert not gradient_flow.applies(frame)
    assert not vanishing.applies(frame)
    assert gradient_flow.applies(diagnosed(frame))


# Words


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((1, "1"), (0.5234, "0.52"), (0.0123, "0.012"), (0.00123, "1.2e-3"), (2.6561e-5, "2.7e-5")),
        *((130, "130"), (1944, "1900"), (13780.6, "1.4e4"), (9.97e-6, "1.0e-5"), (1e-300, "1.0e-300")),
    ],
)
def test_a_factor_in_words(number, text):
    assert flows.factor(math.log(number)) == text


def test_a_factor_beyond_the_range_of_numbers_has_words_too():
    assert flows.factor(-1000 * math.log(10)) == "1.0e-1000"
    assert flows.factor(math.nan) == "unknown"


def test_an_interval_that_is_not_known_is_left_out():
    assert flows.with_interval(pd.Series([0.1])) == "0.100"
    assert flows.with_interval(pd.Series([math.nan])) == "unknown"
    assert flows.with_interval(pd.Series([-1e-9, -1e-9])) == "0.000"
    assert flows.with_interval(pd.Series([0.1, 0.2])) == "0.150 (-0.485 to 0.785)"


def test_a_tint_is_the_same_colour_nearer_to_white():
    red = (0.8, 0.2, 0.0)
    assert style.tint(red, 0) == red
    assert style.tint(red, 1) == pytest.approx((1, 1, 1))
    assert style.tint(red, 0.5) == pytest.approx((0.9, 0.6, 0.5))


def test_looks_of_stages_are_told_apart():
    looks = gradient_flow.LOOKS.values()
    assert len({look.marker for look in looks}) == len({look.colour for look in looks}) == 3
    assert all(dataclasses.asdict(look)["name"] in gradient_flow.STAGES for look in looks)


def test_the_synthetic_store_holds_every_layer():
    frame = diagnosed(frame_of(flow_sweep(delay=10, seed=[0], layers=2)))
    found = Diagnosed(frame).observations("synthetic", ["gradient/mean"])
    assert set(found["layer"]) == {"layer 1", "layer 2"}
