"""How long the full report of a large store takes, and how much memory: a process of its own, from start to end.

python -m benchmarks.reporting [--rounds 3]

Stores of 1,000 and of 10,000 runs with 100-point curves of seven metrics are made first (`benchmarks.big_store`), which
is not measured. Then `python -m reports.build` draws every figure in every format, the tables and the pages.

Writes `benchmarks/results/reporting.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "reporting.json"
POINTS = 100  # of each curve
OTHERS = "cores_used_by_others"


@dataclass(frozen=True)
class Bar:
    """What the report of so many runs may take."""

    runs: int
    seconds: float
    gigabytes: float = 2.0


BARS = (Bar(1_000, 15), Bar(10_000, 30))


def make(path: Path, runs: int, points: int) -> float:
    """Make the store, in a process of its own: what a child seems to need is never less than what its parent has."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.big_store", str(path), str(runs), str(points)]
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603
    return time.perf_counter() - began


def report(store: Path, out: Path) -> dict[str, float]:
    """Seconds and peak gigabytes of a full report, and how busy the machine was with other work."""
    from benchmarks.stack import spent_by_others

    before, began = spent_by_others(), time.perf_counter()
    command = [sys.executable, "-m", "reports.build", f"store.path={store}", f"out={out}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError("the report failed; its message is above")
    others = (spent_by_others() - before) / seconds
    return {"seconds": seconds, "gigabytes": used.ru_maxrss / 2**20, OTHERS: others}


def measure(runs: int, points: int, rounds: int) -> dict[str, Any]:
    """A store of so many runs, and its report so many times."""
    from benchmarks.stack import spread

    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        made = make(store, runs, points)
        found = [report(store, Path(folder) / "out") for _ in range(rounds)]
        drawn = sorted(path.stem for path in Path(folder).glob("out/*/*.svg"))
    measured = {name: spread([one[name] for one in found]) for name in found[0]}
    return {"runs": runs, "points": points, "seconds_to_make": made, **measured, "figures": drawn}


def judged(bar: Bar, row: dict[str, Any]) -> dict[str, Any]:
    met = row["seconds"]["median"] <= bar.seconds and row["gigabytes"]["max"] <= bar.gigabytes
    return {"seconds_at_most": bar.seconds, "gigabytes_at_most": bar.gigabytes, "met": met}


def table(rows: Sequence[dict[str, Any]]) -> Table:
    drawn = Table(title="From the store to the full report", title_justify="left")
    for name in ("runs", "figures", "seconds", "gigabytes", "bar"):
        drawn.add_column(name, justify="right")
    for row in rows:
        bar = row["bar"]
        told = "" if bar is None else f"{bar['seconds_at_most']:g} s, {bar['gigabytes_at_most']:g} GB"
        numbers = (f"{row[name]['median']:.3g}" for name in ("seconds", "gigabytes"))
        drawn.add_row(f"{row['runs']:,}", str(len(row["figures"])), *numbers, told)
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; 1 where a bar is missed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reporting", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few runs, one round; writes only to --output")
    parser.add_argument("--no-bar", action="store_true", help="exit status 0 however long it takes")
    parser.add_argument("--rounds", type=int, default=3, help="of each size (default: 3)")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {RESULTS.relative_to(ROOT)})")
    asked = parser.parse_args(argv)
    from benchmarks.stack import machine

    if asked.quick:
        rows = [measure(20, 5, 1) | {"bar": None}]
    else:
        rows = [row | {"bar": judged(bar, row)} for bar in BARS for row in [measure(bar.runs, POINTS, asked.rounds)]]
    Console(highlight=False).print(table(rows))
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"machine": machine(), "results": rows}, indent=1) + "\n")
    missed = any(row["bar"] and not row["bar"]["met"] for row in rows)
    return 1 if missed and not asked.no_bar else 0


if __name__ == "__main__":
    sys.exit(main())
