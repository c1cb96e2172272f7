"""Learnability versus dependency distance.

The share of seeds that solve the task against the distance over which it must remember, with the interval of every
point. One line per value of the field that is varied and most worth a line: the initial spectral radius, else the
window of truncation, the cell, ... (`reports.lines.ORDER`). Unlike trials stand in panels of their own. Where each task
was tried at one distance alone, these values stand side by side instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions, distances, lines, panels, style, words
from rnnlab.analysis import CONFIDENCE, INTERVAL, success_rate

NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", "parameters", lines.RADIUS)
CLAIM_OF = ("demo_adding", "demo_copy", "learnability", "learnability_small", "architectures", "depth")
RANK = 1


def applies(frame: pd.DataFrame) -> bool:
    """Always, but where lines are windows of truncation: the figure `truncation` shows these with more beside them."""
    return lines.field(frame) != "train.truncation"


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers in the figure: `analysis.success_rate` for each panel, line and distance."""
    blanked, facets, line = lines.separated(frame)
    return success_rate(blanked, [*facets, line, "distance"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of fields that vary, a line per value of the field of the lines."""
    points, line = table(frame), lines.field(frame)
    points = points.assign(y=points["rate"], missing=points["unfinished"] + points["failed"])
    facets = list(points.columns[: points.columns.get_loc(line)])
    found = lines.values(points[line])
    alone = lines.at_one_distance(points)
    with style.look():
        looks = lines.looks(found, line)
        named, x = points[facets].drop_duplicates(), words.label(line) if alone else distances.LABEL
        figure, axes = panels.grid(named, x, "solved (% of seeds)", lines=1 if alone else len(looks))
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            of_task = points.loc[points["task"] == rows["task"].iloc[0], "distance"]
            axis = None if alone else distances.Axis(of_task, lines=len(looks))
            _panel(ax, rows.assign(rank=lines.ranks(rows[line], found)), axis, looks)
        if not alone:
            lines.legend(figure, looks, words.label(line))
        lines.marks(figure, points)
    return figure


def _panel(ax: Axes, rows: pd.DataFrame, axis: distances.Axis | None, looks: Sequence[lines.Look]) -> None:
    """The rates of one panel, over distances, or without an `axis` of these over lines."""
    for rank, drawn in rows.groupby("rank"):
        places = drawn["rank"] if axis is None else axis.place(drawn["distance"], rank)
        lines.draw(ax, drawn.assign(x=places), looks[rank])
    if axis is None:
        lines.across(ax, looks)
    else:
        axis.apply(ax, rows["distance"])
    lines.percent_axis(ax, rows)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows and how its data were made, from the data."""
    blanked, facets, line = lines.separated(frame)
    also = lines.companions(frame, line)
    lag = "the largest lag, in steps, that any scored output needs"
    if lines.at_one_distance(blanked):
        of_tasks = blanked.dropna(subset="distance").groupby("task")["distance"].first()
        tried = words.listed(f"{words.value(float(one))} ({words.task(str(task))})" for task, one in of_tasks.items())
        over = f"at one dependency distance ({lag}), {tried}, against the {words.plain(line)}. "
        apart = ""
    else:
        over = f"against the dependency distance ({lag}), one line per {words.plain(line)}. "
        apart = "; points at one distance stand a little apart"
    shown = f"Share of seeds that solve the task {over}Bars: {INTERVAL} {100 * CONFIDENCE:g} % intervals{apart}."
    told = [*captions.protocols(blanked, [*facets, line, "distance"]), *captions.sizes(frame, line)]
    return " ".join([shown, *told, *captions.going_with(frame, line, also), *captions.account(frame)])
