"""Axes with ticks where something was tested: over the dependency distance, or another number of the trials."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports import style, words

LABEL = "dependency distance (steps)"
LOG_FROM = 4  # the axis is logarithmic where the largest distance is at least so many times the smallest

# In units of the span between the smallest and the largest distance on the axis:
MARGIN = 0.08  # beside the outermost distances
DODGE = 0.022  # between the lines at one distance: else their intervals would hide each other
LEAST_DODGE = 0.007  # the width of an interval's bar: closer, and it would hide its neighbour
CHARACTER = 0.026  # the width of a digit in a label
LINE = 0.075  # the height of a label

DODGE_SPREAD = 0.6  # of the gap between two distances: what all lines together may take


class Axis:
    """The axis in all panels of one task: the same limits, and lines that stand a little apart."""

    def __init__(self, distances: pd.Series, lines: int) -> None:
        tested = np.unique(distances.dropna())
        self.log = tested[-1] >= LOG_FROM * tested[0] > 0
        places = self.scaled(tested)
        self.span = np.ptp(places) or 1.0
        gap = np.diff(places).min() if len(places) > 1 else self.span
        self.step = min(DODGE * self.span, max(LEAST_DODGE * self.span, DODGE_SPREAD * gap / lines))
        self.middle = (lines - 1) / 2
        margin = max(MARGIN * self.span, (self.middle + 1) * self.step)
        self.outermost = places[[0, -1]]
        self.ends = self.outermost + np.array([-1, 1]) * margin

    def scaled(self, distances: np.ndarray) -> np.ndarray:
        return np.log(distances) if self.log else np.asarray(distances, dtype=float)

    def unscaled(self, places: np.ndarray) -> np.ndarray:
        return np.exp(places) if self.log else places

    def place(self, distances: pd.Series, rank: int) -> np.ndarray:
        """Where the points of the line with this rank stand."""
        return self.unscaled(self.scaled(distances.to_numpy()) + (rank - self.middle) * self.step)

    def beyond(self, share: float) -> tuple[float, float]:
        """Places outside the tested values, on either side, by a share of the span between them."""
        least, most = self.unscaled(self.outermost + np.array([-share, share]) * self.span)
        return float(least), float(most)

    def apply(self, ax: Axes, distances: pd.Series) -> None:
        """Set scale and limits, and ticks at the distances tested in this panel."""
        ticks = np.unique(distances.dropna())
        ax.set_xscale("log" if self.log else "linear")
        ax.set_xlim(*self.unscaled(self.ends))
        ax.set_xticks(ticks, self.labels(ticks, wide=width(ax) / style.PANEL_WIDTH))
        ax.minorticks_off()

    def apply_upright(self, ax: Axes, distances: pd.Series) -> None:
        """The same for the other axis of a panel."""
        ticks = np.unique(distances.dropna())
        ax.set_yscale("log" if self.log else "linear")
        ax.set_ylim(*self.unscaled(self.ends))
        ax.set_yticks(ticks, self.labels(ticks, LINE))
        ax.minorticks_off()

    def labels(self, ticks: np.ndarray, height: float | None = None, wide: float = 1) -> list[str]:
        """The distances in words, none where it would touch a neighbour; the largest is always named.

        Side by side they take the room of their characters in a panel that is so many columns `wide`, on an upright
        axis that of the `height` of a line.
        """
        texts = [words.value(float(tick)) for tick in ticks]
        free_until = np.inf
        for i, place in reversed(list(enumerate(self.scaled(ticks)))):
            half = 0.5 * self.span * (height or (len(texts[i]) + 1) * CHARACTER / wide)
            if place + half <= free_until:
                free_until = place - half
            else:
                texts[i] = ""
        return texts


def width(ax: Axes) -> float:
    """Inches that a panel and what belongs to it have."""
    return ax.get_figure(root=True).get_figwidth() / ax.get_subplotspec().get_gridspec().ncols
