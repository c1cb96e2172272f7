"""What the tests know about each task, beside the task itself: one file each, of the task's name, with `KNOWN`."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rnnlab.tasks import Batch, Task
from rnnlab.trial import name_of


class Known(NamedTuple):
    """One task, recomputed from inputs alone."""

    oracle: Callable[[Any, Tensor], Tensor]  # task, inputs (T, B, ...) -> the outputs asked for, as `targets`
    changed: Callable[[Any, Tensor], Tensor]  # task, inputs -> valid inputs with other content wherever outputs need it
    blind: Callable[[Any, Batch], Tensor]  # task, batch -> (T, B, O) outputs of the best predictor without memory
    settings: list[Any]  # tasks to test
    short: Mapping[str, Any]  # fields of a trial with sequences of a few steps
    long: Mapping[str, Any]  # and of about 120 steps


def known(task: Task | str) -> Known:
    name = task if isinstance(task, str) else name_of(task)
    assert Path(__file__).with_name(f"{name}.py").is_file(), f"rnnlab/tasks/{name}.py needs tests/oracles/{name}.py"
    return importlib.import_module(f"oracles.{name}").KNOWN
