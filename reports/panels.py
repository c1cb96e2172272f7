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
TITLE_WIDTH = 40  # characters that fit above a panel
MOST_COLUMNS = 3
MOST_IN_A_ROW = 5  # where the field that varies fastest fills a row
MANY_LINES, CROWDED = 6, 1.35  # more lines than that make a panel so many times as large
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


def titles(panels: pd.DataFrame) -> list[str]:
    """What each panel holds, in words: the task, and what tells it apart from the task's other panels.

    `panels` has one row per panel and the separating fields as columns.
    """
    return [_wrapped(_parts(panels, panel)) for _, panel in panels.iterrows()]


def _wrapped(parts: Sequence[str]) -> str:
    """The parts on as few lines as hold them; lines break between parts only."""
    whole = [part.replace(" ", "\u00a0") for part in parts]
    lines = textwrap.wrap(" · ".join(whole), TITLE_WIDTH, break_long_words=False, break_on_hyphens=False)
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


def grid(
    panels: pd.DataFrame, x: str, y: str, lines: int = 1, height: float = style.PANEL_HEIGHT, in_a_row: int = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled, empty panel for each row of `panels`, in that order; `x`, `y` name the axes.

    Panels with many `lines` are larger. `in_a_row`: how many stand side by side, where `column_count` does not say it.
    """
    crowded = lines > MANY_LINES
    count, columns = len(panels), min(in_a_row or column_count(panels), 2 if crowded else MOST_IN_A_ROW)
    rows = -(-count // columns)
    figure, axes = sheet(titles(panels), rows, columns, height, CROWDED if crowded else 1)
    for place, ax in enumerate(axes):
        ax.set_xlabel(x if place + columns >= count else "")
        ax.set_ylabel(y if place % columns == 0 else "")
    return figure, axes


def sheet(
    named: Sequence[str], rows: int, columns: int, height: float = style.PANEL_HEIGHT, scale: float = 1
) -> tuple[Figure, list[Axes]]:
    """A figure with an empty panel under each of the titles `named`, row by row."""
    height = scale * height + TITLE_LINE * max(title.count("\n") for title in named)
    figure = Figure(figsize=(scale * style.PANEL_WIDTH * columns, rows * height + LEGEND), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, hspace=0.04, wspace=0.03)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[len(named) :]:
        unused.remove()
    for ax, title in zip(axes, named, strict=False):
        ax.set_title(title, parse_math=False)
    return figure, axes[: len(named)]


def stacked(named: Sequence[str], labels: Sequence[str], x: str, height: float) -> tuple[Figure, list[list[Axes]]]:
    """Under each of the titles `named` empty panels above each other, one for each of `labels`, which name their y.

    The stacks stand side by side, in two bands where they would not fit.
    """
    bands, rows = 1 if len(named) <= MOST_IN_A_ROW else 2, len(labels)
    across = -(-len(named) // bands)
    above = LEGEND + bands * (BENEATH + TITLE_LINE * (1 + max(title.count("\n") for title in named)))
    figure = Figure(figsize=(style.PANEL_WIDTH * across, bands * rows * height + above), layout="constrained")
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
    return figure, stacks[: len(named)]


def column_count(panels: pd.DataFrame) -> int:
    """Panels that differ in nothing but the field that varies fastest stand side by side, where they fit."""
    counts = [panels[field].nunique(dropna=False) for field in panels.columns]
    fastest = next((count for count in reversed(counts) if count > 1), 1)
    if fastest <= MOST_IN_A_ROW and len(panels) % fastest == 0:
        return fastest
    return 2 if len(panels) == 4 else min(len(panels), MOST_COLUMNS)
