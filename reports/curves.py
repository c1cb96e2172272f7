"""Curves of gradients by lag: how they are drawn, with what theory says, and what is marked beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports import flows, lines, style
from reports.flows import DECADE, LAG, LAW, LOG, SPREAD, THEORY

X, Y = "lag (steps)", "gradient norm / that at lag 0"
LEAST, MOST = -20, 10  # decades: a line that goes further leaves the panel
ROOM = 0.06  # of the height, beyond the lines on either side; for the marks
FADED, BAND, WIDTH = 0.35, 0.2, 2.4  # opacity of means that miss gradients, and of bands; points
MARKERS = 5  # on a curve
FEW = (0.1, 0.2, 0.5, 1, 2, 5, 10)
STEP = 0.035  # of the height between the marks of two curves
KINDS = {
    THEORY: ("mean-field theory", {"linestyle": (0, (4, 1.6)), "linewidth": 1.1}),
    LAW: (r"law of the state 0, $\rho^{lag}$", {"linestyle": (0, (1, 1.5)), "linewidth": 1.1}),
}
LOST = {"zero": ("v", 0.0, "some exactly zero"), "broken": ("^", 1.0, "some not finite")}  # marker, edge


def frame(ax: Axes, rows: pd.DataFrame, of_task: pd.DataFrame, shown: Sequence[str] = (LOG, THEORY)) -> None:
    """The axes of one panel: its own lags, and factors as far as what is `shown` goes in all panels `of_task`."""
    ax.set_xlim(rows[LAG].min(), max(rows[LAG].max(), rows[LAG].min() + 1))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    found = of_task[[*shown]].to_numpy() / DECADE
    low, high = np.nanmin([*found.flat, -0.5]), np.nanmax([*found.flat, 0.5])
    low, high = max(low, LEAST), min(high, MOST)
    room = ROOM * (high - low)
    ax.set_ylim(low - room, high + room)
    _ticks(ax)
    ax.spines["left"].set_visible(False)


def _ticks(ax: Axes) -> None:
    """Powers of ten; where there are not two of them in the panel, the factors `FEW`."""
    low, high = ax.get_ylim()
    if math.floor(high) - math.ceil(low) >= 1:
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.yaxis.set_major_formatter(lambda decades, _: f"$10^{{{decades:.0f}}}$" if decades else "1")
    else:
        known = {math.log10(factor): f"{factor:g}" for factor in FEW}
        shown = {decades: told for decades, told in known.items() if low <= decades <= high}
        ax.set_yticks([*shown], [*shown.values()])


def draw(ax: Axes, rows: pd.DataFrame, look: lines.Look, rank: int) -> None:
    """One curve of `flows.by_lag` with its band; faded where gradients miss in the mean, which the edges mark."""
    rows = rows.sort_values(LAG)
    x, y, spread = rows[LAG].to_numpy(), rows[LOG].to_numpy() / DECADE, rows[SPREAD].to_numpy() / DECADE
    whole = (rows["zero"] + rows["broken"] == 0) & (rows[flows.NETWORKS] == rows["observed"])
    spread = np.where(whole, spread, math.nan)
    ax.fill_between(x, y - spread, y + spread, color=look.colour, alpha=BAND, linewidth=0, zorder=2, label="_band")
    line = {"color": look.colour, "linestyle": look.dash, "linewidth": WIDTH}
    if not whole.all():
        ax.plot(x, y, alpha=FADED, zorder=3, label="_faded", **line)
    step = max(1, len(x) // MARKERS)
    marked = {"marker": look.marker, "markevery": (step // 2 + rank * step // 6, step), "markersize": 4}
    ax.plot(x, np.where(whole, y, math.nan), zorder=4, label=look.name, **line, **marked)
    for name, (marker, edge, _) in LOST.items():
        lags = rows.loc[rows[name] > 0, LAG]
        height = abs(edge - STEP * (rank + 0.5))
        ax.plot(lags, [height] * len(lags), marker, color=look.colour, **_at_edge(ax), label=f"_{name}")


def _at_edge(ax: Axes) -> dict[str, Any]:
    return {"transform": ax.get_xaxis_transform(), "markersize": 2.6, "markeredgewidth": 0, "zorder": 5}


def theory(ax: Axes, rows: pd.DataFrame, kind: str, colour: style.Colour | str) -> None:
    """The straight line of `THEORY` or `LAW`."""
    known = rows.dropna(subset=kind).sort_values(LAG)
    if len(known):
        ax.plot(known[LAG], known[kind] / DECADE, color=colour, **KINDS[kind][1], zorder=6, label=f"_{kind}")


def legend(figure: Figure, points: pd.DataFrame, colour: str = style.GREY) -> None:
    """Below the panels: what the lines of theory and the marks mean, of those that there are."""
    handles = [
        Line2D([], [], label=name, **look, color=colour)
        for kind, (name, look) in KINDS.items()
        if points[kind].notna().any()
    ]
    for name, (marker, _, told) in LOST.items():
        if (points[name] > 0).any():
            mark = {"marker": marker, "markersize": 3.5, "linestyle": "none", "color": style.GREY}
            handles.append(Line2D([], [], label=told, **mark))
    if handles:
        figure.set_figheight(figure.get_figheight() + lines.LEGEND_HEIGHT)
        spacing = dict(lines.SPACING) | {"handlelength": 2.2}
        columns = min(len(handles), 2 if figure.get_figwidth() < 2 * style.PANEL_WIDTH else 4)
        figure.legend(handles=handles, ncols=columns, loc="outside lower center", labelcolor=style.GREY, **spacing)


def nothing(told: str) -> Figure:
    """A figure that says why there is none."""
    figure = Figure(figsize=(style.PANEL_WIDTH, style.PANEL_HEIGHT))
    figure.text(0.5, 0.5, told, color=style.GREY, ha="center", va="center")
    return figure


def beyond(points: pd.DataFrame) -> Sequence[str]:
    """A sentence, where means leave the panels."""
    decades = points[LOG] / DECADE
    low, high = bool((decades < LEAST).any()), bool((decades > MOST).any())
    ends = [f"below 1e{LEAST}"] * low + [f"above 1e{MOST}"] * high
    return [f"Means {' or '.join(ends)} lie outside the panels."] if ends else []
