"""Copy memory, recomputed from its inputs."""

import math
from typing import Any

import torch
from builders import variants
from torch import Tensor

from oracles import Known
from rnnlab.tasks import Batch
from rnnlab.tasks.copy import Copy


def numbers(inputs: Tensor) -> Tensor:
    """(T, B) the symbols, however they are shown."""
    return inputs.squeeze(-1).long() if inputs.is_floating_point() else inputs


def recalled(task: Any, inputs: Tensor, wait: int = 1) -> Tensor:
    """(T, B) the first symbols again, from `wait` steps after the marker first shows."""
    first = (inputs == task.alphabet + 1).int().argmax(0) + wait
    outputs = torch.zeros_like(inputs)
    for position, symbol in enumerate(inputs[: task.symbols]):
        outputs[first + position, torch.arange(inputs.shape[1])] = symbol
    return outputs


def oracle(task: Copy, inputs: Tensor) -> Tensor:
    """From the marker on: with it in exprnn and s4, else one step after it first shows."""
    return recalled(task, numbers(inputs), wait=0 if task.variant in ("exprnn", "s4") else 1)


def changed(task: Any, inputs: Tensor) -> Tensor:
    """Another symbol at each step, blanks and padding included; the marker stays."""
    return torch.where(inputs == task.alphabet + 1, inputs, inputs % task.alphabet + 1)


def blind(task: Any, batch: Batch) -> Tensor:
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
