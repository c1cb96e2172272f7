"""What training tells the outside world about a trial: records at every evaluation, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

RUNNING = "running"
SOLVED = "solved"  # the task's criterion held for `train.passes_to_solve` evaluations in a row
EXHAUSTED = "exhausted"  # the budget of steps ended first
DIVERGED = "diverged"  # a loss, gradient or update became non-finite: a result, counted as not solved
FAILED = "failed"  # a crash: missing data, shown, never counted
RESULTS = (SOLVED, EXHAUSTED, DIVERGED)  # a trial that ended so is finished
STATUSES = (RUNNING, *RESULTS, FAILED)
AT_LENGTH = "at_length/"  # begins the names of metrics of the final weights at other values of the task's dial
BY_LAG = "by_lag/"  # begins the names of metrics of the final weights by the distance that an output has to bridge
BY_LAG_POINTS = "by_lag/points"  # a metric: at how many distances the others are known
BY_LAG_METRICS = ("by_lag/loss", "by_lag/accuracy", "by_lag/outputs")  # in a store; their step is the distance
DIAGNOSED = ("diagnostics/", "theory/")  # begin the names of metrics that diagnostics find
UPDATE_RATIO = "diagnostics/update_ratio"  # a metric of every network that was diagnosed after a step of training
AT_THE_END = ("solved", "trained_steps", "steps_to_solve", "first_passage")  # metrics of the last record alone


@dataclass(frozen=True)
class Record:
    """The state of one trial after `step` training steps.

    `metrics` maps names such as `eval/loss` to numbers. `weights` maps parameter names to tensors
    at step 0 and at the end, and is empty between. `course` holds, at the end of an exhausted trial, what a larger
    budget needs beside the weights to go on, as plain values. `observed` holds what diagnostics found beside their
    metrics, the `details` of an `Observation`. `error` holds the reason of a `failed` trial.
    """

    key: str
    step: int
    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    course: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    observed: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.status != RUNNING


def at_length(value: int, metric: str) -> str:
    """The name of a metric of the final weights where the task's dial has this value: `at_length/40/accuracy`."""
    return f"{AT_LENGTH}{value}/{metric}"


def at_lag(lag: int, metric: str) -> str:
    """The name of a metric of the outputs at this distance, one of `BY_LAG_METRICS`: `by_lag/39/loss`."""
    return f"{BY_LAG}{lag}/{metric}"


def placed(name: str, step: int) -> tuple[str, int]:
    """Under which name and at which step a store keeps a metric: `by_lag/39/loss` as `by_lag/loss` at step 39."""
    if not name.startswith(BY_LAG) or name.count("/") != 2:
        return name, step
    _, lag, metric = name.split("/")
    return f"{BY_LAG}{metric}", int(lag)


class Observation(NamedTuple):
    """What diagnostics find of one network: metrics, and tables as plain values.

    `details` maps each layer, and `network`, to quantities; these have an `index` (lag, rank, delay or time step), and
    as many values or lists of them.
    """

    metrics: Mapping[str, float]
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Where a trial stands at a chunk border: all that decides how it goes on.

    `course` holds plain values (the step, the evaluations passed in a row, ...), `tensors` the parameters and what
    the optimiser remembers (`W_hh`, `velocity.W_hh`, ...), all without the model axis.
    """

    course: Mapping[str, Any]
    tensors: Mapping[str, Any]
