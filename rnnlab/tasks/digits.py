"""Digits: name the handwritten digit whose 8 x 8 image was shown in parts, `wait` steps after the last of them.

    rows       inputs   row 0 | row 1 | ... | row 7 | . . .      8 steps of 8 pixels, wait = 3, `.` blank
               target                                     5      the digit, at the last step
    pixels     64 steps of one pixel, row by row; the first pixels are the furthest away
    permuted   64 steps of one pixel, in an order drawn once and the same for all images and seeds

The images are real: scikit-learn brings 1797 of them, from 13 writers. A fifth is held out, the same for every seed;
training draws from the others, evaluation from the held-out ones. How many of the steps are needed is for the data to
say: the distance is that of the first step that shows the image, and so the most it can be.

Source: Le, Jaitly, Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units" (MNIST from
a sequence of pixels, plain and permuted: larger images); Alpaydin and Kaynak 1998, "Optical recognition of
handwritten digits", UCI Machine Learning Repository (the images).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab import seeding
from rnnlab.spec import param
from rnnlab.tasks import MANY_TO_ONE, Batch, at_end, class_metrics, cross_entropy, lags_from_end

SOLVED_ACCURACY = 0.93  # our choice: logistic regression has 0.97 from the whole image, at most 0.91 from its last half
HELD_OUT = 360  # images
PIXELS = 64
CLASSES = 10


class Images(NamedTuple):
    """values: (N, 64) brightness from 0 to 1, row by row; digits: (N,)"""

    values: np.ndarray
    digits: np.ndarray


@functools.cache
def images() -> tuple[Images, Images]:
    """The images for training, and the held-out ones."""
    from sklearn.datasets import load_digits  # here: importing it takes longer than all of rnnlab's tasks

    values, digits = load_digits(return_X_y=True)
    order = seeding.generator(0, "digits.split").permutation(len(digits))
    parts = (order[HELD_OUT:], order[:HELD_OUT])
    train, held_out = (Images((values[part] / 16).astype(np.float32), digits[part].astype(np.int64)) for part in parts)
    return train, held_out


@dataclass(frozen=True)
class Digits:
    version: ClassVar[int] = 1
    form: ClassVar[str] = MANY_TO_ONE
    dial: ClassVar[str] = "wait"
    symbolic: ClassVar[bool] = False
    output_size: ClassVar[int] = CLASSES
    wait: int = param(0, low=0)  # blank steps between the image and the answer
    order: str = param("rows", choices=("rows", "pixels", "permuted"))  # what one step shows

    @property
    def length(self) -> int:
        return PIXELS // self.input_size + self.wait

    @property
    def input_size(self) -> int:
        return 8 if self.order == "rows" else 1

    @property
    def scored(self) -> slice:
        return slice(self.length - 1, self.length)

    @property
    def distance(self) -> int:
        return self.length - 1

    @property
    def baseline(self) -> float:
        """That of the best constant: the entropy of the digits among the images for training, just below ln 10."""
        shares = np.bincount(images()[0].digits) / len(images()[0].digits)
        return float(-(shares * np.log(shares)).sum())

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        train, _ = images()
        return self._shown(train, generator.integers(0, len(train.digits), size))

    def held_out(self, generator: np.random.Generator, size: int) -> Batch:
        """None is drawn again before all have been drawn: `HELD_OUT` sequences are the whole set."""
        _, kept = images()
        return self._shown(kept, np.resize(generator.permutation(HELD_OUT), size))

    def _shown(self, source: Images, chosen: np.ndarray) -> Batch:
        values = source.values[chosen]
        if self.order == "permuted":
            values = values[:, seeding.generator(0, "digits.permutation").permutation(PIXELS)]
        inputs = np.zeros((self.length, len(chosen), self.input_size), dtype=np.float32)
        inputs[: self.length - self.wait] = values.reshape(len(chosen), -1, self.input_size).swapaxes(0, 1)
        return Batch(torch.from_numpy(inputs), *at_end(source.digits[chosen], self.length))

    def lags(self, batch: Batch) -> Tensor:
        """Every step that shows the image, its blank corners too."""
        needed = torch.ones_like(batch.mask)
        needed[self.length - self.wait :] = False
        return lags_from_end(needed, batch)

    loss = staticmethod(cross_entropy)
    metrics = staticmethod(class_metrics)

    def solved(self, metrics: Mapping[str, float]) -> bool:
        return metrics["accuracy"] >= SOLVED_ACCURACY
