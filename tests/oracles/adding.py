"""The adding problem, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known
from rnnlab.tasks.adding import Adding


def oracle(task: Adding, inputs: Tensor) -> Tensor:
    outputs = inputs.new_zeros(*inputs.shape[:2], 1)
    outputs[-1, :, 0] = (inputs[..., 0] * inputs[..., 1]).sum(0)
    return outputs


def changed(task: Adding, inputs: Tensor) -> Tensor:
    """Another value at each step; the markers stay."""
    return torch.stack([(inputs[..., 0] + 0.25) % 1, inputs[..., 1]], dim=-1)


KNOWN = Known(
    oracle,
    changed,
    blind=lambda task, batch: torch.ones_like(batch.targets),
    settings=[Adding(length) for length in (2, 3, 7, 20)],
    short={"length": 7},
    long={"length": 120},
)
