"""Selective copy: a few symbols are scattered among noise; recall them in order, and nothing else.

    inputs   . a . . b . a . > . . .             span = 8, symbols = 3
    targets  . . . . . . . . . a b a             `.` noise, `>` the marker

The places of the symbols are any `symbols` different steps of the span, so that neither a fixed delay nor a fixed
rotation of the state helps: what is noise must be ignored where it comes. The first symbol lies up to span + 1 steps
back. With noise=1 the noise is the blank that the recall shows too (Gu and Dao 2023, there 16 symbols in a sequence of
4096, the vocabulary being 16 with the noise); with more, each step of noise is one of so many symbols.

Source: Jing et al. 2019, "Gated orthogonal recurrent units: on learning to forget", the denoise task; Gu and Dao 2023,
"Mamba: linear-time sequence modeling with selective state spaces", section 4.1.1.
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
from rnnlab.tasks import MANY_TO_MANY, Batch, class_metrics, cross_entropy, symbols
from rnnlab.trial import Trial

SOLVED_ACCURACY = 0.99  # share of recalled symbols that are right, as in copy memory
BLANK = 0


@dataclass(frozen=True)
class SelectiveCopy:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "span"
    symbolic: ClassVar[bool] = True
    span: int = param(10, low=1)  # steps among which the symbols are scattered
    symbols: int = param(2, low=1)  # symbols to remember
    alphabet: int = param(2, low=2)  # different symbols
    noise: int = param(1, low=1)  # different symbols of noise, the blank among them

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.span < self.symbols:
            yield f"task.span={self.span}: must be >= task.symbols={self.symbols}, for a place for each symbol"

    @property
    def length(self) -> int:
        return self.span + 1 + self.symbols

    @property
    def input_size(self) -> int:
        return self.alphabet + 1 + self.noise  # blank, symbols, marker, other noise

    @property
    def output_size(self) -> int:
        return self.alphabet + 1  # blank, symbols

    @property
    def scored(self) -> slice:
        return slice(self.span + 1, self.length)

    @property
    def distance(self) -> int:
        return self.span + 1

    @property
    def baseline(self) -> float:
        """A guess among the symbols."""
        return math.log(self.alphabet)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        shown = generator.integers(1, self.alphabet + 1, (self.symbols, size))
        ranks = generator.random((size, self.span), dtype=np.float32)
        places = np.sort(np.argpartition(ranks, self.symbols - 1)[:, : self.symbols]).T
        inputs = np.full((self.length, size), BLANK)
        if self.noise > 1:
            kinds = generator.integers(0, self.noise, (self.span, size))
            inputs[: self.span] = np.where(kinds > 0, self.alphabet + 1 + kinds, BLANK)
        inputs[places, np.arange(size)] = shown
        inputs[self.span] = self.alphabet + 1
        targets = np.full((self.length, size), BLANK)
        targets[self.scored] = shown
        mask = torch.zeros(self.length, size, dtype=torch.bool)
        mask[self.scored] = True
        return Batch(symbols(inputs), symbols(targets), mask)

    def lags(self, batch: Batch) -> Tensor:
        scattered = (batch.inputs >= 1) & (batch.inputs <= self.alphabet)
        sequences, places = torch.nonzero(scattered.T, as_tuple=True)  # in order of the sequences, then of the places
        times = self.scored.start + torch.arange(self.symbols).repeat(batch.inputs.shape[1])
        return torch.stack([times, sequences, times - places], dim=1)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
