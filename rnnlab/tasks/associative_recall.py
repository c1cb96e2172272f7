"""Associative recall: pairs of keys and values, then a key; its value is asked for.

    inputs   c 9 k 8 f 1 . . k                   pairs = 3, delay = 2
    target                   8                   at the last step

The keys of a sequence differ; values may be alike. Which pair is asked for shows only at the end, so that all of them
must be held, and found again by content. The query asks for each pair equally often: that of the first pair lies the
farthest back, its key 2 pairs + delay steps. Ba et al. have keys=26, letters, values=10, digits, and delay=2.
The query itself is an input of the scored step and needs no memory; `lags` names the key and the value of its pair.

Source: Ba, Hinton, Mnih, Leibo, Ionescu 2016, "Using fast weights to attend to the recent past", section 4.1; after
Graves, Wayne, Danihelka 2014, "Neural Turing machines", associative recall (there items of several vectors, and the
next item).
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

SOLVED_ACCURACY = 0.99  # share of sequences that are right, our choice: a network that lost one pair in 25 misses it


@dataclass(frozen=True)
class AssociativeRecall:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "delay"
    symbolic: ClassVar[bool] = True
    delay: int = param(5, low=1)  # blank steps between the last pair and the query
    pairs: int = param(2, low=1)  # pairs to hold
    keys: int = param(4, low=2)  # different keys
    values: int = param(2, low=2)  # different values

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.keys < self.pairs:
            yield f"task.keys={self.keys}: must be >= task.pairs={self.pairs}, for a key of its own for each pair"

    @property
    def length(self) -> int:
        return 2 * self.pairs + self.delay + 1

    @property
    def input_size(self) -> int:
        return self.keys + self.values + 1  # keys, values, blank

    @property
    def output_size(self) -> int:
        return self.values

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """A guess among the values."""
        return math.log(self.values)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        columns = np.arange(size)
        keys = generator.permuted(np.tile(np.arange(self.keys), (size, 1)), axis=1)[:, : self.pairs].T
        values = generator.integers(0, self.values, (self.pairs, size))
        asked = generator.integers(0, self.pairs, size)
        inputs = np.full((self.length, size), self.keys + self.values)
        inputs[0 : 2 * self.pairs : 2] = keys
        inputs[1 : 2 * self.pairs : 2] = self.keys + values
        inputs[-1] = keys[asked, columns]
        return Batch(symbols(inputs), *at_end(values[asked, columns], self.length))

    def lags(self, batch: Batch) -> Tensor:
        shown = batch.inputs[0 : 2 * self.pairs : 2] == batch.inputs[-1]
        needed = torch.zeros_like(batch.inputs, dtype=torch.bool)
        needed[: 2 * self.pairs] = shown.repeat_interleave(2, dim=0)  # a key, then its value
        return lags_from_end(needed, batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
