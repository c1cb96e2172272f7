"""Time to solve.

The share of seeds that have solved the task against training steps (Kaplan-Meier). One line per value of the field that
is varied and most worth a line (`reports.lines`), a panel for each distance; unlike trials stand in rows of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import captions, lines, multiples, scales, style, words
from rnnlab.analysis import (
    CHANCE,
    CONFIDENCE,
    CORRECTION,
    HALF,
    SURVIVAL_INTERVAL,
    TEST,
    endings,
    exchanges,
    least_probability,
    time_to_solve,
)
from rnnlab.record import FAILED

BUDGET = "train.max_steps"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", "trained_steps", "steps_to_solve", lines.RADIUS)
RANK = 5
BAND, ROUNDING = 0.13, 1e-9  # opacity of an interval; what a share may be off by
BEFORE = 1.25  # a logarithmic axis begins so many times before the first trial was solved
EDGE = 1.04  # beyond the budget
TICK = {"marker": "|", "markersize": 6, "linestyle": "none"}


def applies(frame: pd.DataFrame) -> bool:
    """Where there are several trials: one alone has no share."""
    return len(frame) > 1


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.time_to_solve` for each setting, line and distance."""
    blanked, facets, line = lines.separated(frame)
    return time_to_solve(blanked.dropna(subset="distance"), [*facets, line, "distance"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a row of panels for each combination of the other fields that vary."""
    blanked, facets, line = lines.separated(frame)
    points = _with_ends(table(frame), blanked, [*facets, line, "distance"])
    drawn, found = multiples.chosen(points, facets), lines.values(points[line])
    limits, log = _limits(drawn)
    with style.look():
        looks = lines.looks(found, line)
        figure, shown = multiples.grid(drawn, facets, "training steps", "solved (% of seeds)")
        for panel in shown:
            known = panel.points.dropna(subset="step")
            for rank, rows in known.groupby(lines.ranks(known[line], found)):
                _curve(panel, rows.sort_values("step"), looks[rank])
            multiples.steps_axis(panel, limits, log)
            multiples.percent_axis(panel)
            if not known["at_risk"].sum():
                multiples.nothing(panel, "no trial yet")
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        _signs(figure, drawn, line)
    return figure


def _with_ends(points: pd.DataFrame, trials: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The points, with the `budget` of their trials and how many of these are `missing`: running or failed.

    Where all have failed there is one point without a step.
    """
    counts = endings(trials, by)
    budgets = trials.groupby(list(by), dropna=False)[BUDGET].max().to_numpy()
    ends = counts[list(by)].assign(budget=budgets, missing=counts["unfinished"] + counts[FAILED])
    return ends.merge(points, on=list(by), how="left")


def _limits(points: pd.DataFrame) -> tuple[tuple[float, float], bool]:
    """The ends of the axis of steps, the same in all panels, and whether it is logarithmic."""
    happened = points.loc[points["events"] > 0, "step"]
    first, last = happened[happened > 0].min(), np.nanmax([points["budget"].max(), points["step"].max(), 1])
    if scales.is_wide(np.array([first, last])):
        return (first / BEFORE, last * EDGE), True
    return (0, last * EDGE), False


def _curve(panel: multiples.Panel, rows: pd.DataFrame, look: lines.Look) -> None:
    """One line with its band; a marker where half have solved, or at its end, and ticks where running trials stand."""
    ax, opacity = panel.ax, lines.FADED if rows["missing"].iloc[0] else 1
    steps, solved = rows["step"].to_numpy(dtype="float64"), rows["solved"].to_numpy(dtype="float64")
    low, high = (rows[end].to_numpy(dtype="float64") for end in ("low", "high"))
    some = (solved > 0).cumsum() > 0  # before, the intervals of all lines would lie upon each other
    band = {"where": some, "step": "post", "color": look.colour, "alpha": BAND * opacity, "linewidth": 0}
    ax.fill_between(steps, low, high, label="_band", **band)
    curve = {"color": look.colour, "linestyle": look.dash, "alpha": opacity, "drawstyle": "steps-post"}
    ax.plot(steps, solved, zorder=3, linewidth=1.5, label=look.name, **curve)
    half = np.flatnonzero(solved >= HALF - ROUNDING)
    place = (steps[half[0]], HALF) if len(half) else (steps[-1], solved[-1])
    edge = (*look.colour, opacity)
    mark = {"markerfacecolor": edge if len(half) else "white", "markeredgecolor": edge, "markersize": 4, "zorder": 5}
    ax.plot(*place, look.marker, label="_median" if len(half) else "_end", clip_on=False, **mark)
    stand = rows[(rows["censored"] > 0) & (rows["step"] > 0) & (rows["step"] < rows["budget"])]
    ax.plot(stand["step"], stand["solved"], color=look.colour, zorder=4, label="_censored", **TICK)


def _signs(figure: Figure, points: pd.DataFrame, line: str) -> None:
    """Below the panels: what the marks mean that are there."""
    grey = {"color": style.GREY}
    dot = {"marker": "o", "markersize": 4, "linestyle": "none"}
    known = points.dropna(subset="step")
    reached = known["solved"].groupby([known[multiples.ROW], known[multiples.COLUMN], known[line]], dropna=False).max()
    handles = []
    if (reached >= HALF - ROUNDING).any():
        handles.append(Line2D([], [], label="half have solved", **dot, **grey))
    if (reached < HALF - ROUNDING).any():
        handles.append(Line2D([], [], markerfacecolor="white", label="half not reached", **dot, **grey))
    if (points["missing"] > 0).any():
        handles.append(Line2D([], [], alpha=lines.FADED, linewidth=1.5, label="trials missing", **grey))
    if ((points["censored"] > 0) & (points["step"] > 0) & (points["step"] < points["budget"])).any():
        handles.append(Line2D([], [], label="still running", **TICK, **grey))
    lines.below(figure, handles)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and when half of the seeds have solved the task."""
    blanked, facets, line = lines.separated(frame)
    points, also = table(frame), lines.companions(frame, line)
    each = f", one line per {words.plain(line)}" if frame[line].nunique(dropna=False) > 1 else ""
    shown = (
        f"Share of seeds that have solved the task against training steps (Kaplan-Meier){each}, for each dependency "
        f"distance. Bands: {100 * CONFIDENCE:g} % intervals of the share at a step ({SURVIVAL_INTERVAL}), from the "
        "first solved on. Markers: where half have solved, or, open, at the end of a line that did not get there. A "
        "trial counts from the first of the evaluations on that make it solved; one that exhausted its budget or "
        "diverged never does within it."
    )
    told = captions.protocols(blanked, [*facets, line, "distance"])
    of_tasks = (_finding(str(task), rows, facets, line) for task, rows in points.groupby("task"))
    found = captions.findings(frame, itertools.chain(of_tasks, _tests(blanked, facets, line)))
    account = captions.account(
        frame,
        "lines that miss trials are faded",
        missing="Counted as far as they have come, or left out if they failed",
        early="",  # who still runs is in the estimate
    )
    rest = [*captions.going_with(frame, line, also), *multiples.left_out(points, facets), *account]
    return " ".join([shown, *found, *told, *rest])


def _finding(task: str, points: pd.DataFrame, facets: Sequence[str], line: str) -> str:
    """By which step half of the seeds of each line have solved in the panel of a task, or in how many of its panels."""
    medians = median_steps(points, [*facets, line, "distance"])
    of_lines = {
        words.part(line, one): medians.loc[medians[line].isin([one]), "median"] for one in lines.values(medians[line])
    }
    if all(len(steps) == 1 for steps in of_lines.values()):
        with_ = " with {}" if len(of_lines) > 1 else ""
        told = words.listed(_reached(steps.iloc[0]) + with_.format(name) for name, steps in of_lines.items())
    else:
        told = captions.in_panels([(name, int(steps.notna().sum()), len(steps)) for name, steps in of_lines.items()])
    return f"{words.task(task).capitalize()}: half of the seeds have solved {told}."


def _tests(trials: pd.DataFrame, facets: Sequence[str], line: str) -> Iterator[str]:
    """How many of the lines differ from the next, and whether so many comparisons of so few seeds could tell."""
    found = exchanges(trials, facets, line).dropna(subset="p_adjusted")
    if found.empty:
        return
    surely = int((found["p_adjusted"] < CHANCE).sum())
    groups = found.groupby(facets, dropna=False)["seeds"].agg(["max", "size"])
    least = min(least_probability(int(seeds), int(size)) for seeds, size in groups.itertuples(index=False))
    unable = f"; with so few seeds none could be below {least:.2g}" if least >= CHANCE else ""
    yield (
        f"Over all distances tested, p < {CHANCE:.2g} in {surely} of {words.counted(len(found), 'comparison')} between "
        f"lines ({TEST}, exchanging whole seeds; adjusted after {CORRECTION} in each setting{unable})."
    )


def _reached(step: float) -> str:
    """By a step; NaN where half of the seeds never solve."""
    return "at no step" if np.isnan(step) else f"by step {step:,.0f}"


def median_steps(points: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """For each combination in `by`: the `median`, the first step by which half have solved; NaN where they never do."""
    groups = points.groupby(list(by), dropna=False).ngroup()
    medians = points["step"].where(points["solved"] >= HALF - ROUNDING).groupby(groups).min()
    firsts = points[list(by)].assign(group=groups).drop_duplicates("group").sort_values("group")
    return firsts.drop(columns="group").assign(median=medians.to_numpy()).reset_index(drop=True)
