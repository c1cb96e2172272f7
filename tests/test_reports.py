"""Figures show what the frame holds: every trial in its place, with the interval of every point."""

import importlib
import re
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from frames import (
    DELAYS,
    INITS,
    LENGTHS,
    RADII,
    adding_sweep,
    architecture_sweep,
    capacity_sweep,
    clipping_sweep,
    copy_sweep,
    diagnosed,
    ended_badly,
    flow_sweep,
    frame_of,
    given,
    input_sweep,
    scale_sweep,
    sensor_sweep,
    truncation_sweep,
    undiagnosed,
    unlucky,
    with_lags,
    with_lengths,
    with_status,
)
from look import collisions, problems

from reports import distances, panels, style, words
from reports.figures import applies, check, figures, learnability, title
from rnnlab.record import DIVERGED, FAILED, RUNNING, SOLVED
from rnnlab.refusal import BadInput
from rnnlab.registry import registry

COPY = frame_of(copy_sweep())
GRIDS = {
    "one task": COPY,
    "trials that ended badly": unlucky(COPY),
    "two tasks": unlucky(frame_of([*copy_sweep(seed=range(3)), *adding_sweep(seed=range(3))])),
    "clipping on and off": frame_of(copy_sweep(clip_threshold=[1.0, None], seed=range(2))),
    "two sizes": frame_of(copy_sweep(hidden_size=[16, 64], init="identity", seed=range(2))),
    "two numbers of symbols": frame_of(copy_sweep(symbols=[3, 5], delay=[10, 12, 20], seed=range(2))),
    "symbols instead of delays": frame_of(copy_sweep(symbols=[3, 5, 9], delay=20, seed=range(2))),
    "two budgets": frame_of(copy_sweep(max_steps=[500, 2000], init="gaussian", seed=range(2))),
    "a task with its own training": frame_of([*copy_sweep(seed=[0]), *adding_sweep(seed=[0], optimizer="adam")]),
    "one run": frame_of(copy_sweep(delay=20, init="gaussian", spectral_radius=1.0, seed=0)),
    "nothing finished": with_status(frame_of(copy_sweep(delay=[10, 20], seed=[0, 1])), RUNNING),
    "nothing but failures": with_status(frame_of(adding_sweep(length=[10, 20], seed=[0])), FAILED),
    "windows": ended_badly(frame_of(truncation_sweep(init=list(INITS)))),
    "windows of unknown memory": frame_of(truncation_sweep(seed=[0])).drop(columns="train_bytes"),
    "cells": ended_badly(frame_of(architecture_sweep())),
    "sizes and symbols": ended_badly(frame_of(capacity_sweep())),
    "clip thresholds": unlucky(frame_of(clipping_sweep())),
    "sensors": ended_badly(frame_of(sensor_sweep())),
    "other lengths": ended_badly(
        with_lengths(frame_of(copy_sweep(delay=[10, 20, 40], cell=["elman", "gru"])), [20, 80])
    ),
    "errors by lag": with_lags(unlucky(frame_of([*adding_sweep(seed=range(3)), *copy_sweep(seed=[0])]))),
    "errors by lag in many settings": with_lags(frame_of(clipping_sweep(hidden_size=[16, 64, 128, 256], seed=[0]))),
    "diagnosed networks": diagnosed(ended_badly(frame_of(flow_sweep()))),
    "diagnosed layers": diagnosed(frame_of(flow_sweep(layers=[1, 2], seed=range(2), delay=10))),
    "more diagnosed settings than panels": diagnosed(frame_of(flow_sweep(clip_threshold=[0.1, 1.0, None], seed=[0]))),
    "scales of inputs": diagnosed(ended_badly(frame_of(scale_sweep()))),
    "scales of inputs in two networks": diagnosed(
        frame_of(scale_sweep(length=20, hidden_size=[16, 64], layers=2, seed=[0]))
    ),
    "matrices and states": diagnosed(unlucky(frame_of([*copy_sweep(seed=range(3)), *adding_sweep(seed=range(3))]))),
    "matrices and states of one network": diagnosed(frame_of(copy_sweep(delay=5, spectral_radius=1.0, seed=0))),
    "matrices and states before training": diagnosed(with_status(frame_of(copy_sweep(delay=5, seed=[0])), RUNNING)),
    "networks over training": diagnosed(unlucky(frame_of(copy_sweep(init="gaussian")))),
    "networks of unknown dynamics": undiagnosed(diagnosed(ended_badly(frame_of(copy_sweep(seed=range(3)))))),
    "inputs of different strength": diagnosed(unlucky(frame_of(input_sweep()))),
    "enough seeds to compare settings": unlucky(frame_of(copy_sweep(seed=range(7), init="gaussian"))),
    "cells over training": diagnosed(ended_badly(frame_of(architecture_sweep(cell=["elman", "gru", "lru"])))),
}


def lines_of(ax) -> dict[str, np.ndarray]:
    """Label -> rates of the lines that stand for a spectral radius."""
    return {line.get_label(): line.get_ydata() for line in ax.lines if not line.get_label().startswith("_")}


def titles_of(figure) -> list[str]:
    return [ax.get_title(loc="left") for ax in figure.axes]


# Every figure


def test_each_file_in_the_folder_is_a_figure():
    found = {path.stem for path in Path(learnability.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(figures()) == found


MEANT = [(name, grid) for name in figures() for grid in GRIDS if applies(figures()[name], GRIDS[grid])]


def spread(name: str, count: int) -> list[tuple[str, str]]:
    """So many of the grids of a figure, from the first to the last."""
    meant = [pair for pair in MEANT if pair[0] == name]
    return [meant[place] for place in sorted({*np.linspace(0, len(meant) - 1, count).round().astype(int)})]


def slow_but(pairs: list[tuple[str, str]], count: int) -> list:
    """Of each figure so many of these pairs at every run of the tests, the others among the slow ones."""
    quick = [pair for name in figures() for pair in spread(name, count)]
    return [pytest.param(*pair, marks=[] if pair in quick else pytest.mark.slow) for pair in pairs]


@pytest.mark.parametrize(("name", "grid"), slow_but(MEANT, 4))
def test_figure_draws_from_any_frame_that_it_is_meant_for_and_leaves_it_as_it_was(name, grid):
    """It reads no columns but those that it declares and the fields of trials: there are no others here."""
    module, frame = figures()[name], GRIDS[grid]
    declared = {*module.NEEDS, *panels.trial_fields(frame)}
    known = [column for column in frame if column in declared or column.startswith(getattr(module, "OPTIONAL", ()))]
    frame = frame[known].copy()
    frames = [frame, *given(module, GRIDS[grid])[1:]]
    figure = module.draw(*frames)
    figure.canvas.draw()
    assert problems(figure) == []
    assert module.caption(*frames).endswith(".")
    assert len(module.table(*frames)) > 0
    pd.testing.assert_frame_equal(frame, GRIDS[grid][known])


@pytest.mark.parametrize(("name", "grid"), slow_but([pair for name in figures() for pair in spread(name, 3)], 1))
def test_titles_and_names_of_axes_neither_meet_nor_leave_the_figure(name, grid):
    module = figures()[name]
    assert list(collisions(module.draw(*given(module, GRIDS[grid])))) == []


@pytest.mark.parametrize("name", figures())
def test_figure_is_tested_with_trials_that_ended_in_every_way(name):
    ends = [set(GRIDS[grid]["status"]) for figure, grid in MEANT if figure == name]
    assert any({DIVERGED, FAILED, RUNNING, SOLVED} <= found for found in ends)


@pytest.mark.parametrize("name", figures())
def test_figure_refuses_a_frame_without_its_columns_in_one_line(name):
    module = figures()[name]
    frame = next(GRIDS[grid] for figure, grid in MEANT if figure == name)
    check(name, module, frame)
    with pytest.raises(BadInput) as refusal:
        check(name, module, frame.drop(columns=list(module.NEEDS[:2])))
    (line,) = refusal.value.problems
    assert line.startswith(f"figure {name}: the store's runs have no {module.NEEDS[0]}, {module.NEEDS[1]};")


@pytest.mark.parametrize("name", figures())
def test_figure_has_a_title(name):
    assert re.fullmatch(r"[A-Z].*[^.]", title(figures()[name]))


# Learnability


@pytest.mark.parametrize("grid", GRIDS)
def test_unlike_trials_are_never_pooled(grid):
    """A point that pooled unlike trials would hold a seed twice."""
    frame = GRIDS[grid]
    points = learnability.table(frame)
    totals = points[["counted", "unfinished", "failed"]].sum(axis=1)
    assert totals.sum() == len(frame)
    assert totals.max() <= frame["seed"].nunique()


@pytest.mark.parametrize("grid", GRIDS)
def test_panels_have_titles_of_their_own(grid):
    titles = titles_of(learnability.draw(GRIDS[grid]))
    assert len(set(titles)) == len(titles)


def test_panels_are_those_of_task_clip_threshold_and_init():
    sweeps = [*copy_sweep(clip_threshold=[1.0, None], seed=[0]), *adding_sweep(seed=[0])]
    expected = [f"adding problem · {init} init" for init in INITS]
    expected += [f"copy memory · clip {clip} · {init} init" for clip in ("1", "off") for init in INITS]
    assert titles_of(learnability.draw(frame_of(sweeps))) == expected


def test_titles_name_what_varies_and_nothing_else():
    assert titles_of(learnability.draw(GRIDS["two sizes"])) == ["copy memory · 16 units", "copy memory · 64 units"]
    assert titles_of(learnability.draw(GRIDS["one run"])) == ["copy memory"]
    budgets = ["copy memory · budget 500 steps", "copy memory · budget 2000 steps"]
    assert titles_of(learnability.draw(GRIDS["two budgets"])) == budgets
    own_training = titles_of(learnability.draw(GRIDS["a task with its own training"]))
    assert own_training == [f"{task} · {init} init" for task in ("adding problem", "copy memory") for init in INITS]


def test_a_field_that_sets_the_distance_makes_no_panels_and_a_second_one_does():
    titles = titles_of(learnability.draw(GRIDS["two numbers of symbols"]))
    assert titles == [f"copy memory · {symbols} symbols · {init} init" for symbols in (3, 5) for init in INITS]
    assert len(titles_of(learnability.draw(GRIDS["symbols instead of delays"]))) == len(INITS)


def test_a_panel_has_one_line_per_spectral_radius_with_the_rates_of_the_table():
    points = learnability.table(COPY)
    for ax, init in zip(learnability.draw(COPY).axes, INITS, strict=True):
        rates = lines_of(ax)
        assert [float(label) for label in rates] == list(RADII)
        for label, drawn in rates.items():
            rows = points[(points["init"] == init) & (points["init.spectral_radius"] == float(label))]
            assert drawn.tolist() == rows["rate"].tolist()


def test_the_intervals_drawn_are_those_of_the_table():
    frame = GRIDS["trials that ended badly"]
    points = learnability.table(frame)
    for ax, init in zip(learnability.draw(frame).axes, INITS, strict=True):
        bars = [segment for bars in ax.collections for segment in bars.get_segments()]
        drawn = Counter((nearest(bar[0][0]), bar[0][1], bar[1][1]) for bar in bars)
        shown = points[(points["init"] == init) & (points["counted"] > 0)]
        assert drawn == Counter(zip(shown["distance"], shown["low"], shown["high"], strict=True))


def nearest(place: float) -> float:
    """The distance of copy memory to which a point belongs, though it stands a little beside it."""
    return min((delay + 3.0 for delay in DELAYS), key=lambda distance: abs(np.log(distance / place)))


def test_points_at_one_distance_stand_apart():
    axis = distances.Axis(COPY["distance"], lines=len(RADII))
    one = pd.Series([23.0])
    places = [axis.place(one, rank)[0] for rank in range(len(RADII))]
    assert (np.diff(places) > 0).all()
    assert np.mean(np.log(places)) == pytest.approx(np.log(23))


def test_ticks_stand_at_the_tested_distances():
    for ax in learnability.draw(COPY).axes:
        assert ax.get_xscale() == "log"
        assert ax.get_xticks().tolist() == [delay + 3 for delay in DELAYS]
        assert [label.get_text() for label in ax.get_xticklabels()] == [str(delay + 3) for delay in DELAYS]


def test_the_axis_is_logarithmic_only_over_a_wide_range():
    narrow = learnability.draw(frame_of(adding_sweep(length=[10, 20, 30], seed=[0])))
    assert {ax.get_xscale() for ax in narrow.axes} == {"linear"}
    assert LENGTHS[-1] - 1 >= distances.LOG_FROM * (LENGTHS[0] - 1)


def test_labels_that_would_touch_are_left_out_but_not_the_largest():
    ticks = np.arange(8, 104, 5.0)
    labels = distances.Axis(pd.Series(ticks), lines=3).labels(ticks)
    assert labels[-1] == "103"
    assert labels[0] == "8"
    assert 5 < len([label for label in labels if label]) < len(ticks)


def test_points_that_miss_trials_are_open_and_points_without_a_result_are_crosses():
    frame = GRIDS["trials that ended badly"]
    points = learnability.table(frame)
    missing = points["unfinished"] + points["failed"] > 0
    marks = Counter()
    for ax in learnability.draw(frame).axes:
        for line in ax.lines:
            kind = "cross" if line.get_label() == "_nothing" else str(line.get_markerfacecolor() == "white")
            marks[kind] += len(line.get_xdata()) if line.get_label() in ("_points", "_nothing") else 0
    assert marks["True"] == (missing & (points["counted"] > 0)).sum() > 0
    assert marks["cross"] == (points["counted"] == 0).sum() > 0
    assert marks["False"] == (~missing).sum()


def test_the_legend_is_ordered_by_radius_and_says_what_it_is():
    (legend,) = learnability.draw(COPY).legends
    assert [text.get_text() for text in legend.get_texts()] == ["0.5", "0.8", "1.0", "1.2"]
    assert legend.get_title().get_text() == r"initial spectral radius of $W_{hh}$"


def test_the_caption_says_how_the_data_were_made():
    caption = learnability.caption(GRIDS["two tasks"])
    for part in (
        "Wilson 95 % intervals",
        "Copy memory: 3 seeds per point; solved means at least 99 % of the recalled symbols right in 3 evaluations",
        "Adding problem: 3 seeds per point; solved means a mean squared error of the sum below 0.01 in 3 evaluations",
        "within 2000 training steps",
        "elman cell, 64 hidden units",
    ):
        assert part in caption


def test_the_caption_accounts_for_trials_that_ended_badly():
    frame = GRIDS["trials that ended badly"]
    count = frame["status"].value_counts()
    caption = learnability.caption(frame)
    assert f"Counted as not solved: {count['diverged']} trials that diverged." in caption
    assert f"Not counted: {count['running']} unfinished trials, {count['failed']} failed trials;" in caption
    assert "ounted" not in learnability.caption(COPY)


def test_a_task_without_words_reads_as_its_name():
    assert words.criterion("a_new_task") == words.OWN_CRITERION
    assert words.task("a_new_task") == "a new task"


@pytest.mark.parametrize("task", words.CRITERIA)
def test_a_criterion_in_words_has_the_number_of_its_task(task):
    """A task is solved at a share of right outputs or below a loss: at that named number, and not on its other side."""
    module = importlib.import_module(f"rnnlab.tasks.{task}")
    share, loss = getattr(module, "SOLVED_ACCURACY", None), getattr(module, "SOLVED_LOSS", None)
    assert (share is None) != (loss is None)
    wording = f"at least {100 * share:g} %" if share else f"below {loss:g}"
    assert re.search(rf"{re.escape(wording)}(?![.\d])", words.criterion(task))
    spec = registry()["task"][task]()
    assert spec.solved({"accuracy": share} if share else {"loss": loss - 1e-9})
    assert not spec.solved({"accuracy": share - 1e-9} if share else {"loss": loss + 1e-9})


def test_a_name_with_the_signs_of_formulas_is_drawn_as_it_is():
    frame = COPY.assign(init=COPY["init"].replace("gaussian", "$broken{"))
    figure = learnability.draw(frame)
    figure.canvas.draw()
    assert "copy memory · $broken{ init" in titles_of(figure)


def test_figures_leave_the_settings_of_matplotlib_as_they_were():
    before = dict(mpl.rcParams)
    with style.look():
        pass
    assert dict(mpl.rcParams) == before
