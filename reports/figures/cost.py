"""What training costs.

The training steps that a trial takes until it ends, left, and the seconds of computing, right, against the dependency
distance. One line per value of the field that is varied and most worth a line (`reports.lines`); unlike trials stand in
rows of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import captions, distances, lines, multiples, panels, scales, style, words
from rnnlab.analysis import endings
from rnnlab.record import FAILED, RESULTS

STEPS, SECONDS, BUDGET, HOST = "trained_steps", "seconds", "train.max_steps", "host"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", STEPS, lines.RADIUS)
OPTIONAL = (SECONDS, HOST)
RANK = 8
MEASURES = {STEPS: "training (steps)", SECONDS: "training (s)"}  # per trial
MOST_ROWS = 6
HEIGHT, LOW = 1.6, 1.3  # inches of a panel; of one without distances
ROOM, NOTHING = 1.35, 1.12  # beyond the points, on a logarithmic axis; above its end, where crosses stand
BUDGET_LINE: dict[str, Any] = {"color": style.GREY, "linewidth": 1, "linestyle": (0, (4, 2))}


def measured(frame: pd.DataFrame) -> list[str]:
    """What is known of the cost of trials with a result."""
    ended = frame[frame["status"].isin(RESULTS)]
    return [STEPS, *([SECONDS] if SECONDS in ended and np.isfinite(ended[SECONDS]).any() else [])]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """What the trials with a result took, for each setting, line and distance.

    Of `trained_steps`, and of `seconds` where they are known: the median; `_low` and `_high`, the least and the most;
    `_total`. Then `budget`, the steps allowed; `counted`, `unfinished`, `failed`.
    """
    blanked, facets, line = lines.separated(frame)
    by = [*facets, line, "distance"]
    counts = endings(blanked, by)
    groups = blanked.groupby(by, dropna=False).ngroup()
    ended = blanked["status"].isin(RESULTS)
    found = counts[by].assign(budget=blanked[BUDGET].groupby(groups).max().to_numpy())
    for name in measured(frame):
        finite = blanked.loc[ended, name].replace([np.inf, -np.inf], np.nan)
        costs = finite.groupby(groups[ended]).agg(["median", "min", "max", "sum"])
        found[[name, f"{name}_low", f"{name}_high", f"{name}_total"]] = costs.reindex(counts.index)
    return found.assign(**{name: counts[name] for name in ("counted", "unfinished", FAILED)})


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel of steps and one of seconds for each combination of the other fields that vary.

    Costs stand above their distance; where there is but one, above the value of the field that would be lines.
    """
    points, (_, facets, line), names = table(frame), lines.separated(frame), measured(frame)
    points = points.assign(missing=points["unfinished"] + points[FAILED])
    drawn, found = multiples.few(points, facets, MOST_ROWS), lines.values(points[line])
    alone = lines.at_one_distance(points)
    with style.look():
        looks, titles = lines.looks(found, line), panels.titles(drawn[facets].drop_duplicates())
        named = [part for title in titles for part in (title, "")[: len(names)]]
        figure, axes = panels.sheet(named, len(titles), len(names), LOW if alone else HEIGHT)
        for row, (_, rows) in enumerate(drawn.groupby(facets, dropna=False)):
            of_task = drawn.loc[drawn["task"] == rows["task"].iloc[0], "distance"]
            axis = None if alone else distances.Axis(of_task, lines=len(looks))
            for ax, name in zip(axes[row * len(names) :], names, strict=False):
                _panel(ax, rows.assign(rank=lines.ranks(rows[line], found)), name, axis, looks, _limits(drawn, name))
        for ax in axes[-len(names) :]:
            ax.set_xlabel(words.label(line) if alone else distances.LABEL)
        if len(looks) > 1 and not alone:
            lines.legend(figure, looks, words.label(line))
        lines.marks(figure, drawn, [Line2D([], [], label="budget of steps", **BUDGET_LINE)])
    return figure


def _panel(
    ax: Axes,
    rows: pd.DataFrame,
    name: str,
    axis: distances.Axis | None,
    looks: Sequence[lines.Look],
    limits: tuple[float, float],
) -> None:
    """One measure of one setting, over distances, or without an `axis` of these over lines; and the budget."""
    rows = rows.assign(y=rows[name], low=rows[f"{name}_low"], high=rows[f"{name}_high"])
    for rank, of_line in rows.groupby("rank"):
        places = of_line["rank"] if axis is None else axis.place(of_line["distance"], rank)
        lines.draw(ax, of_line.assign(x=places), looks[rank], limits[0] * NOTHING)
    if axis is None:
        lines.across(ax, looks)
    else:
        axis.apply(ax, rows["distance"])
    scales.apply(ax, "y", limits, most=5)
    ax.set_ylabel(MEASURES[name])
    ax.spines["left"].set_visible(False)
    if name == STEPS:
        ax.axhline(rows["budget"].max(), zorder=1, label="_budget", **BUDGET_LINE)


def _limits(points: pd.DataFrame, name: str) -> tuple[float, float]:
    """Of an axis that holds all costs of one kind: from the least to the most, and to the budget."""
    least, most = points[f"{name}_low"].to_numpy(dtype="float64"), points[f"{name}_high"].to_numpy(dtype="float64")
    positive = [*least[least > 0], *most[most > 0], *(points["budget"] if name == STEPS else [])]
    return (min(positive) / ROOM, max(positive) * ROOM) if positive else (1.0, 10.0)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and what was cheapest and dearest."""
    blanked, facets, line = lines.separated(frame)
    points, names, also = table(frame), measured(frame), lines.companions(frame, line)
    over = "against the" if lines.at_one_distance(points) else "one line per"
    each = f", {over} {words.plain(line)}" if frame[line].nunique(dropna=False) > 1 else ""
    shown = (
        f"Training steps that a trial takes until it ends: {captions.when_solved(frame)}, at the end of the budget "
        f"(dashed) or where it diverged{each}. Points: the median over seeds; bars: minimum to maximum."
    )
    told = captions.protocols(blanked, [*facets, line, "distance"])
    found = captions.findings(frame, (_finding(str(task), rows, names) for task, rows in points.groupby("task")))
    drawn = "open, faded points miss some of theirs, crosses at the lower edge have no result yet"
    account = captions.account(frame, drawn, "Counted up to where they ended", early="costs are too low")
    rest = [*_of_seconds(frame, names), *captions.going_with(frame, line, also)]
    kept = multiples.few(points, facets, MOST_ROWS)
    return " ".join([shown, *found, *told, *rest, *multiples.told(points, kept, facets, "rows"), *account])


def _of_seconds(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[str]:
    """How seconds were measured, and on which machine."""
    if SECONDS in names:
        hosts = words.distinct(frame[HOST].dropna()) if HOST in frame else []
        machines = f"machine{'s' if len(hosts) > 1 else ''} named {words.listed(hosts)}" if hosts else ""
        where = f" on the {machines}" if hosts else ""
        yield (
            f"Right: seconds of training, measured{where}; they differ from launch to launch, the steps do not. Trials "
            "that were trained together share their seconds: those that trained with few others, as the last do, look "
            "dearer."
        )


def _finding(task: str, points: pd.DataFrame, names: Sequence[str]) -> str:
    """What all trials of a task took, and the range of medians."""
    known = points.dropna(subset=STEPS)
    if known.empty:
        return ""
    total = f"{known[f'{STEPS}_total'].sum():,.0f} steps"
    medians = f"a trial takes {captions.span(known[STEPS].min(), known[STEPS].max())} steps"
    if SECONDS in names:
        total += f" in {_duration(known[f'{SECONDS}_total'].sum())}"
        ends = [_duration(known[SECONDS].min()), _duration(known[SECONDS].max())]
        medians += f" and {' to '.join(dict.fromkeys(ends))}"
    return (
        f"{words.task(task).capitalize()}: {medians} (medians of settings and distances), all of them together {total}."
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
