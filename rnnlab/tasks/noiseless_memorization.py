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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.spec import param
from rnnlab.tasks import MANY_TO_MANY, Batch, cross_entropy
from rnnlab.tasks.copy import SOLVED_ACCURACY, Copy
from rnnlab.trial import Trial

MOST_PATTERNS = 4096  # in balanced batches: all are shuffled at each step


@dataclass(frozen=True)
class NoiselessMemorization:
    version: ClassVar[int] = 1
    built_on: ClassVar[tuple[type, ...]] = (Copy,)
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "delay"
    symbolic: ClassVar[bool] = True
    delay: int = param(5, low=1)  # steps from the last symbol to the recall, the cue among them
    symbols: int = param(5, low=1)  # symbols to remember, in a row
    alphabet: int = param(2, low=2)  # different symbols
    patterns: str = param("balanced", choices=("balanced", "random"))  # how a batch is filled
    score: str = param("all", choices=("all", "recall"))  # which steps count in the loss

    def refuses(self, trial: Trial) -> Iterator[str]:
        symbols = min(self.symbols, MOST_PATTERNS.bit_length())  # these are too many already: a power may be endless
        if self.patterns == "balanced" and self.alphabet**symbols > MOST_PATTERNS:
            yield (
                f"task.patterns=balanced: must be random with task.alphabet={self.alphabet} and "
                f"task.symbols={self.symbols}, which make more than {MOST_PATTERNS} patterns"
            )

    @property
    def copy(self) -> Copy:
        """Copy memory of this size, its marker the cue: what differs is how a batch is filled, and nothing else."""
        return Copy(self.delay, self.symbols, self.alphabet, self.score, variant="urnn")

    @property
    def length(self) -> int:
        return self.copy.length

    @property
    def input_size(self) -> int:
        return self.copy.input_size

    @property
    def output_size(self) -> int:
        return self.copy.output_size

    @property
    def scored(self) -> slice:
        return self.copy.scored

    @property
    def distance(self) -> int:
        return self.copy.distance

    @property
    def baseline(self) -> float:
        return self.copy.baseline

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        if self.patterns == "random":
            return self.copy.sample(generator, size)
        return self.copy.showing(self._balanced(generator, size))

    def _balanced(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """(symbols, B) with entries 1 to alphabet: the digits, in that base, of the number of a pattern."""
        each = generator.permutation(self.alphabet**self.symbols)
        numbers = generator.permutation(each[np.arange(size) % len(each)])
        return 1 + numbers // self.alphabet ** np.arange(self.symbols)[:, None] % self.alphabet

    def lags(self, batch: Batch) -> Tensor:
        return self.copy.lags(batch)

    loss = staticmethod(cross_entropy)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return self.copy.metrics(outputs, batch)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
