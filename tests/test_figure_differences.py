"""The forest of ratios shows the comparisons of the table, and says which test was made."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import adding_sweep, architecture_sweep, copy_sweep, frame_of, unlucky, with_status

from reports import style
from reports.figures import applies, differences
from rnnlab.analysis import compare
from rnnlab.record import EXHAUSTED, FAILED, RUNNING

RADII = frame_of(copy_sweep(seed=range(7)))
CELLS = frame_of(architecture_sweep(seed=range(6), cell=["elman", "irnn", "cornn", "lstm", "gru", "lru"]))


def rows_of(ax) -> dict[str, float]:
    """What stands beside each row -> where its point stands, if it has one."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    points = {line.get_ydata()[0]: line.get_xdata()[0] for line in ax.lines if line.get_label() == "_ratio"}
    return {name: points.get(place, math.nan) for place, name in enumerate(names)}


def legends_of(frame) -> list[str]:
    return [text.get_text() for legend in differences.draw(frame).legends for text in legend.get_texts()]


def test_it_is_meant_for_two_values_with_enough_seeds_and_distances():
    assert applies(differences, RADII)
    assert not applies(differences, frame_of(copy_sweep(spectral_radius=1.0, seed=range(7))))
    assert not applies(differences, frame_of(copy_sweep(seed=range(5))))
    assert not applies(differences, frame_of(copy_sweep(seed=range(7), delay=[10, 20])))
    assert not applies(differences, RADII.drop(columns="distance"))


@pytest.mark.parametrize("status", [RUNNING, FAILED])
def test_trials_without_a_result_do_not_call_for_it(status):
    radius = RADII["init.spectral_radius"]
    assert not applies(differences, with_status(RADII, status))
    assert not applies(differences, with_status(RADII, status, radius != 0.5))
    assert not applies(differences, with_status(RADII, status, RADII["seed"] > 4))
    assert applies(differences, with_status(RADII, status, radius > 0.8))


def test_settings_without_a_common_seed_do_not_call_for_it():
    two = RADII[RADII["init.spectral_radius"] < 1]
    apart = two.assign(seed=two["seed"] + 10 * (two["init.spectral_radius"] == 0.5))
    assert applies(differences, two)
    assert not applies(differences, apart)


def test_a_row_is_a_comparison_of_the_table_and_stands_at_its_ratio():
    table, figure = differences.table(RADII), differences.draw(RADII)
    assert len(figure.axes) == 2
    for ax, (_, rows) in zip(figure.axes, table.groupby("init"), strict=True):
        shown = rows_of(ax)
        assert list(shown) == ["0.5 → 0.8", "0.8 → 1.0", "1.0 → 1.2"]
        assert list(shown.values()) == pytest.approx(rows["ratio"].tolist(), nan_ok=True)
    assert np.isfinite(table["ratio"]).any()


def test_the_numbers_are_those_of_the_analysis_over_all_panels_together():
    blanked, facets = differences.separated(RADII)
    found = compare(blanked, facets, "init.spectral_radius")
    pd.testing.assert_frame_equal(differences.table(RADII).drop(columns="missing"), found)


def test_a_point_is_filled_where_the_interval_excludes_one_and_p_is_bold_where_it_is_small():
    sweep = frame_of(copy_sweep(seed=range(9), init="gaussian"))
    twins = sweep[sweep["init.spectral_radius"] == 1.0].assign(**{"init.spectral_radius": 1.1})
    frame = pd.concat([sweep, twins], ignore_index=True)
    table, figure = differences.table(frame), differences.draw(frame)
    known = table[np.isfinite(table["ratio"])]
    faces = [line.get_markerfacecolor() for ax in figure.axes for line in ax.lines if line.get_label() == "_ratio"]
    surely = (known["ratio_low"] > 1) | (known["ratio_high"] < 1)
    assert [face != "white" for face in faces] == surely.tolist()
    assert len(set(map(str, faces))) == 2
    told = [text for ax in figure.axes for text in ax.texts if text.get_text() != differences.TESTED]
    assert [text.get_text() for text in told] == [differences.probability(p) for p in table["p_adjusted"]]
    assert [text.get_weight() == "bold" for text in told] == (table["p_adjusted"] < 0.05).tolist()
    assert list(map(differences.probability, (0.0001, 0.0547, 0.4))) == ["p < 0.001", "p 0.055", "p 0.40"]


def test_open_ends_are_arrows_at_the_edge():
    table, figure = differences.table(RADII), differences.draw(RADII)
    arrows = [line.get_marker() for ax in figure.axes for line in ax.lines if line.get_label() == "_open"]
    assert arrows.count("<") == (table["ratio_low"] == 0).sum()
    assert arrows.count(">") == np.isinf(table["ratio_high"]).sum()


def test_rows_that_miss_trials_are_faded():
    frame = with_status(RADII, RUNNING, (RADII["init.spectral_radius"] == 0.5) & (RADII["seed"] == 0))
    table = differences.table(frame)
    assert (table["missing"] > 0).tolist() == (table["first"] == 0.5).tolist()
    ax = differences.draw(frame).axes[0]
    assert [bars.get_alpha() for bars in ax.collections] == [differences.lines.FADED, 1, 1]
    assert "faded rows miss some of theirs" in differences.caption(frame)
    assert "some trials missing" in legends_of(frame)
    assert "some trials missing" not in legends_of(RADII)


def test_the_legend_says_what_is_filled_and_what_is_pale():
    told = legends_of(RADII)
    assert told[:2] == ["95 % interval excludes 1", "includes 1"]
    table = differences.table(RADII)
    pale = ((table["ratio_low"] == 0) & np.isinf(table["ratio_high"])).any()
    assert ("without an end on either side" in told) == pale


@pytest.mark.parametrize("waiting", ["copy", "adding"])
def test_a_task_without_a_result_yet_does_not_hide_the_other(waiting):
    both = [
        *copy_sweep(seed=range(6), init="gaussian"),
        *adding_sweep(seed=range(6), init="gaussian", markers="halves"),
    ]
    frame = frame_of(both)
    frame = with_status(frame, RUNNING, frame["task"] == waiting)
    table = differences.table(frame)
    assert set(table["task"]) == {"copy", "adding"} - {waiting}
    assert differences.applies(frame)
    differences.draw(frame).canvas.draw()
    assert "comparisons" in differences.caption(frame)


def test_of_many_comparisons_the_surest_are_drawn_and_the_caption_says_so():
    table = differences.table(CELLS)
    assert table.groupby("task").size().tolist() == [15, 15]
    figure = differences.draw(CELLS)
    for ax, (_, rows) in zip(figure.axes, table.groupby("task"), strict=True):
        assert len(rows_of(ax)) == differences.MOST_ROWS
        drawn = differences.shown(rows)
        assert drawn["p"].max() <= rows.drop(drawn.index)["p"].min()
    assert "those with the least p are drawn" in differences.caption(CELLS)
    assert "least p" not in differences.caption(RADII)
    assert "In all panels the seeds are too few for so many comparisons" in differences.caption(CELLS)
    assert "too few" not in differences.caption(RADII)


def test_the_caption_says_how_small_p_can_be_and_that_panels_stand_alone():
    """Seven seeds have 2^7 exchanges, of which the two with all seeds on one side are the most extreme."""
    told = differences.caption(RADII)
    assert "With 7 seeds no p can be below 0.016, 0.047 after adjustment." in told
    assert "Panels are not corrected against one another: 5 % of them may hold a false difference." in told
    one = differences.caption(RADII[RADII["init"] == "gaussian"])
    assert "With 7 seeds" in one
    assert "against one another" not in one


def test_settings_without_a_common_seed_are_in_no_count():
    """Three comparisons of six seeds are too many to show a difference; one of them is not."""
    frame = frame_of(copy_sweep(seed=range(6), init="gaussian"))
    assert "In all panels the seeds are too few" in differences.caption(frame)
    odd = frame["init.spectral_radius"].isin([0.5, 1.2])
    apart = frame.assign(seed=frame["seed"] + 10 * odd)
    table, told = differences.table(apart), differences.caption(apart)
    assert table["p"].notna().tolist() == [False, True, False]
    assert table.loc[1, "p_adjusted"] == table.loc[1, "p"]
    assert "too few" not in told
    assert "of 1 comparison " in told
    texts = [text.get_text() for text in differences.draw(apart).axes[0].texts][1:]
    assert [text == "no common seeds" for text in texts] == [True, False, True]


def test_the_caption_names_test_correction_and_interval_and_counts_what_differs():
    told, table = differences.caption(RADII), differences.table(RADII)
    for part in ("MOVER", "stratified log-rank", "whole seeds", "Holm", "profile likelihood", "with the next larger"):
        assert part in told
    surely = (table["p_adjusted"] < 0.05).sum()
    assert f"Copy memory: {surely} of {len(table)} comparisons differ in time to solve (adjusted p < 0.05)" in told
    assert "each with each" in differences.caption(CELLS)


def test_settings_that_nobody_solves_do_not_differ():
    frame = with_status(RADII, EXHAUSTED)
    assert differences.table(frame)["p_adjusted"].eq(1).all()
    assert "0 of 6 comparisons differ in time to solve (adjusted p < 0.05)." in differences.caption(frame)
    differences.draw(frame).canvas.draw()


def test_the_axis_holds_every_known_ratio_and_one():
    for frame in (RADII, unlucky(RADII), CELLS):
        table, limits = differences.table(frame), differences.draw(frame).axes[0].get_xlim()
        known = table["ratio"].dropna().clip(1 / differences.FARTHEST, differences.FARTHEST)
        assert known.between(*limits).all()
        assert limits[0] < 1 < limits[1]
    assert differences.draw(RADII).get_figwidth() / 2 == style.PANEL_WIDTH
