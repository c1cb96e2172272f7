"""Adding: the sum of the two marked values in a sequence of random numbers, asked for at its end.

    value    .31 .84 .07 .55 .92 .18 .63 .40     length = 8
    marker    0   1   0   0   0   0   1   0      one in each half
    target                                1.47   .84 + .63, at the last step

The network must carry the first value for up to length - 1 steps. The published forms differ in three ways.
`markers`: `halves` has one in each half (Arjovsky et al. 2016); `pascanu` one in the first tenth and one from there
to the middle (the code of Pascanu et al. 2013); `anywhere` any two steps (the code of Bai et al. 2018). `target`: the
sum, or, as in Hochreiter and Schmidhuber, a target scaled to [0, 1]: the `mean`. `lengths`: `equal`, or `varied`,
uniform in [length / 1.1, length] and padded: their minimal length T is our length / 1.1.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", section 5.4 (the problem, and |error| < 0.04 as
correct, there for a target scaled to [0, 1], so that it is twice as strict for the sum); the form with a set length
and one marker in each half is that of Arjovsky, Shah, Bengio 2016, the adding problem; see also Le, Jaitly, Hinton
2015, section 4.1.
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

SOLVED_LOSS = 0.01  # mean squared error of the sum, our choice: knowing one of the two values gives 1/12, none 1/6
TOLERANCE = 0.04  # |error| that counts as correct in `accuracy`


@dataclass(frozen=True)
class Adding:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "length"
    symbolic: ClassVar[bool] = False
    input_size: ClassVar[int] = 2  # value, marker
    output_size: ClassVar[int] = 1
    length: int = param(20, low=2)  # steps, of the longest sequence
    markers: str = param("halves", choices=MARKERS, absent="halves")
    target: str = param("sum", choices=("sum", "mean"), absent="sum")
    lengths: str = param("equal", choices=LENGTHS, absent="equal")

    def refuses(self, trial: Trial) -> Iterator[str]:
        return marking_refusals(self.length, self.lengths, self.markers)

    @property
    def scale(self) -> float:
        """Of the target, where that of the sum is 1."""
        return 1 if self.target == "sum" else 1 / 2

    @property
    def scored(self) -> slice:
        return slice(shortest_marked(self.length, self.lengths) - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """That of the best constant: the variance of the sum of two uniform values, 1/12 + 1/12, or of their mean."""
        return self.scale**2 / 6

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        return marked_batch(
            generator, size, self.length, self.lengths, self.markers, lambda values: self.scale * values.sum(0)
        )

    def lags(self, batch: Batch) -> Tensor:
        return lags_from_end(batch.inputs[..., 1] == 1, batch)

    loss = staticmethod(mean_squared_error)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return value_metrics(outputs, batch, TOLERANCE)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["loss"] < SOLVED_LOSS * self.scale**2
