"""Does it generalise? Evaluation of trained networks at other distances than they were trained on.

The task stays as it is but for its dial, the field that sets the distance; the sequences are those of the stream that
held-out ones come from. Nothing here changes a training number or a trial's key.

Shapes: M models, T time, B sequences, H hidden units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnlab.model import forward, shapes
from rnnlab.record import at_length
from rnnlab.tasks import Batch, Task, at_steps
from rnnlab.train import held_out, one_thread
from rnnlab.trial import Trial, build_spec, conflicts, name_of, param

# At most so many hidden values (models x time x sequences x units) at once, unless one sequence alone has more: a
# worker has no more memory for long sequences than it needs for those it trains on.
ELEMENTS = 2**21


@dataclass(frozen=True)
class EvalSettings:
    """The section `eval` of the configuration: what else is measured of a trial that has ended."""

    lengths: tuple[int, ...] = param((), low=0)  # values of the task's dial


def refusals(trials: Sequence[Trial], lengths: Sequence[int]) -> list[str]:
    """A line for each reason why the trials cannot be evaluated at these lengths."""
    distinct = {(trial.task, trial.cell): trial for trial in trials}
    found = (line for value in lengths for trial in distinct.values() for line in _refusals(trial, value))
    return list(dict.fromkeys(found))


def _refusals(trial: Trial, value: int) -> Iterator[str]:
    problems: list[str] = []
    task: Any = build_spec(type(trial.task), vars(trial.task) | {trial.task.dial: value}, "task", problems)
    if not problems:
        problems = conflicts(dataclasses.replace(trial, task=task))
    if not problems and _form(task) != _form(trial.task):
        problems = [f"task={name_of(task)} then has other inputs or outputs; must be a length at which it has not"]
    yield from (f"eval.lengths={value}: {problem}" for problem in problems)


def _form(task: Task) -> tuple[Any, ...]:
    return task.input_size, task.output_size, task.symbolic, task.form


def at_lengths(
    trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]], lengths: Sequence[int]
) -> list[dict[str, float]]:
    """The metrics `at_length/VALUE/...` of trials of one shape, with these weights (no model axis; more may be there).

    To the bit, they do not depend on which trials are evaluated together.
    """
    found: list[dict[str, float]] = [{} for _ in trials]
    with one_thread():
        for value in dict.fromkeys(lengths):
            task = dataclasses.replace(trials[0].task, **{trials[0].task.dial: value})
            size = trials[0].train.eval_size
            group = max(1, ELEMENTS // (task.length * size * trials[0].model.hidden_size))
            for start in range(0, len(trials), group):
                members = slice(start, start + group)
                measured = _measured(task, trials[members], weights[members])
                for metrics, row in zip(found[members], measured, strict=True):
                    metrics |= {at_length(value, name): number for name, number in row.items()}
    return found


def _measured(
    task: Task, trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]]
) -> Iterator[dict[str, float]]:
    """The metrics of each trial on this task."""
    trial = dataclasses.replace(trials[0], task=task)
    parameters = {name: torch.stack([own[name] for own in weights]) for name in shapes(trial)}
    batch = held_out(task, [one.seed for one in trials], trial.train.eval_size)
    metrics = task.metrics(_outputs(trial, parameters, batch), at_steps(batch, task.scored))
    columns = {name: values.tolist() for name, values in metrics.items()}
    for row in zip(*columns.values(), strict=True):
        measured = dict(zip(columns, row, strict=True))
        yield measured | {"relative_loss": measured["loss"] / task.baseline}


def _outputs(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """(M, K, B, O) the scored outputs, for so many sequences at a time as memory is bounded to."""
    models, steps, sequences = batch.mask.shape
    at_once = max(1, ELEMENTS // (models * steps * trial.model.hidden_size))
    found = []
    for first in range(0, sequences, at_once):
        part = slice(first, first + at_once)
        known = None if batch.lengths is None else batch.lengths[:, part]
        found.append(forward(trial, parameters, batch.inputs[:, :, part], trial.task.scored, known))
    return torch.cat(found, dim=2)
