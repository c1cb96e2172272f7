"""Multiplication: the product of the two marked values in a sequence of random numbers, asked for at its end.

    value    .31 .84 .07 .55 .92 .18 .63 .40     length = 8
    marker    0   1   0   0   0   0   1   0      one in each half
    target                                .53    .84 x .63, at the last step

The adding problem with the product in place of the sum, so that integration alone does not solve it. Values are
uniform in [0, 1], as in Hochreiter and Schmidhuber and in the code of Pascanu et al. `markers` and `lengths` are
those of `adding`: `pascanu` with `varied` is the form of Pascanu et al. 2013 (there all sequences of a batch have one
length), who count a squared error below 0.04 as correct; we keep the |error| < 0.04 of Hochreiter and Schmidhuber.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.5; Martens and Sutskever 2011, "Learning
recurrent neural networks with Hessian-free optimization", supplement, section 2.1; Pascanu, Mikolov, Bengio 2013,
section 4.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.spec import param
from rnnlab.tasks import (
    LENGTHS,
    MANY_TO_ONE,
    MARKERS,
    Batch,
    lags_from_end,
    marked_batch,
    marking_refusals,
    mean_squared_error,
    shortest_marked,
    value_metrics,
)
from rnnlab.trial import Trial

SOLVED_LOSS = 0.003  # mean squared error, our choice: 6 % of the baseline as in adding; knowing one value gives 1/36
TOLERANCE = 0.04  # |error| that counts as correct in `accuracy`


@dataclass(frozen=True)
class Multiplication:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    symbolic: ClassVar[bool] = False
    input_size: ClassVar[int] = 2  # value, marker
    output_size: ClassVar[int] = 1
    length: int = param(10, low=2)  # steps, of the longest sequence
    markers: str = param("halves", choices=MARKERS)
    lengths: str = param("equal", choices=LENGTHS)

    def refuses(self, trial: Trial) -> Iterator[str]:
        return marking_refusals(self.length, self.lengths, self.markers)

    @property
    def scored(self) -> slice:
        return slice(shortest_marked(self.length, self.lengths) - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """That of the best constant, 1/4: the variance of the product of two uniform values, (1/3)^2 - (1/4)^2."""
        return 7 / 144

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        return marked_batch(generator, size, self.length, self.lengths, self.markers, lambda values: values.prod(0))

    def lags(self, batch: Batch) -> Tensor:
        return lags_from_end(batch.inputs[..., 1] == 1, batch)

    loss = staticmethod(mean_squared_error)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return value_metrics(outputs, batch, TOLERANCE)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["loss"] < SOLVED_LOSS
