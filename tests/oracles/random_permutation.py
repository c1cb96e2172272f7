"""Random permutation, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, any_class, at_all_steps
from rnnlab.tasks.random_permutation import RandomPermutation


def changed(task: RandomPermutation, inputs: Tensor) -> Tensor:
    """The other of the two first symbols, another distractor for each distractor."""
    return torch.where(inputs < 2, 1 - inputs, 2 + (inputs - 1) % (task.alphabet - 2))


KNOWN = Known(
    lambda task, inputs: at_all_steps(task, inputs[0]),
    changed,
    any_class,
    settings=[
        RandomPermutation(),
        RandomPermutation(length=2, alphabet=4),
        RandomPermutation(length=9, alphabet=10),
        RandomPermutation(length=9, alphabet=5, between="independent"),
    ],
    short={"length": 7, "alphabet": 9},
    long={"length": 120, "alphabet": 130},
)
