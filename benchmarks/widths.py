"""How wide a stack should be: models x training steps per second over widths, by shape, on this machine.

    python -m benchmarks.widths             the full protocol, a quarter of an hour
    python -m benchmarks.widths --quick     tiny shapes: does it run?

Whole training steps (data, forward, loss, full BPTT, clipping, Adam) of `--workers` processes at once, one thread and
one stack each, in the environment of a worker, as a sweep runs them. Beside them one process whose torch has all
threads: whether threads could take the place of workers. All widths take turns, one round each, so that a disturbance
of the machine meets all of them. `rnnlab.cost.stack_width` is the
rule that came of it; its width stands in the table with what it loses against the best one.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import functools
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import rnnlab.train
from benchmarks.contenders import CHUNK, train
from benchmarks.stack import QUIET, Run, by_turns, machine, positive, spent_by_others, spread
from rnnlab.build import build
from rnnlab.cost import stack_width
from rnnlab.processes import worker_environment
from rnnlab.registry import registry
from rnnlab.train import Stack
from rnnlab.trial import Trial

RESULTS = Path(__file__).parent / "results" / "widths.json"
SYMBOLS = 3  # of copy memory: T = delay + 2 * SYMBOLS
ENOUGH = 1 << 40  # bytes, and trials: neither bounds the width

Shape = tuple[int, int, int]  # T, B, H


@dataclass(frozen=True)
class Protocol:
    """What is measured: shapes and widths, and how long."""

    shapes: tuple[Shape, ...] = (
        (30, 10, 64),
        (120, 20, 64),
        (220, 32, 128),
        (520, 32, 128),
        (220, 32, 256),
        (20, 20, 512),
    )
    widths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    rounds: int = 7
    seconds: float = 0.4  # about, of one round of one width; at least CHUNK steps


QUICK = Protocol(shapes=((9, 3, 8), (12, 4, 16)), widths=(1, 2, 4), rounds=2, seconds=0.02)


def trial(shape: Shape, seed: int = 0) -> Trial:
    """Copy memory of this shape; its stacks evaluate every CHUNK steps, which is never while they are timed."""
    length, batch, hidden = shape
    mapping = {
        "task": {"name": "copy", "delay": length - 2 * SYMBOLS, "symbols": SYMBOLS, "alphabet": 2},
        "model": {"hidden_size": hidden},
        "cell": {"name": "elman"},
        "init": {"name": "orthogonal"},
        "train": {
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "batch_size": batch,
            "eval_every": CHUNK,
            "max_steps": 10**9,
        },
        "seed": seed,
    }
    return build(mapping, registry())


class Workers:
    """Processes that train stacks of one shape and of any width; they sleep until a round starts."""

    def __init__(self, shape: Shape, widest: int, count: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pools = [ProcessPoolExecutor(1, context) for _ in range(count)]
        with worker_environment(), _threads_for_openmp(threads):
            ready = [pool.submit(_prepare, shape, i * widest, widest, threads) for i, pool in enumerate(self.pools)]
            for one in ready:
                one.result()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in self.pools:
            pool.shutdown()

    def run(self, width: int, steps: int) -> float:
        """Wall time until the last worker has trained a stack of `width` models for `steps` steps."""
        start = time.perf_counter()
        running = [pool.submit(_train, width, steps) for pool in self.pools]
        for one in running:
            one.result()
        return time.perf_counter() - start


@contextlib.contextmanager
def _threads_for_openmp(threads: int) -> Iterator[None]:
    """Processes started within may use this many threads, where a worker's environment says one."""
    names = [name for name in os.environ if name.endswith("_NUM_THREADS")]
    before = {name: os.environ[name] for name in names}
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        os.environ.update(before)


_stacks: dict[int, Stack] = {}  # in a worker: width -> stack


def _prepare(shape: Shape, first_seed: int, widest: int, threads: int) -> None:
    torch.set_num_threads(threads)
    if threads > 1:  # for this measurement only: the bits would depend on the stack
        rnnlab.train.one_thread = contextlib.nullcontext
    _stacks[widest] = Stack([trial(shape, first_seed + i) for i in range(widest)])


def _train(width: int, steps: int) -> None:
    if width not in _stacks:
        narrower = copy.deepcopy(_stacks[max(_stacks)])
        narrower.keep(range(width))
        _stacks[width] = narrower
    train(_stacks[width], steps)


def measure(protocol: Protocol, shape: Shape, workers: int) -> dict[str, Any]:
    """Models x training steps per second of one shape, by width and round, and how busy the machine was."""
    start, before = time.perf_counter(), spent_by_others()
    widest, threads = max(protocol.widths), torch.get_num_threads()
    with (
        Workers(shape, widest, workers, 1) as processes,
        Workers(shape, widest, 1, threads) as threaded,
    ):
        running = {"workers": (processes, workers), "threads": (threaded, 1)}
        contenders: dict[str, tuple[Run, int]] = {
            f"{kind} {width}": (functools.partial(those.run, width), count * width)
            for kind, (those, count) in running.items()
            for width in protocol.widths
        }
        steps, rates = by_turns(contenders, protocol)
    others = (spent_by_others() - before) / (time.perf_counter() - start)
    return {
        "shape": shape,
        "rule": min(rule(shape, workers), widest),
        "steps_per_round": steps,
        "models_per_second": {name: spread(values) for name, values in rates.items()},
        "cores_used_by_others": None if math.isnan(others) else others,
    }


def rule(shape: Shape, workers: int) -> int:
    """The width that a sweep would choose, if neither memory nor the number of trials bound it."""
    return stack_width(trial(shape), ENOUGH, workers, ENOUGH)


def judged(row: Mapping[str, Any]) -> dict[str, Any]:
    """The best width by the median over the rounds, and what the rule's width and all threads lose against it."""
    medians = {
        kind: {int(name.split()[1]): of["median"] for name, of in row["models_per_second"].items() if kind in name}
        for kind in ("workers", "threads")
    }
    widths, rates = zip(*sorted(medians["workers"].items()), strict=True)
    at_rule = float(np.interp(math.log(row["rule"]), np.log(widths), rates))  # its width need not be one of them
    return {
        "best": widths[rates.index(max(rates))],
        "rule": row["rule"],
        "regret": 1 - at_rule / max(rates),
        "threads / workers": max(medians["threads"].values()) / max(rates),
    }


def table(results: Sequence[Mapping[str, Any]], widths: Sequence[int]) -> Table:
    """One row for each shape: medians over the rounds by width, then what the rule makes of it."""
    drawn = Table(title="models x training steps per second, by the width of the stacks", title_justify="left")
    for name in ("T, B, H", "", *map(str, widths), "best", "rule", "regret"):
        drawn.add_column(name, justify="right" if name else "left")
    for row in results:
        verdict = judged(row)
        last = [str(verdict["best"]), str(verdict["rule"]), f"{verdict['regret']:.0%}"]
        for kind, tail in (("workers", last), ("threads", [])):
            medians = [f"{row['models_per_second'][f'{kind} {width}']['median']:.0f}" for width in widths]
            drawn.add_row(", ".join(map(str, row["shape"])), kind, *medians, *tail)
        drawn.add_section()
    return drawn


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.widths", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes and 2 rounds; writes only to --output")
    parser.add_argument("--workers", type=positive, default=2, help="processes with a stack each (default: 2)")
    parser.add_argument("--rounds", type=positive, help=f"of each width (default: {Protocol.rounds})")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {RESULTS.relative_to(RESULTS.parents[2])})")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write."""
    asked = arguments(argv)
    protocol = QUICK if asked.quick else Protocol()
    if asked.rounds is not None:
        protocol = dataclasses.replace(protocol, rounds=asked.rounds)
    results = [measure(protocol, shape, asked.workers) for shape in protocol.shapes]
    console = Console(highlight=False)
    console.print(table(results, protocol.widths), soft_wrap=True)
    others = max(row["cores_used_by_others"] or 0.0 for row in results)
    if others > QUIET:
        console.print(f"NOT IDLE: other work used {others:.1f} cores; measure again on a quiet machine", soft_wrap=True)
    report = {
        "machine": machine(),
        "protocol": vars(protocol) | {"workers": asked.workers},
        "results": [dict(row) | {"judged": judged(row)} for row in results],
    }
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
