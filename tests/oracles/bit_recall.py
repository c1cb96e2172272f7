"""Bit recall, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, any_class, at_all_steps
from rnnlab.tasks.bit_recall import BitRecall


def oracle(task: BitRecall, inputs: Tensor) -> Tensor:
    asked = inputs[-1] - inputs.new_tensor(2 + task.distractors)
    return at_all_steps(task, inputs[asked, torch.arange(inputs.shape[1])])


def changed(task: BitRecall, inputs: Tensor) -> Tensor:
    """The other bit for each bit, another distractor for each distractor; the query stays."""
    other = torch.where(inputs < 2, 1 - inputs, 2 + (inputs - 1) % task.distractors)
    return torch.where(inputs >= 2 + task.distractors, inputs, other)


KNOWN = Known(
    oracle,
    changed,
    any_class,
    settings=[BitRecall(), BitRecall(delay=1, bits=1), BitRecall(delay=2, bits=5, distractors=1), BitRecall(bits=8)],
    short={"delay": 3},
    long={"delay": 116},
)
