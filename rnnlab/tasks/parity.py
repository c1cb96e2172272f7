"""Parity: whether the number of ones in a string of bits is odd, asked for at its end.

    inputs   1 0 1 1 0 0 1 0                     length = 8
    target                 0                     four ones: even

Every bit counts, and all but one of them are worth as little as none, so that there is no partial credit: the loss
stays at ln 2 until the whole string is used. The network must carry one bit for up to length - 1 steps and flip it at
each one. With lengths=varied each string has its own length, uniform in [2, length], and short strings, which are
easy, show the way to long ones; a single bit, which needs no memory, does not occur. Inputs must be strong enough to
bend the state (init.input_scale=1): the more linear a network, the less it can do here.

Source: Delétang et al. 2023, "Neural networks and the Chomsky hierarchy", "Parity Check" (strings of varied length);
as a test of long time lags in Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient descent
is difficult", and in Hochreiter and Schmidhuber 1996, "Bridging long time lags by weight guessing and long short-term
memory".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.spec import param
from rnnlab.tasks import MANY_TO_ONE, Batch, at_end, class_metrics, cross_entropy, lags_from_end, symbols
from rnnlab.trial import Trial

SOLVED_ACCURACY = 0.99  # share of strings that are right, our choice: without every bit it is 1/2
SHORTEST = 2  # bits, of strings of varied length


@dataclass(frozen=True)
class Parity:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    symbolic: ClassVar[bool] = True
    input_size: ClassVar[int] = 2  # 0, 1
    output_size: ClassVar[int] = 2  # even, odd
    length: int = param(5, low=2)  # bits of the longest string
    lengths: str = param("equal", choices=("equal", "varied"))

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.lengths == "varied" and self.length == SHORTEST:
            yield f"task.length={self.length}: must be >= {SHORTEST + 1} with task.lengths=varied"

    @property
    def scored(self) -> slice:
        return slice((SHORTEST if self.lengths == "varied" else self.length) - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """A guess between even and odd."""
        return math.log(2)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        bits = generator.integers(0, 2, (self.length, size))
        if self.lengths == "equal":
            return Batch(symbols(bits), *at_end(bits.sum(0) % 2, self.length))
        lengths = generator.integers(SHORTEST, self.length + 1, size)
        bits[np.arange(self.length)[:, None] >= lengths] = 0
        return Batch(symbols(bits), *at_end(bits.sum(0) % 2, self.length, lengths), symbols(lengths))

    def lags(self, batch: Batch) -> Tensor:
        lengths = self.length if batch.lengths is None else batch.lengths
        within = torch.arange(self.length)[:, None] < lengths
        return lags_from_end(within.expand_as(batch.inputs), batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
