"""Which trials there are.

A map with a cell for each setting and distance: how many of the trials that sweeps planned have a result, coloured by
the worst that became of them. Settings are put together where there are many of them, and all of them where every trial
has a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from reports import captions, distances, lines, panels, style, words
from rnnlab.analysis import varying
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RESULTS, SOLVED

PLANNED = True
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS)
RANK = 10  # after all others
MISSING, UNFINISHED, COMPLETE = "missing", "unfinished", "complete"
WORST = (FAILED, MISSING, UNFINISHED, COMPLETE)
COLOURS = {FAILED: "#882255", MISSING: "#e69f00", UNFINISHED: "#88ccee", COMPLETE: "0.92"}
MARKS = {FAILED: "×", MISSING: "○", UNFINISHED: "…", COMPLETE: ""}  # beside the numbers, for prints in grey
MEANINGS = {
    FAILED: "some failed",
    MISSING: "some have no run",
    UNFINISHED: "some are not finished",
    COMPLETE: "all have a result",
}
MOST_ROWS = 24  # of the map of one task
MOST_LABELS = 10  # below narrow cells
MOST_NAMED = 3  # cells named in the caption
CELL, LINE = 0.46, 0.19  # inches: the width and the height of a cell
LETTER, FRAME, FOOT = 0.058, 0.5, 0.3  # inches: of a letter of a row's name; above and below the cells; below all
LEAST_CELL = 0.34  # inches, which hold the text of a cell
TEXT, SMALL = 6.5, 7  # points: in cells, names of rows
UNKNOWN = "?"  # a distance that nothing says, as no trial of its task was ever run


def whole(frame: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """Every trial that there is or should be: those of the frame, and those `MISSING`, which no run has begun."""
    told = frame[["key", "status", "seed", "distance", *panels.trial_fields(frame)]]
    absent = planned[~planned["key"].isin(frame["key"])].reindex(columns=told.columns)
    return pd.concat([told, absent.assign(status=MISSING)], ignore_index=True) if len(absent) else told


def separated(frame: pd.DataFrame, planned: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Every trial, the field of its distance blanked; and the columns that tell settings apart.

    These are the task, the field that would be lines, and the others. Trials of unknown distance have none.
    """
    trials = whole(frame, planned)
    line = lines.field(trials)
    unknown = trials["distance"].isna()
    own = [name for name in trials if name.startswith("task")]
    stand_in = -1.0 - trials[unknown].groupby(own, dropna=False).ngroup()  # each task has a distance of its own
    placed = trials.assign(distance=trials["distance"].fillna(stand_in))
    blanked, facets = panels.separated(placed, drawn=(line, *lines.companions(placed, line)))
    return blanked.assign(distance=blanked["distance"].where(blanked["distance"] >= 0)), ["task", line, *facets[1:]]


def table(frame: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """How many trials there are for each setting and distance, and what became of them: `trials`, those planned or run;
    `solved`, `exhausted`, `diverged`; `unfinished`; `failed`; `missing`, which no run has begun.
    """
    trials, fields = separated(frame, planned)
    return counts(trials, [*fields, "distance"])


def counts(trials: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """What became of the trials of each combination in `by`."""
    status = trials["status"]
    flags = {name: status == name for name in (*RESULTS, FAILED, MISSING)}
    flags[UNFINISHED] = ~status.isin((*RESULTS, FAILED, MISSING))
    order = ["trials", SOLVED, EXHAUSTED, DIVERGED, UNFINISHED, FAILED, MISSING]
    counted = trials[list(by)].assign(trials=True, **flags)
    return counted.groupby(list(by), dropna=False)[order].sum().reset_index()


def draw(frame: pd.DataFrame, planned: pd.DataFrame) -> Figure:
    """The figure: a map for each task, settings above each other, distances side by side."""
    trials, fields = separated(frame, planned)
    maps = [_cells(rows, rows_of(trials, rows, fields)) for _, rows in trials.groupby("task")]
    with style.look():
        names = max(len(name) for cells in maps for name in cells["row"])
        most = max(cells["distance"].nunique(dropna=False) for cells in maps)
        cell = min(CELL, (style.PAGE_WIDTH - names * LETTER - 0.3) / most)
        heights = [LINE * cells["row"].nunique() for cells in maps]
        size = max(names * LETTER + cell * most + 0.3, style.PANEL_WIDTH), sum(heights) + FRAME * len(maps) + FOOT
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, cells in zip(axes, maps, strict=True):
            _map(ax, cells, most, cell >= LEAST_CELL)
            ax.set_title(words.task(str(cells["task"].iloc[0])), parse_math=False)
        axes[-1].set_xlabel(distances.LABEL)
        _legend(figure, maps)
    return figure


def rows_of(trials: pd.DataFrame, of_task: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """The fields that tell the rows of a task's map apart: none if nothing is amiss, else those for few enough rows."""
    if trials["status"].isin(RESULTS).all():
        return []
    telling = varying(of_task, fields)
    while len(of_task[telling].drop_duplicates()) > MOST_ROWS:
        telling = telling[:-1]
    return telling


def _cells(of_task: pd.DataFrame, telling: Sequence[str]) -> pd.DataFrame:
    """The cells of a task's map: the name of their `row`, its place `y`, that of their distance, `x`, and counts."""
    cells = counts(of_task, ["task", *telling, "distance"])
    rows = cells.groupby(["task", *telling], dropna=False).ngroup()
    name = [" · ".join(words.part(field, row[field]) for field in telling) for row in cells.to_dict("records")]
    places = cells["distance"].rank(method="dense").fillna(cells["distance"].nunique() + 1).astype(int) - 1
    worst = cells[[FAILED, MISSING, UNFINISHED]].assign(**{COMPLETE: 1}).gt(0).idxmax(axis=1)
    return cells.assign(row=[one or "all settings" for one in name], y=rows, x=places, worst=worst)


def _map(ax: Axes, cells: pd.DataFrame, columns: int, numbers: bool) -> None:
    """The map of one task, as wide as that with the most columns."""
    for row in cells.to_dict("records"):
        colour = mpl.colors.to_rgb(COLOURS[row["worst"]])
        ax.add_patch(Rectangle((row["x"] - 0.48, row["y"] - 0.46), 0.96, 0.92, color=colour, linewidth=0))
        number = f"{sum(row[name] for name in RESULTS)}/{row['trials']}" if numbers else ""
        ink = "white" if style.is_dark(colour) else "black"
        text = f"{number} {MARKS[row['worst']]}".strip()
        ax.text(row["x"], row["y"], text, color=ink, ha="center", va="center", fontsize=TEXT)
    named = cells.drop_duplicates("y").sort_values("y")
    ticks = cells.drop_duplicates("x").sort_values("x")
    labels = [UNKNOWN if pd.isna(distance) else words.value(distance) for distance in ticks["distance"]]
    step = 1 if numbers else len(labels) // MOST_LABELS + 1
    ax.set_xticks(ticks["x"], [label if place % step == 0 else "" for place, label in enumerate(labels)])
    ax.set_yticks(named["y"], named["row"], fontsize=SMALL, parse_math=False)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(len(named) - 0.5, -0.5))
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _legend(figure: Figure, maps: Sequence[pd.DataFrame]) -> None:
    """What the colours mean that are there, unless everything is complete."""
    there = {worst for cells in maps for worst in cells["worst"]}
    if there != {COMPLETE}:
        handles = [
            Patch(color=COLOURS[name], label=f"{MEANINGS[name]} {MARKS[name]}".strip())
            for name in WORST
            if name in there
        ]
        columns = 2 if figure.get_figwidth() < style.PAGE_WIDTH - 1 else len(handles)
        figure.set_figheight(figure.get_figheight() + lines.LEGEND_HEIGHT)
        figure.legend(
            handles=handles, ncols=columns, loc="outside lower center", labelcolor=style.GREY, **lines.SPACING
        )


def caption(frame: pd.DataFrame, planned: pd.DataFrame) -> str:
    """How many of the trials have a result, and where most are missing."""
    trials, fields = separated(frame, planned)
    ended, every = int(trials["status"].isin(RESULTS).sum()), words.counted(f"{len(trials):,}", "trial")
    account = captions.account(
        frame, "coloured cells miss some of theirs", "Results like others", "Without a result", ""
    )
    if ended == len(trials):
        told = (
            f"All of the {every} that were planned or run have a result."
            if ended != 1
            else "The one trial has a result."
        )
        return " ".join([told, "Each cell: how many, at one distance.", *account])
    shown = (
        f"Of {every} that were planned or run, {ended:,} have a result. Cells: those with a result of all, for a "
        "setting and a distance; the colour is that of the worst that became of them: failed (crashed), no run, not "
        "finished."
    )
    pooled = {
        words.plain(name)
        for _, rows in trials.groupby("task")
        for name in set(varying(rows, fields)) - set(rows_of(trials, rows, fields))
    }
    together = [f"Rows put together what differs in {words.listed(sorted(pooled))}."] if pooled else []
    return " ".join([shown, *together, *_worst(counts(trials, [*fields, "distance"]), fields), *account])


def _worst(cells: pd.DataFrame, fields: Sequence[str]) -> Iterator[str]:
    """How many are missing, and the cells that miss the most."""
    absent = int(cells[MISSING].sum())
    if absent:
        yield f"{words.counted(f'{absent:,}', 'trial')} {'has' if absent == 1 else 'have'} no run."
    without = cells.assign(without=cells[[FAILED, MISSING, UNFINISHED]].sum(axis=1))
    worst = without[without["without"] > 0].sort_values("without", ascending=False, kind="stable").head(MOST_NAMED)
    told = []
    for row in worst.to_dict("records"):
        telling = varying(cells[cells["task"] == row["task"]], fields)
        distance = UNKNOWN if pd.isna(row["distance"]) else words.value(row["distance"])
        named = ", ".join([words.task(str(row["task"])), *(words.part(name, row[name]) for name in telling)])
        told.append(f"{named} at distance {distance} ({row['without']} of {row['trials']})")
    yield f"Most are missing of {'; '.join(told)}."
