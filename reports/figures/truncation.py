"""Learnability under truncated backpropagation, and the memory that training takes.

Left the share of seeds that solve the task against the dependency distance, a line for each window of truncation, with
a mark where the distance equals the window. Right, where the store knows it, the memory of training against the window.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from reports import captions, distances, lines, panels, style, words
from rnnlab.analysis import BELOW, CONFIDENCE, INTERVAL, UNKNOWN, horizon, success_rate
from rnnlab.record import RESULTS, SOLVED

WINDOW, BYTES = "train.truncation", "train_bytes"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", WINDOW, lines.RADIUS)
OPTIONAL = (BYTES,)
CLAIM_OF = ("truncation",)
MEBI = 2**20
MOST_NAMED = 3  # distances named beside their lines of memory


def applies(frame: pd.DataFrame) -> bool:
    """Where windows are compared and nothing is worth more as lines."""
    return lines.field(frame) == WINDOW


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.success_rate` for each panel, window and distance; with the bytes that training of one model takes."""
    blanked, facets = panels.separated(frame, drawn=(WINDOW,))
    by = [*facets, WINDOW, "distance"]
    rates = success_rate(blanked, by)
    if BYTES not in frame:
        return rates
    return rates.assign(**{BYTES: blanked.groupby(by, dropna=False)[BYTES].max().to_numpy()})


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: for each combination of the other fields that vary one row."""
    points = table(frame)
    points = points.assign(y=points["rate"], missing=points["unfinished"] + points["failed"])
    facets, found = list(points.columns[: points.columns.get_loc(WINDOW)]), lines.values(points[WINDOW])
    memory = BYTES in points and bool(points[BYTES].notna().any())
    with style.look():
        looks, columns = lines.looks(found, WINDOW), 2 if memory else 1
        titles = panels.titles(points[facets].drop_duplicates())
        named = [part for title in titles for part in (title, "memory of training")[:columns]]
        figure, axes = panels.sheet(named, len(titles), columns)
        for row, (_, rows) in enumerate(points.groupby(facets, dropna=False)):
            of_task = points.loc[points["task"] == rows["task"].iloc[0], "distance"]
            _rates(axes[columns * row], distances.Axis(of_task, lines=len(looks)), rows, found, looks)
            if memory:
                _memory(axes[columns * row + 1], rows, found, looks)
        for ax, label in zip(axes[-columns:], (distances.LABEL, "window (steps)"), strict=False):
            ax.set_xlabel(label)
        lines.legend(figure, looks, words.label(WINDOW))
        lines.marks(figure, points)
    return figure


def _rates(
    ax: Axes, axis: distances.Axis, rows: pd.DataFrame, found: Sequence[float], looks: Sequence[lines.Look]
) -> None:
    """The success rates, and where the distance equals the window."""
    axis.apply(ax, rows["distance"])
    for rank, drawn in rows.groupby(lines.ranks(rows[WINDOW], found)):
        lines.draw(ax, drawn.assign(x=axis.place(drawn["distance"], rank)), looks[rank])
    lines.percent_axis(ax, rows)
    ax.set_ylabel("solved (% of seeds)")
    least, most = axis.unscaled(axis.ends)
    for window, look in zip(found, looks, strict=True):
        if least <= window <= most:  # not where it is missing: full
            ax.axvline(window, color=look.colour, linewidth=1, linestyle=(0, (1.5, 1.5)), zorder=1, label="_window")


def _memory(ax: Axes, rows: pd.DataFrame, found: Sequence[float], looks: Sequence[lines.Look]) -> None:
    """Memory against the window, a grey line for each distance; the full window stands at the end."""
    known = rows.dropna(subset=BYTES)
    windows = [window for window in found if not np.isnan(window)]
    full = 2 * max(windows)
    x = known[WINDOW].fillna(full)
    for _, of_one in known.assign(x=x, y=known[BYTES] / MEBI).groupby("distance"):
        ax.plot(of_one["x"], of_one["y"], color=style.GREY, linewidth=0.9, alpha=0.7, zorder=2, label="_distance")
        for rank, point in of_one.groupby(lines.ranks(of_one[WINDOW], found)):
            ax.plot(point["x"], point["y"], looks[rank].marker, color=looks[rank].colour, zorder=3, label="_points")
    _name_distances(ax, known[x == x.max()], x.max())
    places, names = zip(
        *[(full if np.isnan(value) else value, look.name) for value, look in zip(found, looks, strict=True)],
        strict=True,
    )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(places, names)
    ax.yaxis.set_major_locator(LogLocator(subs=[1, 2, 5]))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.spines["left"].set_visible(False)
    ax.set_ylabel("memory (MiB per model)")


def _name_distances(ax: Axes, rows: pd.DataFrame, x: float) -> None:
    """Beside the last point of some lines, from the largest down, their distance."""
    rows = rows.sort_values("distance")
    for place in np.unique(np.linspace(0, len(rows) - 1, MOST_NAMED).round().astype(int)):
        row = rows.iloc[place]
        text = f" d = {words.value(row['distance'])}"
        ax.annotate(text, (x, row[BYTES] / MEBI), (4, 0), textcoords="offset points", va="center", fontsize=7)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how far success went beyond the window."""
    blanked, facets = panels.separated(frame, drawn=(WINDOW,))
    shown = (
        "Share of seeds that solve the task against the dependency distance, one line per window of truncated "
        "backpropagation (full: gradients reach back to the first step). Dotted: where the distance equals the window. "
        f"Bars: {INTERVAL} {100 * CONFIDENCE:g} % intervals; points at one distance stand a little apart."
    )
    told = captions.protocols(blanked, [*facets, WINDOW, "distance"])
    of_tasks = (_finding(str(task), rows) for task, rows in frame.groupby("task"))
    found = captions.findings(frame, itertools.chain(_horizons(blanked, facets), of_tasks))
    return " ".join([shown, *_of_memory(frame), *found, *told, *captions.account(frame)])


def _of_memory(frame: pd.DataFrame) -> Iterator[str]:
    if BYTES in frame and frame[BYTES].notna().any():
        yield (
            "Right: the memory that training of one model takes, a grey line for each distance d. Windows also need "
            "room for the sum of their gradients and the states between them: a long one may take more than the full."
        )


def _horizons(blanked: pd.DataFrame, facets: Sequence[str]) -> Iterator[str]:
    """For each panel the distance at which half of the seeds solve the task, by window."""
    found = horizon(blanked, [*facets, WINDOW])
    known = found[(found["outside"] != UNKNOWN) & (found["distances"] > 1)]
    if known.empty:
        return
    told = []
    titles = [title.replace("\n", " ") for title in panels.titles(known[list(facets)].drop_duplicates())]
    for title, (_, rows) in zip(titles, known.groupby(list(facets), dropna=False), strict=True):
        reach = [
            f"{_reach(row)} with {'the full window' if np.isnan(row[WINDOW]) else f'window {words.value(row[WINDOW])}'}"
            for _, row in rows.iterrows()
        ]
        told.append(f"{title}: {words.listed(reach)}")
    yield f"Half of the seeds solve the task up to a distance of, {'; '.join(told)}."


def _reach(row: pd.Series) -> str:
    """A horizon in words: a number of steps, or the end of the distances tested that it lies beyond."""
    if row["outside"]:
        return f"{row['outside']} {words.value(row['nearest' if row['outside'] == BELOW else 'farthest'])}"
    return f"{row['horizon']:.0f}"


def _finding(task: str, rows: pd.DataFrame) -> str:
    """The shares solved within and beyond the window, and what the full window does at the distances beyond."""
    ended = rows[rows["status"].isin(RESULTS)]
    solved = ended["status"] == SOLVED
    within, beyond = ended["distance"] <= ended[WINDOW], ended["distance"] > ended[WINDOW]
    if not within.any() or not beyond.any():
        return ""
    told = [
        f"{100 * solved[chosen].mean():.0f} % were solved of {words.counted(int(chosen.sum()), 'trial')} {name}"
        for name, chosen in (("at distances up to the window", within), ("beyond it", beyond))
    ]
    of_full = solved[ended[WINDOW].isna()].groupby(ended["distance"]).mean()
    same = ended.loc[beyond, "distance"].map(of_full).mean()
    if not np.isnan(same):
        told.append(f"at the distances of the latter the full window solves {100 * same:.0f} %")
    return f"{words.task(task).capitalize()}: {words.listed(told)}."
