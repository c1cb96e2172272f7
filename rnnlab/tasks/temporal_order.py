"""Temporal order: which of two symbols came first and which then, among distractors; asked for at the end.

    inputs   q r A r t s q r s t B q r s t q r s t q     length = 20, symbols = 2
    target                                         AB    at the last step, one of 2^symbols classes

A and B are the symbols that count, q to t four distractors. Each symbol that counts stands in a window of a tenth of
the sequence: those of two symbols begin at 1/10 and 5/10 of it, those of three at 1/10, 3/10 and 6/10, as in the code
of Pascanu et al. 2013. (Hochreiter and Schmidhuber have them at 10, 50 and at 10, 33, 66 of 100 to 110 steps, with
symbols that show the start and the end.) The first lies up to nine tenths of the sequence back.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.6, experiments 6a and 6b; Pascanu, Mikolov,
Bengio 2013, "On the difficulty of training recurrent neural networks", section 4.1.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.spec import param
from rnnlab.tasks import MANY_TO_ONE, Batch, at_end, class_metrics, cross_entropy, lags_from_end, symbols

SOLVED_ACCURACY = 0.99  # share of sequences that are right, as in Pascanu et al. 2013, section 4.1.1: under 1 % wrong
WINDOWS = {2: (1, 5), 3: (1, 3, 6)}  # tenths of the sequence at which the windows of the symbols begin
DISTRACTORS = 4


@dataclass(frozen=True)
class TemporalOrder:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    symbolic: ClassVar[bool] = True
    input_size: ClassVar[int] = 2 + DISTRACTORS  # A, B, distractors
    length: int = param(20, low=10)  # steps
    symbols: int = param(2, low=2, high=3)  # symbols to remember

    @property
    def output_size(self) -> int:
        return 2**self.symbols

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1 - self.length // 10

    @property
    def baseline(self) -> float:
        """A guess among the classes."""
        return self.symbols * math.log(2)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        shown = generator.integers(0, 2, (self.symbols, size))
        begins = np.array([tenths * self.length // 10 for tenths in WINDOWS[self.symbols]])
        places = begins[:, None] + generator.integers(0, self.length // 10, (self.symbols, size))
        inputs = generator.integers(2, 2 + DISTRACTORS, (self.length, size))
        inputs[places, np.arange(size)] = shown
        weights = 2 ** np.arange(self.symbols)[::-1]
        return Batch(symbols(inputs), *at_end(weights @ shown, self.length))

    def lags(self, batch: Batch) -> Tensor:
        return lags_from_end(batch.inputs < 2, batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
