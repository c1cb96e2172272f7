"""Which field of the trials becomes the lines of a figure, and how the lines are drawn and told apart."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import distances, panels, style, words
from rnnlab.analysis import varying
from rnnlab.trial import KINDS

RADIUS = "init.spectral_radius"
# The first of these that varies is worth most as lines; the others become panels. Who varies the window asks about it.
ORDER = (
    *("train.truncation", RADIUS, "cell", "model.layers", "model.hidden_size", "train.clip_threshold"),
    "model.bidirectional",
)
NETWORK = "network"  # a column made here: the cell, and whether it reads in both directions
BOTH, OTHER = " (both ways)", 5  # its marker is so many places from that of its cell

NOTHING_AT = -0.075  # where the marks of points without a result stand, below the rate 0
FADED = 0.5  # opacity of what still misses trials
LEGEND_ENTRY, LEGEND_CHARACTER, LEGEND_HEIGHT, LEGEND_ROW = 0.62, 0.075, 0.35, 0.16  # inches
PLOTTED, GAP = 0.85, 0.08  # of the width of a panel, the part inside its axes; inches between names below it
SLANTED: Mapping[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
SPACING: Mapping[str, Any] = {"handletextpad": 0.4, "columnspacing": 1.1, "handlelength": 1.5}


@dataclass(frozen=True)
class Look:
    """How one line is drawn."""

    name: str
    colour: style.Colour
    marker: str
    dash: str = "-"

    @property
    def handle(self) -> Line2D:
        return Line2D([], [], color=self.colour, marker=self.marker, linestyle=self.dash, label=self.name)


def field(frame: pd.DataFrame, beside: Collection[str] = (), default: str = RADIUS) -> str:
    """The field that is worth most as lines; `beside` are shown otherwise. `default` where none of them varies.

    A field that changes with the task or the cell alone does not count: it belongs to them.
    """
    for name in ORDER:
        owners = ["task"] if name == "cell" else ["task", "cell"]
        if name in frame and name not in beside:
            values = frame.groupby(owners, dropna=False)[name].nunique(dropna=False)
            if (values > 1).any():
                return name
    return default


def companions(frame: pd.DataFrame, line: str) -> list[str]:
    """Fields that go with each name of `line` (a cell's own settings, its learning rate): no panels of their own."""
    if line not in (*KINDS, NETWORK):
        return []
    shown = {"task", line} | ({"cell", "model.bidirectional"} if line == NETWORK else set())
    fields = [name for name in varying(frame, panels.trial_fields(frame)) if name not in shown]
    groups = frame.groupby(["task", line], dropna=False)
    return [name for name in fields if (groups[name].nunique(dropna=False) == 1).all()]


def separated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], str]:
    """`panels.separated` where `field` makes the lines: the frame, the columns that separate panels, and that field."""
    line = field(frame)
    return *panels.separated(frame, drawn=(line, *companions(frame, line))), line


def at_one_distance(points: pd.DataFrame) -> bool:
    """Whether each task was tried at one distance alone: then there is nothing to draw against it."""
    return bool(points.groupby("task")["distance"].nunique().max() <= 1)


def with_networks(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the column `NETWORK`."""
    both = frame["model.bidirectional"].eq("true") if "model.bidirectional" in frame else False
    return frame.assign(**{NETWORK: frame["cell"].str.cat(np.where(both, BOTH, ""))})


def values(column: pd.Series) -> list[Any]:
    """The values that a line may have, in their order: numbers ascending, cells by kind; a missing one last."""
    present = sorted(column.dropna().unique())
    if not pd.api.types.is_numeric_dtype(column):
        present.sort(key=lambda name: (_place(name), name))
    return [*present, *([np.nan] if column.isna().any() else [])]


def _place(name: str) -> int:
    """A cell's place in the list of cells; the same colour in every figure."""
    cell = name.removesuffix(BOTH)
    return words.CELLS.index(cell) if cell in words.CELLS else len(words.CELLS)


def looks(found: Sequence[Any], line: str) -> list[Look]:
    """How the lines for these values of the field `line` are drawn: numbers in an ordered palette, names apart."""
    if any(isinstance(value, str) for value in found):
        others = [value for value in found if isinstance(value, str) and _place(value) == len(words.CELLS)]
        ranks = [_place(str(value)) + (others.index(value) if value in others else 0) for value in found]
        both = [str(value).endswith(BOTH) for value in found]
        return [
            Look(words.value(v, line), style.named_colour(r), style.marker(r + OTHER * b), "--" if b else "-")
            for v, r, b in zip(found, ranks, both, strict=True)
        ]
    names, colours = words.aligned(found, line), style.ordered_colours(len(found))
    return [Look(name, colours[rank], style.marker(rank)) for rank, name in enumerate(names)]


def ranks(column: pd.Series, found: Sequence[Any]) -> pd.Series:
    """The place of each entry among the values `found`, a missing one being the last."""
    places = {value: rank for rank, value in enumerate(found)}
    return column.map(places).fillna(len(found) - 1).astype(int)


def draw(ax: Axes, rows: pd.DataFrame, look: Look, nothing_at: float = NOTHING_AT) -> None:
    """One line: columns x, y, low, high (the interval), counted (trials with a result), missing (those without)."""
    ax.plot(rows["x"], rows["y"], color=look.colour, linestyle=look.dash, zorder=3, label=look.name)
    result, missing = rows["counted"] > 0, rows["missing"] > 0
    for those, face, opacity in ((result & ~missing, look.colour, 1), (result & missing, "white", FADED)):
        if those.any():  # even nothing takes time to draw
            points(ax, rows[those], look, face, opacity)
    if not result.all():
        nothing = rows.loc[~result, "x"]
        ax.plot(nothing, [nothing_at] * len(nothing), "x", color=look.colour, markersize=4.5, label="_nothing")


def points(ax: Axes, rows: pd.DataFrame, look: Look, face: style.Colour | str, opacity: float) -> None:
    """Points with their intervals; open and faded ones miss trials."""
    ax.vlines(rows["x"], rows["low"], rows["high"], color=look.colour, linewidth=1.1, alpha=0.7 * opacity, zorder=4)
    edge = (*look.colour, opacity)
    ax.plot(rows["x"], rows["y"], look.marker, markerfacecolor=face, markeredgecolor=edge, zorder=5, label="_points")


def percent_axis(ax: Axes, rows: pd.DataFrame) -> None:
    """The axis of shares; with room below zero where something has to be said there."""
    unknown = (rows["counted"] == 0).any()
    ax.set_ylim(2 * NOTHING_AT if unknown else NOTHING_AT / 2, 1 - NOTHING_AT / 2)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.spines["left"].set_visible(False)
    if rows["counted"].sum() == 0:
        place = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(s="no finished trial yet", color=style.GREY, backgroundcolor="white", **place)


def legend(figure: Figure, shown: Sequence[Look], title: str) -> None:
    """Above the panels: the lines in their order."""
    columns = _columns(figure, [look.name for look in shown])
    rows = -(-len(shown) // columns)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * (rows - 1))
    handles = [shown[place].handle for place in row_by_row(len(shown), columns)]
    figure.legend(handles=handles, title=title, ncols=columns, loc="outside upper center", **SPACING)


def across(ax: Axes, shown: Sequence[Look]) -> None:
    """The x axis of a panel in which the lines themselves stand side by side, each a point, in their order."""
    names = [look.name for look in shown]
    letters = max((len(one) + len(other)) / 2 for one, other in itertools.pairwise(["", *names, ""]))
    slanted = letters * panels.LETTER + GAP > PLOTTED * distances.width(ax) / len(names)
    ax.set_xticks(range(len(names)), names, **(SLANTED if slanted else {}))
    ax.set_xlim(-0.6, len(names) - 0.4)


def _columns(figure: Figure, names: Sequence[str]) -> int:
    """In how many columns of a legend entries of these names fit."""
    entry = max(LEGEND_ENTRY, 0.4 + LEGEND_CHARACTER * max(map(len, names)))
    return max(1, min(len(names), round(figure.get_figwidth() / entry)))


def row_by_row(count: int, columns: int) -> list[int]:
    """The order in which entries must come so that a legend, which fills column by column, reads row by row."""
    return [place for column in range(columns) for place in range(column, count, columns)]


def marks(figure: Figure, points: pd.DataFrame, others: Sequence[Line2D] = ()) -> None:
    """Below the panels: what `others` mean, and the marks of missing trials, where there are any."""
    grey = {"color": style.GREY, "linestyle": "none"}
    handles = [*others]
    if ((points["missing"] > 0) & (points["counted"] > 0)).any():
        handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="some trials missing", **grey))
    if (points["counted"] == 0).any():
        handles.append(Line2D([], [], marker="x", markersize=4.5, label="no result yet", **grey))
    below(figure, handles, 0 if others else 2)


def below(figure: Figure, handles: Sequence[Line2D], columns: int = 0) -> None:
    """A legend below the panels, in grey; in so many `columns`, or as many as fit."""
    if handles:
        columns = columns or _columns(figure, [str(handle.get_label()) for handle in handles])
        figure.set_figheight(figure.get_figheight() + LEGEND_HEIGHT + LEGEND_ROW * (-(-len(handles) // columns) - 1))
        figure.legend(handles=handles, ncols=columns, loc="outside lower center", labelcolor=style.GREY, **SPACING)
