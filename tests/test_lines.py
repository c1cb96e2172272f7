"""The field most worth a line becomes the lines, in colours that fit it; figures are drawn where they are meant."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from frames import (
    CELL_FACTOR,
    adding_sweep,
    architecture_sweep,
    capacity_sweep,
    clipping_sweep,
    copy_sweep,
    frame_of,
    sensor_sweep,
    sweep,
    truncation_sweep,
)

from reports import captions, figures, lines, panels, style, words
from reports.figures import learnability, meant_for

DEPTH = frame_of(sweep(task="copy", delay=[5, 20], layers=[1, 2, 4], seed=range(2)))
CELLS = frame_of(architecture_sweep(seed=range(2)))
FIELDS = {
    "init.spectral_radius": frame_of(copy_sweep(hidden_size=[16, 64], seed=[0], delay=[5, 20])),
    "train.truncation": frame_of(truncation_sweep(seed=[0])),
    "cell": CELLS,
    "model.layers": DEPTH,
    "model.hidden_size": frame_of(capacity_sweep(seed=[0])),
    "train.clip_threshold": frame_of(clipping_sweep(seed=[0], spectral_radius=1.0)),
    "model.bidirectional": frame_of(sensor_sweep(seed=[0], cell="gru")),
}


def drawn_lines(ax) -> list:
    return [line for line in ax.lines if not line.get_label().startswith("_")]


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_varied_becomes_the_lines(field):
    frame = FIELDS[field]
    assert lines.field(frame) == field
    figure = learnability.draw(frame)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == words.label(field)
    assert {len(drawn_lines(ax)) for ax in figure.axes} == {frame[field].nunique(dropna=False)}
    assert f"one line per {words.plain(field)}" in learnability.caption(frame)


def test_every_field_that_can_be_lines_is_tried():
    assert set(FIELDS) == set(lines.ORDER)


def test_nothing_varied_gives_one_line():
    one = frame_of(sweep(task="copy", delay=[5, 20]))
    assert lines.field(one) == lines.RADIUS
    assert lines.field(one, beside=(lines.RADIUS,), default="model.hidden_size") == "model.hidden_size"


def test_a_radius_that_belongs_to_the_cell_or_the_task_makes_no_lines():
    own = [*sweep(task="copy", delay=[5, 20], spectral_radius=0.9), *sweep(task="copy", delay=[5, 20], cell="lstm")]
    assert lines.field(frame_of(own)) == "cell"
    own = [*sweep(task="copy", delay=[5, 20], spectral_radius=0.9), *sweep(task="adding", length=[5, 20])]
    assert (
        lines.field(frame_of([*own, *sweep(task="copy", delay=[5, 20], spectral_radius=0.9, layers=2)]))
        == "model.layers"
    )


def test_settings_of_a_cell_go_with_its_line():
    """The learning rate here differs by cell alone: no panels, and the caption says so."""
    lstm = sweep(task="copy", cell="lstm", delay=[5, 20], learning_rate=0.5)
    frame = frame_of([*sweep(task="copy", cell="elman", nonlinearity="relu", delay=[5, 20]), *lstm])
    assert [ax.get_title(loc="left") for ax in learnability.draw(frame).axes] == ["copy memory"]
    assert "Each cell has its own learning rate: elman 0.01 and lstm 0.5." in learnability.caption(frame)
    both = frame_of([*lstm, *sweep(task="copy", cell=["elman", "lstm"], delay=[5, 20])])
    assert len(learnability.draw(both).axes) == 2  # lstm has two learning rates: unlike trials


def test_lines_are_in_their_order_and_a_missing_value_is_the_last():
    assert lines.values(pd.Series([np.nan, 10.0, 5.0, 10.0]))[:2] == [5, 10]
    assert lines.values(pd.Series(["lstm", "new", "elman", "a_new"])) == ["elman", "lstm", "a_new", "new"]
    names = [look.name for look in lines.looks([5.0, 10.0, np.nan], "train.truncation")]
    assert names == ["5", "10", "full"]
    column = pd.Series([np.nan, 10.0, 5.0])
    assert lines.ranks(column, lines.values(column)).tolist() == [2, 1, 0]


def test_a_cell_has_the_same_colour_in_every_figure_and_no_two_have_the_same():
    of_all = {look.name: look for look in lines.looks([*words.CELLS], "cell")}
    assert len({look.colour for look in of_all.values()}) == len(words.CELLS) == len(style.NAMED)
    assert len({look.marker for look in of_all.values()}) == len(words.CELLS)
    assert lines.looks(["lstm"], "cell")[0].colour == of_all["lstm"].colour
    one, other = lines.looks(["my_cell", "your_cell"], "cell")
    assert one.colour != other.colour


def test_a_network_that_reads_both_ways_has_its_cell_s_colour_and_a_dash():
    one, both = lines.looks(["gru", f"gru{lines.BOTH}"], lines.NETWORK)
    assert (one.colour, one.dash) == (both.colour, "-")
    assert both.dash == "--"
    frame = lines.with_networks(FIELDS["model.bidirectional"])
    assert set(frame[lines.NETWORK]) == {"gru", f"gru{lines.BOTH}"}


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 3), (8, 3), (9, 3), (10, 4), (10, 10)])
def test_a_legend_reads_row_by_row(count, columns):
    order = lines.row_by_row(count, columns)
    heights = [len(part) for part in np.array_split(np.arange(count), columns)]
    places = [(row, column) for column, height in enumerate(heights) for row in range(height)]
    assert [entry for _, entry in sorted(zip(places, order, strict=True))] == list(range(count))


def test_the_caption_of_cells_says_how_large_they_are():
    (told,) = captions.sizes(CELLS, "cell")
    assert told.startswith("Trained parameters: elman 4,547, irnn 4,547")
    assert "lstm 18,188" in told
    assert set(CELL_FACTOR) <= set(words.CELLS)
    assert not [*captions.sizes(DEPTH, "model.layers")]


def test_truth_values_read_as_words():
    assert words.part("model.bidirectional", "true") == "bidirectional"
    assert words.part("model.bidirectional", "false") == "not bidirectional"
    assert words.part("train.truncation", None) == "window full"


@pytest.mark.parametrize(("field", "noun"), words.COUNTED.items())
def test_a_count_of_one_is_singular(field, noun):
    told = [words.part(field, number).removeprefix("budget ") for number in (0, 1, 1.0, 2.0, 11)]
    assert told == [f"0 {noun}s", f"1 {noun}", f"1 {noun}", f"2 {noun}s", f"11 {noun}s"]


def test_titles_and_captions_of_a_single_layer_and_unit_are_singular():
    frame = frame_of(sweep(task="copy", delay=[5, 20], layers=[1, 2], hidden_size=1, max_steps=1, eval_every=1))
    assert panels.titles(frame[["task", "model.layers"]].drop_duplicates().sort_values("model.layers")) == [
        "copy memory · 1 layer",
        "copy memory · 2 layers",
    ]
    (told,) = captions.protocols(frame, ["distance", "model.layers"])
    assert "within 1 training step; elman cell, 1 hidden unit." in told


def test_tasks_with_the_same_networks_tell_them_once_and_many_cells_are_counted():
    told = captions.protocols(CELLS, ["task", "distance", "cell"])
    assert [sentence.startswith(start) for sentence, start in zip(told, ("Adding", "Copy", "In all"), strict=True)]
    assert told[-1] == "In all tasks: 8 kinds of cells, 64 hidden units."
    apart = CELLS.assign(**{"model.hidden_size": CELLS["model.hidden_size"] + CELLS["task"].eq("copy")})
    told = captions.protocols(apart, ["task", "distance", "cell"])
    assert [
        sentence.endswith(end) for sentence, end in zip(told, ("64 hidden units.", "65 hidden units."), strict=True)
    ]


@pytest.mark.parametrize(
    ("number", "told"),
    [(9.96, "10"), (10.45, "10"), (7.42, "7.4"), (1, "1.0"), (0.5, "0.50"), (0.0312, "0.031"), (123.4, "123")],
)
def test_a_rounded_number_has_two_digits(number, told):
    assert words.rounded(number) == told


def test_a_correlation_has_the_sign_of_minus_but_where_it_is_nothing():
    assert [words.signed(rho) for rho in (-0.9, 0.9, -0.001)] == ["\N{MINUS SIGN}0.90", "0.90", "0.00"]


# Which figures are drawn


def invented(monkeypatch, **modules) -> None:
    found = {name: SimpleNamespace(**members) for name, members in modules.items()}
    monkeypatch.setattr(figures, "figures", lambda: dict(sorted(found.items())))


def test_figures_are_drawn_where_they_apply_the_claim_first_then_by_rank_then_by_name(monkeypatch):
    invented(
        monkeypatch,
        a_detail={},
        b_detail={"CLAIM_OF": ("mine",), "applies": lambda frame: len(frame) > 0},
        main={"RANK": 1},
        never={"RANK": 0, "applies": lambda frame: False},
    )
    assert list(meant_for(DEPTH)) == ["main", "a_detail", "b_detail"]
    assert list(meant_for(DEPTH, "mine")) == ["b_detail", "main", "a_detail"]
    assert list(meant_for(DEPTH.iloc[:0], "mine")) == ["main", "a_detail"]


@pytest.mark.parametrize("name", figures.figures())
def test_a_figure_says_for_any_frame_whether_it_applies(name):
    """An old store lacks the fields of today."""
    frame = frame_of(adding_sweep(seed=[0]))
    oldest = frame.drop(columns=[column for column in panels.trial_fields(frame) if column not in captions.NEEDS])
    for some in (frame, oldest, frame.iloc[:0]):
        assert figures.applies(figures.figures()[name], some) in (True, False)
