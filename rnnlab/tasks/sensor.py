"""Sensor: from the signal of a line scanner over a conveyor belt, was the transport normal, slipping or jamming?

    normal     ####....|####....|####....|####....|####.      `#` an item below the scanner, +1; `.` a gap, -1
    slipping   ####....|........|####....|####....|####.      the belt lost its grip: a gap lasts one period longer
    jamming    ####....|########|####....|####....|####.      an item got stuck: it stays one period longer
                           u   v          distance = 25: steps from u to the end, period = 8, target at the last step

One reading per step. Items come at a steady pitch, each edge up to `jitter` steps late. All is normal before and after
the one period that tells, and nothing there depends on it, so the network must remember. Two readings decide, wherever
the edges fell: u, the last that shows an item for sure, and v, the last that shows a gap for sure. Readings just before
them say the same, so `distance` is the least that a network must look back to tell slipping without error.

A drift, linear between two offsets, and noise are added, both uniform and bounded so that no reading changes its
sign: the classes can be told without error. With `varied` the sequences begin up to two periods later.

Source: the signal is our own model. A class that a short event at the beginning decides, with noise to the end, is
the minimal task of Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient descent is
difficult".
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
from rnnlab.tasks import MANY_TO_ONE, Batch, at_end, class_metrics, cross_entropy, from_start, lags_from_end
from rnnlab.trial import Trial

SOLVED_ACCURACY = 0.99  # our choice: who takes one of the two events for normal has 2/3
NORMAL, SLIPPING, JAMMING = CLASSES = range(3)
LEAD = 2  # periods before the one that tells


@dataclass(frozen=True)
class Sensor:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "distance"
    symbolic: ClassVar[bool] = False
    input_size: ClassVar[int] = 1
    output_size: ClassVar[int] = len(CLASSES)
    distance: int = param(10, low=2)  # steps from u to the end
    period: int = param(8, low=4)  # steps from item to item; the first half of them, rounded down, is the item
    jitter: int = param(1, low=0)  # steps that an edge is late, at most
    noise: float = param(0.2, low=0)  # largest size of the noise of a reading; items and gaps are 2 apart
    drift: float = param(0.2, low=0)  # largest size of the offset at the ends of a sequence
    varied: bool = param(True)  # whether sequences differ in length

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.jitter >= self.half:
            yield f"task.jitter={self.jitter}: must be below half of task.period={self.period}"
        if self.distance < self.gap:
            yield f"task.distance={self.distance}: must be >= {self.gap}, half of task.period={self.period}"
        if self.noise + self.drift >= 1:
            yield f"task.noise={self.noise:g}: must be below 1 - task.drift={self.drift:g}, or no reading is sure"

    @property
    def half(self) -> int:
        """Steps of a period that show an item; jitter apart."""
        return self.period // 2

    @property
    def gap(self) -> int:
        """Steps of a period that show a gap, and those from u to v."""
        return self.period - self.half

    @property
    def length(self) -> int:
        return LEAD * self.period + self.half + self.distance

    @property
    def scored(self) -> slice:
        return slice(self.length - 1 - self.varied * LEAD * self.period, self.length)

    @property
    def baseline(self) -> float:
        """The three classes are equally likely."""
        return math.log(len(CLASSES))

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        classes = generator.integers(0, len(CLASSES), size)
        levels = self._levels(generator, classes)
        slopes = np.linspace([1, 0], [0, 1], self.length)
        levels += slopes @ generator.uniform(-self.drift, self.drift, (2, size))
        levels += generator.uniform(-self.noise, self.noise, levels.shape)
        lengths = self.length - generator.integers(0, LEAD * self.period + 1, size) * self.varied
        inputs = from_start(levels, lengths).astype(np.float32)
        told = torch.from_numpy(lengths) if self.varied else None
        return Batch(torch.from_numpy(inputs[..., None]), *at_end(classes, self.length, lengths), told)

    def _levels(self, generator: np.random.Generator, classes: np.ndarray) -> np.ndarray:
        """(T, B) the signal of sequences of full length, without drift and noise."""
        periods, offsets = np.divmod(np.arange(self.length), self.period)
        late = generator.integers(0, self.jitter + 1, (2, periods[-1] + 1, len(classes)))
        rises, falls = late[:, periods]
        item = (offsets[:, None] >= rises) & (offsets[:, None] < self.half + falls)
        item[periods == LEAD] &= classes != SLIPPING
        item[periods == LEAD] |= classes == JAMMING
        return np.where(item, 1.0, -1.0)

    def lags(self, batch: Batch) -> Tensor:
        u = batch.mask.roll(-self.distance, 0)
        return lags_from_end(u | u.roll(self.gap, 0), batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
