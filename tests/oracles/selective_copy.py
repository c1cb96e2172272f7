"""Selective copy, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known
from oracles.variable_delay_copy import blind
from rnnlab.tasks.selective_copy import SelectiveCopy


def is_shown(task: SelectiveCopy, inputs: Tensor) -> Tensor:
    return (inputs > 0) & (inputs <= task.alphabet)


def oracle(task: SelectiveCopy, inputs: Tensor) -> Tensor:
    """The symbols that are no noise, at the end."""
    outputs = torch.zeros_like(inputs)
    for sequence, answer in zip(inputs.T, outputs.T, strict=True):
        shown = sequence[is_shown(task, sequence)]
        answer[-task.symbols :] = shown
    return outputs


def changed(task: SelectiveCopy, inputs: Tensor) -> Tensor:
    """Another symbol for each symbol, other noise for noise; what is noise stays noise, and the marker a marker."""
    kinds = torch.clamp(inputs - task.alphabet - 1, min=0)  # of noise
    others = (kinds + 1) % task.noise
    noise = torch.where(others > 0, task.alphabet + 1 + others, 0)
    kept = torch.where(inputs == task.alphabet + 1, inputs, noise)
    return torch.where(is_shown(task, inputs), inputs % task.alphabet + 1, kept)


KNOWN = Known(
    oracle,
    changed,
    blind,
    settings=[
        SelectiveCopy(),
        SelectiveCopy(span=1, symbols=1),
        SelectiveCopy(span=4, symbols=4, alphabet=3),
        SelectiveCopy(span=7, symbols=3, noise=4),
    ],
    short={"span": 4},
    long={"span": 117},
)
