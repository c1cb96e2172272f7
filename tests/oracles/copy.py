"""Copy memory, recomputed from its inputs."""

import math

import torch
from builders import variants
from torch import Tensor

from oracles import Known
from rnnlab.tasks import Batch
from rnnlab.tasks.copy import Copy


def numbers(inputs: Tensor) -> Tensor:
    """(T, B) the symbols, however they are shown."""
    return inputs.squeeze(-1).long() if inputs.is_floating_point() else inputs


def oracle(task: Copy, inputs: Tensor) -> Tensor:
    """The first symbols again, from the marker on: with it in exprnn and s4, else one step after it first shows."""
    inputs = numbers(inputs)
    marker = inputs == task.alphabet + 1
    first = marker.int().argmax(0) + (task.variant not in ("exprnn", "s4"))
    outputs = torch.zeros_like(inputs)
    for position, symbol in enumerate(inputs[: task.symbols]):
        outputs[first + position, torch.arange(inputs.shape[1])] = symbol
    return outputs


def changed(task: Copy, inputs: Tensor) -> Tensor:
    """Another symbol at each step, blanks included; the marker stays."""
    return torch.where(inputs == task.alphabet + 1, inputs, inputs % task.alphabet + 1)


def blind(task: Copy, batch: Batch) -> Tensor:
    """Blank until the recall, then any symbol: log-probabilities from the time step alone."""
    outputs = torch.full((*batch.targets.shape, task.output_size), -math.inf)
    outputs[: -task.symbols, :, 0] = 0
    outputs[-task.symbols :, :, 1:] = 0
    return outputs


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[
        each
        for sizes in ({}, {"delay": 1, "symbols": 1}, {"delay": 1, "symbols": 4}, {"delay": 6, "alphabet": 5})
        for each in variants(Copy, **sizes, inputs="one-hot")
    ]
    + variants(Copy, delay=2, symbols=2, alphabet=3, inputs="scalar", score="recall"),
    short={"delay": 3, "symbols": 2},
    long={"delay": 114},
)
