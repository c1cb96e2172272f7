"""Agreement: a word's kind and number from its symbol, and the subject as the first noun of the sentence."""

import torch
from builders import variants
from torch import Tensor

from oracles import Known
from rnnlab.tasks.agreement import ADJECTIVE, PLURAL, SINGULAR, Agreement


def kinds(task: Agreement, inputs: Tensor) -> Tensor:
    return torch.where(inputs == 0, ADJECTIVE, (inputs - 1) // task.words)


def oracle(task: Agreement, inputs: Tensor) -> Tensor:
    """The number of the subject, at all steps."""
    found = kinds(task, inputs)
    subject = (found >= SINGULAR).int().argmax(0)
    plural = found.gather(0, subject.unsqueeze(0)) == PLURAL
    return plural.long().expand_as(inputs)


def changed(task: Agreement, inputs: Tensor) -> Tensor:
    """The other number for nouns, another word of the same kind for the others."""
    found = kinds(task, inputs)
    same = found * task.words + inputs % task.words + 1
    other = inputs + torch.where(found == SINGULAR, task.words, -task.words)
    return torch.where(inputs == 0, 0, torch.where(found >= SINGULAR, other, same))


KNOWN = Known(
    oracle,
    changed,
    blind=lambda task, batch: torch.zeros(*batch.targets.shape, 2),
    settings=[each for sizes in ({}, {"distance": 3, "words": 2}) for each in variants(Agreement, **sizes)],
    short={"distance": 3, "words": 1},
    long={"distance": 116},
)
