"""Variable-delay copy: copy memory in which the wait has another length in each sequence.

    inputs   a b c . . > . . .                   symbols = 3, this sequence waits for 3 of up to delay = 5 steps
    targets  . . . . . . a b c                   `.` blank, `>` the marker; what follows is padding

The wait is uniform in [1, delay] and its last step shows the marker, so that only the marker tells when to recall.
Every symbol is recalled (this sequence's wait) + symbols steps after it was shown. The recall alone is scored. As in
`copy`, the wait counts the marker; Tallec and Ollivier count the blanks before it.

Source: Henaff, Szlam, LeCun 2016, "Recurrent orthogonal networks and long-memory tasks", the copy problem of variable
length; restated by Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.spec import param
from rnnlab.tasks import MANY_TO_MANY, Batch, class_metrics, cross_entropy, symbols

SOLVED_ACCURACY = 0.99  # share of recalled symbols that are right, as in copy memory
BLANK = 0


@dataclass(frozen=True)
class VariableDelayCopy:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "delay"
    symbolic: ClassVar[bool] = True
    delay: int = param(10, low=2)  # steps of the longest wait
    symbols: int = param(3, low=1)  # symbols to remember, in a row
    alphabet: int = param(2, low=2)  # different symbols

    @property
    def length(self) -> int:
        return self.delay + 2 * self.symbols

    @property
    def input_size(self) -> int:
        return self.alphabet + 2  # blank, symbols, marker

    @property
    def output_size(self) -> int:
        return self.alphabet + 1  # blank, symbols

    @property
    def scored(self) -> slice:
        return slice(self.symbols + 1, self.length)

    @property
    def distance(self) -> int:
        return self.delay + self.symbols

    @property
    def baseline(self) -> float:
        """A guess among the symbols."""
        return math.log(self.alphabet)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        shown = generator.integers(1, self.alphabet + 1, (self.symbols, size))
        first = self.symbols + generator.integers(1, self.delay + 1, size)  # steps before the recall
        recall = (first + np.arange(self.symbols)[:, None], np.arange(size))
        inputs = np.full((self.length, size), BLANK)
        inputs[: self.symbols] = shown
        inputs[first - 1, np.arange(size)] = self.alphabet + 1
        targets = np.full((self.length, size), BLANK)
        targets[recall] = shown
        mask = np.zeros((self.length, size), dtype=bool)
        mask[recall] = True
        return Batch(symbols(inputs), symbols(targets), torch.from_numpy(mask), symbols(first + self.symbols))

    def lags(self, batch: Batch) -> Tensor:
        sequences, times = torch.nonzero(batch.mask.T, as_tuple=True)  # in order of the sequences
        shown = torch.arange(self.symbols).repeat(batch.mask.shape[1])
        return torch.stack([times, sequences, times - shown], dim=1)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
