"""Copy memory with a wait of its own for each sequence, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, any_class
from rnnlab.tasks import Batch
from rnnlab.tasks.variable_delay_copy import VariableDelayCopy


def oracle(task: VariableDelayCopy, inputs: Tensor) -> Tensor:
    """The first symbols again, from one step after the marker on."""
    first = (inputs == task.alphabet + 1).int().argmax(0) + 1
    outputs = torch.zeros_like(inputs)
    for position, symbol in enumerate(inputs[: task.symbols]):
        outputs[first + position, torch.arange(inputs.shape[1])] = symbol
    return outputs


def changed(task: VariableDelayCopy, inputs: Tensor) -> Tensor:
    """Another symbol at each step, blanks and padding included; the marker stays."""
    return torch.where(inputs == task.alphabet + 1, inputs, inputs % task.alphabet + 1)


def blind(task: VariableDelayCopy, batch: Batch) -> Tensor:
    """Any symbol but the blank."""
    outputs = any_class(task, batch)
    outputs[..., 0] = -torch.inf
    return outputs


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[
        VariableDelayCopy(),
        VariableDelayCopy(delay=2, symbols=1),
        VariableDelayCopy(delay=3, symbols=4),
        VariableDelayCopy(delay=7, symbols=2, alphabet=5),
    ],
    short={"delay": 3, "symbols": 2},
    long={"delay": 114},
)
