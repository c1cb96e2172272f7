"""Logarithmic axes with few, plain ticks: 20, 50, 100, 200."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

LOG_FROM = 8  # an axis is logarithmic where the largest number is at least so many times the smallest
MANTISSAS = ((1, 2, 5), (1, 3), (1,))  # of the ticks, the first of these that are not too many
PLAIN = 4  # decades: numbers from 0.0001 to 10000 are written out


def is_wide(numbers: np.ndarray) -> bool:
    """Whether positive numbers, of which some may be missing, ask for a logarithmic axis."""
    known = numbers[np.isfinite(numbers)]
    return bool(len(known) and known.max() >= LOG_FROM * known.min() > 0)


def apply(ax: Axes, which: str, limits: tuple[float, float], most: int) -> None:
    """Make the axis `which` (x or y) logarithmic between these limits, with at most `most` ticks where that can be."""
    ticks = _ticks(*limits, most)
    getattr(ax, f"set_{which}lim")(*limits)  # first: a panel with nothing in it has no limits that a scale could keep
    getattr(ax, f"set_{which}scale")("log")
    getattr(ax, f"set_{which}ticks")(ticks, [_told(tick) for tick in ticks])
    getattr(ax, f"{which}axis").minorticks_off()


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten times mantissas; where even those of 1 are too many, every other power or fewer."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    within: list[float] = []
    for mantissas in MANTISSAS:
        ticks = [float(f"{m}e{power}") for power in range(first, last + 1) for m in mantissas]
        within = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(within) <= most:
            return within
    return within[:: -(-len(within) // most)]


def _told(tick: float) -> str:
    power = math.log10(tick)
    if abs(power) <= PLAIN:
        return f"{tick:.10f}".rstrip("0").rstrip(".")
    exponent = math.floor(power)
    mantissa = round(tick / 10**exponent)
    return f"$10^{{{exponent}}}$" if mantissa == 1 else rf"${mantissa}\cdot 10^{{{exponent}}}$"
