"""What the tests know about each task, beside the task itself.

A new task needs an entry in `TASKS`: an oracle, a way to change its inputs, the predictor without memory, settings.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from builders import variants
from torch import Tensor

from rnnlab.registry import registry
from rnnlab.tasks import Task
from rnnlab.tasks.adding import Adding
from rnnlab.tasks.copy import Copy
from rnnlab.trial import name_of


class Known(NamedTuple):
    """One task, recomputed from inputs alone."""

    oracle: Callable[[Task, Tensor], Tensor]  # inputs (T, B, ...) -> the outputs asked for, as `targets`
    changed: Callable[[Task, Tensor], Tensor]  # inputs -> valid inputs with other content at every step
    blind: Callable[[Task, Tensor], Tensor]  # targets -> (T, B, O) outputs of the best predictor without memory
    settings: list[Task]


def copy_oracle(task: Copy, inputs: Tensor) -> Tensor:
    """The first symbols again, from the marker on: with it in exprnn, one step after it first shows elsewhere."""
    marker = inputs == task.alphabet + 1
    first = marker.int().argmax(0) + (task.variant != "exprnn")
    outputs = torch.zeros_like(inputs)
    for position, symbol in enumerate(inputs[: task.symbols]):
        outputs[first + position, torch.arange(inputs.shape[1])] = symbol
    return outputs


def copy_changed(task: Copy, inputs: Tensor) -> Tensor:
    """Another symbol at each step, blanks included; the marker stays."""
    return torch.where(inputs == task.alphabet + 1, inputs, inputs % task.alphabet + 1)


def copy_blind(task: Copy, targets: Tensor) -> Tensor:
    """Blank until the recall, then any symbol: log-probabilities from the time step alone."""
    outputs = torch.full((*targets.shape, task.output_size), -math.inf)
    outputs[: -task.symbols, :, 0] = 0
    outputs[-task.symbols :, :, 1:] = 0
    return outputs


def adding_oracle(task: Adding, inputs: Tensor) -> Tensor:
    outputs = inputs.new_zeros(*inputs.shape[:2], 1)
    outputs[-1, :, 0] = (inputs[..., 0] * inputs[..., 1]).sum(0)
    return outputs


def adding_changed(task: Adding, inputs: Tensor) -> Tensor:
    """Another value at each step; the markers stay."""
    return torch.stack([(inputs[..., 0] + 0.25) % 1, inputs[..., 1]], dim=-1)


TASKS = {
    "adding": Known(
        adding_oracle,
        adding_changed,
        blind=lambda task, targets: torch.ones_like(targets),
        settings=[Adding(length) for length in (2, 3, 7, 20)],
    ),
    "copy": Known(
        copy_oracle,
        copy_changed,
        blind=copy_blind,
        settings=[
            each
            for sizes in ({}, {"delay": 1, "symbols": 1}, {"delay": 1, "symbols": 4}, {"delay": 6, "alphabet": 5})
            for each in variants(Copy, **sizes)
        ],
    ),
}


def settings_of(name: str) -> list[Task]:
    return TASKS[name].settings if name in TASKS else [registry()["task"][name]()]


def known(task: Task) -> Known:
    name = name_of(task)
    assert name in TASKS, f"rnnlab/tasks/{name}.py needs an oracle: add it to TASKS in {__file__}"
    return TASKS[name]
