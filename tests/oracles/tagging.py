"""Tagging, word by word: the letter of each, with the digits of the words that stand at its distance."""

import math

import torch
from builders import variants
from torch import Tensor

from oracles import Known
from rnnlab.tasks import Batch
from rnnlab.tasks.tagging import Tagging


def oracle(task: Tagging, inputs: Tensor) -> Tensor:
    """Tags where the context is a word; 0 elsewhere."""
    letters, digits = (inputs - 1) // 2, (inputs - 1) % 2
    offsets = {"right": [task.distance], "left": [-task.distance], "both": [-task.distance, task.distance]}
    outputs = torch.zeros_like(inputs)
    for t in range(task.length):
        context = [t + offset for offset in offsets[task.context]]
        if min(context) >= 0 and max(context) < task.length:
            tags = letters[t]
            for step in context:
                tags = 2 * tags + digits[step]
            outputs[t] = torch.where((inputs[[t, *context]] > 0).all(0), tags, 0)
    return outputs


def changed(task: Tagging, inputs: Tensor) -> Tensor:
    """The next letter, with the other digit."""
    letters, digits = (inputs - 1) // 2, (inputs - 1) % 2
    return torch.where(inputs == 0, 0, 1 + 2 * ((letters + 1) % task.kinds) + 1 - digits)


def blind(task: Tagging, batch: Batch) -> Tensor:
    """Any tag of the word's letter."""
    letters = ((batch.inputs - 1) // 2).clamp(min=0)
    fits = torch.arange(task.output_size) // task.readings == letters.unsqueeze(-1)
    return torch.where(fits, 0.0, -math.inf)


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[*variants(Tagging), *variants(Tagging, distance=1, tagged=3, kinds=2)],
    short={"distance": 1, "tagged": 3},
    long={"distance": 20, "tagged": 100},
)
