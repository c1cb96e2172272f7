"""Copy memory: show a few symbols, wait for `delay` steps, then recall them in order.

    urnn     inputs   a b c . . . . > . . .      delay = 5, symbols = 3
             targets  . . . . . . . . a b c      `.` blank, `>` the marker

Every symbol is recalled delay + symbols steps after it was shown. The variants differ in the marker: `urnn` shows it
one step before the first target (Arjovsky et al. 2016, whose T is our delay and which has symbols=10, alphabet=8,
score=all); `exprnn` shows it together with the first target (the code of Lezcano-Casado and Martinez-Rubio 2019);
`tcn` shows it one step before and keeps it on through the recall (the code of Bai et al. 2018), `s4` from the first
target on (the code of S4, which counts the recall steps alone: score=recall). With inputs=scalar a step shows the
number of its symbol, 0 the blank and alphabet + 1 the marker, instead of a one-hot vector (Bai et al. 2018 again, and
the default of nnRNN's code). Some code calls the whole length "T".

Source: Arjovsky, Shah, Bengio 2016, "Unitary evolution recurrent neural networks", the copying memory problem,
after Hochreiter and Schmidhuber 1997, "Long short-term memory", where one symbol is recalled.
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
from rnnlab.tasks import MANY_TO_MANY, Batch, at_steps, cross_entropy, share_correct, symbols

SOLVED_ACCURACY = 0.99  # share of recalled symbols that are right; Pascanu et al. 2013: under 1 % of sequences wrong
BLANK = 0


@dataclass(frozen=True)
class Copy:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_MANY
    dial: ClassVar[str] = "delay"
    delay: int = param(20, low=1)  # steps; T of Arjovsky et al.
    symbols: int = param(3, low=1)  # symbols to remember, in a row
    alphabet: int = param(2, low=2)  # different symbols
    score: str = param("recall", choices=("recall", "all"))  # which steps count in the loss
    variant: str = param("urnn", choices=("urnn", "exprnn", "tcn", "s4"))  # where the marker stands
    inputs: str = param("one-hot", choices=("one-hot", "scalar"), absent="one-hot")  # how a symbol is shown

    @property
    def length(self) -> int:
        return self.delay + 2 * self.symbols

    @property
    def symbolic(self) -> bool:
        return self.inputs != "scalar"

    @property
    def input_size(self) -> int:
        return self.alphabet + 2 if self.inputs == "one-hot" else 1  # blank, symbols, marker

    @property
    def output_size(self) -> int:
        return self.alphabet + 1  # blank, symbols

    @property
    def recall(self) -> slice:
        return slice(self.length - self.symbols, self.length)

    @property
    def marked(self) -> slice:
        """The steps that show the marker."""
        start = self.recall.start
        variants = {
            "urnn": (start - 1, start),
            "exprnn": (start, start + 1),
            "tcn": (start - 1, self.length),
            "s4": (start, self.length),
        }
        return slice(*variants[self.variant])

    @property
    def scored(self) -> slice:
        return self.recall if self.score == "recall" else slice(0, self.length)

    @property
    def distance(self) -> int:
        return self.delay + self.symbols

    @property
    def baseline(self) -> float:
        """Blank until the marker, then a guess among the symbols: symbols ln(alphabet) / scored steps."""
        steps = self.scored.stop - self.scored.start
        return self.symbols * math.log(self.alphabet) / steps

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        return self.showing(generator.integers(1, self.alphabet + 1, (self.symbols, size)))

    def showing(self, shown: np.ndarray) -> Batch:
        """The sequences that show these symbols (symbols, B), from 1 to alphabet."""
        size = shown.shape[1]
        inputs = np.full((self.length, size), BLANK)
        inputs[: self.symbols] = shown
        inputs[self.marked] = self.alphabet + 1
        targets = np.full((self.length, size), BLANK)
        targets[self.recall] = shown
        mask = torch.zeros(self.length, size, dtype=torch.bool)
        mask[self.scored] = True
        one_hot = self.inputs == "one-hot"
        return Batch(symbols(inputs) if one_hot else symbols(inputs).float().unsqueeze(-1), symbols(targets), mask)

    def lags(self, batch: Batch) -> Tensor:
        size = batch.inputs.shape[1]
        times = torch.arange(self.length)[self.recall]
        rows = torch.cartesian_prod(times, torch.arange(size))
        return torch.cat([rows, torch.full((len(rows), 1), self.distance)], dim=1)

    loss = staticmethod(cross_entropy)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        recall = slice(-self.symbols, None)
        recalled = outputs[..., recall, :, :]
        return {
            "loss": cross_entropy(outputs, batch),
            "accuracy": share_correct(recalled, at_steps(batch, recall)),
        }

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
