"""The course of one trial in a stack: its steps and evaluations, when the next is due, and whether it has ended."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnlab.record import EXHAUSTED, RUNNING, SOLVED, Checkpoint
from rnnlab.trial import Trial

COURSE = ("step", "passed", "first_passage", "losses", "norms", "clipped")  # of a slot, in its checkpoint


@dataclass
class Slot:
    """The course of one trial in a stack: what is not a tensor."""

    trial: Trial
    step: int = 0  # training steps done
    border: int = 0  # the step of the next evaluation; where that is `step`, the evaluation is due
    passed: list[int] = field(default_factory=list)  # steps of the latest evaluations that passed in a row
    first_passage: int | None = None  # step of the first evaluation that passed
    losses: list[float] = field(default_factory=list)  # of the training steps since the last evaluation
    norms: list[float] = field(default_factory=list)  # of their gradients, before clipping
    clipped: list[bool] = field(default_factory=list)  # whether clipping acted
    moved: float = math.nan  # norm of the last update over that of the parameters, where it is watched

    @classmethod
    def of(cls, trial: Trial, checkpoint: Checkpoint | None) -> Slot:
        """The slot of a trial at its beginning, or where a checkpoint left it."""
        if checkpoint is None:
            return cls(trial)
        slot = cls(trial, **checkpoint.course)
        slot.border = slot.next_border()
        return slot

    def next_border(self) -> int:
        train = self.trial.train
        return min((self.step // train.eval_every + 1) * train.eval_every, train.max_steps)

    def training_metrics(self) -> dict[str, float]:
        """Means over the training steps since the last evaluation."""
        if not self.losses:
            return {}
        named: dict[str, Sequence[float]] = {
            "train/loss": self.losses,
            "train/gradient_norm": self.norms,
            "train/clipped": self.clipped,
        }
        return {
            name: math.fsum(values) / len(values) if _finite(values) else math.nan for name, values in named.items()
        }

    def evaluation_counts(self) -> bool:
        """Whether an evaluation now decides anything: not one that a larger budget would not see."""
        return self.step % self.trial.train.eval_every == 0

    def note_evaluation(self, passes: bool) -> None:
        self.passed = [*self.passed, self.step] if passes else []
        if passes and self.first_passage is None:
            self.first_passage = self.step
        self.losses, self.norms, self.clipped = [], [], []
        self.border = self.next_border()

    def status(self) -> str:
        """What its evaluations so far and its budget make of the trial."""
        if len(self.passed) >= self.trial.train.passes_to_solve:
            return SOLVED
        return EXHAUSTED if self.step >= self.trial.train.max_steps else RUNNING

    def course(self) -> dict[str, Any]:
        """What else decides how the trial goes on: plain values."""
        return {name: copy.copy(getattr(self, name)) for name in COURSE}

    def outcome(self, status: str) -> dict[str, float]:
        """The final metrics of a trial that ends with `status`; what did not happen is absent."""
        steps_to_solve = self.passed[0] if status == SOLVED else None
        found = {"steps_to_solve": steps_to_solve, "first_passage": self.first_passage}
        happened = {name: float(step) for name, step in found.items() if step is not None}
        return {"solved": float(status == SOLVED), "trained_steps": float(self.step)} | happened


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))
