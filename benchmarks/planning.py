"""Planning a large sweep: seconds from the command to the first trained step, beside Hydra's own launcher.

    python -m benchmarks.planning            10,000 trials, about three minutes; exit status 1 above the bar
    python -m benchmarks.planning --no-bar   only report
    python -m benchmarks.planning --quick    few trials: does it run?

Both contenders are real processes and take turns, one round each, so that a disturbance of the machine meets both.

    rnnlab   `experiments.train -m` on an empty store, from its start until a worker reports a training step: plan,
             store and workers included; then all of it is killed. Once with the whole grid and once with few trials:
             the difference is planning, the rest is loading libraries, making a store and starting workers
    hydra    `benchmarks.plain -m`: BasicSweeper, BasicLauncher and an empty job on the same configuration, on a few
             cells and on one; the difference is what a cell costs, and start + cells x cost is what the whole grid
             would take. Nothing is trained and no store is opened
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stack import machine, positive, spent_by_others, spread

BAR = 10.0  # seconds at most from the command to the first trained step, in the median over the rounds
LIMIT = 600.0  # seconds until a contender is given up
LOOK = 0.02  # seconds between looks for the first trained step
OTHERS = "cores used by others"  # while Hydra's own launcher was measured
ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "planning.json"
# Little enough to train that a launch does not calibrate first, which is not planning.
TINY = (
    "model.hidden_size=4",
    "train.batch_size=2",
    "train.eval_size=2",
    "train.eval_every=1",
    "train.max_steps=1000",
)


@dataclass(frozen=True)
class Protocol:
    """What is measured: the size of the grid, and how often."""

    seeds: int = 50
    delays: int = 10
    radii: int = 10
    cells: int = 200  # of Hydra's own launcher
    rounds: int = 3

    @property
    def trials(self) -> int:
        return self.seeds * self.delays * self.radii * 2

    def words(self) -> list[str]:
        """The command line of the sweep: axes over values, and a network that costs next to nothing."""
        radii = ",".join(f"{0.5 + i / 10:g}" for i in range(self.radii))
        axes = [f"seed=range({self.seeds})", f"task.delay=range(1,{self.delays + 1})", f"init.spectral_radius={radii}"]
        return [*axes, "train.clip_threshold=0.5,1.0", *TINY]

    def cells_of_hydra(self, count: int) -> list[str]:
        """The same, with `count` cells: fewer seeds."""
        return [f"seed={','.join(map(str, range(count)))}", *self.words()[4:]]


QUICK = Protocol(seeds=2, delays=2, radii=2, cells=20, rounds=1)
FEW = Protocol(seeds=2, delays=1, radii=1)


def measure(protocol: Protocol) -> dict[str, list[float]]:
    """What was measured -> seconds in each round, and how busy the machine was with other work."""
    rounds: list[dict[str, float]] = []
    for _ in range(protocol.rounds):
        ours, few = until_first_step(protocol), until_first_step(FEW)
        one = plain_hydra(protocol, 1)
        before = spent_by_others()
        many = plain_hydra(protocol, protocol.cells)
        others = (spent_by_others() - before) / many
        cell = (many - one) / (protocol.cells - 1)
        rounds.append(
            {
                "rnnlab": ours,
                f"rnnlab, {FEW.trials} trials": few,
                f"hydra, scaled from {protocol.cells} cells": one + (protocol.trials - 1) * cell,
                "hydra, one cell": one,
                "hydra, each further cell": cell,
                OTHERS: others,
            }
        )
    return {name: [found[name] for found in rounds] for name in rounds[0]}


def until_first_step(protocol: Protocol) -> float:
    """Seconds from the start of the command until a worker has trained a step."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = Path(folder) / "store.db"
        settings = ["engine.progress=quiet", f"store.path={store}"]
        with _process("experiments.train", [*protocol.words(), *settings]) as (process, began):
            while not _has_trained(store.with_name(f"{store.name}.sweeps")):
                if process.poll() is not None or time.perf_counter() - began > LIMIT:
                    raise RuntimeError("the sweep ended before it trained a step; its own message is above")
                time.sleep(LOOK)
            return time.perf_counter() - began


def plain_hydra(protocol: Protocol, cells: int) -> float:
    """Seconds that Hydra's own launcher takes for so many cells."""
    with tempfile.TemporaryDirectory() as folder:
        plain = ["hydra/sweeper=basic", "hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
        with _process("benchmarks.plain", [*protocol.cells_of_hydra(cells), *plain]) as (process, began):
            if process.wait(LIMIT):
                raise RuntimeError("Hydra's own launcher failed; its message is above")
            return time.perf_counter() - began


@contextlib.contextmanager
def _process(module: str, words: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A sweep as a process group of its own, and when it began; the whole group is killed at the end."""
    began = time.perf_counter()
    command = [sys.executable, "-m", module, "-m", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
    try:
        yield process, began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_trained(sweeps: Path) -> bool:
    """Whether a worker of a launch has reported a step after its initial evaluation."""
    for spool in sweeps.glob("**/spool/*.jsonl"):
        for line in spool.read_bytes().split(b"\n")[:-1]:
            if json.loads(line).get("step", 0) > 0:
                return True
    return False


def judged(protocol: Protocol, seconds: Mapping[str, Any]) -> dict[str, Any]:
    """The bar, and whether it is met; None where a smaller sweep was planned."""
    met = seconds["rnnlab"]["median"] <= BAR if protocol.trials >= Protocol().trials else None
    return {"seconds_at_most": BAR, "trials": Protocol().trials, "met": met}


def table(report: Mapping[str, Any]) -> Table:
    drawn = Table(title=f"seconds to plan {report['trials']} trials", title_justify="left")
    for name in ("", "median", "min", "max"):
        drawn.add_column(name, justify="left" if not name else "right")
    for name, measured in report["seconds"].items():
        drawn.add_row(name, *(f"{measured[column]:.3g}" for column in ("median", "min", "max")))
    return drawn


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, one round; writes only to --output")
    parser.add_argument("--no-bar", action="store_true", help="exit status 0 however long it takes")
    parser.add_argument("--rounds", type=positive, help=f"of each contender (default: {Protocol.rounds})")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {RESULTS.relative_to(ROOT)})")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; 1 where the bar is missed, else 0."""
    asked = arguments(argv)
    protocol = QUICK if asked.quick else Protocol()
    if asked.rounds is not None:
        protocol = dataclasses.replace(protocol, rounds=asked.rounds)
    measured = {name: spread(values) for name, values in measure(protocol).items()}
    seconds = {name: values for name, values in measured.items() if name != OTHERS}
    report = {
        "machine": machine(),
        "protocol": vars(protocol) | {"words": protocol.words()},
        "trials": protocol.trials,
        "seconds": seconds,
        "cores_used_by_others": measured[OTHERS],
        "bar": judged(protocol, seconds),
    }
    console = Console(highlight=False)
    console.print(table(report), f"other work used {measured[OTHERS]['median']:.1f} cores", soft_wrap=True)
    if report["bar"]["met"] is not None:
        console.print(f"bar: at most {BAR:g} s: {'met' if report['bar']['met'] else 'NOT met'}")
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if report["bar"]["met"] is False and not asked.no_bar else 0


if __name__ == "__main__":
    sys.exit(main())
