"""Does it generalise? Evaluation of trained networks at other distances than they were trained on.

The task stays as it is but for its dial, the field that sets the distance; the sequences are those of the stream that
held-out ones come from. Nothing here changes a training number or a trial's key.

Shapes: M models, T time, B sequences, H hidden units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.aligned import aligned
from rnnlab.build import conflicts
from rnnlab.draws import held_out
from rnnlab.memory import NUMBER, width_of_step
from rnnlab.model import forward, shapes
from rnnlab.record import at_length
from rnnlab.seeding import generator
from rnnlab.spec import build_spec, name_of
from rnnlab.tasks import Batch, Task, at_steps
from rnnlab.train import one_thread
from rnnlab.trial import Trial

# At most so many hidden values (models x time x sequences x units) at once, unless one sequence alone has more: a
# worker has no more memory for long sequences than it needs for those it trains on.
ELEMENTS = 2**21


def refusals(trials: Sequence[Trial], lengths: Sequence[int]) -> list[str]:
    """A line for each reason why the trials cannot be evaluated at these lengths."""
    distinct = {(trial.task, trial.cell): trial for trial in trials}
    found = (line for value in lengths for trial in distinct.values() for line in _refusals(trial, value))
    return list(dict.fromkeys(found))


def _refusals(trial: Trial, value: int) -> Iterator[str]:
    problems: list[str] = []
    dial, own = trial.task.dial, getattr(trial.task, trial.task.dial)
    task: Any = build_spec(type(trial.task), vars(trial.task) | {dial: value}, "task", problems)
    if not problems:
        problems = conflicts(dataclasses.replace(trial, task=task))
    if not problems and _form(task) != _form(trial.task):
        problems = [f"task={name_of(task)} then has other inputs or outputs; must be a length at which it has not"]
    if not problems and getattr(task, "by_heart", False) and value > own:
        problems = [f"task={name_of(task)} is learnt by heart, up to task.{dial}={own}; must be <= {own}"]
    yield from (f"eval.lengths={value}: {problem}" for problem in problems)


def _form(task: Task) -> tuple[Any, ...]:
    return task.input_size, task.output_size, task.symbolic, task.form


def needed_bytes(trial: Trial, value: int) -> int:
    """What the evaluation of one trial at this length takes, about; nothing of that size is made to know it."""
    task: Task = at_value(trial.task, value)
    steps, size, hidden = task.length, trial.train.eval_size, aligned(trial.model.hidden_size)
    shown = trial.task.sample(generator(0, "cost"), 1)
    drawn = sum(field.nbytes for field in shown if field is not None) / trial.task.length  # for a step
    outputs = NUMBER * len(range(steps)[task.scored]) * task.output_size
    fed = NUMBER * (task.input_size + (2 + width_of_step(trial)) * hidden)
    at_once = min(size, max(1, ELEMENTS // (steps * trial.model.hidden_size)))
    # A batch is copied where those of several trials are put together, and outputs where slices are joined and scored
    return int(size * (2 * drawn * steps + 3 * outputs) + at_once * steps * fed)


def at_lengths(
    trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]], lengths: Sequence[int]
) -> list[dict[str, float]]:
    """The metrics `at_length/VALUE/...` of trials of one shape, with these weights (no model axis; more may be there).

    To the bit, they do not depend on which trials are evaluated together.
    """
    found: list[dict[str, float]] = [{} for _ in trials]
    with one_thread():
        for value in dict.fromkeys(lengths):
            task = at_value(trials[0].task, value)
            for members in groups(task, trials):
                measured = _measured(task, trials[members], weights[members])
                for metrics, row in zip(found[members], measured, strict=True):
                    metrics |= {at_length(value, name): number for name, number in row.items()}
    return found


def at_value(task: Any, value: int) -> Any:
    """The task with another value of its dial."""
    return dataclasses.replace(task, **{task.dial: value})


def groups(task: Task, trials: Sequence[Trial]) -> Iterator[slice]:
    """The trials of one shape in groups that are evaluated on this task at once, so that memory is bounded."""
    group = max(1, ELEMENTS // (task.length * trials[0].train.eval_size * trials[0].model.hidden_size))
    return (slice(start, start + group) for start in range(0, len(trials), group))


def answers(task: Task, trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Batch]:
    """(M, K, B, O) the scored outputs of each trial on its held-out sequences of this task; and the sequences."""
    trial = dataclasses.replace(trials[0], task=task)
    parameters = {name: torch.stack([own[name] for own in weights]) for name in shapes(trial)}
    batch = held_out(task, [one.seed for one in trials], trial.train.eval_size)
    return _outputs(trial, parameters, batch), batch


def _measured(
    task: Task, trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]]
) -> Iterator[dict[str, float]]:
    """The metrics of each trial on this task."""
    outputs, batch = answers(task, trials, weights)
    metrics = task.metrics(outputs, at_steps(batch, task.scored))
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
