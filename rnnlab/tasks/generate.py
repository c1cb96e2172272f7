"""Generate: one symbol names a melody, at the first step; then the network writes the melody, note by note.

    inputs   C . . . . .      `.` blank, notes = 5, C the third of the melodies
    targets  . f d d a e      the notes of C, from a table

The table is drawn once, the same for every seed: the network learns it by heart, and no sequences are held out, as
there are no more than `melodies`. The melodies form groups of `alphabet`; at every step each note occurs once in each
group, in an order of its own. So all notes are equally likely at every step for who has forgotten the name.

Source: the form is that of a caption for one image, Vinyals et al. 2015, "Show and tell: a neural image caption
generator", section 3.1, with blanks instead of the notes written so far; the table is our own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab import seeding
from rnnlab.spec import param
from rnnlab.tasks import ONE_TO_MANY, Batch, class_metrics, cross_entropy, symbols
from rnnlab.trial import Trial

SOLVED_ACCURACY = 0.99  # share of notes that are right: as for copy memory
BLANK = 0


@functools.cache
def table(notes: int, melodies: int, alphabet: int) -> np.ndarray:
    """(notes, melodies) the notes of each melody: at every step each group has all of the alphabet, in any order."""
    groups = np.broadcast_to(np.arange(alphabet), (notes, melodies // alphabet, alphabet))
    return seeding.generator(0, "generate.melodies").permuted(groups, axis=2).reshape(notes, melodies)


@dataclass(frozen=True)
class Generate:
    version: ClassVar[int] = 1
    form: ClassVar[str] = ONE_TO_MANY
    dial: ClassVar[str] = "notes"
    by_heart: ClassVar[bool] = True  # a shorter melody is the beginning of the same one
    symbolic: ClassVar[bool] = True
    notes: int = param(10, low=1)  # of a melody
    melodies: int = param(8, low=2)  # in the table: a multiple of `alphabet`
    alphabet: int = param(4, low=2)  # different notes

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.melodies % self.alphabet:
            yield f"task.melodies={self.melodies}: must be a multiple of task.alphabet={self.alphabet}"

    @property
    def length(self) -> int:
        return 1 + self.notes

    @property
    def input_size(self) -> int:
        return 1 + self.melodies  # blank, names

    @property
    def output_size(self) -> int:
        return self.alphabet

    @property
    def scored(self) -> slice:
        return slice(1, self.length)

    @property
    def distance(self) -> int:
        return self.notes

    @property
    def baseline(self) -> float:
        return math.log(self.alphabet)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        names = generator.integers(0, self.melodies, size)
        inputs = np.full((self.length, size), BLANK)
        inputs[0] = 1 + names
        targets = np.zeros((self.length, size))
        targets[self.scored] = table(self.notes, self.melodies, self.alphabet)[:, names]
        mask = torch.zeros(self.length, size, dtype=torch.bool)
        mask[self.scored] = True
        return Batch(symbols(inputs), symbols(targets), mask)

    def lags(self, batch: Batch) -> Tensor:
        times, sequences = batch.mask.nonzero(as_tuple=True)
        return torch.stack([times, sequences, times], dim=1)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
