"""Networks unrolled over a sequence: which one is shown, that the maps are its numbers, and what is said of memory."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, copy_sweep, diagnosed, frame_of, with_status

from reports import sheets, unrolling
from reports.figures import unrolled
from rnnlab.frame import OBSERVATION
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED

FRAME = diagnosed(
    frame_of([*copy_sweep(delay=[5, 20], seed=range(2)), *adding_sweep(length=[10, 20], seed=range(2))])
).assign(**{unrolling.KEPT: 1.0})
COPY = FRAME[FRAME["task"] == "copy"].reset_index(drop=True)


def observed(frame: pd.DataFrame) -> pd.DataFrame:
    return Diagnosed(frame).observations("synthetic", unrolled.OBSERVATIONS)


def shown(frame: pd.DataFrame) -> list[str]:
    return [row["key"] for row in unrolling.to_show(frame, observed(frame))]


def swapped(observations: pd.DataFrame) -> pd.DataFrame:
    """As if training had gone the other way."""
    return observations.assign(when=observations["when"].map({"initial": "final", "final": "initial"}))


def changed(frame: pd.DataFrame, row: int, **values) -> pd.DataFrame:
    frame = frame.copy()
    for name, value in values.items():
        frame.loc[row, {"accuracy": "eval/accuracy", "kept": unrolling.KEPT}.get(name, name)] = value
    return frame


def array_of(observations: pd.DataFrame, key: str, when: str, quantity: str) -> np.ndarray:
    own = observations.query("key == @key and when == @when and quantity == @quantity")
    return own.pivot(index="place", columns="index", values="value").to_numpy()


# Which network


def test_the_solved_network_of_the_largest_distance_and_the_smallest_seed_is_shown():
    frame = with_status(COPY, EXHAUSTED)
    near, far = (COPY.index[(COPY["distance"] == distance) & (COPY["seed"] == 1)] for distance in (8, 23))
    frame = changed(frame, near[0], status=SOLVED)
    assert shown(frame) == [frame.loc[near[0], "key"]]
    frame = changed(frame, far[0], status=SOLVED, trained_steps=100)
    assert shown(frame) == [frame.loc[far[0], "key"]]
    frame = changed(frame, far[1], status=SOLVED, trained_steps=200)  # as far, as small a seed, more steps
    assert shown(frame) == [frame.loc[far[1], "key"]]
    zero = COPY.index[(COPY["distance"] == 23) & (COPY["seed"] == 0)][0]
    assert shown(changed(frame, zero, status=SOLVED, trained_steps=20)) == [frame.loc[zero, "key"]]
    assert shown(changed(frame, far[1], kept=0.0)) == [frame.loc[far[0], "key"]]


def test_where_none_is_solved_the_most_accurate_is_shown_and_else_what_there_is():
    frame = changed(with_status(COPY, EXHAUSTED).assign(**{"eval/accuracy": 0.5}), 3, accuracy=0.7)
    assert shown(frame) == [frame.loc[3, "key"]]
    assert shown(changed(frame, 3, status=DIVERGED)) != [frame.loc[3, "key"]]
    diverged = changed(with_status(COPY, RUNNING), 5, status=DIVERGED)
    assert shown(diverged) == [frame.loc[5, "key"]]
    assert shown(with_status(COPY, FAILED)) == []
    running = with_status(COPY, RUNNING)
    assert COPY.set_index("key").loc[shown(running)[0], "distance"] == 23
    told = unrolled.caption(running, observed(running)).partition("seed 0")[2]
    assert "before training" in told
    assert "after training" not in told
    assert "accuracy over" not in told


def test_each_task_has_a_network():
    told = unrolled.table(FRAME, observed(FRAME))
    assert set(told["task"]) == {"adding", "copy"}
    assert told.groupby("task")["key"].nunique().eq(1).all()


# Its numbers


def test_the_maps_are_the_states_with_their_units_in_another_order():
    observations = observed(COPY)
    (key,) = shown(COPY)
    maps = [image.get_array() for ax in unrolled.draw(COPY, observations).axes for image in ax.get_images()]
    for when in ("initial", "final"):
        states = array_of(observations, key, when, "state")
        (found,) = [values for values in maps if sorted(map(tuple, values)) == sorted(map(tuple, states))]
        assert np.array_equal(found, states[unrolling.order(states)])
        inputs = array_of(observations, key, when, "input")
        assert sum(values.shape == inputs.shape and np.array_equal(values, inputs) for values in maps) == 1


def test_the_table_tells_of_every_step_what_was_observed():
    observations = observed(COPY)
    (key,) = shown(COPY)
    told = unrolled.table(COPY, observations)
    for when in ("initial", "final"):
        states, other = (array_of(observations, key, when, name) for name in ("state", "changed/state"))
        own = told[(told["when"] == when) & (told["layer"] == "layer 1")]
        assert own["time"].tolist() == list(range(states.shape[1]))
        assert own["size"].tolist() == pytest.approx([math.sqrt(sum(h * h for h in step) / 6) for step in states.T])
        apart = [math.dist(*both) for both in zip(states.T, other.T, strict=True)]
        assert own["difference"].tolist() == pytest.approx(apart)
        outputs, targets = (array_of(observations, key, when, name) for name in ("output", "target"))
        scored = told[(told["when"] == when) & (told["layer"] == "output")]
        for row, logits, target in zip(scored.to_dict("records"), outputs.T, targets[0], strict=True):
            powers = [math.exp(logit) for logit in logits]
            assert row["probability"] == pytest.approx(powers[int(target)] / sum(powers))
            assert row["right"] == float(max(powers) == powers[int(target)] and int(target) == np.argmax(logits))


def test_outputs_that_are_values_have_an_error():
    adding = FRAME[FRAME["task"] == "adding"]
    told = unrolled.table(adding, observed(adding))
    outputs = told[told["layer"] == "output"].set_index("when")
    assert outputs["error"].to_dict() == pytest.approx({"initial": 0.8, "final": 0.1})
    assert outputs["probability"].isna().all()


def test_numbers_of_symbols_are_drawn_as_symbols():
    symbols = np.array([[2.0, 1.0, 0.0, 3.0]])
    one_hot = [[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert unrolling._symbols(symbols, symbols + 0)[0].tolist() == one_hot
    for other in (np.array([[0.5, 1.0]]), np.array([[-1.0, 1.0]]), np.eye(3), np.array([[0.0, 255.0]])):
        assert unrolling._symbols(other)[0] is other


def test_neighbours_are_units_with_a_like_course():
    up, down = np.linspace(0, 1, 9), np.linspace(0, -1, 9)
    states = np.array([up, down, 0.9 * up, 0.9 * down, 0.8 * up, 0.8 * down])
    order = unrolling.order(states).tolist()
    assert sorted(order[:3]) == [0, 2, 4]  # those that are larger on average first
    assert sorted(order[3:]) == [1, 3, 5]
    assert unrolling.order(states[:1]).tolist() == [0]
    assert sorted(unrolling.order(np.full((4, 3), np.nan))) == [0, 1, 2, 3]


def test_inputs_that_say_something_are_those_that_leave_the_usual_value():
    copy = np.eye(4)[[1, 2, 0, 0, 0, 0, 0, 3, 0]].T
    assert unrolling.events(copy).tolist() == [0, 1, 7]
    adding = np.array([[0.1, 0.7, 0.3, 0.4, 0.9, 0.2], [0, 1, 0, 0, 0, 1]])
    assert unrolling.events(adding).tolist() == [1, 5]
    assert unrolling.events(adding[:1]).tolist() == []
    assert unrolling.events(np.eye(4)[[0, 1, 2, 3, 1, 2]].T).tolist() == []  # no symbol is usual


def test_missing_numbers_are_no_hindrance():
    observations = observed(FRAME)
    broken = observations.assign(value=observations["value"].mask(observations.index % 5 == 0))
    unrolled.draw(FRAME, broken).canvas.draw()
    assert "nan" not in unrolled.caption(FRAME, broken)
    nothing = observations.iloc[:0]
    unrolled.draw(FRAME, nothing).canvas.draw()
    assert unrolled.caption(FRAME, nothing).endswith(".")


def test_each_layer_has_a_block():
    observations = observed(COPY)
    states = observations["quantity"].isin(["state", "changed/state"])
    second = observations[states].assign(layer="layer 2")
    figure = unrolled.draw(COPY, pd.concat([observations, second]))
    labels = [ax.get_ylabel() for ax in figure.axes]
    for name in ("6 units\nlayer 1", "6 units\nlayer 2", "change\nlayer 1", "change\nlayer 2"):
        assert labels.count(name) == 1


# What is said


def test_the_caption_tells_what_is_right_and_what_is_left_of_another_input():
    observations = observed(COPY)
    told = unrolled.caption(COPY, observations)
    assert "3 of 3 (0.91) after training and 1 of 3 (0.33) before training" in told
    assert "0.24 → 0.24 after training and 0.24 → " in told
    turned = unrolled.caption(COPY, swapped(observations))
    assert "1 of 3 (0.33) after training and 3 of 3 (0.91) before training" in turned
    assert "and 0.24 → 0.24 before training" in turned


def test_without_another_input_nothing_is_said_or_drawn_of_it():
    observations = observed(COPY)
    without = observations[~observations["quantity"].isin(unrolling.CHANGED)]
    assert "change" in [ax.get_ylabel() for ax in unrolled.draw(COPY, observations).axes]
    assert "change" not in [ax.get_ylabel() for ax in unrolled.draw(COPY, without).axes]
    told = unrolled.caption(COPY, without)
    assert "another" not in told
    assert "root mean square of the states" in told


def test_the_line_stands_where_outputs_begin_to_be_scored():
    figure = unrolled.draw(COPY, observed(COPY))
    scored = {line.get_xdata()[0] for ax in figure.axes for line in ax.lines if line.get_label() == "_scored"}
    assert scored == {22 - 0.5}  # of 25 steps the last three
    marked = {tuple(line.get_xdata()) for ax in figure.axes for line in ax.lines if line.get_label() == "_changed"}
    assert marked == {(0,)}


def test_probabilities_go_from_zero_to_one_and_states_are_centred():
    axes = unrolled.draw(COPY, observed(COPY)).axes
    ends = {image.cmap.name: image.get_clim() for ax in axes for image in ax.get_images()}
    assert ends[sheets.SHARES] == (0, 1)
    assert ends[sheets.STATES] == (-1, 1)


def test_it_applies_where_states_were_kept():
    assert unrolled.applies(FRAME)
    assert not unrolled.applies(FRAME.assign(**{unrolling.KEPT: math.nan}))
    assert not unrolled.applies(FRAME.drop(columns=unrolling.KEPT))
    assert set(observed(FRAME).columns) == set(OBSERVATION)
