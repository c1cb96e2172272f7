"""Noiseless memorisation: hold one of a few patterns over a wait in which nothing happens, then recall it.

    inputs   a b b a b . . . . > . . . . .       delay = 5, symbols = 5: the "5-bit" form
    targets  . . . . . . . . . . a b b a b       `.` the symbol of the wait, `>` the cue, one step before the recall

All there is to learn is a finite set of alphabet ** symbols sequences: 32 in the 5-bit form, 5 ** 10 in the "20-bit"
form (symbols=10, alphabet=5). With patterns=balanced a batch holds each pattern equally often, give or take one, as
Martens and Sutskever fill it where it has room for all; with patterns=random they are drawn with replacement. They
score every step (score=all) or the recall alone. With patterns=random this is copy memory. Every symbol is recalled
delay + symbols steps after it was shown.

Source: Martens and Sutskever 2011, "Learning recurrent neural networks with Hessian-free optimization", supplement,
section 2.5; Jaeger 2012, "Long short-term memory in echo state networks: details of a simulation study" (the 5-bit and
the 20-bit memory task).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.tasks import MANY_TO_MANY, Batch, at_steps, cross_entropy, share_correct, symbols
from rnnlab.trial import Trial, param

SOLVED_ACCURACY = 0.99  # share of recalled symbols that are right; Pascanu et al. 2013: under 1 % of sequences wrong
MOST_PATTERNS = 4096  # in balanced batches: all are shuffled at each step
BLANK = 0


@dataclass(frozen=True)
class NoiselessMemorization:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "delay"
    symbolic: ClassVar[bool] = True
    delay: int = param(5, low=1)  # steps from the last symbol to the recall, the cue among them
    symbols: int = param(5, low=1)  # symbols to remember, in a row
    alphabet: int = param(2, low=2)  # different symbols
    patterns: str = param("balanced", choices=("balanced", "random"))  # how a batch is filled
    score: str = param("all", choices=("all", "recall"))  # which steps count in the loss

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.patterns == "balanced" and self.alphabet**self.symbols > MOST_PATTERNS:
            yield (
                f"task.patterns=balanced: must be random with task.alphabet={self.alphabet} and "
                f"task.symbols={self.symbols}, which make more than {MOST_PATTERNS} patterns"
            )

    @property
    def length(self) -> int:
        return self.delay + 2 * self.symbols

    @property
    def input_size(self) -> int:
        return self.alphabet + 2  # blank, symbols, cue

    @property
    def output_size(self) -> int:
        return self.alphabet + 1  # blank, symbols

    @property
    def recall(self) -> slice:
        return slice(self.length - self.symbols, self.length)

    @property
    def scored(self) -> slice:
        return self.recall if self.score == "recall" else slice(0, self.length)

    @property
    def distance(self) -> int:
        return self.delay + self.symbols

    @property
    def baseline(self) -> float:
        """Blank until the cue, then a guess among the symbols: symbols ln(alphabet) / scored steps."""
        steps = self.scored.stop - self.scored.start
        return self.symbols * math.log(self.alphabet) / steps

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        shown = self._patterns(generator, size)
        inputs = np.full((self.length, size), BLANK)
        inputs[: self.symbols] = shown
        inputs[self.recall.start - 1] = self.alphabet + 1
        targets = np.full((self.length, size), BLANK)
        targets[self.recall] = shown
        mask = torch.zeros(self.length, size, dtype=torch.bool)
        mask[self.scored] = True
        return Batch(symbols(inputs), symbols(targets), mask)

    def _patterns(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """(symbols, B) with entries 1 to alphabet: the digits, in that base, of the number of a pattern."""
        if self.patterns == "random":
            return generator.integers(1, self.alphabet + 1, (self.symbols, size))
        each = generator.permutation(self.alphabet**self.symbols)
        numbers = generator.permutation(each[np.arange(size) % len(each)])
        return 1 + numbers // self.alphabet ** np.arange(self.symbols)[:, None] % self.alphabet

    def lags(self, batch: Batch) -> Tensor:
        size = batch.inputs.shape[1]
        rows = torch.cartesian_prod(torch.arange(self.length)[self.recall], torch.arange(size))
        return torch.cat([rows, torch.full((len(rows), 1), self.distance)], dim=1)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return cross_entropy(outputs, batch)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        recall = slice(-self.symbols, None)
        recalled = outputs[..., recall, :, :]
        return {
            "loss": cross_entropy(outputs, batch),
            "accuracy": share_correct(recalled, at_steps(batch, recall)),
        }

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
