"""Which trials may share a panel, what the panel is called, and where it stands.

Unlike trials are never pooled: every field of a trial that varies in a frame separates panels, but for the
seed, what the figure draws inside a panel, and the one field of a task that sets its distance.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import style, words
from rnnlab.analysis import varying
from rnnlab.trial import KINDS, SECTIONS

ALWAYS = ("task", "train.clip_threshold", "init")  # separate panels even where they do not vary
DISTANCE_FIELDS = ("task.delay", "task.length")  # asked first; any other field of a task that sets it will do
CHARACTER = 0.08  # inches of width of one in a title, of the size of those in wide panels, with room beside it
LETTER = 0.064  # inches: of one in the name of an axis
MOST_COLUMNS, OF_MANY, MANY = 3, 4, 8  # of a page; where there are more panels than that, rather than a higher figure
MOST_IN_A_ROW = 6  # where panels that belong together must stand side by side
TICKS = 0.25  # inches of width, beside a panel
NARROW = 2.8  # inches: panels that are no wider have smaller letters, and are less high
SMALL_TITLE, SMALL_TICKS = 8, 7  # points
LOWER = 0.55  # how much less high a panel is, by how much less wide it is
MANY_LINES, MOST_CROWDED, CROWDED = 6, 2, 1.2  # more lines than that: so few columns, so many times as high
LEGEND, TITLE_LINE = 0.45, 0.16  # inches of height: a legend above all panels, a further line of a title
BENEATH = 0.44  # inches of height: what stands below a stack of panels


def trial_fields(frame: pd.DataFrame) -> list[str]:
    """The columns that are fields of a trial, but for the seed."""
    return [name for name in frame.columns if name in KINDS or (name.split(".")[0] in SECTIONS and "." in name)]


def separated(frame: pd.DataFrame, drawn: Collection[str], distances: bool = True) -> tuple[pd.DataFrame, list[str]]:
    """The frame, and the columns whose values tell its panels apart; `drawn` are shown inside the panels.

    In the returned frame the field that sets a task's distance is blank, for figures in whose panels trials of
    different `distances` meet: the column `distance` says it.
    """
    blanked = frame.reset_index(drop=True)
    fields = [name for name in trial_fields(frame) if name not in drawn]
    for _, rows in blanked.groupby("task"):
        name = distance_field(rows, fields) if distances else None
        if name is not None:
            blanked[name] = blanked[name].mask(blanked.index.isin(rows.index))
    others = [name for name in varying(blanked, fields) if name not in ALWAYS]
    return blanked, ["task", *others, *(name for name in ALWAYS[1:] if name not in drawn)]


def distance_field(rows: pd.DataFrame, fields: Sequence[str]) -> str | None:
    """The field of the task that sets the distance in the trials `rows`, all of one task; None if there is none.

    It is one that the distance and the other fields determine: trials that agree in those agree in it too, so
    that leaving it out pools nothing. At most one is left out; a second one separates panels.
    """
    varied = varying(rows, fields)
    own = sorted((name for name in varied if name.startswith("task.")), key=lambda name: name not in DISTANCE_FIELDS)
    for name in own:
        others = [other for other in varied if other != name]
        if (rows.groupby(["distance", *others], dropna=False)[name].nunique(dropna=False) == 1).all():
            return name
    return None


def titles(panels: pd.DataFrame, columns: int = 2) -> list[str]:
    """What each panel holds, in words: the task, and what tells it apart from the task's other panels.

    `panels` has one row per panel and the separating fields as columns; so many `columns` share the width of a page.
    """
    width = panel_width(columns)
    letters = (
        _beside_ticks(columns) / CHARACTER * (style.LOOK["axes.titlesize"] / SMALL_TITLE if width <= NARROW else 1)
    )
    return [wrapped(told, int(letters)) for told in parts(panels)]


def parts(panels: pd.DataFrame) -> list[list[str]]:
    """What `titles` say, part by part."""
    return [_parts(panels, panel) for _, panel in panels.iterrows()]


def wrapped(parts: Sequence[str], letters: int) -> str:
    """The parts on as few lines of so many letters as hold them; lines break between parts only."""
    whole = [part.replace(" ", "\u00a0") for part in parts]
    lines = textwrap.wrap(" · ".join(whole), letters, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line.strip(" ·") for line in lines).replace("\u00a0", " ")


def _parts(panels: pd.DataFrame, panel: pd.Series) -> list[str]:
    parts = [words.task(panel["task"])]
    of_task = panels[panels["task"] == panel["task"]]
    for field in panels.columns.drop("task"):
        section = field.split(".")[0]
        owned = section in KINDS and field not in KINDS and section in panels
        rivals = of_task[of_task[section] == panel[section]] if owned else of_task
        if rivals[field].nunique(dropna=False) > 1:
            parts.append(words.part(field, panel[field]))
    return parts


def panel_width(columns: int) -> float:
    """Inches: a column of a paper, or less where several panels share a page."""
    return min(style.PANEL_WIDTH, style.PAGE_WIDTH / columns)


def _beside_ticks(columns: int) -> float:
    """Inches for words above or below a panel: in narrow ones the labels of its ticks take too large a share."""
    return panel_width(columns) - (TICKS if columns > OF_MANY else 0)


def grid(
    panels: pd.DataFrame, x: str, y: str, lines: int = 1, height: float = style.PANEL_HEIGHT, in_a_row: int = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled, empty panel for each row of `panels`, in that order; `x`, `y` name the axes.

    Panels with many `lines` are larger. `in_a_row`: how many stand side by side, where `column_count` does not say it.
    """
    crowded = lines > MANY_LINES
    most = MOST_CROWDED if crowded else MOST_IN_A_ROW if in_a_row else OF_MANY
    count, columns = len(panels), min(in_a_row or column_count(panels), most)
    rows = -(-count // columns)
    figure, axes = sheet(titles(panels, columns), rows, columns, height * (CROWDED if crowded else 1))
    fits = rows == 1 or len(y) * LETTER < figure.get_figheight() / rows  # else it would meet that of the next row
    x = named_within(x, _beside_ticks(columns))
    for place, ax in enumerate(axes):
        ax.set_xlabel(x if place + columns >= count else "")
        ax.set_ylabel(y if place % columns == 0 and fits else "")
    if not fits:
        figure.supylabel(y, fontsize=style.LOOK["axes.labelsize"])
    return figure, axes


def sheet(
    named: Sequence[str], rows: int, columns: int, height: float = style.PANEL_HEIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure with an empty panel under each of the titles `named`, row by row; never wider than a page."""
    width = panel_width(columns)
    small = width <= NARROW
    height *= 1 - LOWER * (1 - width / style.PANEL_WIDTH)
    height += TITLE_LINE * max(title.count("\n") for title in named)
    figure = Figure(figsize=(width * columns, rows * height + LEGEND), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04 if small else 0.08, h_pad=0.06, hspace=0.04, wspace=0.03)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[len(named) :]:
        unused.remove()
    for ax, title in zip(axes, named, strict=False):
        ax.set_title(title, parse_math=False)
        if small:
            shrink(ax)
    return figure, axes[: len(named)]


def named_within(name: str, width: float) -> str:
    """The name of an axis on as few lines as fit into so many inches."""
    return "\n".join(textwrap.wrap(name, int(width / LETTER), break_long_words=False))


def shrink(ax: Axes) -> None:
    """The smaller letters of narrow panels."""
    ax.set_title(ax.get_title(loc="left"), fontsize=SMALL_TITLE, parse_math=False)
    ax.tick_params(labelsize=SMALL_TICKS)


def stacked(named: Sequence[str], labels: Sequence[str], x: str, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Under each of the titles `named` empty panels above each other, one for each of `labels`, which name their y.

    The stacks stand side by side, in two bands where they would not fit.
    """
    bands, rows = -(-len(named) // MOST_COLUMNS), len(labels)
    across = -(-len(named) // bands)
    width = panel_width(across)
    above = LEGEND + bands * (BENEATH + TITLE_LINE * (1 + max(title.count("\n") for title in named)))
    figure = Figure(figsize=(width * across, bands * rows * height + above), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.03, hspace=0.02, wspace=0.02)
    grid = figure.subplots(bands * rows, across, squeeze=False).reshape(bands, rows, across)
    stacks = [list(stack) for band in grid for stack in band.T]
    for unused in [ax for stack in stacks[len(named) :] for ax in stack]:
        unused.remove()
    for place, (axes, title) in enumerate(zip(stacks, named, strict=False)):
        first = place % across == 0
        axes[0].set_title(title, parse_math=False)
        axes[-1].set_xlabel(x)
        for ax, label in zip(axes, labels, strict=True):
            ax.set_ylabel(label if first else "")
            ax.tick_params(labelbottom=ax is axes[-1], labelleft=first)
            if width <= NARROW:
                shrink(ax)
    return figure, stacks[: len(named)]


def column_count(panels: pd.DataFrame, most: int = 0) -> int:
    """Panels that differ in nothing but the field that varies fastest stand side by side, or evenly in rows of them.

    At most so many, or as many as a page holds well; as many as that, too, where the rows would not be even.
    """
    well = OF_MANY if len(panels) > MANY else MOST_COLUMNS
    counts = [panels[field].nunique(dropna=False) for field in panels.columns]
    fastest = next((count for count in reversed(counts) if count > 1), 1)
    if len(panels) % fastest == 0:
        for columns in range(most or well, 1, -1):
            if fastest % columns == 0:
                return columns
    return min(len(panels), well)
