"""What the tests know about each task, beside the task itself: one file each, of the task's name, with `KNOWN`."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab.spec import name_of
from rnnlab.tasks import Batch, Task


class Known(NamedTuple):
    """One task, recomputed from inputs alone."""

    oracle: Callable[[Any, Tensor], Tensor]  # task, inputs (T, B, ...) -> the outputs asked for, as `targets`
    changed: Callable[[Any, Tensor], Tensor]  # task, inputs -> inputs with other content, valid at each step by itself
    blind: Callable[[Any, Batch], Tensor]  # task, batch -> (T, B, O) outputs of the best predictor without memory
    settings: list[Any]  # tasks to test
    short: Mapping[str, Any]  # fields of a trial with sequences of a few steps
    long: Mapping[str, Any]  # and of about 120 steps


def known(task: Task | str) -> Known:
    name = task if isinstance(task, str) else name_of(task)
    assert Path(__file__).with_name(f"{name}.py").is_file(), f"rnnlab/tasks/{name}.py needs tests/oracles/{name}.py"
    return importlib.import_module(f"oracles.{name}").KNOWN


def at_all_steps(task: Task, answers: Tensor) -> Tensor:
    """(T, B, ...) one answer (B, ...) for each sequence, at all of its steps: the mask says which counts."""
    return answers.expand(task.length, *answers.shape)


def any_class(task: Task, batch: Batch) -> Tensor:
    """What `blind` is where every class is as likely as another: log-probabilities."""
    return torch.zeros(*batch.targets.shape, task.output_size)
