"""Bit recall: a few bits, then distractors, then a query that asks for one of the bits by its position.

    inputs   1 0 0 x y y x y x ?2                bits = 3, delay = 6
    target                      0                at the last step: the second bit

Every bit must be held, as which of them is asked for shows only at the end; the first then lies bits + delay steps
back. Distractors are drawn from symbols of their own: with distractors=1 the wait is blank. The query itself is an
input of the scored step and needs no memory; `lags` names the bit alone.

Source: after the experiments memory_len and memory_size of Osband et al. 2020, "Behaviour suite for reinforcement
learning" (there all bits show at once, the wait is blank, and the answer is an action); a single bit held among
distractors is the minimal task of Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient
descent is difficult".
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
from rnnlab.tasks import MANY_TO_ONE, Batch, at_end, class_metrics, cross_entropy, lags_from_end, symbols

SOLVED_ACCURACY = 0.99  # share of sequences that are right, our choice: a network that lost one bit in 25 misses it


@dataclass(frozen=True)
class BitRecall:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "delay"
    symbolic: ClassVar[bool] = True
    output_size: ClassVar[int] = 2
    delay: int = param(10, low=1)  # steps from the last bit to the query: distractors
    bits: int = param(3, low=1)  # bits to hold
    distractors: int = param(2, low=1)  # different symbols of the wait

    @property
    def length(self) -> int:
        return self.bits + self.delay + 1

    @property
    def input_size(self) -> int:
        return 2 + self.distractors + self.bits  # 0, 1, distractors, queries

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """A guess between 0 and 1."""
        return math.log(2)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        bits = generator.integers(0, 2, (self.bits, size))
        wait = generator.integers(2, 2 + self.distractors, (self.delay, size))
        query = generator.integers(0, self.bits, size)
        inputs = np.concatenate([bits, wait, 2 + self.distractors + query[None]])
        return Batch(symbols(inputs), *at_end(bits[query, np.arange(size)], self.length))

    def lags(self, batch: Batch) -> Tensor:
        asked = batch.inputs[-1] - (2 + self.distractors)
        return lags_from_end(torch.arange(self.length)[:, None] == asked, batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
