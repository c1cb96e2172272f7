"""Small multiples: a row of panels for each setting, a column for each of its distances, on one page.

What does not fit is left out of the picture, never pooled: distances are chosen evenly, and of the fields that separate
settings some values, evenly, or the middle one; the last field first. `left_out` says in words what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import lines, panels, scales, style, words

MOST_ACROSS, MOST_PANELS = 5, 20
MOST_NAMED = 3  # values of a field, in words
ROW, COLUMN = "row", "column"  # of a panel, from 0
LEAST_HEIGHT, SLOPE = 0.62, 0.52  # inches: a panel's height by its width
HEAD = 0.8  # inches: above and below all panels
FEW_TICKS, MANY_TICKS = 3, 5  # in narrow panels, and in others
BELOW, ABOVE = 0.03, 0.04  # of the axis of shares, beyond it


@dataclass(frozen=True)
class Panel:
    """One panel: its axes, and the rows of the table that it shows."""

    ax: Axes
    points: pd.DataFrame
    width: float  # inches

    @property
    def ticks(self) -> int:
        """How many ticks an axis of the panel has room for."""
        return FEW_TICKS if self.width <= panels.NARROW else MANY_TICKS


def chosen(points: pd.DataFrame, facets: Sequence[str]) -> pd.DataFrame:
    """The points of the panels that are drawn, with the places `ROW` and `COLUMN` of their panel."""
    if points.empty:
        return points.assign(**{ROW: 0, COLUMN: 0})
    tested = points.groupby(list(facets), dropna=False)["distance"].nunique()
    kept = few(points, facets, MOST_PANELS // min(MOST_ACROSS, max(tested.max(), 1)))
    kept = kept.assign(**{ROW: kept.groupby(list(facets), dropna=False).ngroup()})
    parts = []
    for _, of_row in kept.groupby(ROW):
        tested = np.unique(of_row["distance"].dropna())
        shown = tested[evenly(len(tested), MOST_ACROSS)]
        of_row = of_row[of_row["distance"].isin(shown)]
        parts.append(of_row.assign(**{COLUMN: np.searchsorted(shown, of_row["distance"])}))
    return pd.concat(parts, ignore_index=True)


def few(points: pd.DataFrame, facets: Sequence[str], most: int) -> pd.DataFrame:
    """The points of at most so many settings, or as few as they become with one value of each field."""
    kept = points
    for field in reversed(facets):
        if _count(kept, facets) <= most:
            break
        others = _count(kept, [name for name in facets if name != field])
        kept = pd.concat([_some(of_task, field, max(1, most // others)) for _, of_task in _parts(kept, field)])
    return kept.sort_index()


def _count(points: pd.DataFrame, fields: Sequence[str]) -> int:
    return max(1, len(points[list(fields)].drop_duplicates()))


def _parts(points: pd.DataFrame, field: str) -> Iterable[tuple[object, pd.DataFrame]]:
    """The points of each task, in which the values of a field are chosen; tasks are chosen from all."""
    return [("", points)] if field == "task" else points.groupby("task")


def _some(points: pd.DataFrame, field: str, most: int) -> pd.DataFrame:
    """The points at so many of a field's values."""
    found = lines.values(points[field])
    return points[lines.ranks(points[field], found).isin(evenly(len(found), most))]


def evenly(count: int, most: int) -> np.ndarray:
    """The places of at most so many of `count` things, with both ends; if one, of the middle or what is above it."""
    if most == 1:
        return np.array([count // 2])
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def left_out(points: pd.DataFrame, facets: Sequence[str], what: str = "panels") -> Iterator[str]:
    """What is drawn, where that is not everything."""
    yield from told(points, chosen(points, facets), [*facets, "distance"], what)


def told(points: pd.DataFrame, drawn: pd.DataFrame, separating: Sequence[str], what: str) -> Iterator[str]:
    """What is drawn of the `points`, where that is not everything."""
    every, there = (len(some[list(separating)].drop_duplicates()) for some in (points, drawn))
    if there < every:
        parts = [_part(points[points["task"] == task], rows, separating) for task, rows in drawn.groupby("task")]
        yield f"Drawn are {there} of {every} {what}: {'; '.join(parts)}. The table (CSV) has all."


def _part(points: pd.DataFrame, drawn: pd.DataFrame, separating: Sequence[str]) -> str:
    """The task, the fields that are held at a value, and the distances where some are left out."""
    fields = [name for name in separating if name not in ("task", "distance")]
    held = [name for name in fields if points[name].nunique(dropna=False) > drawn[name].nunique(dropna=False)]
    parts = [_values(name, points[name], drawn[name]) for name in held]
    shown = words.distinct(drawn["distance"])
    if len(shown) < points["distance"].nunique():
        parts.append(f"{'distance' if len(shown) == 1 else 'distances'} {words.listed(shown)}")
    return words.task(str(drawn["task"].iloc[0])) + (f" with {', '.join(parts)}" if parts else "")


def _values(field: str, every: pd.Series, drawn: pd.Series) -> str:
    """The values of a field that are drawn, or how many they are."""
    found = lines.values(drawn)
    if len(found) <= MOST_NAMED:
        return words.listed(words.part(field, value) for value in found)
    return f"{len(found)} of {every.nunique(dropna=False)} values of {words.plain(field)}"


def grid(drawn: pd.DataFrame, facets: Sequence[str], x: str, y: str) -> tuple[Figure, list[Panel]]:
    """A figure with the empty, titled panels of `chosen`; `x` and `y` name the axes of all.

    Where no setting has more than one distance, settings stand side by side.
    """
    several = bool((drawn[COLUMN] > 0).any())
    firsts = drawn.drop_duplicates(ROW)[list(facets)]
    across = int(drawn[COLUMN].max()) + 1 if several else panels.column_count(firsts, MOST_ACROSS)
    groups = {
        (row, column) if several else divmod(row, across): of for (row, column), of in drawn.groupby([ROW, COLUMN])
    }
    named = _titles(drawn, facets, several, across)
    width, down = panels.panel_width(across), max(row for row, _ in groups) + 1
    tall = LEAST_HEIGHT + SLOPE * width + panels.TITLE_LINE * (1 + max(title.count("\n") for title in named))
    figure = Figure(figsize=(width * across, down * tall + HEAD), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, hspace=0.02, wspace=0.01)
    axes = figure.subplots(down, across, squeeze=False)
    for place in np.ndindex(axes.shape):
        lowest = (place[0] + 1, place[1]) not in groups
        axes[place].set_xlabel(x if lowest else "")
        axes[place].tick_params(labelleft=place[1] == 0, labelbottom=lowest)
        if place not in groups:
            axes[place].remove()
    for place, title in zip(groups, named, strict=True):
        axes[place].set_title(title, parse_math=False)
        if width <= panels.NARROW:
            panels.shrink(axes[place])
    figure.supylabel(y, fontsize=style.LOOK["axes.labelsize"])
    return figure, [Panel(axes[place], points, width) for place, points in groups.items()]


def _titles(drawn: pd.DataFrame, facets: Sequence[str], several: bool, across: int) -> list[str]:
    """The setting above its first panel, as long as it needs, and the distance above each; or the setting alone."""
    named = drawn.drop_duplicates(ROW).sort_values(ROW)[list(facets)]
    if not several:
        return panels.titles(named, across)
    settings = [" · ".join(parts) for parts in panels.parts(named)]
    firsts = drawn.drop_duplicates([ROW, COLUMN]).sort_values([ROW, COLUMN])
    return [
        f"{settings[row] if column == 0 else ''}\ndistance {words.value(float(distance))}"
        for row, column, distance in zip(firsts[ROW], firsts[COLUMN], firsts["distance"], strict=True)
    ]


def steps_axis(panel: Panel, limits: tuple[float, float], log: bool) -> None:
    """The axis of training steps of one panel."""
    if log:
        scales.apply(panel.ax, "x", limits, panel.ticks)
    else:
        panel.ax.set_xlim(*limits)
        panel.ax.xaxis.set_major_locator(MaxNLocator(panel.ticks + 1, steps=[1, 2, 5, 10], integer=True))


def percent_axis(panel: Panel) -> None:
    """The axis of shares of one panel."""
    panel.ax.set_ylim(-BELOW, 1 + ABOVE)
    panel.ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "50", "", "100"])
    panel.ax.spines["left"].set_visible(False)


def nothing(panel: Panel, told: str) -> None:
    """Say in an empty panel why it is empty."""
    place = {"ha": "center", "va": "center", "transform": panel.ax.transAxes}
    panel.ax.text(0.5, 0.5, told, color=style.GREY, backgroundcolor="white", fontsize=panels.SMALL_TICKS, **place)
