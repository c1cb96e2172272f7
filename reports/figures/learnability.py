"""Learnability versus dependency distance.

The share of seeds that solve the task against the distance over which it must remember, with the interval of every
point. One line per value of the field that is varied and most worth a line: the initial spectral radius, else the
window of truncation, the cell, ... (`reports.lines.ORDER`). Unlike trials stand in panels of their own.
"""

from __future__ import annotations

import pandas as pd
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
    line = lines.field(frame)
    blanked, facets = panels.separated(frame, drawn=(line, *lines.companions(frame, line)))
    return success_rate(blanked, [*facets, line, "distance"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of fields that vary, a line per value of the field of the lines."""
    points, line = table(frame), lines.field(frame)
    points = points.assign(y=points["rate"], missing=points["unfinished"] + points["failed"])
    facets = list(points.columns[: points.columns.get_loc(line)])
    found = lines.values(points[line])
    with style.look():
        looks = lines.looks(found, line)
        named = points[facets].drop_duplicates()
        figure, axes = panels.grid(named, distances.LABEL, "solved (% of seeds)", lines=len(looks))
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            of_task = points["task"] == rows["task"].iloc[0]
            axis = distances.Axis(points.loc[of_task, "distance"], lines=len(looks))
            axis.apply(ax, rows["distance"])
            for rank, drawn in rows.groupby(lines.ranks(rows[line], found)):
                lines.draw(ax, drawn.assign(x=axis.place(drawn["distance"], rank)), looks[rank])
            lines.percent_axis(ax, rows)
        lines.legend(figure, looks, words.label(line))
        lines.marks(figure, points)
    return figure


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows and how its data were made, from the data."""
    line = lines.field(frame)
    also = lines.companions(frame, line)
    blanked, facets = panels.separated(frame, drawn=(line, *also))
    shown = (
        "Share of seeds that solve the task against the dependency distance (the largest lag, in steps, that any "
        f"scored output needs), one line per {words.plain(line)}. "
        f"Bars: {INTERVAL} {100 * CONFIDENCE:g} % intervals; points at one distance stand a little apart, so that no "
        "bar hides another."
    )
    told = [*captions.protocols(blanked, [*facets, line, "distance"]), *captions.sizes(frame, line)]
    return " ".join([shown, *told, *captions.going_with(frame, line, also), *captions.account(frame)])
