"""Tasks: one file each. What they share: the batch, the protocol, and the losses.

Shapes: T time, B sequences, O outputs, `...` any leading axes (a stack has one: M models).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MANY_TO_ONE = "many-to-one"  # one output for the whole sequence, at its last step
MANY_TO_MANY = "many-to-many"  # outputs in step with the inputs
ONE_TO_MANY = "one-to-many"  # the first step alone has an input, what follows are blanks (symbol 0 or zeros)
SEQUENCE_TO_SEQUENCE = "sequence-to-sequence"  # an encoder reads the source, then a decoder writes, fed with blanks
FORMS = (MANY_TO_ONE, MANY_TO_MANY, ONE_TO_MANY, SEQUENCE_TO_SEQUENCE)


class Batch(NamedTuple):
    """Sequences of a task, time first; where their lengths differ, the shorter ones are padded at their end.

    inputs:  (..., T, B) integer symbols, or (..., T, B, I) real values
    targets: (..., T, B) integer classes, or (..., T, B, O) real values
    mask:    (..., T, B) true where the output is scored
    lengths: (..., B) steps of each input sequence, what follows is padding; None where all have the full length
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    lengths: Tensor | None = None


class Task(Protocol):
    """The contract that `tests/test_tasks.py` checks for every file in this folder.

    Tasks are frozen dataclasses; their fields are the parameters that a sweep can vary. A member that no field decides
    is an attribute of the class: a `ClassVar`, or a `staticmethod` made of a function below. A task may have these
    members beside those of the protocol:

    built_on: ClassVar[tuple]    other tasks that its numbers come from: where the version of one is raised, its trials
                                 get new keys too
    padding: ClassVar[int]       the input symbol that fills up short sequences; a network sees a zero vector there
    source_length: int           of a task of the form SEQUENCE_TO_SEQUENCE: the decoder begins at this step
    held_out(generator, size)    sequences for evaluation, where `sample` draws from a finite set that it must not touch
    ahead: int                   the most steps after its own that an output needs: lags down to -ahead; only a network
                                 that also reads backwards has them
    by_heart: ClassVar[bool]     true where answers are learnt one by one: a larger dial asks for some that were never
                                 shown, a smaller one for the first of them
    """

    version: ClassVar[int]  # rises when the numbers of an equal spec change
    dial: ClassVar[str]  # the field that sets the distance: its name stands in names of runs, with its value

    @property
    def form(self) -> str:
        """One of `FORMS`: which outputs are asked for."""

    @property
    def symbolic(self) -> bool:
        """Whether inputs are integer symbols, else real values."""

    @property
    def length(self) -> int:
        """T, the number of time steps of a sequence."""

    @property
    def input_size(self) -> int:
        """Number of input symbols (one-hot) or of real input channels."""

    @property
    def output_size(self) -> int:
        """Number of classes, or of real outputs."""

    @property
    def scored(self) -> slice:
        """The time steps on which outputs can be scored; no other output is computed."""

    @property
    def distance(self) -> int:
        """The largest lag, in steps, that any scored output needs, be it back or ahead."""

    @property
    def baseline(self) -> float:
        """Expected loss of the strategy without memory that the literature compares with, in the units of `loss`."""

    def sample(self, generator: np.random.Generator, size: int) -> Batch:
        """`size` fresh sequences."""

    def lags(self, batch: Batch) -> Tensor:
        """(N, 3) integers: rows (t, b, lag), the output at time t of sequence b needs the input at t - lag."""

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """(...) mean loss over the scored outputs; `outputs` and `batch` hold the steps `scored` only."""

    def metrics(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """(...) each: `loss` and `accuracy`; arguments as for `loss`."""

    def solved(self, metrics: Mapping[str, float]) -> bool:
        """Whether an evaluation with these metrics meets the task's criterion."""


def label(task: Task) -> str:
    """What sets the distance of a task, for names of runs: `delay=20`."""
    return f"{task.dial}={getattr(task, task.dial)}"


def at_steps(batch: Batch, steps: slice) -> Batch:
    """The batch restricted to the time steps `steps`, for `loss` and `metrics`; one leading axis or none."""
    place = (slice(None), steps) if batch.mask.ndim == 3 else (steps,)
    return batch._replace(inputs=batch.inputs[place], targets=batch.targets[place], mask=batch.mask[place])


def stacked(batches: Sequence[Batch]) -> Batch:
    """(M, ...) batches of one task side by side."""
    lengths = [batch.lengths for batch in batches if batch.lengths is not None]
    return Batch(
        inputs=torch.stack([batch.inputs for batch in batches]),
        targets=torch.stack([batch.targets for batch in batches]),
        mask=torch.stack([batch.mask for batch in batches]),
        lengths=torch.stack(lengths) if lengths else None,
    )


def chosen(batch: Batch, places: Tensor) -> Batch:
    """The models at `places` of a batch with a model axis."""
    lengths = None if batch.lengths is None else batch.lengths[places]
    return Batch(batch.inputs[places], batch.targets[places], batch.mask[places], lengths)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """(...) mean of `values` (..., T, B) where `mask` holds."""
    kept = torch.where(mask, values, 0).flatten(-2)
    return kept.sum(-1) / mask.flatten(-2).sum(-1)


def cross_entropy(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) mean cross-entropy in nats of the scored outputs (..., T, B, O)."""
    log_probabilities = functional.log_softmax(outputs, dim=-1)
    chosen = log_probabilities.gather(-1, batch.targets.unsqueeze(-1)).squeeze(-1)
    return masked_mean(-chosen, batch.mask)


def mean_squared_error(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) mean over the scored outputs of the squared error, summed over the O channels."""
    return masked_mean((outputs - batch.targets).square().sum(-1), batch.mask)


def share_correct(outputs: Tensor, batch: Batch) -> Tensor:
    """(...) share of the scored outputs (..., T, B, O) whose largest entry is the target class."""
    correct = outputs.argmax(-1) == batch.targets
    return masked_mean(correct.to(outputs.dtype), batch.mask)


def symbols(values: np.ndarray) -> Tensor:
    """Integer symbols as a tensor."""
    return torch.from_numpy(values.astype(np.int64))


def class_metrics(outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The metrics of a task whose scored outputs are classes."""
    return {"loss": cross_entropy(outputs, batch), "accuracy": share_correct(outputs, batch)}


def value_metrics(outputs: Tensor, batch: Batch, tolerance: float) -> dict[str, Tensor]:
    """The metrics of a task with one real output, correct within `tolerance`."""
    error = (outputs - batch.targets).squeeze(-1).abs()
    return {
        "loss": mean_squared_error(outputs, batch),
        "accuracy": masked_mean((error < tolerance).to(outputs.dtype), batch.mask),
    }


def at_end(answers: np.ndarray, length: int, lengths: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """Targets and mask, each (T, B, ...), of one answer (B, ...) for each sequence, at its last step."""
    places = ((length if lengths is None else lengths) - 1, np.arange(len(answers)))
    targets = np.zeros((length, *answers.shape), dtype=answers.dtype)
    mask = np.zeros((length, len(answers)), dtype=bool)
    targets[places], mask[places] = answers, True
    return torch.from_numpy(targets), torch.from_numpy(mask)


def lags_from_end(needed: Tensor, batch: Batch) -> Tensor:
    """(N, 3) `lags` of a task with one scored output per sequence, which needs the inputs where `needed` (T, B)."""
    times, sequences = torch.nonzero(needed, as_tuple=True)
    scored = batch.mask.int().argmax(0)[sequences]
    return torch.stack([scored, sequences, scored - times], dim=1)


def within(lengths: np.ndarray, length: int) -> np.ndarray:
    """(T, B) true at the steps of each sequence, false in the padding that follows."""
    return np.arange(length)[:, None] < lengths


def from_start(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(T, B) the last `lengths` steps of each sequence, moved to its beginning; zeros follow."""
    moved = np.arange(len(values))[:, None] + len(values) - lengths
    kept = np.take_along_axis(values, np.minimum(moved, len(values) - 1), axis=0)
    return np.where(within(lengths, len(values)), kept, 0)


MARKERS = ("halves", "pascanu", "anywhere")  # where two of the steps are marked: see `_marked_steps`
LENGTHS = ("equal", "varied")  # of sequences with two marked values: `length`, or uniform in [length / 1.1, length]


def shortest_marked(length: int, lengths: str) -> int:
    """Steps of the shortest sequence with two marked values, where `length` is that of the longest."""
    return length if lengths == "equal" else -(-10 * length // 11)


def marked_batch(
    generator: np.random.Generator,
    size: int,
    length: int,
    lengths: str,
    markers: str,
    answer: Callable[[np.ndarray], np.ndarray],
) -> Batch:
    """Values in [0, 1) and markers of two of them; asked for at the end is `answer` of these two, (2, B) -> (B,)."""
    values = generator.random((length, size), dtype=np.float32)
    steps = None if lengths == "equal" else generator.integers(shortest_marked(length, lengths), length + 1, size)
    marked = _marked_steps(generator, size, length if steps is None else steps, markers)
    columns = np.arange(size)
    inputs = np.zeros((length, size, 2), dtype=np.float32)
    inputs[..., 0] = values
    inputs[marked, columns, 1] = 1
    if steps is not None:
        inputs[~within(steps, length)] = 0
    targets, mask = at_end(answer(values[marked, columns])[:, None], length, steps)
    return Batch(torch.from_numpy(inputs), targets, mask, None if steps is None else torch.from_numpy(steps))


def _marked_steps(generator: np.random.Generator, size: int, length: int | np.ndarray, markers: str) -> np.ndarray:
    """(2, B) one in each half; or in [0, length/10) and [length/10, length/2); or any two different ones."""
    if markers == "anywhere":
        first = generator.integers(0, length, size)
        other = generator.integers(0, length - 1, size)
        return np.stack([first, other + (other >= first)])
    middle, end = (length // 2, length) if markers == "halves" else (length // 10, length // 2)
    return np.stack([generator.integers(0, middle, size), generator.integers(middle, end, size)])


def marking_refusals(length: int, lengths: str, markers: str) -> Iterator[str]:
    """A line for each reason why sequences of this length cannot be marked so."""
    if markers == "pascanu" and length < 10:
        yield f"task.length={length}: must be >= 10 with task.markers=pascanu, whose first marker is in the first tenth"
    if lengths == "varied" and length < 11:
        yield f"task.length={length}: must be >= 11 with task.lengths=varied, below which no lengths vary"
