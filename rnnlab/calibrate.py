"""Measure how fast this machine trains a sweep's stacks: seconds for one training step of one model.

    python -m rnnlab.calibrate < {"trials": [mapping, ...], "widths": {shape key: width}, "seconds": 2.0}

A process writes "ready" when it has been loaded and the JSON of its rates when it is done. As many of them run side by
side as there will be workers, in the workers' environment: they share the memory's bandwidth, and a third of a step
can be the behaviour of malloc.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from rnnlab.build import build
from rnnlab.registry import registry
from rnnlab.sweep import by_shape, work
from rnnlab.train import Stack
from rnnlab.trial import Trial, shape_key

SHAPES = 6  # so many are measured at most
SECONDS = 2.0  # about, for all of them
PATIENCE = 60.0  # seconds beyond which a calibration is given up: loading torch from a cold disk takes a while
CODE = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "rnnlab.calibrate"]


def side_by_side(
    trials: Sequence[Trial], widths: Mapping[str, int], workers: int, seconds: float = SECONDS
) -> dict[str, float]:
    """`calibrate` in `workers` processes at once; the mean of what they find. Empty where anything goes wrong.

    The processes inherit the environment: call it where a worker could be started.
    """
    if not trials:
        return {}
    chosen = [trial for group in spread(by_shape(trials)) for trial in group[: widths[shape_key(group[0])]]]
    asked = {"trials": [trial.mapping() for trial in chosen], "widths": dict(widths), "seconds": seconds}
    try:
        found = _answers(json.dumps(asked), workers)
        return {key: statistics.fmean(rates[key] for rates in found) for key in found[0]}
    except (OSError, ValueError, LookupError, TypeError):  # an estimate is a courtesy: no sweep fails for want of it
        return {}


def _answers(asked: str, workers: int) -> list[dict[str, float]]:
    """What each of so many processes at once answers."""
    with contextlib.ExitStack() as ending:
        running = [ending.enter_context(_start()) for _ in range(workers)]
        alarm = threading.Timer(PATIENCE, _kill, [running])
        ending.callback(_kill, running)
        ending.callback(alarm.cancel)
        alarm.start()
        for process in running:
            _pipe(process.stdout).readline()  # it is loaded
        for process in running:
            with _pipe(process.stdin) as question:
                question.write(asked)
        return [json.loads(_pipe(process.stdout).read()) for process in running]


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        COMMAND, cwd=CODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _pipe(end: IO[str] | None) -> IO[str]:
    if end is None:
        raise ValueError("a process without pipes")
    return end


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()


def spread(groups: Sequence[Sequence[Trial]], count: int = SHAPES) -> list[Sequence[Trial]]:
    """At most `count` of the groups, evenly over the work of a step; the largest and the smallest are among them."""
    by_work = sorted(groups, key=lambda group: work(group[0]) / group[0].train.max_steps)
    last = len(by_work) - 1
    places = {last - round(i * last / max(1, count - 1)) for i in range(count)}
    return [by_work[at] for at in sorted(places) if at >= 0]


def calibrate(trials: Sequence[Trial], widths: Mapping[str, int], seconds: float = SECONDS) -> dict[str, float]:
    """Shape key -> seconds for a training step of one model, for up to `SHAPES` shapes of `trials`, in this process.

    widths: shape key -> width of its stacks
    """
    groups = spread(by_shape(trials))
    rates = {}
    for group in groups:
        key = shape_key(group[0])
        rate = seconds_per_step(group[: widths[key]], seconds / len(groups))
        if rate is not None:
            rates[key] = rate
    return rates


def seconds_per_step(trials: Sequence[Trial], seconds: float) -> float | None:
    """Time for a training step of one model in a stack of `trials`, with its share of an evaluation.

    Takes about `seconds`, but two steps and two evaluations at least. None where all trials diverge meanwhile.
    """
    stack = Stack(trials)
    stack.evaluate(range(len(stack.slots)))  # warms up, as the first step does
    steps: list[float] = []
    start = time.perf_counter()
    while stack.slots and (len(steps) < 2 or time.perf_counter() - start < seconds):
        steps.append(_per_model(stack, stack.train_to_border))
    if not stack.slots:
        return None
    evaluation = _per_model(stack, lambda: stack.evaluate(range(len(stack.slots))))
    return statistics.median(steps[1:]) + evaluation / trials[0].train.eval_every


def _per_model(stack: Stack, work: Callable[[], object]) -> float:
    """The time that `work` takes, by the number of models; the next training step ends at a chunk border."""
    models = len(stack.slots)
    for slot in stack.slots:
        slot.border = slot.step + 1
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / models


def main() -> None:
    """What a process does: see above."""
    registry()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asked = json.load(sys.stdin)
    trials = [build(mapping, registry()) for mapping in asked["trials"]]
    json.dump(calibrate(trials, asked["widths"], asked["seconds"]), sys.stdout)


if __name__ == "__main__":
    main()
