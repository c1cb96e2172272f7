"""Time to solve, learning curves, cost and coverage: what is drawn is what became of the trials."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, copy_sweep, ended_badly, frame_of, given, sweep, unlucky, with_status

from reports import captions, lines, multiples, panels, words
from reports.figures import applies, cost, coverage, learning_curves, time_to_solve
from rnnlab.analysis import wilson
from rnnlab.frame import COURSE
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RESULTS, RUNNING, SOLVED

TWO = frame_of(copy_sweep(delay=[5, 20], init="gaussian", spectral_radius=[0.5, 1.0], seed=range(4)))
ONE = frame_of(copy_sweep(delay=20, init="gaussian", spectral_radius=1.0, seed=range(4)))
LARGE = frame_of(
    [
        *copy_sweep(hidden_size=[16, 64], clip_threshold=[0.1, 1.0, None], init="gaussian", seed=[0, 1]),
        *adding_sweep(hidden_size=[16, 64], clip_threshold=[0.1, 1.0, None], init="gaussian", seed=[0, 1]),
    ]
)


def solved_at(frame: pd.DataFrame, *steps: float) -> pd.DataFrame:
    """The trials of a frame were solved at these steps, in their order; NaN: not within the budget."""
    solved = pd.Series(steps, index=frame.index, dtype="float64")
    ended = solved.fillna(frame["train.max_steps"])
    status = np.where(solved.notna(), SOLVED, EXHAUSTED)
    return frame.assign(status=status, steps_to_solve=solved, trained_steps=ended)


def drawn(ax, label: str) -> list:
    return [line for line in ax.lines if line.get_label() == label]


def legend_below(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[-1].get_texts()]


# Which panels are drawn


def test_of_many_settings_a_page_full_is_drawn_and_the_caption_says_which():
    points = time_to_solve.table(LARGE)
    _, facets, _ = lines.separated(LARGE)
    shown = multiples.chosen(points, facets)
    of_panels = shown.groupby([multiples.ROW, multiples.COLUMN])
    assert len(of_panels) <= multiples.MOST_PANELS
    assert of_panels[[*facets, "distance"]].nunique(dropna=False).max().max() == 1  # never pooled
    assert set(shown["train.clip_threshold"]) == {1.0}
    (told,) = multiples.left_out(points, facets)
    every = len(points[[*facets, "distance"]].drop_duplicates())
    assert told.startswith(f"Drawn are {len(of_panels)} of {every} panels: adding problem with clip 1")
    assert "copy memory with clip 1, distances 8, 13, 23, 63 and 103" in told
    assert told in time_to_solve.caption(LARGE)


def test_where_everything_is_drawn_nothing_is_said_of_it():
    points = time_to_solve.table(TWO)
    assert not list(multiples.left_out(points, lines.separated(TWO)[1]))
    assert "Drawn are" not in time_to_solve.caption(TWO)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_without_a_finite_point_there_are_no_panels_and_nothing_is_said_of_them(value):
    courses = Diagnosed(TWO).courses("", learning_curves.COURSES)
    courses = courses.iloc[:0] if value is None else courses.assign(value=value)
    points = learning_curves.table(TWO, courses)
    facets = learning_curves.separated(TWO)[1]
    assert points.empty
    assert list(multiples.chosen(points, facets).columns) == [*points.columns, multiples.ROW, multiples.COLUMN]
    assert "Drawn are" not in learning_curves.caption(TWO, courses)
    learning_curves.draw(TWO, courses).canvas.draw()


@pytest.mark.parametrize(("settings", "across"), [(1, 1), (2, 2), (4, 4), (5, 5), (7, 3), (40, 5)])
def test_settings_with_one_distance_stand_side_by_side(settings, across):
    sizes = list(range(4, 4 + settings))
    frame = frame_of(copy_sweep(delay=20, hidden_size=sizes, init="gaussian", seed=[0, 1], spectral_radius=[0.5, 1.0]))
    figure = time_to_solve.draw(frame)
    assert len(figure.axes) == min(settings, multiples.MOST_PANELS)
    firsts = [ax.get_subplotspec().colspan.start for ax in figure.axes]
    assert max(firsts) + 1 == across


# Time to solve


def test_a_curve_rises_where_a_trial_was_solved_and_its_marker_stands_where_half_have():
    frame = solved_at(ONE, 100, 300, 200, math.nan)
    (ax,) = time_to_solve.draw(frame).axes
    (curve,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert curve.get_drawstyle() == "steps-post"
    heights = dict(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert [heights[step] for step in (0, 100, 200, 300, 2000)] == pytest.approx([0, 0.25, 0.5, 0.75, 0.75])
    (mark,) = drawn(ax, "_median")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (200, 0.5)
    assert "half of the seeds have solved by step 200." in time_to_solve.caption(frame)


def test_a_trial_that_diverged_never_solves_and_stays_to_the_end_of_the_budget():
    frame = solved_at(ONE, 100, 300, math.nan, math.nan)
    frame.loc[3, ["status", "trained_steps"]] = [DIVERGED, 20]
    points = time_to_solve.table(frame)
    assert points["solved"].iloc[-1] == pytest.approx(0.5)
    assert points["step"].iloc[-1] == 2000
    assert points.loc[points["step"] == 100, "at_risk"].item() == 4


def test_half_that_never_solve_have_a_marker_at_their_end_and_are_told():
    frame = solved_at(ONE, 100, math.nan, math.nan, math.nan)
    (ax,) = time_to_solve.draw(frame).axes
    (mark,) = drawn(ax, "_end")
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (2000, 0.25)
    assert mark.get_markerfacecolor() == "white"
    assert legend_below(time_to_solve.draw(frame)) == ["half not reached"]
    assert "half of the seeds have solved at no step." in time_to_solve.caption(frame)


def test_lines_that_miss_trials_are_faded_and_running_trials_have_ticks():
    frame = solved_at(TWO, *[100.0] * len(TWO))
    running = (frame["seed"] == 0) & (frame[lines.RADIUS] == 0.5) & (frame["distance"] == 8)
    frame = with_status(frame, RUNNING, running)
    frame.loc[running, "trained_steps"] = 60
    figure = time_to_solve.draw(frame)
    curves = {(i, line.get_label()): line for i, ax in enumerate(figure.axes) for line in ax.lines}
    assert curves[0, "0.5"].get_alpha() == lines.FADED
    assert curves[0, "1.0"].get_alpha() == curves[1, "0.5"].get_alpha() == 1
    ticks = [tuple(line.get_xdata()) for line in drawn(figure.axes[0], "_censored")]
    assert ticks == [(60,), ()]
    assert legend_below(figure) == ["half have solved", "trials missing", "still running"]


def test_where_all_have_solved_line_and_band_go_on_to_the_end_of_the_budget():
    frame = solved_at(ONE, 100, 300, 200, 400)
    (ax,) = time_to_solve.draw(frame).axes
    (curve,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert curve.get_xydata()[-2:].tolist() == [[400, 1], [2000, 1]]
    (band,) = ax.collections
    ends = band.get_paths()[0].vertices
    low, high = wilson(4, 4)
    assert {low, high} <= set(ends[ends[:, 0] == 2000, 1])
    assert "(log-log; Wilson where all have solved)" in time_to_solve.caption(frame)
    assert legend_below(time_to_solve.draw(frame)) == ["half have solved"]


def test_the_caption_tells_medians_by_line_over_panels():
    radius, far = TWO[lines.RADIUS], TWO["distance"] > 10
    steps = np.select([radius == 1.0, ~far], [100.0, 400.0], math.nan)
    told = time_to_solve.caption(solved_at(TWO, *steps))
    assert "half of the seeds have solved in 1 of 2 panels with radius 0.5 to 2 of 2 with radius 1." in told
    never = time_to_solve.caption(solved_at(TWO, *np.where(radius == 1.0, 100.0, math.nan)))
    assert "in none of 2 panels with radius 0.5 to" in never
    alone = TWO[~far].reset_index(drop=True)
    told = time_to_solve.caption(solved_at(alone, *np.where(alone[lines.RADIUS] == 1.0, 100.0, math.nan)))
    assert "half of the seeds have solved at no step with radius 0.5 and by step 100 with radius 1." in told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([("", 2, 5)], "in 2 of 5 panels"),
        ([("", 0, 1)], "in none of 1 panel"),
        ([("a", 2, 5), ("b", 2, 5)], "in 2 of 5 panels with each line"),
        ([("a", 3, 5), ("b", 0, 5), ("c", 3, 5)], "in none of 5 panels with b to 3 of 5 with a or c"),
        ([("a", 1, 1), ("b", 1, 2)], "in 1 of 2 panels with b to 1 of 1 panel with a"),
        ([(name, 1, 2) for name in "abcde"] + [("f", 2, 2)], "in 1 of 2 panels with 5 of 6 lines to 2 of 2 with f"),
    ],
)
def test_of_many_panels_the_lines_with_the_fewest_and_the_most_are_told(found, told):
    assert captions.in_panels(found) == told


def test_steps_are_on_a_scale_where_they_span_a_wide_range():
    assert time_to_solve.draw(solved_at(ONE, 100, 200, 300, 400)).axes[0].get_xscale() == "log"
    assert time_to_solve.draw(solved_at(ONE, 900, 1000, 1500, 2000)).axes[0].get_xscale() == "linear"


def test_one_trial_alone_has_no_share():
    assert not applies(time_to_solve, ONE.iloc[:1])


def test_comparisons_between_lines_are_counted_and_what_so_few_seeds_cannot_show_is_said():
    seeds = frame_of(copy_sweep(delay=20, init="gaussian", spectral_radius=[0.5, 1.0], seed=range(8)))
    steps = np.where(seeds[lines.RADIUS] == 1.0, 100.0, math.nan)
    told = time_to_solve.caption(solved_at(seeds, *steps))
    assert "p < 0.05 in 1 of 1 comparison between lines" in told
    assert "adjusted after Holm in each setting)." in told
    few = seeds[seeds["seed"] < 4].reset_index(drop=True)
    told = time_to_solve.caption(solved_at(few, *np.where(few[lines.RADIUS] == 1.0, 100.0, math.nan)))
    assert "with so few seeds none could be below 0.12" in told


@pytest.mark.parametrize(("passes", "end"), [(3, "at the last of the 3 evaluations"), (1, "at the evaluation")])
def test_captions_tell_where_a_trial_is_counted_solved_from_where_it_ends(passes, end):
    frame = ONE.assign(**{"train.passes_to_solve": passes})
    told = cost.caption(frame)
    assert f"until it ends: {end} that count" in told
    courses = Diagnosed(frame).courses("", learning_curves.COURSES)
    assert f"A solved trial ends {end} that count" in learning_curves.caption(frame, courses)
    assert "counts from the first of the evaluations" in time_to_solve.caption(frame)


# Learning curves


def falling(frame: pd.DataFrame, *ends: float) -> pd.DataFrame:
    """Courses of losses from 1 at step 0 to these at step 100."""
    points = [(key, learning_curves.LOSS, step, value) for key, end in zip(frame["key"], ends, strict=True)
              for step, value in ((0.0, 1.0), (100.0, end))]  # fmt: skip
    return pd.DataFrame(points, columns=list(COURSE))


def test_the_line_is_the_median_between_quartiles_and_the_baseline_is_drawn():
    courses = falling(ONE, 0.01, 0.1, 0.5, 1.0)
    (ax,) = learning_curves.draw(ONE, courses).axes
    assert ax.get_yscale() == "log"
    (curve,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert curve.get_xydata().tolist() == [[0, 1], [100, 0.1]]
    assert drawn(ax, "_baseline")[0].get_ydata()[0] == learning_curves.BASELINE
    (band,) = ax.collections
    assert band.get_paths()[0].get_extents().ymin == pytest.approx(0.01)
    assert band.get_paths()[0].get_extents().ymax == pytest.approx(1)
    assert "medians end at 0.1." in learning_curves.caption(ONE, courses)


def test_a_line_is_dotted_from_where_half_of_the_seeds_have_ended():
    courses = falling(ONE, 0.01, 0.1, 0.5, 1.0)
    early = courses["key"].isin(ONE["key"][:2]) & (courses["step"] == 100)
    courses.loc[early, "step"] = 50.0
    (ax,) = learning_curves.draw(ONE, courses).axes
    (curve,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert np.isnan(curve.get_ydata()).tolist() == [False, False, True]
    (dotted,) = drawn(ax, "_few")
    assert np.isfinite(dotted.get_ydata()).all()


def test_losses_that_are_no_number_or_blow_up_draw_without_a_word():
    frame = with_status(ONE, DIVERGED, ONE.index < 3)
    courses = falling(frame, math.nan, math.inf, 1e300, 0.5)
    learning_curves.draw(frame, courses).canvas.draw()
    told = learning_curves.caption(frame, courses)
    assert "Above all others from their last finite loss on: 3 trials that diverged." in told
    assert "Medians above 3 lie outside the panels." in told


def test_the_caption_counts_the_panels_that_were_learned():
    ends = np.where(TWO[lines.RADIUS] == 1.0, 0.02, np.where(TWO["distance"] > 10, 1.0, 0.3))
    told = learning_curves.caption(TWO, falling(TWO, *ends))
    assert "medians end below 0.5 in 1 of 2 panels with radius 0.5 to 2 of 2 with radius 1." in told


def test_a_median_that_ends_below_the_axis_is_told_as_below_it():
    told = learning_curves.caption(ONE, falling(ONE, *[4.9e-8] * 4))
    assert "Copy memory: medians end below 0.001." in told


def test_a_panel_without_a_result_says_so():
    frame = with_status(TWO, RUNNING, TWO["distance"] > 10)
    figure = learning_curves.draw(frame, Diagnosed(frame).courses("", learning_curves.COURSES))
    assert [[text.get_text() for text in ax.texts] for ax in figure.axes] == [[], ["no finished trial yet"]]


# Cost


def test_cost_is_the_median_between_the_cheapest_and_the_dearest_of_the_trials_with_a_result():
    frame = solved_at(ONE, 100, 300, 200, math.nan).assign(seconds=[1.0, 3.0, 2.0, 10.0], host="there")
    (row,) = cost.table(frame).to_dict("records")
    assert [row[name] for name in ("trained_steps", "trained_steps_low", "trained_steps_high")] == [250, 100, 2000]
    assert (row["trained_steps_total"], row["seconds_total"], row["budget"], row["counted"]) == (2600, 16, 2000, 4)
    told = cost.caption(frame)
    assert "Copy memory: a trial takes 250 steps and 2.5 s" in told
    assert "all of them together 2,600 steps in 16 s." in told
    assert "measured on the machine named there;" in told
    assert "bars: minimum to maximum" in told
    alike = ONE.assign(seconds=2.0, trained_steps=300.0)
    assert "a trial takes 300 steps and 2 s (medians" in cost.caption(alike)
    running = with_status(frame, RUNNING, frame.index == 3)
    (row,) = cost.table(running).to_dict("records")
    assert (row["trained_steps_total"], row["counted"], row["unfinished"]) == (600, 3, 1)


def test_without_seconds_there_are_steps_alone():
    unknown = TWO.assign(seconds=math.nan)
    assert len(cost.draw(unknown).axes) == len(cost.draw(unknown.drop(columns="seconds")).axes) == 1
    assert not any(name.startswith("seconds") for name in cost.table(unknown))
    assert "econds" not in cost.caption(unknown)


def test_seconds_that_are_not_finite_are_unknown():
    frame = solved_at(ONE, 100, 300, 200, math.nan).assign(seconds=[1.0, math.inf, math.nan, 10.0])
    (row,) = cost.table(frame).to_dict("records")
    assert (row["seconds_high"], row["seconds_total"]) == (10, 11)
    cost.draw(frame).canvas.draw()
    assert len(cost.draw(frame.assign(seconds=math.inf)).axes) == 1


def test_where_there_is_one_distance_costs_stand_above_the_lines_that_would_be():
    frame = frame_of(copy_sweep(delay=20, init="gaussian", spectral_radius=[0.5, 1.0], seed=range(2)))
    ax = cost.draw(frame).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.5", "1.0"]
    assert ax.get_xlabel() == words.label(lines.RADIUS)


def test_the_budget_is_drawn_where_steps_are():
    steps, seconds = cost.draw(TWO).axes
    assert drawn(steps, "_budget")[0].get_ydata()[0] == 2000
    assert not drawn(seconds, "_budget")
    assert {ax.get_yscale() for ax in (steps, seconds)} == {"log"}


# Coverage


def test_of_one_trial_nothing_is_said_in_the_plural():
    assert coverage.caption(ONE[:1], planned_of(ONE[:1])).startswith("The one trial has a result.")


def planned_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["key", "seed", "distance", *panels.trial_fields(frame)]]


def test_planned_trials_without_a_run_are_missing():
    begun = TWO[(TWO["seed"] > 0) | (TWO["distance"] < 10)]
    found = coverage.table(begun, planned_of(TWO))
    assert found["missing"].tolist() == [0, 1, 0, 1]
    assert found["trials"].eq(4).all()
    assert found[["trials"]].sum().item() == len(TWO)
    told = coverage.caption(begun, planned_of(TWO))
    assert "Of 16 trials that were planned or run, 14 have a result." in told
    assert "2 trials have no run." in told
    assert "copy memory, radius 0.5 at distance 23 (1 of 4)" in told


def test_every_trial_is_in_one_cell_with_what_became_of_it():
    frame = unlucky(frame_of(copy_sweep()))
    found = coverage.table(frame, planned_of(frame).iloc[:0])
    ends = [*RESULTS, "unfinished", FAILED, "missing"]
    assert found[ends].sum(axis=1).tolist() == found["trials"].tolist()
    assert found["trials"].sum() == len(frame)
    for status in (DIVERGED, FAILED):
        assert found[status].sum() == (frame["status"] == status).sum()


def test_the_colour_of_a_cell_is_that_of_the_worst():
    frame = with_status(
        with_status(TWO, RUNNING, TWO["seed"] == 0), FAILED, (TWO["seed"] == 0) & (TWO["distance"] > 10)
    )
    begun = frame[(frame["distance"] < 10) | (frame["seed"] != 1)]
    figure = coverage.draw(begun, planned_of(frame))
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.texts] == ["3/4 …", "2/4 ×", "3/4 …", "2/4 ×"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["some failed ×", "some are not finished …"]


def test_where_everything_is_there_the_map_is_small_and_the_caption_says_so():
    frame = frame_of([*copy_sweep(), *adding_sweep()])
    figure = coverage.draw(frame, planned_of(frame))
    assert figure.get_figheight() < 2.5
    assert not figure.legends
    assert f"All of the {len(frame)} trials that were planned or run have a result." in coverage.caption(
        frame, planned_of(frame)
    )


def test_many_settings_are_put_together_in_few_rows():
    frame = with_status(LARGE, FAILED, (LARGE["seed"] == 0) & (LARGE["distance"] == 103))
    figure = coverage.draw(frame, planned_of(frame))
    assert max(len(ax.get_yticks()) for ax in figure.axes) <= coverage.MOST_ROWS
    assert len(coverage.table(frame, planned_of(frame))) == len(LARGE) / 2


def test_distances_that_nothing_says_have_a_column_of_their_own():
    planned = planned_of(TWO).assign(distance=TWO["distance"].where(TWO["distance"] < 10))
    begun = TWO[TWO["distance"] < 10]
    (ax,) = coverage.draw(begun, planned).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", coverage.UNKNOWN]
    assert "at distance ? (4 of 4)" in coverage.caption(begun, planned)


def test_unlike_trials_of_unknown_distance_are_not_taken_for_settings():
    """Nothing was run at two of the delays: these make no rows of their own."""
    frame = frame_of(copy_sweep(delay=[5, 20, 40], init="gaussian", spectral_radius=[0.5, 1.0], seed=range(2)))
    planned = planned_of(frame).assign(distance=frame["distance"].where(frame["distance"] < 10))
    found = coverage.table(frame[frame["distance"] < 10], planned)
    assert found["trials"].tolist() == [2, 4, 2, 4]


@pytest.mark.parametrize("module", [time_to_solve, learning_curves, cost, coverage])
def test_a_single_seed_draws(module):
    frame = frame_of(sweep(task="copy", delay=[5, 20], spectral_radius=[0.5, 1.0], seed=0))
    module.draw(*given(module, ended_badly(frame))).canvas.draw()
