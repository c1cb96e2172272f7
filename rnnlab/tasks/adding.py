"""Adding: the sum of the two marked values in a sequence of random numbers, asked for at its end.

    value    .31 .84 .07 .55 .92 .18 .63 .40     length = 8
    marker    0   1   0   0   0   0   1   0      one in each half
    target                                1.47   .84 + .63, at the last step

The network must carry the first value for up to length - 1 steps.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.4 (the problem, and |error| < 0.04 as
correct, there for a target scaled to [0, 1], so that it is twice as strict here); the form with a set length and one
marker in each half is that of Arjovsky, Shah, Bengio 2016, section 5.2; see also Le, Jaitly, Hinton 2015, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.tasks import MANY_TO_ONE, Batch, masked_mean, mean_squared_error
from rnnlab.trial import param

SOLVED_LOSS = 0.01  # mean squared error, our choice: knowing one of the two values gives 1/12, none 1/6
TOLERANCE = 0.04  # |error| that counts as correct in `accuracy`


@dataclass(frozen=True)
class Adding:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    length: int = param(20, low=2)  # steps

    @property
    def input_size(self) -> int:
        return 2  # value, marker

    @property
    def output_size(self) -> int:
        return 1

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """That of the best constant, 1: the variance of the sum of two uniform values, 1/12 + 1/12."""
        return 1 / 6

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        half = self.length // 2
        values = generator.random((self.length, size), dtype=np.float32)
        marked = np.stack([generator.integers(0, half, size), generator.integers(half, self.length, size)])
        columns = np.arange(size)
        inputs = np.zeros((self.length, size, 2), dtype=np.float32)
        inputs[..., 0] = values
        inputs[marked, columns, 1] = 1
        targets = np.zeros((self.length, size, 1), dtype=np.float32)
        targets[-1, :, 0] = values[marked[0], columns] + values[marked[1], columns]
        mask = torch.zeros(self.length, size, dtype=torch.bool)
        mask[-1] = True
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), mask)

    def lags(self, batch: Batch) -> Tensor:
        times, sequences = torch.nonzero(batch.inputs[..., 1], as_tuple=True)
        last = self.length - 1
        return torch.stack([torch.full_like(times, last), sequences, last - times], dim=1)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return mean_squared_error(outputs, batch)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        error = (outputs - batch.targets).squeeze(-1).abs()
        return {
            "loss": mean_squared_error(outputs, batch),
            "accuracy": masked_mean((error < TOLERANCE).to(outputs.dtype), batch.mask),
        }

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["loss"] < SOLVED_LOSS
