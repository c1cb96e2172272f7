"""The adding problem, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, at_all_steps
from rnnlab.tasks.adding import Adding


def oracle(task: Adding, inputs: Tensor) -> Tensor:
    total = (inputs[..., 0] * inputs[..., 1]).sum(0)
    return at_all_steps(task, (total if task.target == "sum" else total / 2)[:, None])


def changed(task: Adding, inputs: Tensor) -> Tensor:
    """Another value at each step; the markers stay."""
    return torch.stack([(inputs[..., 0] + 0.25) % 1, inputs[..., 1]], dim=-1)


KNOWN = Known(
    oracle,
    changed,
    blind=lambda task, batch: torch.full_like(batch.targets, 1 if task.target == "sum" else 1 / 2),
    settings=[
        *(Adding(length) for length in (2, 3, 7, 20)),
        Adding(2, markers="anywhere"),
        Adding(11, target="mean", lengths="varied"),
        Adding(12, markers="anywhere", lengths="varied"),
        Adding(33, markers="pascanu", target="mean"),
        Adding(44, markers="pascanu", lengths="varied"),
    ],
    short={"length": 7},
    long={"length": 120},
)
