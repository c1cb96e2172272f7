"""Gradients in networks of several layers: layer beside layer, by a slow obvious twin, and what the caption says."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import diagnosed, flow_sweep, frame_of, given, with_status

from reports import depth, flows, lines, style
from reports.figures import gradient_flow
from reports.flows import LAG, LAW, LAYER, LOG, NETWORKS, SPREAD, THEORY
from rnnlab.record import EXHAUSTED, RUNNING, SOLVED

STAGE, BEFORE, UNSOLVED, SOLVED_IT = gradient_flow.STAGE, *gradient_flow.STAGES
RADIUS = lines.RADIUS
LAGS = 15  # of the copy task with a delay of 10


def deep_frames(status=SOLVED, **axes) -> list[pd.DataFrame]:
    fields = {"delay": 10, "layers": [1, 3], "spectral_radius": [0.7, 0.9], "seed": range(4)}
    return given(gradient_flow, diagnosed(with_status(frame_of(flow_sweep(**fields | axes)), status)))


def norm(observations, key, when, layer, lag) -> float:
    """ln |dL/dh| of one network."""
    found = observations[(observations["quantity"] == depth.NORM) & (observations["index"] == lag)]
    same = (found["key"] == key) & (found["when"] == when) & (found["layer"] == f"layer {layer}")
    return found.loc[same, "value"].item()


def shifted(observations, by_layer) -> pd.DataFrame:
    """A copy in which ln |dL/dh| is larger, layer by layer, by so much."""
    more = observations["layer"].map(by_layer).fillna(0).where(observations["quantity"] == depth.NORM, 0)
    return observations.assign(value=observations["value"] + more)


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


# The numbers and the lines


@pytest.mark.parametrize("clip", [1.0, None])
def test_every_layer_is_relative_to_lag_0_of_the_top_layer_of_its_own_network(clip):
    frame, observations = deep_frames(clip_threshold=clip)
    table = gradient_flow.table(frame, observations)
    keys = frame.loc[(frame["model.layers"] == 3) & (frame[RADIUS] == 0.9), "key"]
    for stage, when in ((BEFORE, "initial"), (SOLVED_IT, "final")):
        for layer, lag in ((1, 0), (1, 9), (2, 4), (3, 0), (3, 9)):
            logs = [norm(observations, key, when, layer, lag) - norm(observations, key, when, 3, 0) for key in keys]
            rows = table[(table[STAGE] == stage) & (table[LAYER] == f"layer {layer}") & (table[LAG] == lag)]
            (row,) = rows[(rows[RADIUS] == 0.9) & (rows["model.layers"] == 3)].to_dict("records")
            assert row[depth.OF_TOP] == pytest.approx(np.mean(logs))
            assert row[SPREAD] == pytest.approx(np.std(logs, ddof=1))
            assert row[NETWORKS] == 4
    assert LOG not in table


def test_a_panel_holds_the_layers_of_a_network_and_stands_beside_the_same_after_training():
    figure = gradient_flow.draw(*deep_frames())
    assert [ax.get_title(loc="left").replace("\n", " ").replace("· ", "") for ax in figure.axes] == [
        f"copy memory {layers} radius {radius} {stage}"
        for layers in ("1 layer", "3 layers")
        for radius in (0.7, 0.9)
        for stage in (BEFORE, SOLVED_IT)
    ]
    rows = [round(ax.get_position().y0, 2) for ax in figure.axes]
    assert rows[0::2] == rows[1::2]
    drawn = [[line.get_label() for line in ax.lines if not line.get_label().startswith("_")] for ax in figure.axes]
    assert drawn == [["layer 1"]] * 4 + [["layer 1", "layer 2", "layer 3"]] * 4
    assert figure.axes[0].get_ylabel() == depth.Y


def test_theory_goes_on_from_where_the_line_of_each_layer_begins():
    frame, observations = deep_frames(layers=3)
    table = gradient_flow.table(frame, observations)
    for _, rows in table[table[STAGE] == BEFORE].groupby([RADIUS, LAYER]):
        start = rows.loc[rows[LAG] == 0, depth.OF_TOP].item()
        for name, slope in ((THEORY, math.log(0.95 * rows[RADIUS].iloc[0])), (LAW, math.log(rows[RADIUS].iloc[0]))):
            assert rows[name].to_numpy() == pytest.approx((start + slope * rows[LAG]).to_numpy())
    before, after = gradient_flow.draw(frame, observations).axes[:2]
    assert [line.get_label() for ax in (before, after) for line in ax.lines].count("_theory") == 3
    assert "_zero_state_law" not in [line.get_label() for line in before.lines]
    assert "Dotted" not in gradient_flow.caption(frame, observations)


def test_a_stage_that_no_network_of_a_setting_reached_leaves_its_panel_empty():
    frame, _ = deep_frames()
    frame = with_status(frame, EXHAUSTED, frame[RADIUS] == 0.7)
    frame = with_status(frame, RUNNING, (frame[RADIUS] == 0.7) & (frame["model.layers"] == 1))
    axes = gradient_flow.draw(*given(gradient_flow, frame)).axes
    titles = [ax.get_title(loc="left").replace("\n", " ") for ax in axes if texts(ax) == ["no network"]]
    assert len(axes) == 2 * 2 * 3
    stages = [UNSOLVED, SOLVED_IT, UNSOLVED, SOLVED_IT, UNSOLVED]
    assert [title.endswith(stage) for title, stage in zip(titles, stages, strict=True)] == [True] * 5


def test_too_many_settings_are_left_out_as_a_whole():
    frame, observations = deep_frames(
        delay=[10, 20], spectral_radius=[0.5, 0.6, 0.7, 0.8, 0.9], layers=[1, 2], seed=[0]
    )
    figure = gradient_flow.draw(frame, observations)
    assert len(figure.axes) == 2 * 10
    assert not any(map(texts, figure.axes))
    told = gradient_flow.caption(frame, observations)
    assert "Drawn of 20 settings are those at each task's largest distance." in told


def test_colours_say_the_place_of_a_layer_also_in_encoders_and_backward():
    looks = depth.looks(["layer 10", "layer 2", "layer 2 backward", "encoder layer 2", "layer 1"])
    assert list(looks) == ["encoder layer 2", "layer 1", "layer 2", "layer 2 backward", "layer 10"]
    assert len({looks[name].colour for name in ("encoder layer 2", "layer 2", "layer 2 backward")}) == 1
    assert len({looks[name].dash for name in ("encoder layer 2", "layer 2", "layer 2 backward")}) == 3
    assert looks["layer 10"].colour == style.tint(style.ordered_colours(10)[-1], depth.TINT)


def test_an_encoder_is_relative_to_the_top_of_the_decoder():
    frame, observations = deep_frames(layers=2, spectral_radius=0.9)
    encoder = observations.assign(layer="encoder " + observations["layer"], index=observations["index"] + LAGS)
    both = pd.concat([observations, encoder], ignore_index=True)
    table = gradient_flow.table(frame, both)
    for when, stage in (("initial", BEFORE), ("final", SOLVED_IT)):
        rows = table[(table[STAGE] == stage) & (table[LAYER] == "encoder layer 1") & (table[LAG] == LAGS)]
        logs = [norm(observations, key, when, 1, 0) - norm(observations, key, when, 2, 0) for key in frame["key"]]
        assert rows[depth.OF_TOP].item() == pytest.approx(np.mean(logs))
    told = gradient_flow.caption(frame, both)
    assert "The lags of an encoder go on where the decoder begins." in told
    assert "before training down 0.5" in told


def test_a_top_layer_in_two_directions_is_relative_to_the_forward_one():
    frame, observations = deep_frames(layers=[1, 2], spectral_radius=0.9)
    backward = observations[observations["layer"] == "layer 2"].assign(layer="layer 2 backward")
    both = shifted(pd.concat([backward, observations], ignore_index=True), {"layer 2 backward": 0.7})
    points = gradient_flow.table(frame, both)
    points = points[(points[LAG] == 0) & (points["model.layers"] == 2)].groupby(LAYER)[depth.OF_TOP].max()
    assert (points["layer 2"], points["layer 2 backward"]) == pytest.approx((0, 0.7))
    assert "lag 0 is that of the forward one" in gradient_flow.caption(frame, both)
    assert "forward one" not in gradient_flow.caption(frame, observations)


def test_a_network_without_its_first_gradient_is_in_no_line():
    frame, observations = deep_frames(layers=3, spectral_radius=0.9)
    top = (observations["quantity"] == depth.NORM) & (observations["layer"] == "layer 3") & (observations["index"] == 0)
    holes = observations.assign(value=observations["value"].mask(top & (observations["key"] == frame["key"].iloc[0])))
    assert set(gradient_flow.table(frame, holes)[NETWORKS]) == {3}
    gradient_flow.draw(frame, holes).canvas.draw()


# Stores and networks in which layers cannot be compared


def test_without_the_norms_of_every_network_each_layer_has_a_panel_of_its_own():
    frame, observations = deep_frames(spectral_radius=0.9)
    one = observations["key"] == frame["key"].iloc[0]
    for rest in (observations["quantity"] != depth.NORM, (observations["quantity"] != depth.NORM) | ~one):
        earlier = observations[rest]
        titles = [ax.get_title(loc="left").replace("\n", " ") for ax in gradient_flow.draw(frame, earlier).axes]
        assert [title[-7:] for title in titles] == ["layer 1", "layer 1", "layer 2", "layer 3"]
        assert "How the layers of a network compare is not shown" in gradient_flow.caption(frame, earlier)
        assert LOG in gradient_flow.table(frame, earlier)
    assert "How the layers" not in gradient_flow.caption(frame, observations)


def test_networks_with_one_layer_are_shown_as_without_the_norms():
    frame, observations = deep_frames(layers=1)
    earlier = observations[observations["quantity"] != depth.NORM]
    pd.testing.assert_frame_equal(gradient_flow.table(frame, observations), gradient_flow.table(frame, earlier))
    told = gradient_flow.caption(frame, observations)
    assert told == gradient_flow.caption(frame, earlier)
    assert "How the layers" not in told


# What the caption says


def test_the_caption_says_by_how_much_gradients_shrink_from_layer_to_layer_and_from_step_to_step():
    frame, observations = deep_frames(spectral_radius=0.9)
    keys = frame.loc[frame["model.layers"] == 3, "key"]
    logs = {
        (layer, lag): np.array([norm(observations, key, "initial", layer, lag) for key in keys])
        for layer in (1, 3)
        for lag in range(LAGS)
    }
    fitted = range(1, LAGS - 1)
    numbers = {
        "down": (logs[1, 0] - logs[3, 0]) / 2,
        "back": [np.polyfit(fitted, one, 1)[0] for one in zip(*(logs[3, lag] for lag in fitted), strict=True)],
        "across": logs[1, LAGS - 1] - logs[3, LAGS - 1],
    }
    parts = [f"{way} {flows.with_interval(pd.Series(found), flows.factor)}" for way, found in numbers.items()]
    told = gradient_flow.caption(frame, observations)
    assert f"Copy memory: before training {', '.join(parts)}; after training, solved down" in told


def test_the_caption_counts_panels_in_which_gradients_shrink_on_their_way_down():
    """In the synthetic frame they do, and fade faster in higher layers. Turned around, they grow."""
    frame, observations = deep_frames()
    down, across = "At lag 0 the gradient shrinks on its way down", "smaller in the lowest layer than in the top one"
    told = gradient_flow.caption(frame, observations)
    assert f"{down} in 4 of 4 panels with several layers, the reverse in 0; in 0 the interval" in told
    assert f"{across} in 0 of 4 panels with several layers, the reverse in 4; in 0 the interval" in told
    told = gradient_flow.caption(frame, shifted(observations, {"layer 1": 5}))
    assert f"{down} in 0 of 4 panels with several layers, the reverse in 4; in 0 the interval" in told
    told = gradient_flow.caption(frame, shifted(observations, {"layer 1": -50}))
    assert f"{across} in 4 of 4 panels with several layers, the reverse in 0; in 0 the interval" in told
