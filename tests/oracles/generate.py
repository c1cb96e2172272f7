"""Generate: the melody that the first symbol names, from the table, which is part of the task as stated."""

import torch
from torch import Tensor

from oracles import Known
from rnnlab.tasks.generate import Generate, table


def oracle(task: Generate, inputs: Tensor) -> Tensor:
    outputs = torch.zeros_like(inputs)
    for column, name in enumerate(inputs[0].tolist()):
        outputs[1:, column] = torch.from_numpy(table(task.notes, task.melodies, task.alphabet)[:, name - 1])
    return outputs


def changed(task: Generate, inputs: Tensor) -> Tensor:
    """The next melody of the same group, which differs at every step; a name where there is a blank."""
    group, place = (inputs - 1) // task.alphabet, (inputs - 1) % task.alphabet
    return torch.where(inputs == 0, 1, 1 + group * task.alphabet + (place + 1) % task.alphabet)


KNOWN = Known(
    oracle,
    changed,
    blind=lambda task, batch: torch.zeros(*batch.targets.shape, task.alphabet),
    settings=[Generate(), Generate(notes=1, melodies=2, alphabet=2), Generate(notes=7, melodies=9, alphabet=3)],
    short={"notes": 4},
    long={"notes": 120},
)
