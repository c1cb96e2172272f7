"""Agreement: the number of the verb to come is that of its subject, `distance` words back, with other nouns between.

    the old KEYS  to the cabinet  near the grey doors  (are)      distance = 7, the subject in capitals
                                                 plural           asks = verb: at the last word
                  p  p  p       p    p   p    p     p             asks = words: at each word after the subject

Every sentence is `the`, up to two adjectives, the subject, then phrases of preposition, determiner, adjectives
and a noun, the last of which stands at the end; the verb is not shown. All nouns are singular or plural by chance
alone, so the nearest one misleads in half of the sentences, and without memory there is only a guess. There are `words`
different words of each kind, and the number of a noun is known only by its symbol. `misled`, a metric, is the share of
the outputs that are wrong and go with the noun that they stand at.

Source: Linzen, Dupoux, Goldberg 2016, "Assessing the ability of LSTMs to learn syntax-sensitive dependencies": nouns
between as attractors, and the number prediction task; there the sentences are from Wikipedia.
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
from rnnlab.tasks import (
    MANY_TO_MANY,
    MANY_TO_ONE,
    Batch,
    at_end,
    class_metrics,
    cross_entropy,
    from_start,
    masked_mean,
    symbols,
    within,
)

SOLVED_ACCURACY = 0.99  # "less than 1% errors", of LSTMs trained on this question: Linzen et al., abstract
LEAD = 3  # most words before the subject
PHRASE = 3  # words of the shortest phrase
DETERMINER, ADJECTIVE, PREPOSITION, SINGULAR, PLURAL = KINDS = range(5)


@dataclass(frozen=True)
class Agreement:
    version: ClassVar[int] = 1
    dial: ClassVar[str] = "distance"
    symbolic: ClassVar[bool] = True
    padding: ClassVar[int] = 0
    output_size: ClassVar[int] = 2  # singular, plural
    distance: int = param(10, low=PHRASE)  # words from the subject to the last word
    words: int = param(5, low=1)  # different words of each kind
    asks: str = param("verb", choices=("verb", "words"))  # where the number of the verb is asked for

    @property
    def form(self) -> str:
        return MANY_TO_ONE if self.asks == "verb" else MANY_TO_MANY

    @property
    def length(self) -> int:
        return LEAD + 1 + self.distance

    @property
    def input_size(self) -> int:
        return 1 + len(KINDS) * self.words

    @property
    def scored(self) -> slice:
        return slice(self.distance + 1 if self.asks == "verb" else 2, self.length)

    @property
    def baseline(self) -> float:
        """Either number is as likely as the other, whatever the last word."""
        return math.log(2)

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        lengths = self.length - generator.integers(0, LEAD, size)
        kinds = self._kinds(generator, lengths)
        kinds += (kinds == SINGULAR) & (generator.random(kinds.shape) < 0.5)
        words = 1 + self.words * kinds + generator.integers(0, self.words, kinds.shape)
        targets, mask = at_end((kinds[LEAD] == PLURAL).astype(np.int64), self.length, lengths)
        if self.asks == "words":
            asked = within(lengths, self.length) & (np.arange(self.length)[:, None] >= lengths - self.distance)
            targets, mask = targets.sum(0).expand_as(targets), torch.from_numpy(asked)
        return Batch(symbols(from_start(words, lengths)), targets, mask, torch.from_numpy(lengths))

    def _kinds(self, generator: np.random.Generator, lengths: np.ndarray) -> np.ndarray:
        """(T, B) the kind of each word, each noun singular; shorter sentences begin later, all end at the last step."""
        size, last = len(lengths), self.length - 1
        columns = np.arange(size)
        steps_back = generator.integers(PHRASE, PHRASE + 2, (self.distance // PHRASE, size)).cumsum(0)
        nouns = last - np.concatenate([np.zeros((1, size), dtype=np.int64), steps_back])  # the last word, and so on
        begins = np.where(nouns[1:] - PHRASE >= LEAD, nouns[1:] + 1, LEAD + 1)  # the phrase before has room, or not
        present = nouns[:-1] - PHRASE >= LEAD
        kinds = np.full((self.length + 1, size), ADJECTIVE)  # the row too many takes the phrases that have no room
        for kind, steps in ((PREPOSITION, begins), (DETERMINER, begins + 1), (SINGULAR, nouns[:-1])):
            kinds[np.where(present, steps, self.length), columns] = kind
        kinds[LEAD] = SINGULAR
        kinds[self.length - lengths, columns] = DETERMINER
        return kinds[:-1]

    def lags(self, batch: Batch) -> Tensor:
        times, sequences = batch.mask.nonzero(as_tuple=True)
        subjects = (batch.inputs != self.padding).sum(0)[sequences] - 1 - self.distance
        return torch.stack([times, sequences, times - subjects], dim=1)

    loss = staticmethod(cross_entropy)

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        numbers = (batch.inputs - 1) // self.words - SINGULAR  # of nouns; of other words below 0
        follows = (numbers != batch.targets) & (numbers == outputs.argmax(-1))
        return class_metrics(outputs, batch) | {"misled": masked_mean(follows.to(outputs.dtype), batch.mask)}

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
