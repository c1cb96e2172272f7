"""Temporal order, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, any_class, at_all_steps
from rnnlab.tasks.temporal_order import TemporalOrder


def oracle(task: TemporalOrder, inputs: Tensor) -> Tensor:
    """A and B as the digits 0 and 1 of a binary number, read in their order."""
    number = torch.zeros_like(inputs[0])
    for step in inputs:
        number = torch.where(step < 2, 2 * number + step, number)
    return at_all_steps(task, number)


def changed(task: TemporalOrder, inputs: Tensor) -> Tensor:
    """B for A and A for B, another distractor for each distractor."""
    return torch.where(inputs < 2, 1 - inputs, 2 + (inputs - 1) % 4)


KNOWN = Known(
    oracle,
    changed,
    any_class,
    settings=[TemporalOrder(length, symbols) for length, symbols in ((10, 2), (10, 3), (19, 2), (33, 3), (40, 2))],
    short={"length": 10},
    long={"length": 120},
)
