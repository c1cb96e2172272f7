"""How far back networks learn to look, by initial spectral radius.

The horizon: the distance at which half of the seeds solve the task within the budget of steps, with its interval. One
line per hidden size, or per value of another field where that is varied instead; the other fields separate panels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions, distances, lines, panels, style, words
from rnnlab.analysis import ABOVE, BELOW, CONFIDENCE, HORIZON_INTERVAL, horizon, rank_correlation

NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", lines.RADIUS)
RANK = 2
LEAST_DISTANCES = 3  # below, a horizon would be little more than one of the distances tested
LEAST_RADII = 3  # for a rank correlation
HIDDEN_SIZE = "model.hidden_size"
OUTSIDE, LIMIT = 0.09, 0.18  # beyond the distances tested: where a horizon stands that lies there, where the axis ends
HEAD = 0.15  # the same: where its arrow ends
ARROW: dict[str, Any] = {"mutation_scale": 12, "linewidth": 0, "shrinkA": 0, "shrinkB": 0}


def applies(frame: pd.DataFrame) -> bool:
    """Where spectral radii are compared over enough distances."""
    if not {lines.RADIUS, "distance"} <= {*frame.columns} or frame.groupby("task")[lines.RADIUS].nunique().max() < 2:
        return False
    radius_is_line = lines.field(frame) == lines.RADIUS
    return radius_is_line and bool(frame.groupby("task")["distance"].nunique().max() >= LEAST_DISTANCES)


def line_of(frame: pd.DataFrame) -> str:
    """The field whose values are the lines."""
    return lines.field(frame, beside=(lines.RADIUS,), default=HIDDEN_SIZE)


def separated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The frame with the field of the distance blanked, and the columns that separate panels."""
    line = line_of(frame)
    return panels.separated(frame, drawn=(line, lines.RADIUS, *lines.companions(frame, line)))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers in the figure: `analysis.horizon` for each panel, line and spectral radius."""
    blanked, facets = separated(frame)
    return horizon(blanked, [*facets, line_of(frame), lines.RADIUS])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of the other fields that vary."""
    points, line = table(frame), line_of(frame)
    points["missing"] = points["unfinished"] + points["failed"]
    facets, found = list(points.columns[: points.columns.get_loc(line)]), lines.values(points[line])
    with style.look():
        looks = lines.looks(found, line)
        named = points[facets].drop_duplicates()
        figure, axes = panels.grid(named, words.label(lines.RADIUS), "horizon (steps)", lines=len(looks))
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            of_task = frame[frame["task"] == rows["task"].iloc[0]]
            radii = distances.Axis(of_task[lines.RADIUS], lines=len(looks))
            tested = distances.Axis(of_task["distance"], lines=1)
            radii.apply(ax, rows[lines.RADIUS])
            framed(ax, tested, of_task["distance"])
            for rank, drawn in placed(rows, tested).groupby(lines.ranks(rows[line], found)):
                drawn = drawn.assign(x=radii.place(drawn[lines.RADIUS], rank))
                within = drawn.assign(y=drawn["horizon"])
                lines.draw(ax, within, looks[rank], nothing_at=tested.beyond(OUTSIDE)[0])
                _arrows(ax, drawn[drawn["outside"].isin([BELOW, ABOVE])], looks[rank], tested)
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        lines.marks(figure, points)
    return figure


def placed(rows: pd.DataFrame, tested: distances.Axis) -> pd.DataFrame:
    """Where horizons and their intervals stand: those outside the distances tested a little beyond these."""
    below, above = tested.beyond(OUTSIDE)
    least, most = tested.beyond(LIMIT)
    outside = rows["outside"].map({BELOW: below, ABOVE: above})
    low, high = rows["low"].clip(lower=least), rows["high"].clip(upper=most)
    return rows.assign(y=rows["horizon"].fillna(outside), low=low, high=high)


def _arrows(ax: Axes, outside: pd.DataFrame, look: lines.Look, tested: distances.Axis) -> None:
    """Arrow heads for horizons outside the distances tested: how far outside is not known, so no line leads there."""
    for x, y, where, missing in outside[["x", "y", "outside", "missing"]].itertuples(index=False):
        end = tested.beyond(HEAD)[int(where == ABOVE)]
        head = {"arrowstyle": "-|>", "color": look.colour, "alpha": lines.FADED if missing else 1, **ARROW}
        arrow = ax.annotate("", (x, end), (x, y), arrowprops=head, zorder=5)
        arrow.set_in_layout(False)  # inside the panel: to measure it would only take time


def framed(ax: Axes, tested: distances.Axis, values: pd.Series) -> None:
    """The axis of horizons, with what lies outside the distances tested in grey."""
    tested.apply_upright(ax, values)
    limits = tested.beyond(LIMIT)
    ax.set_ylim(*limits)
    for limit, edge in zip(limits, tested.beyond(0), strict=True):
        ax.axhspan(*sorted((limit, edge)), color=style.UNTESTED, linewidth=0, zorder=0)
    ax.spines["left"].set_visible(False)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and what they say about the radius."""
    blanked, facets = separated(frame)
    points, line = table(frame), line_of(frame)
    also = lines.companions(frame, line)
    each = f", one line per {words.plain(line)}" if frame[line].nunique(dropna=False) > 1 else ""
    shown = (
        "Horizon: the distance at which half of the seeds solve the task within the budget of steps, by isotonic "
        f"regression over the logarithm of the distance{each}. Bars: {HORIZON_INTERVAL} {100 * CONFIDENCE:g} % "
        "intervals, over many shapes of the fall and with seeds that share their luck across distances. Arrows in the "
        "grey: horizons nearer or farther than any distance tested; a bar that reaches into it has no end."
    )
    told = captions.protocols(blanked, [*facets, line, lines.RADIUS, "distance"], "setting and distance")
    settings = [*facets, line]
    found = captions.findings(frame, (_finding(str(task), rows, settings) for task, rows in points.groupby("task")))
    missing = "open, faded points miss some of theirs, crosses have no result yet"
    return " ".join([shown, *found, *told, *captions.going_with(frame, line, also), *captions.account(frame, missing)])


def _finding(task: str, points: pd.DataFrame, settings: list[str]) -> str:
    """How the horizon goes with the radius in the settings of one task, as it was measured."""
    ranked = points.assign(rank=ranked_horizon(points)).dropna(subset="rank")
    groups = [rows for _, rows in ranked.groupby(settings, dropna=False) if len(rows) > 1]
    if not groups:
        return ""
    best = pd.concat([rows.loc[rows["rank"] == rows["rank"].max(), lines.RADIUS] for rows in groups])
    told = (
        f"{words.task(task).capitalize()}: the longest horizon is at radius {words.listed(words.distinct(best), 'or')}"
    )
    found = [
        (rank_correlation(rows[lines.RADIUS], rows["rank"]), len(rows)) for rows in groups if len(rows) >= LEAST_RADII
    ]
    rhos, counts = [rho for rho, _ in found if rho == rho], [count for rho, count in found if rho == rho]
    if not rhos:
        return f"{told}."
    of = f"of {captions.span(min(counts), max(counts))} radii" + (f" in each of {len(rhos)} settings" * (len(rhos) > 1))
    ends = " to ".join(dict.fromkeys(words.signed(end(rhos)) for end in (min, max)))
    return f"{told}; rank correlation of radius and horizon (Spearman, {of}) {ends}."


def ranked_horizon(points: pd.DataFrame) -> pd.Series:
    """Horizons in an order: those nearer than any distance tested are the least, those farther the largest."""
    return points["horizon"].fillna(points["outside"].map({BELOW: 0.0, ABOVE: np.inf}))
