"""Reverse: the source up to its first blank, turned around in Python or not, then the end."""

import math

import torch
from builders import variants
from torch import Tensor

from oracles import Known
from rnnlab.tasks import Batch
from rnnlab.tasks.reverse import Reverse


def oracle(task: Reverse, inputs: Tensor) -> Tensor:
    outputs = torch.zeros_like(inputs)
    for column, source in enumerate(inputs[: task.source_length].T.tolist()):
        there = source[: source.index(0)] if 0 in source else source
        written = there[::-1] if task.order == "reverse" else there
        outputs[task.source_length :, column] = torch.tensor(written + [0] * (task.symbols + 1 - len(written)))
    return outputs


def changed(task: Reverse, inputs: Tensor) -> Tensor:
    """Another symbol at each step of the source; its length stays."""
    return torch.where(inputs == 0, 0, inputs % task.alphabet + 1)


def blind(task: Reverse, batch: Batch) -> Tensor:
    """From the decoder's step alone: the end with the probability that it comes now if not before, else any symbol."""
    outputs = torch.zeros(*batch.targets.shape, task.output_size)
    lengths = range((task.symbols + 1) // 2, task.symbols + 1)
    for step in range(task.symbols + 1):
        left = [n for n in lengths if n >= step]
        end = left.count(step) / len(left)
        shares = [end, *[(1 - end) / task.alphabet] * task.alphabet]
        outputs[task.symbols + step] = torch.tensor([math.log(share) if share else -math.inf for share in shares])
    return outputs


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[each for sizes in ({}, {"symbols": 2, "alphabet": 2}) for each in variants(Reverse, **sizes)],
    short={"symbols": 3},
    long={"symbols": 60},
)
