"""Noiseless memorisation, recomputed from its inputs."""

import math

import torch
from torch import Tensor

from oracles import Known
from rnnlab.tasks import Batch
from rnnlab.tasks.noiseless_memorization import NoiselessMemorization


def oracle(task: NoiselessMemorization, inputs: Tensor) -> Tensor:
    """The first symbols again, from one step after the cue on."""
    first = (inputs == task.alphabet + 1).int().argmax(0) + 1
    outputs = torch.zeros_like(inputs)
    for position, symbol in enumerate(inputs[: task.symbols]):
        outputs[first + position, torch.arange(inputs.shape[1])] = symbol
    return outputs


def changed(task: NoiselessMemorization, inputs: Tensor) -> Tensor:
    """Another symbol at each step, blanks included; the cue stays."""
    return torch.where(inputs == task.alphabet + 1, inputs, inputs % task.alphabet + 1)


def blind(task: NoiselessMemorization, batch: Batch) -> Tensor:
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
        NoiselessMemorization(),
        NoiselessMemorization(delay=1, symbols=1, alphabet=3),
        NoiselessMemorization(delay=4, symbols=3, score="recall"),
        NoiselessMemorization(delay=3, symbols=10, alphabet=5, patterns="random"),
    ],
    short={"delay": 3, "symbols": 2},
    long={"delay": 110},
)
