"""Learning curves.

The loss on held-out data relative to that of the best strategy without memory, against training steps: its median over
seeds, and the quartiles. One line per value of the field that is varied and most worth a line (`reports.lines`), a
panel for each distance; unlike trials stand in rows of their own.

Why medians: the loss of a seed that has learned lies decades below that of one that has not. The mean of both, or of
their logarithms, lies where no seed is, and says little but how many there are of each; its interval assumes one hump
where there are two. The median leaves the plateau when half of the seeds do, like the horizon. It is the same on any
scale, and a loss that blew up does not decide it. The quartiles show how seeds differ; three seeds are all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import captions, lines, multiples, scales, style, words
from rnnlab.analysis import endings, median_course
from rnnlab.record import FAILED, RESULTS

LOSS = "eval/relative_loss"
COURSES = (LOSS,)
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", LOSS, lines.RADIUS)
RANK = 6
BASELINE, LEARNED = 1.0, 0.5  # relative losses: without memory; what counts as more than that, in the caption
BAND, THIN = 0.16, 1.5  # opacity of quartiles; points
HALF = 0.5  # of the seeds still train
MARKERS = 3  # on a line
LEAST, MOST = 1e-3, 3.0  # a line that goes further leaves the panel, as many do at their first steps
ROOM = 1.25  # beyond the lines, on a logarithmic axis
DOTTED, DASHED = (0, (1, 1.2)), (0, (4, 2))


def applies(frame: pd.DataFrame) -> bool:
    """Where the loss of trials that have ended is known."""
    return LOSS in frame and bool(frame.loc[frame["status"].isin(RESULTS), LOSS].notna().any())


def separated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], str]:
    """`lines.separated`, of the trials whose distance is known."""
    blanked, facets, line = lines.separated(frame)
    return blanked.dropna(subset="distance"), facets, line


def table(frame: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """`analysis.median_course` for each setting, line and distance."""
    blanked, facets, line = separated(frame)
    return median_course(blanked, courses, [*facets, line, "distance"])


def draw(frame: pd.DataFrame, courses: pd.DataFrame) -> Figure:
    """The figure: a row of panels for each combination of the other fields that vary."""
    blanked, facets, line = separated(frame)
    by = [*facets, line, "distance"]
    counts = endings(blanked, by)
    missing = counts[by].assign(missing=counts["unfinished"] + counts[FAILED])
    points = missing.merge(table(frame, courses), on=by, how="left")  # a panel without a result is there too
    drawn, found = multiples.chosen(points, facets), lines.values(points[line])
    with style.look():
        looks = lines.looks(found, line)
        label = "held-out loss / loss without memory (ratio)"
        figure, shown = multiples.grid(drawn, facets, "training steps", label)
        for panel in shown:
            for rank, rows in panel.points.dropna(subset="step").groupby(lines.ranks(panel.points[line], found)):
                _curve(panel.ax, rows.sort_values("step"), looks[rank], rank)
            _frame(panel, drawn)
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        _signs(figure, drawn)
    return figure


def _curve(ax: Axes, rows: pd.DataFrame, look: lines.Look, rank: int) -> None:
    """One line, dotted from where most seeds have ended, with its quartiles."""
    opacity = lines.FADED if rows["missing"].iloc[0] else 1
    steps = rows["step"].to_numpy(dtype="float64")
    median, low, high = (
        rows[name].to_numpy(dtype="float64").clip(LEAST / 10, MOST * 10) for name in ("median", "low", "high")
    )
    ax.fill_between(steps, low, high, color=look.colour, alpha=BAND * opacity, linewidth=0, label="_quartiles")
    few = rows["training"].to_numpy(dtype="float64") <= HALF
    line = {"color": look.colour, "alpha": opacity, "linewidth": THIN, "zorder": 3}
    gap = max(1, len(steps) // MARKERS)
    marks = {"marker": look.marker, "markersize": 3.6, "markevery": (min((rank + 1) * gap // 6, len(steps) - 1), gap)}
    ax.plot(steps, median, linestyle=DOTTED, label="_few", **line)
    ax.plot(steps, np.where(few, np.nan, median), linestyle=look.dash, label=look.name, **line)
    ax.plot(steps, median, linestyle="none", label="_marks", **marks, **line)


def _frame(panel: multiples.Panel, drawn: pd.DataFrame) -> None:
    """The axes of one panel, the same in all, and the plateau."""
    ax, known = panel.ax, drawn.dropna(subset="step")
    ax.axhline(BASELINE, color=style.GREY, linewidth=1, linestyle=DASHED, zorder=2, label="_baseline")
    multiples.steps_axis(panel, (0, 1.02 * max(known["step"].max(), 1) if len(known) else 1), log=False)
    scales.apply(ax, "y", _limits(known), panel.ticks + 1)
    ax.spines["left"].set_visible(False)
    if panel.points["step"].isna().all():
        multiples.nothing(panel, "no finished trial yet")


def _limits(known: pd.DataFrame) -> tuple[float, float]:
    """From the lowest quartile to the highest median, and to the baseline."""
    least = np.min(known["low"].to_numpy(dtype="float64"), initial=BASELINE / 2)
    median = known["median"].to_numpy(dtype="float64")
    most = np.max(median[np.isfinite(median)], initial=2 * BASELINE)
    return max(least, LEAST) / ROOM, min(most, MOST) * ROOM


def _signs(figure: Figure, points: pd.DataFrame) -> None:
    """Below the panels: what the lines mean that are there."""
    grey = {"color": style.GREY}
    handles = [Line2D([], [], linewidth=1, linestyle=DASHED, label="baseline: no memory", **grey)]
    if (points["training"] <= HALF).any():
        handles.append(Line2D([], [], linewidth=THIN, linestyle=DOTTED, label="half of the seeds have ended", **grey))
    if (points["missing"] > 0).any():
        handles.append(Line2D([], [], linewidth=THIN, alpha=lines.FADED, label="seeds missing", **grey))
    lines.below(figure, handles)


def caption(frame: pd.DataFrame, courses: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and where training has led."""
    blanked, facets, line = separated(frame)
    points, also = table(frame, courses), lines.companions(frame, line)
    each = f", one line per {words.plain(line)}" if frame[line].nunique(dropna=False) > 1 else ""
    shown = (
        "Loss on held-out data over training, as a share of that of the best strategy without memory (dashed: the "
        f"plateau of who has learned nothing){each}, for each dependency distance. Lines: the median over seeds; "
        "bands: from the lower to the upper quartile, the middle half of the seeds and not an interval of the median. "
        f"A solved trial ends {captions.when_solved(frame)} and keeps its last loss from there on."
    )
    told = captions.protocols(blanked, [*facets, line, "distance"])
    by = [*facets, line, "distance"]
    found = captions.findings(frame, (_finding(str(task), rows, by, line) for task, rows in points.groupby("task")))
    account = captions.account(
        frame,
        "lines that miss seeds are faded",
        diverged="Above all others from their last finite loss on",
        early="medians are too low",
    )
    rest = [*captions.going_with(frame, line, also), *_beyond(points), *multiples.left_out(points, facets), *account]
    return " ".join([shown, *found, *told, *rest])


def _finding(task: str, points: pd.DataFrame, by: Sequence[str], line: str) -> str:
    """Where the medians end in the panel of a task, or in how many of its panels below a half of the baseline."""
    ends = points.drop_duplicates(list(by), keep="last")
    of_lines = {words.part(line, one): ends.loc[ends[line].isin([one]), "median"] for one in lines.values(ends[line])}
    if all(len(last) == 1 for last in of_lines.values()):
        with_ = " with {}" if len(of_lines) > 1 else ""
        told = words.listed(_ratio(last.iloc[0]) + with_.format(name) for name, last in of_lines.items())
    else:
        counts = [(name, int((last < LEARNED).sum()), len(last)) for name, last in of_lines.items()]
        told = f"below {LEARNED:g} {captions.in_panels(counts)}"
    return f"{words.task(task).capitalize()}: medians end {told}."


def _ratio(value: float) -> str:
    if value < LEAST:
        return f"below {LEAST:g}"
    return "at infinity" if np.isinf(value) else f"at {value:.2g}"


def _beyond(points: pd.DataFrame) -> Iterator[str]:
    """A sentence, where medians leave the panels."""
    ends = {f"below {LEAST:g}": points["median"] < LEAST, f"above {MOST:g}": points["median"] > MOST}
    told = [end for end, beyond in ends.items() if beyond.any()]
    if told:
        yield f"Medians {words.listed(told, last='or')} lie outside the panels."
