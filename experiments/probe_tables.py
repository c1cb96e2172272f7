"""What a probe found, as tables in the terminal: gradients by lag, and a number per layer for all else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

ABSENT = ("gradient", "matrix", "theory")  # what not every cell has, with the reason
ROUNDING = 1e-6  # what is smaller is not shown
READABLE = 3  # orders of magnitude that are written without an exponent
SHOWN = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # lags in the table


def show(found: Mapping[str, Any], console: Console) -> None:
    """The findings as two tables: gradients by lag, and a number per layer for all else."""
    names = found["networks"]
    console.print(f"[bold]{names[0]}[/]" + (" and further seeds" if len(names) > 1 else ""))
    console.print(f"{found['which']}, {found['sequences']} sequences each; means ± standard deviation over networks\n")
    console.print("gradient |dL/dh| of the loss at the last output, by lag, relative to the first (geometric means)")
    console.print(_gradients(found["layers"]))
    console.print()
    console.print(_numbers(found["layers"]))
    reasons = {layer[group]["reason"] for layer in found["layers"] for group in ABSENT if "reason" in layer[group]}
    for reason in sorted(reasons):
        console.print(f"[dim]not said: {reason}[/]")


def _gradients(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("lag", justify="right")
    layers = [layer for layer in layers if "lag" in layer["gradient"]]
    some = any(_lost(layer["gradient"], place) for layer in layers for place in range(len(layer["gradient"]["lag"])))
    for layer in layers:
        table.add_column(layer["name"], justify="right")
        if some:
            table.add_column("lost", justify="right", style="dim")
    theory = layers[0]["theory"] if len(layers) == 1 else {"reason": ""}
    predicted = "reason" not in theory
    if predicted:
        table.add_column("mean field", justify="right")
        table.add_column("radius^lag", justify="right")
    last = max(layer["gradient"]["lag"][-1] for layer in layers)
    for lag in sorted({lag for lag in (*SHOWN, last) if lag <= last}):
        cells = [cell for layer in layers for cell in _gradient(layer["gradient"], lag)[: 1 + some]]
        if predicted:
            radii = layers[0]["matrix"]["spectral_radius"]
            cells += [_power(theory["slope"], lag), _power([math.log(radius) for radius in radii if radius], lag)]
        table.add_row(str(lag), *cells)
    return table


def _gradient(gradient: Mapping[str, Any], lag: int) -> tuple[str, str]:
    """The mean over networks at a lag, and how many gradients are zero or broken."""
    if lag not in gradient["lag"]:
        return "", ""
    place = gradient["lag"].index(lag)
    told = [means[place] for means in gradient["mean"] if means[place] is not None]
    return _exponential(told), _lost(gradient, place)


def _lost(gradient: Mapping[str, Any], place: int) -> str:
    """How many gradients are in no mean: "3 zero, 1 not finite"."""
    zero, broken = (sum(counts[place] for counts in gradient[name]) for name in ("zero", "broken"))
    return ", ".join(f"{count} {name}" for count, name in ((zero, "zero"), (broken, "not finite")) if count)


def _power(slopes: Sequence[float | str | None], lag: int) -> str:
    return _exponential([slope * lag for slope in slopes if isinstance(slope, float)])


def _exponential(logs: Sequence[float]) -> str:
    """e to the mean, also where that is beyond the range of numbers."""
    if not logs:
        return "–"
    exponent, rest = divmod(statistics.fmean(logs) / math.log(10), 1)
    if abs(exponent) <= READABLE:
        return f"{10 ** (exponent + rest):.3g}"
    digits, _, carried = f"{10**rest:.2e}".partition("e")
    return f"{digits}e{int(exponent) + int(carried):+03d}"


NUMBERS = (  # what they are called, and where they stand
    ("spectral radius of W_hh", "matrix", "spectral_radius"),
    ("largest singular value of W_hh", "matrix", "largest_singular_value"),
    ("departure from normality, share of |W_hh|", "matrix", "relative_departure"),
    ("units saturated, |h| > 0.9", "activity", "saturation"),
    ("units dead", "activity", "dead_units"),
    ("participation ratio of the states", "activity", "participation_ratio"),
    ("memory capacity (steps)", "memory_capacity", ""),
    ("mean field: gain of W_hh", "theory", "gain"),
    ("mean field: variance of the inputs", "theory", "input_variance"),
    ("mean field: variance of the pre-activations", "theory", "variance"),
    ("mean field: chi", "theory", "chi"),
    ("mean field: e-fold of a gradient (steps)", "theory", "e_fold"),
    ("mean field: 1 % of a gradient is left after (steps)", "theory", "reach"),
)


def _numbers(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for layer in layers:
        table.add_column(layer["name"], justify="right")
    for name, group, key in NUMBERS:
        told = [_spread(layer[group].get(key) if key else layer[group]) for layer in layers]
        if any(told):
            table.add_row(name, *told)
    table.add_row("largest Lyapunov exponent (per step)", *[_lyapunov(layer["lyapunov"]) for layer in layers])
    table.add_row("  networks in which it has converged", *[_settled(layer["lyapunov"]) for layer in layers])
    return table


def _lyapunov(found: Mapping[str, Any]) -> str:
    return _spread([exponents[0] for exponents in found["exponents"]]) or "–"


def _settled(found: Mapping[str, Any]) -> str:
    return f"{sum(converged[0] for converged in found['converged'])} of {len(found['converged'])}"


def _spread(values: Sequence[float | str | None] | None) -> str:
    """Mean and standard deviation; text for what is infinite; "" where nothing is known."""
    known = [value for value in values or () if value is not None]
    if not known:
        return ""
    if any(isinstance(value, str) for value in known):
        return ", ".join(sorted({str(value) for value in known if isinstance(value, str)}))
    mean, spread = statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0
    told = f"{mean:.3g}" if abs(mean) > ROUNDING else "0"
    return told + (f" ± {spread:.2g}" if spread > ROUNDING * max(1, abs(mean)) else "")
