"""What diagnostics cost: their share of the training that they watch, at the default interval, on this machine.

    python -m benchmarks.diagnostics            three shapes, about three minutes; exit status 1 above the bar
    python -m benchmarks.diagnostics --quick    tiny shapes: does it run?

A stack of 64 trials trains for some chunks (from one evaluation to the next, evaluations included), and is diagnosed as
at its beginning, between and at its end; these take turns, one round each, on one thread. The share is that of a trial
that uses its whole budget with `diagnostics.every=auto`: at the beginning, ten times between and at the end.
Trials that are solved early have fewer points between, but their beginning and end weigh more.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.stack import machine, spread
from rnnlab.build import build
from rnnlab.registry import registry
from rnnlab.train import Stack, one_thread
from rnnlab.trial import Trial
from rnnlab.watch import AUTO, BETWEEN, DiagnosticsSettings, Watch

BAR = 0.10  # of the time of the training, at most
RESULTS = Path(__file__).parent / "results" / "diagnostics.json"
OPTIONS: Mapping[str, DiagnosticsSettings] = {
    "default": DiagnosticsSettings(AUTO),
    "with states": DiagnosticsSettings(AUTO, states=True),
    "with capacity": DiagnosticsSettings(AUTO, capacity=True),
}


@dataclass(frozen=True)
class Shape:
    """One kind of trial."""

    name: str
    task: Mapping[str, Any]
    hidden_size: int
    train: Mapping[str, Any]
    cell: str = "elman"

    def trial(self, seed: int) -> Trial:
        mapping = {
            "task": self.task,
            "model": {"hidden_size": self.hidden_size},
            "cell": {"name": self.cell},
            "init": {"name": "orthogonal"},
            "train": self.train,
            "seed": seed,
        }
        return build(mapping, registry())


@dataclass(frozen=True)
class Protocol:
    shapes: tuple[Shape, ...] = (
        Shape("one trial of conf/config.yaml", {"name": "copy"}, 64, {}),
        Shape("learnability, copy", {"name": "copy", "delay": 40}, 64, {"batch_size": 20}),
        Shape(
            "learnability_small, copy",
            {"name": "copy", "delay": 15},
            64,
            {"batch_size": 10, "max_steps": 400, "eval_size": 100},
        ),
        Shape(
            "learnability_small, adding",
            {"name": "adding", "length": 14},
            16,
            {"batch_size": 10, "max_steps": 600, "eval_size": 100, "optimizer": "adam"},
        ),
        Shape("an LSTM, copy", {"name": "copy", "delay": 40}, 64, {"batch_size": 20}, "lstm"),
    )
    models: int = 64
    rounds: int = 5


SMALL = {"batch_size": 3, "max_steps": 12, "eval_every": 1, "eval_size": 3}
QUICK = Protocol((Shape("tiny", {"name": "copy", "delay": 3}, 8, SMALL),), models=2, rounds=2)


def measure(shape: Shape, protocol: Protocol) -> dict[str, Any]:
    """Seconds of a chunk and of each kind of diagnosis, round by round, and the shares that follow."""
    trials = [shape.trial(seed) for seed in range(protocol.models)]
    stack = Stack(trials)
    stack.evaluate(stack.unseen())
    train = trials[0].train
    parameters = {name: leaf.detach() for name, leaf in stack.leaves.items()}

    def diagnosed(settings: DiagnosticsSettings, step: int, ended: bool) -> Callable[[], object]:
        watch, count = Watch(settings), len(trials)
        return lambda: watch.observe(trials, parameters, [step] * count, [ended] * count)

    work: dict[str, Callable[[], object]] = {"chunk": lambda: _chunk(stack)}
    for name, settings in OPTIONS.items():
        work[f"{name}: beginning"] = diagnosed(settings, 0, ended=False)
        work[f"{name}: end"] = diagnosed(settings, 1, ended=True)
    work["between"] = diagnosed(OPTIONS["default"], 1, ended=False)
    seconds = _rounds(work, protocol.rounds)
    chunks = train.max_steps / train.eval_every
    shares = {
        name: [
            (beginning + BETWEEN * between + end) / (chunks * chunk)
            for beginning, between, end, chunk in zip(
                seconds[f"{name}: beginning"],
                seconds["between"],
                seconds[f"{name}: end"],
                seconds["chunk"],
                strict=True,
            )
        ]
        for name in OPTIONS
    }
    return {
        "shape": shape.name,
        "seconds": {name: spread(found) for name, found in seconds.items()},
        "share": {name: spread(found) for name, found in shares.items()},
    }


def _rounds(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each kind of work, by turns; a first round, in which memory is taken, does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    with one_thread():
        for _ in range(rounds + 1):
            for name, run in work.items():
                begun = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begun)
    return {name: found[1:] for name, found in seconds.items()}


def _chunk(stack: Stack) -> None:
    """To the next evaluation of all trials, which none of them leaves."""
    stack.train_to_border()
    stack._measure(range(len(stack.slots)))
    for slot in stack.slots:
        slot.border = slot.step + slot.trial.train.eval_every


def show(results: Sequence[Mapping[str, Any]]) -> None:
    table = Table("trials", *OPTIONS, title="Share of diagnostics in the time of the training that they watch")
    for row in results:
        shares = (row["share"][name] for name in OPTIONS)
        table.add_row(row["shape"], *(f"{of['median']:.1%} ({of['min']:.1%} to {of['max']:.1%})" for of in shares))
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 where diagnostics at their default take more than the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    asked = parser.parse_args(argv)
    protocol = QUICK if asked.quick else Protocol()
    results = [measure(shape, protocol) for shape in protocol.shapes]
    show(results)
    worst = max(row["share"]["default"]["median"] for row in results)
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        report = {"machine": machine(), "bar": BAR, "worst": worst, "results": results}
        output.write_text(json.dumps(report, indent=1) + "\n")
    return int(worst > BAR and not asked.quick)


if __name__ == "__main__":
    sys.exit(main())
