"""Variable-delay copy, recomputed from its inputs: the symbols again, from one step after the marker on."""

import torch
from torch import Tensor

from oracles import Known, any_class
from oracles.copy import changed, recalled
from rnnlab.tasks import Batch
from rnnlab.tasks.variable_delay_copy import VariableDelayCopy


def blind(task: VariableDelayCopy, batch: Batch) -> Tensor:
    """Any symbol but the blank."""
    outputs = any_class(task, batch)
    outputs[..., 0] = -torch.inf
    return outputs


KNOWN = Known(
    recalled,
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
