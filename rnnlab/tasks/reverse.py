"""Reverse: an encoder reads some symbols, then a decoder writes them in reversed order, and that they have ended.

    inputs   a b c _ _ | . . . . . .      symbols = 5, of which 3 are there; `_` padding, `.` blank, the same symbol
    targets  . . . . . | c b a $ . .      `$` the end; what follows it is not scored

With order = copy the decoder writes a b c $. On the common time line, where the decoder starts after the longest
source, the lags are `symbols` for every symbol of a copy; reversed they are 1, 3, 5, ... for a source of full
length: the mean is the same and the least is 1, which is what made it easier to learn. A decoder that starts from the
encoder's state at the end of each source has no padding to cross. That of the end needs the length alone.

Source: Sutskever, Vinyals, Le 2014, "Sequence to sequence learning with neural networks" (two networks, the end as a
symbol), section 3.3 (reversing the source); Cho et al. 2014, "Learning phrase representations using RNN
encoder-decoder for statistical machine translation".
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
from rnnlab.tasks import SEQUENCE_TO_SEQUENCE, Batch, class_metrics, cross_entropy, symbols, within

SOLVED_ACCURACY = 0.99  # share of written symbols and ends that are right: as for copy memory
BLANK = END = 0  # the blank of the inputs, the end among the classes


@dataclass(frozen=True)
class Reverse:
    version: ClassVar[int] = 1
    form: ClassVar[str] = SEQUENCE_TO_SEQUENCE
    dial: ClassVar[str] = "symbols"
    symbolic: ClassVar[bool] = True
    padding: ClassVar[int] = BLANK
    symbols: int = param(5, low=2)  # length of the longest source; the shortest is half of it
    alphabet: int = param(4, low=2)  # different symbols
    order: str = param("reverse", choices=("reverse", "copy"))  # in which they are written

    @property
    def shortest(self) -> int:
        return (self.symbols + 1) // 2

    @property
    def source_length(self) -> int:
        return self.symbols

    @property
    def length(self) -> int:
        return 2 * self.symbols + 1

    @property
    def input_size(self) -> int:
        return self.alphabet + 1  # blank, symbols

    @property
    def output_size(self) -> int:
        return self.alphabet + 1  # end, symbols

    @property
    def scored(self) -> slice:
        return slice(self.symbols, self.length)

    @property
    def distance(self) -> int:
        return self.symbols if self.order == "copy" else 2 * self.symbols - 1

    @property
    def baseline(self) -> float:
        """Each of n symbols is a guess, and so is their number: (ln lengths + E[n] ln alphabet) / (E[n] + 1).

        At decoder step j the end comes with probability P(n = j) / P(n >= j), else a symbol; by the chain rule the
        entropies of the first add up to that of n, which is uniform.
        """
        lengths = self.symbols - self.shortest + 1
        mean = (self.symbols + self.shortest) / 2
        return (math.log(lengths) + mean * math.log(self.alphabet)) / (mean + 1)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        lengths = generator.integers(self.shortest, self.symbols + 1, size)
        shown = generator.integers(1, self.alphabet + 1, (self.symbols, size))
        inputs = np.full((self.length, size), BLANK)
        inputs[: self.symbols] = np.where(within(lengths, self.symbols), shown, BLANK)
        steps = np.arange(self.symbols)[:, None]
        sources = steps if self.order == "copy" else lengths - 1 - steps
        written = np.take_along_axis(shown, np.maximum(sources, 0) + 0 * lengths, axis=0)
        targets = np.full((self.length, size), END)
        targets[self.symbols : -1] = np.where(within(lengths, self.symbols), written, END)
        mask = np.zeros((self.length, size), dtype=bool)
        mask[self.scored] = within(lengths + 1, self.symbols + 1)
        return Batch(symbols(inputs), symbols(targets), torch.from_numpy(mask), torch.from_numpy(lengths))

    def lags(self, batch: Batch) -> Tensor:
        times, sequences = (batch.mask & (batch.targets != END)).nonzero(as_tuple=True)
        written = times - self.symbols  # symbols that are written already
        sources = written if self.order == "copy" else (batch.inputs != BLANK).sum(0)[sequences] - 1 - written
        return torch.stack([times, sequences, times - sources], dim=1)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
