"""The multiplication problem, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, at_all_steps
from oracles.adding import changed
from rnnlab.tasks.multiplication import Multiplication


def oracle(task: Multiplication, inputs: Tensor) -> Tensor:
    return at_all_steps(task, torch.where(inputs[..., 1:] == 1, inputs[..., :1], 1).prod(0))


KNOWN = Known(
    oracle,
    changed,
    blind=lambda task, batch: torch.full_like(batch.targets, 1 / 4),
    settings=[
        Multiplication(2),
        Multiplication(7),
        Multiplication(9, markers="anywhere"),
        Multiplication(33, markers="pascanu", lengths="varied"),
    ],
    short={"length": 7},
    long={"length": 120},
)
