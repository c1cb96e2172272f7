"""Sheets of heat maps over time: the inputs, states and outputs of networks unrolled over one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from reports import style, unrolling
from reports.unrolling import Unrolled

STATES, CHANGES, SHARES, PLAIN = "RdBu_r", "PuOr_r", "Blues", "Greys"  # maps of colours
UNOBSERVED, LEVELS = "0.93", 65  # an odd number: one of them is for zero
INK, MARK, CHANGE = "0.25", "#d55e00", "#542788"  # of the line where scores begin; of targets; of the changed step
COVERED = 0.995  # the colours of states reach as far as this share of their sizes, but to 1 at least
MOST_NAMED = 6  # channels or classes with their numbers
WIDTH = style.PAGE_WIDTH
MAP, CHANNEL, FEWEST, MOST, HEAD = 1.4, 0.14, 3, 8, 0.8  # inches; channels that a block has room for


def heights(network: Unrolled) -> list[float]:
    """Inches of the blocks: inputs, states of each layer, changes of each, outputs."""
    inputs, outputs = (CHANNEL * min(max(len(found), FEWEST), MOST) for found in (network.inputs, network.outputs))
    return [inputs, *[MAP] * (len(network.states) + len(network.differences())), outputs]


def height(network: Unrolled) -> float:
    return sum(heights(network)) + HEAD


def draw(part: SubFigure, networks: Sequence[Unrolled], titles: Sequence[str]) -> None:
    """The blocks of networks of one shape on one sequence, a column for each."""
    first = networks[0]
    axes = part.subplots(len(heights(first)), len(networks), squeeze=False, sharex=True, height_ratios=heights(first))
    for column, title in zip(axes.T, titles, strict=True):
        column[0].set_title(title, fontsize=8.5, pad=12)
        column[-1].set_xlabel("time step")
    _block(part, axes[0], [network.inputs for network in networks], PLAIN, "input")
    blocks, several = iter(axes[1:-1]), len(first.states) > 1
    for layer, units in first.states.items():
        name = f"{len(units)} units" + f"\n{layer}" * several
        _block(
            part, next(blocks), [_ordered(network, network.states[layer], layer) for network in networks], STATES, name
        )
    for layer in first.differences():
        found = [_ordered(network, network.differences()[layer], layer) for network in networks]
        _block(part, next(blocks), found, CHANGES, "change" + f"\n{layer}" * several)
    _outputs(part, axes[-1], networks)
    for column, network in zip(axes.T, networks, strict=True):
        _marks(column, network)


def _ordered(network: Unrolled, values: np.ndarray, layer: str) -> np.ndarray:
    """With the units in the order of this network's states."""
    return values[unrolling.order(network.states[layer])]


def _block(part: SubFigure, axes: Sequence[Axes], maps: Sequence[np.ndarray], colours: str, name: str) -> None:
    """One quantity of all networks, and what its colours mean."""
    images = [_image(ax, values, colours, _ends(maps, colours)) for ax, values in zip(axes, maps, strict=True)]
    axes[0].set_ylabel(name)
    bar = part.colorbar(images[-1], ax=list(axes), pad=0.015, fraction=0.03, aspect=12)
    bar.set_ticks(list(_ends(maps, colours)) if colours in (SHARES, PLAIN) else bar.get_ticks()[1:-1])
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    bar.solids.set(rasterized=False, edgecolor="face")  # else a bitmap within the SVG file


def _ends(maps: Sequence[np.ndarray], colours: str) -> tuple[float, float]:
    """The numbers at the ends of the colours."""
    known = np.concatenate([values[np.isfinite(values)] for values in maps])
    if colours == SHARES or not len(known):
        return 0.0, 1.0
    if colours == PLAIN:
        return known.min(), known.max()
    most = max(1.0, np.quantile(np.abs(known), COVERED))
    return -most, most


def _image(ax: Axes, values: np.ndarray, colours: str, ends: tuple[float, float]) -> AxesImage:
    """(U, T) as a map; its pixels are the numbers."""
    shades = mpl.colormaps[colours].resampled(LEVELS).with_extremes(bad=UNOBSERVED)
    image = ax.imshow(values, cmap=shades, vmin=ends[0], vmax=ends[1], aspect="auto", interpolation="none")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    few = len(values) <= MOST_NAMED and colours in (PLAIN, SHARES)
    ax.set_yticks(range(len(values)) if few else [], [str(place) for place in range(len(values))] if few else [])
    ax.tick_params(axis="y", labelsize=7)
    return image


def _outputs(part: SubFigure, axes: Sequence[Axes], networks: Sequence[Unrolled]) -> None:
    """Probabilities of classes, with the targets circled; or values."""
    if networks[0].classes:
        _block(part, axes, [network.probabilities() for network in networks], SHARES, "output")
    ring = {"markerfacecolor": "none", "markeredgecolor": MARK, "markersize": 4.5, "label": "_targets"}
    for ax, network in zip(axes, networks, strict=True):
        times = network.scored
        for target in network.targets:
            ax.plot(times, target[times], "o", **ring)
        if not network.classes:
            _values(ax, network, networks)
    axes[0].set_ylabel("output")


def _values(ax: Axes, network: Unrolled, networks: Sequence[Unrolled]) -> None:
    """Outputs as dots, on one axis for all networks."""
    for output in network.outputs:
        ax.plot(network.scored, output[network.scored], "o", color="black", markersize=2.2, label="_outputs")
    known = np.concatenate([values[np.isfinite(values)] for one in networks for values in (one.outputs, one.targets)])
    least, most = (known.min(), known.max()) if len(known) else (0, 1)
    margin = 0.2 * (most - least) or 1
    ax.set_ylim(least - margin, most + margin)
    ax.yaxis.set_major_locator(MaxNLocator(2))
    ax.tick_params(axis="y", labelsize=7, labelleft=network is networks[0])
    ax.spines["left"].set_visible(False)


def _marks(column: Sequence[Axes], network: Unrolled) -> None:
    """Where inputs say something, and where outputs begin to be scored."""
    top = {"transform": column[0].get_xaxis_transform(), "clip_on": False, "markersize": 4, "linestyle": "none"}
    events = unrolling.events(network.inputs)
    column[0].plot(events, np.full(len(events), 1.12), "v", color=style.GREY, label="_events", **top)
    if network.changed_step is not None:
        column[0].plot([network.changed_step], [1.12], "v", color=CHANGE, label="_changed", **top)
    for ax in column:
        if len(network.scored):
            ax.axvline(network.scored[0] - 0.5, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), label="_scored")
        ax.set_xlim(-0.5, network.inputs.shape[1] - 0.5)
        ax.tick_params(axis="x", length=3.5 if ax is column[-1] else 0)
    column[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
