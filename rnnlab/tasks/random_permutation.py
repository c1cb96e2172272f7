"""Random permutation: the symbol that ends a sequence is the one that began it, and all between is chance.

    inputs   a 7 3 9 4 8 2 5                     length = 8
    target                 a                     the symbol after the last step, a or b

The first symbol is a or b; distractors from the rest of the alphabet follow, and after length steps the first is
asked for. `between` says how distractors are drawn: as a `permutation` none comes twice, which needs length <=
alphabet - 1; `independent` they may, as in the code of Martens and Sutskever and of Pascanu et al., which keep the
name. We score the last output alone, as Pascanu et al. do: Martens and Sutskever ask for the next symbol at each
step, of which no other can be foreseen. Their 100 symbols are alphabet=100.

Source: Martens and Sutskever 2011, "Learning recurrent neural networks with Hessian-free optimization", supplement,
section 2.4; after Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.2, task 2b.
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

SOLVED_ACCURACY = 0.99  # share of sequences that are right, as in Pascanu et al. 2013, section 4.1.1: under 1 % wrong
FIRST = 2  # symbols that a sequence may begin with: a and b


@dataclass(frozen=True)
class RandomPermutation:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    symbolic: ClassVar[bool] = True
    output_size: ClassVar[int] = FIRST
    length: int = param(20, low=2)  # steps that are shown
    alphabet: int = param(100, low=3)  # different symbols, a and b among them
    between: str = param("permutation", choices=("permutation", "independent"))  # how distractors are drawn

    def refuses(self, trial: Trial) -> Iterator[str]:
        most = self.alphabet - FIRST + 1
        if self.between == "permutation" and self.length > most:
            yield f"task.length={self.length}: must be <= {most} with task.alphabet={self.alphabet}: none comes twice"

    @property
    def input_size(self) -> int:
        return self.alphabet

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """A guess between a and b."""
        return math.log(FIRST)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        first = generator.integers(0, FIRST, size)
        return Batch(
            symbols(np.concatenate([first[None], self._distractors(generator, size)])), *at_end(first, self.length)
        )

    def _distractors(self, generator: np.random.Generator, size: int) -> np.ndarray:
        if self.between == "independent":
            return generator.integers(FIRST, self.alphabet, (self.length - 1, size))
        ordered = np.tile(np.arange(FIRST, self.alphabet), (size, 1))
        return generator.permuted(ordered, axis=1)[:, : self.length - 1].T

    def lags(self, batch: Batch) -> Tensor:
        steps = torch.arange(self.length)[:, None]
        return lags_from_end((steps == 0).expand_as(batch.inputs), batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
