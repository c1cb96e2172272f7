"""Complex planes with eigenvalues before and after training, and below each how many have more than a modulus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import panels, spectra, style
from reports.spectra import IMAGINARY, REAL, UNSOLVED
from rnnlab.record import SOLVED

COLOURS = {SOLVED: "#0072b2", UNSOLVED: "#d55e00"}
PALE, INK = "0.72", "0.25"  # of what was before training; of circles
CIRCLE, OF_INIT = {"color": INK, "linewidth": 0.9}, {"color": INK, "linewidth": 0.9, "linestyle": (0, (3, 2))}
WIDEST = 2  # planes end at so many times the largest modulus before training, if not earlier
ANOTHER = 0.2  # of the height of a curve: a line of words above it
STRETCH = 1.3  # real parts shown per imaginary parts
INSIDE, OUTSIDE, BEHIND = 1.6, 2.8, 2.6  # sizes of points: after training in and out of the unit circle, and before it
WIDTH, PLANE, STRIP, BETWEEN, HEAD = 2.8, 2.1, 0.9, 0.4, 0.45  # inches


def sheet(titles: Sequence[str], columns: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with a plane and a strip for each title."""
    rows = max(1, -(-len(titles) // columns))
    width = min(WIDTH, (style.PAGE_WIDTH - BETWEEN) / columns)
    plane = PLANE * width / WIDTH
    lines = max((title.count("\n") for title in titles), default=0)
    size = width * columns + BETWEEN, rows * (plane + STRIP + BETWEEN + lines * panels.TITLE_LINE) + HEAD
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[plane, STRIP] * rows)
    pairs = [(axes[2 * row, column], axes[2 * row + 1, column]) for row in range(rows) for column in range(columns)]
    for pair in pairs[len(titles) :]:
        for unused in pair:
            unused.remove()
    for place, (title, (above, below)) in enumerate(zip(titles, pairs, strict=False)):
        above.set_title(title, parse_math=False)
        if width <= panels.NARROW:
            panels.shrink(above)
            panels.shrink(below)
        above.set_ylabel(r"Im $\lambda$" if place % columns == 0 else "")
        above.set_xlabel(r"Re $\lambda$", labelpad=0)
        below.set_ylabel("eigenvalues\nabove" if place % columns == 0 else "")
        below.set_xlabel(r"modulus $|\lambda|$" if place + columns >= len(titles) else "")
    return figure, pairs[: len(titles)]


def limits(values: pd.DataFrame, radius: float) -> tuple[float, float]:
    """Of real and imaginary parts in all planes: they hold the circles and, up to `WIDEST`, all eigenvalues."""
    before = np.nanmax([1, values.loc[values["when"] == "initial", "modulus"].max(), radius])
    real, imaginary = (np.nanmax([before, values[part].abs().max()]) for part in (REAL, IMAGINARY))
    half = 1.06 * min(max(imaginary, real / STRETCH), WIDEST * before)
    return STRETCH * half, half


def plane(ax: Axes, values: pd.DataFrame, radius: float, ends: tuple[float, float]) -> None:
    """The eigenvalues of one setting, drawn with a spectral `radius`."""
    turn = np.exp(1j * np.linspace(0, 2 * np.pi, 181))
    for size, look in ((1.0, CIRCLE), (radius, OF_INIT)):
        ax.plot(size * turn.real, size * turn.imag, zorder=4, label="_circle", **look)
    for colour, drawn in _layers(values):
        outside = drawn["outside"] & (colour != PALE)
        for chosen, size in ((~outside, BEHIND if colour == PALE else INSIDE), (outside, OUTSIDE)):
            shape = {"markersize": size, "markeredgewidth": 0, "label": "_eigenvalues"}
            ax.plot(drawn.loc[chosen, REAL], drawn.loc[chosen, IMAGINARY], "o", color=colour, **shape)
    x, y = ends
    ax.set(xlim=(-x, x), ylim=(-y, y), xticks=[-1, 0, 1], yticks=[-1, 0, 1], anchor="W", aspect="equal")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def _layers(values: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Colour and eigenvalues: those before training, and in front of them those after it, by outcome."""
    yield PALE, values[values["when"] == "initial"]
    for outcome, colour in reversed(COLOURS.items()):
        yield colour, values[(values["when"] == "final") & (values["outcome"] == outcome)]


def strip(ax: Axes, values: pd.DataFrame, rows: pd.DataFrame, limit: float) -> None:
    """How many eigenvalues have more than each modulus; above it the spectral radii in words."""
    moduli = np.linspace(0, limit, 161)
    for colour, drawn in _layers(values):
        if len(drawn):
            mean, low, high = spectra.larger(drawn, moduli)
            ax.plot(moduli, mean, color=colour, linewidth=1.5, label="_above")
            ax.fill_between(moduli, np.maximum(low, 0), high, color=colour, alpha=0.25, linewidth=0)
    height = 1.05
    for outcome in (SOLVED, UNSOLVED):
        told = rows[(rows["outcome"] == outcome) & rows["radius_final"].notna()]
        if len(told):
            radii = " → ".join(f"{told[name].mean():.2f}" for name in ("radius_initial", "radius_final"))
            look = {"color": COLOURS[outcome], "fontsize": 7, "ha": "right", "transform": ax.transAxes}
            ax.text(1, height, f"{len(told)} {outcome}: {radii}", **look)
            height += ANOTHER
    ax.axvline(1, zorder=4, label="_unit", **CIRCLE)
    most = values.groupby(["key", "layer", "when"]).size().max()
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlim=(0, limit), ylim=(0, 1.5 * most), yticks=[tick for tick in (0, 1, 10, 100) if tick <= most])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.spines["left"].set_visible(False)
