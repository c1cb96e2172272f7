"""What training tells the outside world about a trial, at its start and at every evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RUNNING = "running"
SOLVED = "solved"  # the task's criterion held for `train.passes_to_solve` evaluations in a row
EXHAUSTED = "exhausted"  # the budget of steps ended first
DIVERGED = "diverged"  # a loss, gradient or update became non-finite: a result, counted as not solved
FAILED = "failed"  # a crash: missing data, shown, never counted
RESULTS = (SOLVED, EXHAUSTED, DIVERGED)  # a trial that ended so is finished
STATUSES = (RUNNING, *RESULTS, FAILED)


@dataclass(frozen=True)
class Record:
    """The state of one trial after `step` training steps.

    `metrics` maps names such as `eval/loss` to numbers. `weights` maps parameter names to tensors
    at step 0 and at the end, and is empty between. `course` holds, at the end of an exhausted trial, what a larger
    budget needs beside the weights to go on, as plain values. `error` holds the reason of a `failed` trial.
    """

    key: str
    step: int
    status: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    course: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def ended(self) -> bool:
        return self.status != RUNNING
