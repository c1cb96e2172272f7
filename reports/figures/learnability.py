"""Learnability versus dependency distance.

The share of seeds that solve the task against the distance over which it must remember, one line per initial
spectral radius, with the interval of every point. Unlike trials stand in panels of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import distances, panels, style, words
from rnnlab.analysis import CONFIDENCE, INTERVAL, success_rate
from rnnlab.record import DIVERGED

Colour: TypeAlias = tuple[float, float, float]

RADIUS = "init.spectral_radius"
PASSES = "train.passes_to_solve"
NEEDS = (
    "task",
    "cell",
    "init",
    "seed",
    "status",
    "distance",
    "model.hidden_size",
    "train.clip_threshold",
    "train.max_steps",
    PASSES,
    RADIUS,
)
NOTHING_AT = -0.075  # where the marks of points without a result stand, below the rate 0
FADED = 0.5  # opacity of what still misses trials
LEGEND_ENTRY, LEGEND_HEIGHT = 0.62, 0.35  # inches


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers in the figure: `analysis.success_rate` for each panel, spectral radius and distance."""
    blanked, facets = panels.separated(frame, drawn=(RADIUS,))
    return success_rate(blanked, [*facets, RADIUS, "distance"])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of fields that vary, a line per spectral radius."""
    points = table(frame)
    facets = list(points.columns[: points.columns.get_loc(RADIUS)])
    points["rank"] = points.groupby(RADIUS, dropna=False).ngroup()
    radii = points.sort_values("rank")[RADIUS].unique()
    with style.look():
        colours = style.ordered_colours(len(radii))
        figure, axes = panels.grid(points[facets].drop_duplicates(), distances.LABEL, "solved (% of seeds)")
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            of_task = points["task"] == rows["task"].iloc[0]
            axis = distances.Axis(points.loc[of_task, "distance"], lines=len(radii))
            axis.apply(ax, rows["distance"])
            for rank, line in rows.groupby("rank"):
                _line(ax, axis, rank, line, colours[rank])
            _frame(ax, rows)
        _legends(figure, points, words.aligned(radii), colours)
    return figure


def _line(ax: Axes, axis: distances.Axis, rank: int, rows: pd.DataFrame, colour: Colour) -> None:
    """One spectral radius: its line, its points and their intervals."""
    rows = rows.assign(x=axis.place(rows["distance"], rank), missing=rows["unfinished"] + rows["failed"])
    ax.plot(rows["x"], rows["rate"], color=colour, zorder=3, label=words.value(rows[RADIUS].iloc[0]))
    result = rows["counted"] > 0
    _points(ax, rows[result & (rows["missing"] == 0)], style.marker(rank), colour, colour, 1)
    _points(ax, rows[result & (rows["missing"] > 0)], style.marker(rank), colour, "white", FADED)
    nothing = rows.loc[~result, "x"]
    ax.plot(nothing, [NOTHING_AT] * len(nothing), "x", color=colour, markersize=4.5, label="_nothing")


def _points(ax: Axes, rows: pd.DataFrame, marker: str, colour: Colour, face: Colour, opacity: float) -> None:
    ax.vlines(rows["x"], rows["low"], rows["high"], color=colour, linewidth=1.1, alpha=0.7 * opacity, zorder=4)
    edge = (*colour, opacity)
    ax.plot(rows["x"], rows["rate"], marker, markerfacecolor=face, markeredgecolor=edge, zorder=5, label="_points")


def _frame(ax: Axes, rows: pd.DataFrame) -> None:
    """The axis of rates; with room below zero where something has to be said there."""
    unknown = (rows["counted"] == 0).any()
    ax.set_ylim(2 * NOTHING_AT if unknown else NOTHING_AT / 2, 1 - NOTHING_AT / 2)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.spines["left"].set_visible(False)
    if rows["counted"].sum() == 0:
        place = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(s="no finished trial yet", color=style.GREY, backgroundcolor="white", **place)


def _legends(figure: Figure, points: pd.DataFrame, names: Sequence[str], colours: Sequence[Colour]) -> None:
    """Above the panels the radii, lowest first; below them the marks of missing trials, where there are any."""
    lines = [
        Line2D([], [], color=colour, marker=style.marker(rank), label=name)
        for rank, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]
    columns = min(len(lines), round(figure.get_figwidth() / LEGEND_ENTRY))
    title = r"initial spectral radius of $W_{hh}$"
    shared = {"handletextpad": 0.4, "columnspacing": 1.1, "handlelength": 1.5}
    figure.legend(handles=lines, title=title, ncols=columns, loc="outside upper center", **shared)
    missing = points["unfinished"] + points["failed"] > 0
    grey = {"color": style.GREY, "linestyle": "none"}
    marks = []
    if (missing & (points["counted"] > 0)).any():
        marks.append(Line2D([], [], marker="o", markerfacecolor="white", label="some trials missing", **grey))
    if (points["counted"] == 0).any():
        marks.append(Line2D([], [], marker="x", markersize=4.5, label="no result yet", **grey))
    if marks:
        figure.set_figheight(figure.get_figheight() + LEGEND_HEIGHT)
        figure.legend(handles=marks, ncols=2, loc="outside lower center", labelcolor=style.GREY, **shared)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows and how its data were made, from the data."""
    points = table(frame)
    shown = (
        "Share of seeds that solve the task against the dependency distance (the largest lag, in steps, that any "
        "scored output needs), one line per initial spectral radius of W_hh. "
        f"Bars: {INTERVAL} {100 * CONFIDENCE:g} % intervals; points at one distance stand a little apart, so that no "
        "bar hides another."
    )
    protocols = [_protocol(task, rows, points[points["task"] == task]) for task, rows in frame.groupby("task")]
    return " ".join([shown, *protocols, *_account(frame, points)])


def _protocol(task: str, rows: pd.DataFrame, points: pd.DataFrame) -> str:
    """How the trials of one task were made."""

    def values(field: str) -> str:
        return words.listed(words.distinct(rows[field]), last="or")

    seeds = points[["counted", "unfinished", "failed"]].sum(axis=1)
    least = f"{seeds.min()} to " if seeds.min() < seeds.max() else ""
    return (
        f"{words.task(task).capitalize()}: {least}{words.counted(seeds.max(), 'seed')} per point; solved means "
        f"{words.criterion(task)} in {words.counted(values(PASSES), 'evaluation')} in a row, within "
        f"{values('train.max_steps')} training steps; {values('cell')} cell, "
        f"{values('model.hidden_size')} hidden units."
    )


def _account(frame: pd.DataFrame, points: pd.DataFrame) -> Iterator[str]:
    """The trials that are not what one would expect of them."""
    diverged = int((frame["status"] == DIVERGED).sum())
    unfinished, failed = int(points["unfinished"].sum()), int(points["failed"].sum())
    if diverged:
        yield f"Counted as not solved: {words.counted(diverged, 'trial')} that diverged."
    if unfinished or failed:
        yield f"Not counted: {words.counted(unfinished, 'unfinished trial')}, {words.counted(failed, 'failed trial')};"
        yield "open, faded points miss some of theirs, crosses below zero have no result yet."
