"""Associative recall, recomputed from its inputs."""

import torch
from torch import Tensor

from oracles import Known, any_class, at_all_steps
from rnnlab.tasks.associative_recall import AssociativeRecall


def oracle(task: AssociativeRecall, inputs: Tensor) -> Tensor:
    """The value that follows the key asked for; -1, which is no class, where no pair has that key."""
    answers = torch.full_like(inputs[0], -1)
    for pair in range(task.pairs):
        key, value = inputs[2 * pair], inputs[2 * pair + 1]
        answers = torch.where(key == inputs[-1], value - task.keys, answers)
    return at_all_steps(task, answers)


def changed(task: AssociativeRecall, inputs: Tensor) -> Tensor:
    """Another value for each value; another key for the key asked for, other keys than that one for the rest."""
    pairs, query = inputs[: 2 * task.pairs], inputs[-1]
    beside = (pairs[::2] - query) % task.keys  # keys, counted from the one asked for, which is 0
    keys = (query + beside % (task.keys - 1) + 1) % task.keys
    values = task.keys + (pairs[1::2] - task.keys + 1) % task.values
    return torch.cat([torch.stack([keys, values], dim=1).flatten(0, 1), inputs[2 * task.pairs :]])


KNOWN = Known(
    oracle,
    changed,
    any_class,
    settings=[
        AssociativeRecall(),
        AssociativeRecall(delay=1, pairs=1, keys=2),
        AssociativeRecall(delay=2, pairs=4, keys=4, values=3),
        AssociativeRecall(delay=2, pairs=4, keys=26, values=10),
    ],
    short={"delay": 3},
    long={"delay": 115},
)
