"""Figures of a share right, its mean over seeds: the line, its interval and the seeds themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports import lines, style
from rnnlab.analysis import CONFIDENCE, MEAN_INTERVAL
from rnnlab.record import RESULTS

SEED = {"markersize": 2.2, "alpha": 0.35, "zorder": 2, "markeredgewidth": 0, "label": "_seeds"}
BARS = f"Bars: {MEAN_INTERVAL} {100 * CONFIDENCE:g} % intervals of the mean over seeds; small dots: single seeds."
LAST_EVALUATION = (
    "at the last evaluation (of a solved trial, the last of those that count; of one that diverged, the last before)"
)
TOO_HIGH = "shares are too high"  # while trials run

Place = Callable[[pd.Series, int], np.ndarray]  # the values of a line with this rank -> where they stand


def draw(
    ax: Axes,
    means: pd.DataFrame,
    trials: pd.DataFrame,
    keys: tuple[str, str, str],
    looks: Sequence[lines.Look],
    found: Sequence[Any],
    place: Place,
) -> None:
    """The lines of one panel: `means` of `analysis.mean_metric`, over single `trials`; `keys`: line, x and metric."""
    line, x, metric = keys
    trials = trials[trials["status"].isin(RESULTS)]
    for rank, of_line in trials.groupby(lines.ranks(trials[line], found)):
        ax.plot(place(of_line[x], rank), of_line[metric], "o", color=looks[rank].colour, **SEED)
    points = means.assign(y=means["mean"], missing=means["unfinished"] + means["failed"])
    for rank, of_line in points.groupby(lines.ranks(points[line], found)):
        lines.draw(ax, of_line.assign(x=place(of_line[x], rank)), looks[rank])
    lines.percent_axis(ax, points)


def chance_level(ax: Axes, share: float | None) -> None:
    """A line at the share right of who guesses."""
    if share is not None:
        ax.axhline(share, color=style.GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=1, label="_chance")
        left = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "color": style.GREY}
        ax.annotate("chance", (0, share), (2, 2), **left)  # where the event is recent, few points lie so low
