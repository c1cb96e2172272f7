"""Tasks: one file each. What they share: the batch, the protocol, and the losses.

Shapes: T time, B sequences, O outputs, `...` any leading axes (a stack has one: M models).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Batch(NamedTuple):
    """Sequences of a task, time first.

    inputs:  (..., T, B) integer symbols, or (..., T, B, I) real values
    targets: (..., T, B) integer classes, or (..., T, B, O) real values
    mask:    (..., T, B) true where the output is scored
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor


class Task(Protocol):
    """The contract that `tests/test_tasks.py` checks for every file in this folder.

    Tasks are frozen dataclasses; their fields are the parameters that a sweep can vary.
    """

    version: ClassVar[int]  # rises when the numbers of an equal spec change

    @property
    def length(self) -> int:
        """T, the number of time steps of a sequence."""

    @property
    def input_size(self) -> int:
        """Number of input symbols (one-hot) or of real input channels."""

    @property
    def output_size(self) -> int:
        """Number of classes, or of real outputs."""

    @property
    def scored(self) -> slice:
        """The time steps on which outputs can be scored; no other output is computed."""

    @property
    def distance(self) -> int:
        """The largest lag, in steps, that any scored output needs."""

    @property
    def baseline(self) -> float:
        """Expected loss of the strategy without memory that the literature compares with, in the units of `loss`."""

    @property
    def label(self) -> str:
        """The parameter that sets the distance, for names of runs: `delay=20`."""

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        """`size` fresh sequences."""

    def lags(self, batch: Batch) -> Tensor:
        """(N, 3) integers: rows (t, b, lag), the output at time t of sequence b needs the input at t - lag."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(...) mean loss over the scored outputs; `outputs` and `batch` hold the steps `scored` only."""

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """(...) each: `loss` and `accuracy`; arguments as for `loss`."""

    def solved(self, metrics: Mapping[str, float]) -> bool:
        """Whether an evaluation with these metrics meets the task's criterion."""


def at_steps(batch: Batch, steps: slice) -> Batch:
    """The batch restricted to the time steps `steps`, for `loss` and `metrics`; one leading axis or none."""
    has_models = batch.mask.ndim == 3
    return Batch(*(field[:, steps] if has_models else field[steps] for field in batch))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(...) mean of `values` (..., T, B) where `mask` holds."""
    kept = torch.where(mask, values, 0).flatten(-2)
    return kept.sum(-1) / mask.flatten(-2).sum(-1)


def cross_entropy(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) mean cross-entropy in nats of the scored outputs (..., T, B, O)."""
    log_probabilities = functional.log_softmax(outputs, dim=-1)
    chosen = log_probabilities.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    return masked_mean(-chosen, batch.mask)


def mean_squared_error(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) mean over the scored outputs of the squared error, summed over the O channels."""
    return masked_mean((outputs - batch.targets).square().sum(-1), batch.mask)


def share_correct(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) share of the scored outputs (..., T, B, O) whose largest entry is the target class."""
    correct = outputs.argmax(-1) == batch.targets
    return masked_mean(correct.to(outputs.dtype), batch.mask)


def symbols(values: np.ndarray) -> Tensor:
    """Integer symbols as a tensor."""
    return torch.from_numpy(values.astype(np.int64))
