"""Tagging: label every word, where its label depends on a word `distance` steps later, or earlier, or on both.

    words    a0 b1 b0 c1 a1 . .      distance = 2, 3 words tagged, context = right, `.` padding
    tags     a0 b1 b1  .  . . .      the word's letter, with the digit of the word 2 steps later

A word has one of `kinds` letters and the digit 0 or 1. Its letter alone leaves its tag ambiguous: the digit in the tag
is that of the word `distance` steps later (context = right) or earlier (left), and there are two digits, of the earlier
and of the later one, with both. The words at the ends that lack their context have no tag. What is still to come
cannot be remembered: with right and both, no network that reads only forwards does better than to guess.

Source: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks" (why outputs need what comes later);
Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM and other neural network
architectures". The words are our own.
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
from rnnlab.tasks import MANY_TO_MANY, Batch, class_metrics, cross_entropy, symbols, within

SOLVED_ACCURACY = 0.99  # our choice, as for copy memory; without the context it is 1/2, or 1/4 with both
PADDING = 0


@dataclass(frozen=True)
class Tagging:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "distance"
    symbolic: ClassVar[bool] = True
    padding: ClassVar[int] = PADDING
    distance: int = param(3, low=1)  # steps from a word to its context
    tagged: int = param(10, low=2)  # most words with a tag in a sequence; the fewest are half of them
    kinds: int = param(4, low=2)  # different letters
    context: str = param("right", choices=("right", "left", "both"))  # where it stands

    @property
    def before(self) -> int:
        """Words at the beginning that lack their context."""
        return 0 if self.context == "right" else self.distance

    @property
    def ahead(self) -> int:
        """Words at the end that lack theirs; the steps that an output needs of what is to come."""
        return 0 if self.context == "left" else self.distance

    @property
    def length(self) -> int:
        return self.before + self.tagged + self.ahead

    @property
    def readings(self) -> int:
        """Tags that a word can have."""
        return 4 if self.context == "both" else 2

    @property
    def input_size(self) -> int:
        return 1 + 2 * self.kinds

    @property
    def output_size(self) -> int:
        return self.readings * self.kinds

    @property
    def scored(self) -> slice:
        return slice(self.before, self.before + self.tagged)

    @property
    def baseline(self) -> float:
        """The right letter, and any of its tags."""
        return math.log(self.readings)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        tagged = generator.integers((self.tagged + 1) // 2, self.tagged + 1, size)
        lengths = self.before + tagged + self.ahead
        kinds = generator.integers(0, self.kinds, (self.length, size))
        digits = generator.integers(0, 2, (self.length, size))
        tags = self.readings * kinds[self.scored]
        if self.ahead:
            tags += digits[self.before + self.ahead :]
        if self.before:
            tags += self.readings // 2 * digits[: self.tagged]
        mask = np.zeros((self.length, size), dtype=bool)
        mask[self.scored] = within(tagged, self.tagged)
        targets = np.zeros_like(kinds)
        targets[self.scored] = tags
        words = np.where(within(lengths, self.length), 1 + 2 * kinds + digits, PADDING)
        return Batch(symbols(words), symbols(targets), torch.from_numpy(mask), torch.from_numpy(lengths))

    def lags(self, batch: Batch) -> Tensor:
        """That of the word itself, and those of its context: a word that is to come has a negative one."""
        places = batch.mask.nonzero()
        lags = sorted({0, self.before, -self.ahead})
        return torch.cat([torch.cat([places, torch.full((len(places), 1), lag)], dim=1) for lag in lags])

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
