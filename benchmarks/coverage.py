"""Do intervals of horizons hold the truth as often as they say, and how wide are they?

    python -m benchmarks.coverage           the full protocol, about half an hour on one core
    python -m benchmarks.coverage --quick   few draws: does it run?

`benchmarks.truths` invents sweeps with a known horizon, in several shapes and with seeds that share luck across
distances. Of each the horizon is estimated and given an interval by

    ours         `rnnlab.analysis`: a profile likelihood over many shapes
    wilson       the farthest distance where more than half surely solve, to the nearest where fewer do (a Wilson
                 interval for each distance): what rnnlab had before
    bootstrap    the middle 95 % of horizons of whole seeds drawn again
    peer         the likelihood interval of who knows the shape of the truth

and each is judged by how often it holds the true horizon, how often an end is open, and its median width on the
logarithm against the peer's: where both have two ends (`width_ratio`), and over all draws, an open end being infinite
(`width_ratio_of_all`; none where a median is). Two shapes are none of those that ours reckons with: they show what it
does where it must fail, and are not held to the bar.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import ratios
from benchmarks.intervals import bootstrap, crossings, inverted_wilson, log_widths, ours, ratio_of_medians
from benchmarks.stack import machine, positive
from benchmarks.truths import TRUTHS, Draws, draw, peer
from rnnlab.analysis import wilson

COVERAGE, WIDTH, FROM_SEEDS = 0.93, 1.5, 10  # the bar: at least in each cell, at most, with so many seeds
VERDICTS = {True: "yes", False: "no", None: "not expected"}
OUTSIDE = "outside"  # a truth of which hardly an interval has two ends: their width is not held to the bar
RESULTS = Path(__file__).parent / "results" / "coverage.json"
GRIDS = {"coarse": np.geomspace(5, 160, 6), "fine": np.geomspace(5, 160, 11)}  # distances
METHODS = ("ours", "wilson", "bootstrap", "peer")
WIDTHS = ("width_ratio", "width_ratio_of_all")  # of ours to the peer's
MIDDLING = 0.5  # luck shared across distances, where settings are compared


@dataclass(frozen=True)
class Protocol:
    """What is simulated: every combination of these."""

    truths: Sequence[str] = tuple(TRUTHS)
    grids: Sequence[str] = tuple(GRIDS)
    seeds: Sequence[int] = (3, 5, 10, 20)
    shared: Sequence[float] = (0.0, 0.5, 0.9)
    draws: int = 1000
    pairs: Sequence[ratios.Pair] = tuple(ratios.PAIRS)


QUICK = Protocol(
    truths=("shallow", "step", "outside"),
    grids=("coarse",),
    seeds=(5, 10),
    shared=(0.5,),
    draws=50,
    pairs=tuple(ratios.PAIRS[:2]),
)


def measure(protocol: Protocol, truth: str, grid: str) -> Iterator[dict[str, Any]]:
    """A row for each number of seeds and shared luck."""
    cells = list(itertools.product(protocol.seeds, protocol.shared))
    sweeps = [draw(truth, GRIDS[grid], seeds, shared, protocol.draws) for seeds, shared in cells]
    methods = {"ours": ours(sweeps), "wilson": map(inverted_wilson, sweeps), "bootstrap": map(bootstrap, sweeps)}
    found = {name: list(intervals) for name, intervals in (methods | {"peer": peer(truth, sweeps)}).items()}
    for place, ((seeds, shared), one) in enumerate(zip(cells, sweeps, strict=True)):
        intervals = {name: each[place] for name, each in found.items()}
        yield {
            "truth": truth,
            "distances": grid,
            "seeds": seeds,
            "shared": shared,
            "draws": protocol.draws,
            "estimate": errors(one),
            **{name: judged(one, each, intervals["peer"]) for name, each in intervals.items()},
        }


def judged(one: Draws, intervals: np.ndarray, peers: np.ndarray) -> dict[str, Any]:
    """Of intervals (draws, 2), or of the first draws alone."""
    low, high = intervals.T
    horizons, peers = one.horizons[: len(low)], peers[: len(low)]
    held = int(((low <= horizons) & (horizons <= high)).sum())
    widths = np.array([log_widths(ends) for ends in (intervals, peers)])
    both = np.isfinite(widths).all(axis=0)
    return {
        "coverage": held / len(low),
        "interval": wilson(held, len(low)),
        "draws": len(low),
        "open": float(np.isinf(widths[0]).mean()),
        "width_ratio": ratio_of_medians(widths[:, both]),
        "width_ratio_of_all": ratio_of_medians(widths),
        "both_bounded": int(both.sum()),
    }


def errors(one: Draws) -> dict[str, Any]:
    """Of the estimate, on the logarithm, where it is within the distances tested."""
    found = crossings(one.distances, one.solved.mean(axis=1))
    known = (found > 0) & np.isfinite(found)
    off = np.log(found[known] / one.horizons[known])
    if not known.any():
        return {"known": 0.0, "median_absolute_error": None, "bias": None}
    return {
        "known": float(known.mean()),
        "median_absolute_error": float(np.median(abs(off))),
        "bias": float(off.mean()),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each truth: coverage over all cells and in the worst, the largest ratios of widths with enough seeds.

    Met: the worst cell holds often enough, ratios are small, no median of ours is open where the peer's is not.
    """
    told = []
    for truth in dict.fromkeys(row["truth"] for row in rows):
        cells = [row for row in rows if row["truth"] == truth]
        held = [row["ours"]["coverage"] for row in cells]
        enough = [row for row in cells if row["seeds"] >= FROM_SEEDS]
        widths = {name: widest(enough, name) for name in WIDTHS}
        closed = not any(row["ours"]["open"] >= 0.5 > row["peer"]["open"] for row in enough)
        narrow = closed and all(most is None or most <= WIDTH for most in widths.values())
        met = min(held) >= COVERAGE and (narrow or truth == OUTSIDE) if TRUTHS[truth].expected else None
        told.append({"truth": truth, "coverage": float(np.mean(held)), "least": min(held)} | widths | {"met": met})
    return told


def widest(cells: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The largest ratio of widths that is known of a cell."""
    return max((cell["ours"][name] for cell in cells if cell["ours"][name] is not None), default=None)


def measure_ratios(protocol: Protocol) -> Iterator[dict[str, Any]]:
    """A row for each pair of settings and number of seeds, at the coarse distances and a middling shared luck."""
    distances = GRIDS["coarse"]
    cells = [(pair, seeds) for pair in protocol.pairs for seeds in protocol.seeds if seeds >= FROM_SEEDS]
    sweeps = [ratios.draw(pair, distances, seeds, MIDDLING, protocol.draws) for pair, seeds in cells]
    intervals = ours([side for sides in sweeps for side in sides])
    for place, ((pair, seeds), sides) in enumerate(zip(cells, sweeps, strict=True)):
        estimates = [crossings(distances, side.solved.mean(axis=1)) for side in sides]
        found = ratios.judged(pair, sides, estimates, intervals[2 * place : 2 * place + 2])
        yield {"seeds": seeds, "shared": MIDDLING, "draws": protocol.draws} | found


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    drawn = Table(title="coverage (%), share open (%), width / peer's", title_justify="left")
    for name in ("truth", "distances", "seeds", "r", *METHODS):
        drawn.add_column(name, justify="left" if name in ("truth", "distances") else "right")
    for row in rows:
        cells = [
            f"{100 * of['coverage']:.1f} {100 * of['open']:3.0f} "
            + ("   -" if of["width_ratio"] is None else f"{of['width_ratio']:.2f}")
            for of in (row[name] for name in METHODS)
        ]
        drawn.add_row(row["truth"], row["distances"], str(row["seeds"]), f"{row['shared']:g}", *cells)
    return drawn


def table_of_ratios(rows: Sequence[Mapping[str, Any]]) -> Table:
    drawn = Table(
        title="ratios of horizons: coverage (%), share open (%), half width as a factor", title_justify="left"
    )
    for name in ("settings", "ratio", "common luck", "seeds", "coverage", "open", "factor", "p <= 0.05 (%)"):
        drawn.add_column(name, justify="left" if name == "settings" else "right")
    for row in rows:
        numbers = (row["ratio"], row["common"], row["seeds"])
        shares = (f"{100 * row[name]:.1f}" for name in ("coverage", "open"))
        factor = "-" if row["median_factor"] is None else f"{row['median_factor']:.2f}"
        called = f"{100 * row['called_different']:.1f}"
        drawn.add_row(f"{row['first']}, {row['second']}", *(f"{one:g}" for one in numbers), *shares, factor, called)
    return drawn


def table_of_truths(rows: Sequence[Mapping[str, Any]]) -> Table:
    bar = f"at least {COVERAGE:.0%}, at most {WIDTH:g} times as wide with {FROM_SEEDS} seeds or more"
    drawn = Table(title=f"ours, by truth ({bar})", title_justify="left")
    for name in ("truth", "coverage", "least", "width / peer's", "of all draws", "met"):
        drawn.add_column(name, justify="left" if name == "truth" else "right")
    for row in rows:
        shares = (f"{100 * row[name]:.1f}" for name in ("coverage", "least"))
        widths = ("-" if row[name] is None else f"{row[name]:.2f}" for name in WIDTHS)
        drawn.add_row(row["truth"], *shares, *widths, VERDICTS[row["met"]])
    return drawn


def dumped(report: Mapping[str, Any]) -> str:
    """JSON with a line for each row of a table."""
    parts = [
        f'"{name}": '
        + ("[\n" + ",\n".join(map(json.dumps, part)) + "\n]" if isinstance(part, list) else json.dumps(part))
        for name, part in report.items()
    ]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few draws; writes only to --output")
    parser.add_argument("--draws", type=positive, help=f"in each cell (default: {Protocol.draws})")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {RESULTS.relative_to(RESULTS.parents[2])})")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, show, write; 1 where the bar is missed, else 0."""
    asked = arguments(argv)
    protocol = QUICK if asked.quick else Protocol()
    if asked.draws is not None:
        protocol = dataclasses.replace(protocol, draws=asked.draws)
    console, rows = Console(highlight=False), []
    for truth, grid in itertools.product(protocol.truths, protocol.grids):
        began = time.perf_counter()
        rows += measure(protocol, truth, grid)
        console.print(f"{truth}, {grid}: {time.perf_counter() - began:.0f} s", soft_wrap=True)
    compared, told = list(measure_ratios(protocol)), summary(rows)
    for drawn in (table(rows), table_of_ratios(compared), table_of_truths(told)):
        console.print(drawn, soft_wrap=True)
    report = {
        "machine": machine(),
        "protocol": vars(protocol) | {"pairs": [vars(pair) for pair in protocol.pairs]},
        "summary": told,
        "results": rows,
        "ratios": compared,
    }
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(dumped(report))
    return 0 if asked.quick or all(row["met"] is not False for row in told) else 1


if __name__ == "__main__":
    sys.exit(main())
