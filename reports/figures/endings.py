"""How training ended, by clip threshold.

The shares of trials that were solved, exhausted their budget or diverged, against the clip threshold of the gradient, a
panel for each initial spectral radius and for whatever else is varied but the distance.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reports import captions, lines, panels, style, words
from rnnlab.analysis import CONFIDENCE, INTERVAL, endings, wilson
from rnnlab.record import DIVERGED, EXHAUSTED, SOLVED

RADIUS, CLIP = lines.RADIUS, "train.clip_threshold"
NEEDS = (*captions.NEEDS, "distance", CLIP, RADIUS)
CLAIM_OF = ("clipping",)
RANK = 4
MOST_PANELS = 24  # more could not be compared
PANEL = 1.75  # inches of height
WIDTH = 0.72  # of a bar, where the next one is 1 away
COLOURS = {SOLVED: "#0072b2", EXHAUSTED: "0.82", DIVERGED: "#d55e00"}
MEANINGS = {SOLVED: "solved", EXHAUSTED: "budget of steps ended first", DIVERGED: "diverged"}


def applies(frame: pd.DataFrame) -> bool:
    """Where clip thresholds are compared, in not too many panels."""
    if CLIP not in frame or frame.empty or frame.groupby("task")[CLIP].nunique(dropna=False).max() < 2:
        return False
    return len(frame[_separated(frame)[1]].drop_duplicates()) <= MOST_PANELS


def _separated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The frame with the field of the distance blanked, and the columns of the panels: the radius is the last."""
    blanked, facets = panels.separated(frame, drawn=(CLIP, RADIUS))
    return blanked, [*facets, RADIUS]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """How many trials ended how, for each panel and threshold; `low`, `high`: the interval of the share solved.

    The interval is for one distance: trials at several share their seeds, and it is missing there.
    """
    blanked, facets = _separated(frame)
    counts = endings(blanked, [*facets, CLIP])
    single = blanked.groupby([*facets, CLIP], dropna=False)["distance"].nunique().to_numpy() <= 1
    pairs = zip(counts[SOLVED], counts["counted"].where(single, 0), strict=True)
    intervals = [wilson(int(solved), int(counted)) for solved, counted in pairs]
    return counts.assign(low=[low for low, _ in intervals], high=[high for _, high in intervals])


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: stacked bars, a bar for each clip threshold."""
    points = table(frame)
    points["missing"] = points["unfinished"] + points["failed"]
    facets, clips = list(points.columns[: points.columns.get_loc(CLIP)]), lines.values(points[CLIP])
    with style.look():
        named = points[facets].drop_duplicates()
        share = "share of trials (%)"
        figure, axes = panels.grid(named, words.label(CLIP), share, height=PANEL, in_a_row=_in_a_row(named))
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            _bars(ax, rows.assign(x=lines.ranks(rows[CLIP], clips)))
            ax.set_xticks(range(len(clips)), [words.value(clip, CLIP) for clip in clips])
            ax.set_xlim(-0.6, len(clips) - 0.4)
        there = [name for name in COLOURS if name != DIVERGED or points[DIVERGED].any()]
        handles = [Patch(color=COLOURS[name], label=MEANINGS[name]) for name in there]
        figure.legend(handles=handles, ncols=3, loc="outside upper center", **lines.SPACING)
    return figure


def _in_a_row(named: pd.DataFrame) -> int:
    """All radii of a setting stand side by side, where settings have equally many; 0 where that cannot be."""
    others = named.columns.drop(RADIUS)
    counts = named.groupby(list(others), dropna=False).size()
    return int(counts.max()) if counts.nunique() == 1 and 1 < counts.max() <= panels.MOST_IN_A_ROW else 0


def _bars(ax: Axes, rows: pd.DataFrame) -> None:
    """The shares upon each other; above them how many trials are missing."""
    base = np.zeros(len(rows))
    for name, colour in COLOURS.items():
        share = (rows[name] / rows["counted"].where(rows["counted"] > 0)).fillna(0).to_numpy()
        ax.bar(rows["x"], share, WIDTH, base, color=colour, linewidth=0, zorder=2)
        base += share
    ax.vlines(rows["x"], rows["low"], rows["high"], color="black", linewidth=1.1, zorder=4)
    for x, missing in zip(rows["x"], rows["missing"], strict=True):
        if missing:
            ax.text(x, 1.03, f"−{missing:.0f}", color=style.GREY, ha="center", va="bottom", fontsize=7)
    ax.set_ylim(0, 1.16 if (rows["missing"] > 0).any() else 1.02)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    ax.spines["left"].set_visible(False)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and which threshold did best."""
    blanked, facets = _separated(frame)
    points, single = table(frame), frame.groupby("task")["distance"].nunique().max() <= 1
    shown = "How trials ended against the clip threshold of the gradient (off: no clipping)"
    shown += f"; bars: {INTERVAL} {100 * CONFIDENCE:g} % intervals of the share solved." if single else "."
    told = captions.protocols(blanked, [*facets, CLIP, "distance"], "bar" if single else "bar and distance")
    over = [] if single else ["Each bar counts the trials at all distances alike; these share seeds: no interval."]
    found = captions.findings(frame, (_finding(str(task), rows) for task, rows in points.groupby("task")))
    missing = "the numbers above bars say how many are missing"
    account = captions.account(
        frame, missing, diverged="Shown as an ending of their own", early="shares solved are too high"
    )
    return " ".join([shown, *over, *found, *told, *account])


def _finding(task: str, points: pd.DataFrame) -> str:
    """The shares solved and diverged with each threshold, over all radii of one task."""
    sums = points.groupby(CLIP, dropna=False)[[SOLVED, DIVERGED, "counted"]].sum()
    sums = sums[sums["counted"] > 0]
    if sums.empty:
        return ""
    shares = sums.div(sums["counted"], axis=0) * 100
    texts = [
        f"{row[SOLVED]:.0f} % with {words.part(CLIP, clip)}"
        + f" ({row[DIVERGED]:.0f} % diverged)" * bool(row[DIVERGED])
        for clip, row in shares.iterrows()
    ]
    return f"{words.task(task).capitalize()}, over all panels: solved were {words.listed(texts)}."
