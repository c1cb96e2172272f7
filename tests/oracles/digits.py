"""Digits, looked up: the label of the one image of the data set that shows these pixels; -1 if there is none.

An image of the set with another pixel anywhere is none of the set: so every step that shows the image is needed.
"""

import functools

import numpy as np
import torch
from builders import variants
from sklearn.datasets import load_digits
from torch import Tensor

from oracles import Known
from rnnlab.seeding import generator
from rnnlab.tasks import Batch
from rnnlab.tasks.digits import Digits, images

PERMUTATION = generator(0, "digits.permutation").permutation(64)


@functools.cache
def labels() -> dict[bytes, int]:
    """Pixels, from 0 to 16 and row by row -> the digit."""
    values, digits = load_digits(return_X_y=True)
    found = {image.astype(np.uint8).tobytes(): int(digit) for image, digit in zip(values, digits, strict=True)}
    assert len(found) == len(digits), "two images are the same"
    return found


def oracle(task: Digits, inputs: Tensor) -> Tensor:
    shown = inputs[:8] if task.order == "rows" else inputs[:64]
    pixels = (16 * shown.transpose(0, 1).reshape(-1, 64)).numpy().astype(np.uint8)
    if task.order == "permuted":
        pixels = pixels[:, np.argsort(PERMUTATION)]
    outputs = torch.zeros(inputs.shape[:2], dtype=torch.int64)
    outputs[-1] = torch.tensor([labels().get(image.tobytes(), -1) for image in pixels])
    return outputs


def changed(task: Digits, inputs: Tensor) -> Tensor:
    """The next of the 17 shades, in every pixel and every blank."""
    return (16 * inputs + 1) % 17 / 16


def blind(task: Digits, batch: Batch) -> Tensor:
    """How often each digit occurs among the images for training."""
    counts = torch.from_numpy(np.bincount(images()[0].digits)).float()
    return counts.log().expand(*batch.targets.shape, -1)


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[*variants(Digits), Digits(wait=5)],
    short={"wait": 1},
    long={"order": "pixels", "wait": 56},
)
