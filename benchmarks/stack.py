"""Models per second: rnnlab's stacks against one `torch.nn.RNN`, side by side in one run on this machine.

    python -m benchmarks.stack              the full protocol, about two minutes; exit status 1 below the bar
    python -m benchmarks.stack --no-bar     only report
    python -m benchmarks.stack --quick      tiny shapes: does it run?

All contenders train the same network on copy memory (`benchmarks.contenders`); each model has its own seed and data.
They take turns, one round each, so that a disturbance of the machine meets all of them; a ratio is taken within a
turn, over the wall time of its rounds. The machine must be idle: where others use the cores, the peer's threads wait
for each other and it all but stops, so the work of others is measured too, and a busy machine is called so.

    peer             one torch.nn.RNN + Linear, autograd and fused Adam, with all threads of torch
    peer_one_thread  the same with one thread
    stacks           `--workers` processes at once, one thread each, a stack of 16 models in each
    one_stack        one such process
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.contenders import CHUNK, QUICK, Peer, Protocol, Workers

BAR = 3.0  # at least this many times the models per second of the peer, in the median over the rounds,
BAR_HIDDEN = 64  # at this hidden size
QUIET = 0.2  # cores: with more work of others on the machine, no ratio is trusted
RESULTS = Path(__file__).parent / "results" / "stack.json"
RATIOS = {  # name -> contenders, numerator first
    "stacks / peer": ("stacks", "peer"),
    "stacks / peer_one_thread": ("stacks", "peer_one_thread"),
    "one_stack / peer": ("one_stack", "peer"),
    "one_stack / peer_one_thread": ("one_stack", "peer_one_thread"),
}

Run = Callable[[int], float]  # training steps -> wall time in seconds


def measure(protocol: Protocol, hidden_size: int, workers: int) -> dict[str, Any]:
    """Rounds of all contenders by turns at one hidden size, and how busy the machine was with other work."""
    start, before = time.perf_counter(), spent_by_others()
    peer = Peer(protocol.trial(hidden_size, seed=0))
    with Workers(protocol, hidden_size, workers) as running:
        contenders: dict[str, tuple[Run, int]] = {
            "peer": (peer.run, 1),
            "stacks": (running.run, workers * protocol.stack),
            "peer_one_thread": (peer.run_with_one_thread, 1),
            "one_stack": (running.run_one, protocol.stack),
        }
        steps, rates = by_turns(contenders, protocol)
    others = (spent_by_others() - before) / (time.perf_counter() - start)
    return {
        "hidden_size": hidden_size,
        "steps_per_round": steps,
        "models_per_second": {name: spread(values) for name, values in rates.items()},
        "ratios": {name: spread(divided(rates[over], rates[under])) for name, (over, under) in RATIOS.items()},
        "cores_used_by_others": None if math.isnan(others) else others,
    }


def by_turns(
    contenders: Mapping[str, tuple[Run, int]], protocol: Protocol
) -> tuple[dict[str, int], dict[str, list[float]]]:
    """Training steps in a round, and models x steps per second in each round, by contender (run, models)."""
    steps = {name: calibrated(run, protocol.seconds) for name, (run, _) in contenders.items()}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(protocol.rounds):
        for name, (run, models) in contenders.items():
            rates[name].append(models * steps[name] / run(steps[name]))
    return steps, rates


def spent_by_others() -> float:
    """CPU seconds this machine has spent outside this process and its finished children; NaN where unknown.

    Source: proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
    """
    listing = Path("/proc/stat")
    if not listing.exists():
        return math.nan
    ticks = [int(count) for count in listing.read_text().split(maxsplit=9)[1:9]]
    busy = sum(ticks) - ticks[3] - ticks[4]
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def calibrated(run: Run, seconds: float) -> int:
    """The number of training steps, a multiple of CHUNK, that takes about `seconds`; doubling warms `run` up."""
    steps = CHUNK
    while (taken := run(steps)) < seconds / 4:
        steps *= 2
    return CHUNK * max(1, math.floor(steps * seconds / taken / CHUNK))


def divided(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def machine() -> dict[str, Any]:
    """What the numbers hold for."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def judged(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The bar, and whether it is met on a quiet machine; None where its hidden size was not measured."""
    bar = {"ratio_at_least": BAR, "hidden_size": BAR_HIDDEN, "ratio": None, "quiet": None, "met": None}
    for row in results:
        if row["hidden_size"] == BAR_HIDDEN:
            ratio, others = row["ratios"]["stacks / peer"]["median"], row["cores_used_by_others"]
            quiet = others is None or others <= QUIET
            bar |= {"ratio": ratio, "quiet": quiet, "met": quiet and ratio >= BAR}
    return bar


def table(report: Mapping[str, Any]) -> Table:
    """One row for each hidden size and contender, then its ratios: over the rounds."""
    drawn = Table(title="models x training steps per second, and ratios within a turn", title_justify="left")
    for name in ("H", "", "median", "min", "max"):
        drawn.add_column(name, justify="left" if not name else "right")
    for row in report["results"]:
        for key, digits in (("models_per_second", 0), ("ratios", 2)):
            for name, measured in row[key].items():
                numbers = [f"{measured[column]:.{digits}f}" for column in ("median", "min", "max")]
                drawn.add_row(str(row["hidden_size"]), name, *numbers)
        drawn.add_section()
    return drawn


def show(report: Mapping[str, Any]) -> None:
    about, protocol, bar = report["machine"], report["protocol"], report["bar"]
    lines = [
        f"{about['cpu']}, {about['cores']} cores, torch {about['torch']} ({about['torch_threads']} threads)",
        f"copy memory, T={protocol['length']}, B={protocol['batch_size']}, Adam; {protocol['rounds']} rounds",
        f"{protocol['workers']} processes with a stack of {protocol['stack']} models each",
    ]
    console = Console(highlight=False)
    console.print("\n".join(lines), table(report), soft_wrap=True)
    others = max(row["cores_used_by_others"] or 0.0 for row in report["results"])
    if others > QUIET:
        console.print(f"NOT IDLE: other work used {others:.1f} cores; measure again on a quiet machine", soft_wrap=True)
    if bar["met"] is not None:
        verdict = ("met" if bar["met"] else "NOT met") if bar["quiet"] else "does not count on a busy machine"
        console.print(
            f"bar: stacks / peer at least {bar['ratio_at_least']:g} at H={bar['hidden_size']}: "
            f"{bar['ratio']:.2f}, {verdict}"
        )


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes and 2 rounds; writes only to --output")
    parser.add_argument("--no-bar", action="store_true", help="exit status 0 whatever the ratio")
    parser.add_argument("--workers", type=positive, default=2, help="processes with a stack each (default: 2)")
    parser.add_argument("--rounds", type=positive, help=f"of each contender (default: {Protocol.rounds})")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {RESULTS.relative_to(RESULTS.parents[2])})")
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be an integer >= 1")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show, write; 1 where the bar is missed, else 0."""
    asked = arguments(argv)
    protocol = QUICK if asked.quick else Protocol()
    if asked.rounds is not None:
        protocol = dataclasses.replace(protocol, rounds=asked.rounds)
    results = [measure(protocol, hidden_size, asked.workers) for hidden_size in protocol.hidden_sizes]
    report = {
        "machine": machine(),
        "protocol": vars(protocol) | {"length": protocol.trial(1, seed=0).task.length, "workers": asked.workers},
        "results": results,
        "bar": judged(results),
    }
    show(report)
    output = asked.output or (None if asked.quick else RESULTS)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if report["bar"]["met"] is False and not asked.no_bar else 0


if __name__ == "__main__":
    sys.exit(main())
