"""Which outputs are wrong? The error of trained networks by the distance that each output has to bridge.

The distance of an output is the largest lag that it needs, back or ahead; an output that needs no input has none and is
left out. The sequences are the held-out ones of training: nothing here changes a training number or a trial's key.

Up to `MOST` distances are told apart. Where a task has more, bins of equal width are, counted from the farthest
distance; a width is odd, so that a bin's middle, at which it stands, is a distance.

Shapes: M models, T time, K scored steps, B sequences, O outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab.lengths import answers, groups
from rnnlab.record import BY_LAG_POINTS, at_lag
from rnnlab.seeding import generator
from rnnlab.tasks import Batch, Task, at_steps
from rnnlab.train import one_thread
from rnnlab.trial import Trial

MOST = 16  # bins
DRAWN = 2**22  # steps in all the sequences that are drawn to see which distances a task has, at most
NOWHERE = -1  # in the place of the distance of an output that is not scored, or needs no input


class Bins(NamedTuple):
    """The distances of a task's outputs, in bins from the farthest to the nearest."""

    farthest: int
    nearest: int  # of those that were drawn
    width: int  # distances in a bin
    number: int  # of bins

    def ranks(self, distances: Tensor) -> Tensor:
        """The bin of each distance. One that is so rare that it was not drawn is nearer, and in the nearest bin."""
        found = ((self.farthest - distances) // self.width).clamp(max=self.number - 1)
        return torch.where(distances == NOWHERE, NOWHERE, found)

    def place(self, rank: int) -> int:
        """The distance at which a bin stands: its middle."""
        return max(self.nearest, self.farthest - rank * self.width - self.width // 2)


@functools.lru_cache(maxsize=1024)
def bins_of(task: Any, size: int) -> Bins | None:
    """The bins of a task, the same for all seeds, from at most `size` sequences; None where all outputs are alike."""
    drawn = task.sample(generator(0, "by_lag"), max(1, min(size, DRAWN // task.length)))
    found = distances(task, drawn)
    known = found[found != NOWHERE]
    nearest = int(known.min()) if len(known) else task.distance
    if nearest == task.distance:
        return None
    different = task.distance - nearest + 1
    width = -(-different // MOST)
    width += 1 - width % 2
    return Bins(task.distance, nearest, width, -(-different // width))


def distances(task: Task, batch: Batch) -> Tensor:
    """(T, B) the distance of each output of a batch without leading axes, or `NOWHERE`."""
    times, sequences, lags = task.lags(batch).T
    steps, size = batch.mask.shape
    found = torch.full((steps * size,), NOWHERE)
    return found.scatter_reduce(0, times * size + sequences, lags.abs(), "amax").view(steps, size)


def at_lags(trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
    """The metrics `by_lag/LAG/...` of trials of one shape, with these weights (no model axis; more may be there).

    `loss` and `accuracy` are means over the outputs at a distance, `outputs` is their number. To the bit, they do not
    depend on which trials are evaluated together. Nothing where the outputs of the task have one distance all.
    """
    task: Task = trials[0].task
    bins = bins_of(trials[0].task, trials[0].train.eval_size)
    if bins is None:
        return [{} for _ in trials]
    found: list[dict[str, float]] = []
    with one_thread():
        for members in groups(task, trials):
            outputs, batch = answers(task, trials[members], weights[members])
            ranks = _ranks(task, bins, batch, [trial.seed for trial in trials[members]])
            found += _by_rank(task, bins, outputs, at_steps(batch, task.scored), ranks[:, task.scored])
    return found


def _ranks(task: Task, bins: Bins, batch: Batch, seeds: Sequence[int]) -> Tensor:
    """(M, T, B) the bin of each output; trials of one seed have the same sequences."""
    of_seed: dict[int, Tensor] = {}
    for place, seed in enumerate(seeds):
        if seed not in of_seed:
            lengths = None if batch.lengths is None else batch.lengths[place]
            own = Batch(batch.inputs[place], batch.targets[place], batch.mask[place], lengths)
            of_seed[seed] = bins.ranks(distances(task, own))
    return torch.stack([of_seed[seed] for seed in seeds])


def _by_rank(task: Task, bins: Bins, outputs: Tensor, batch: Batch, ranks: Tensor) -> list[dict[str, float]]:
    """The metrics of each model, from its outputs (M, K, B, O), the `batch` at these steps and their bins (M, K, B)."""
    found: list[dict[str, float]] = [{} for _ in outputs]
    points = [0] * len(found)
    for rank in range(bins.number):
        mask = ranks == rank
        counts = mask.flatten(1).sum(1)
        if not counts.any():
            continue
        metrics = task.metrics(outputs, batch._replace(mask=mask))
        shown = {"outputs": counts, "loss": metrics["loss"], "accuracy": metrics["accuracy"]}
        columns = {at_lag(bins.place(rank), name): values.tolist() for name, values in shown.items()}
        for model in counts.nonzero()[:, 0].tolist():  # the others have no mean there
            found[model] |= {name: float(values[model]) for name, values in columns.items()}
            points[model] += 1
    return [{**row, BY_LAG_POINTS: float(count)} for row, count in zip(found, points, strict=True)]
