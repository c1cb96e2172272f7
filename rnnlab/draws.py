"""What a stack draws: training data, held-out data and dropout, once for all trials of one stream.

Streams are named by seed and step, so that trials of one seed see the same, whatever else is in their stack.

Shapes: M models, T time, B sequences, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.seeding import generator
from rnnlab.tasks import Batch, Task, chosen, stacked
from rnnlab.trial import Trial

Stream = tuple[int, int]  # (seed, step)


def training_batch(task: Task, streams: Sequence[Stream], size: int) -> Batch:
    """(M, T, B, ...) the sequences of a training step."""
    return _drawn(task.sample, "train", streams, size)


def held_out(task: Task, seeds: Sequence[int], size: int) -> Batch:
    """(M, T, B, ...) the sequences on which trials with these seeds are evaluated."""
    return _drawn(getattr(task, "held_out", task.sample), "eval", [(seed, 0) for seed in seeds], size)


def dropout_factors(trial: Trial, streams: Sequence[Stream]) -> list[Tensor]:
    """Factors (M, T, B, directions x padded H) for what each layer but the last gives to the next."""
    model = trial.model
    if not model.dropout:
        return []
    shape = trial.task.length, trial.train.batch_size, (2 if model.bidirectional else 1) * model.hidden_size
    masks = []
    for level in range(model.layers - 1):
        drawn = {
            (seed, step): generator(seed, f"dropout.{level}", step).random(shape, dtype=np.float32)
            for seed, step in set(streams)
        }
        passed = torch.stack([torch.from_numpy(drawn[stream]) for stream in streams]) >= model.dropout
        masks.append(padded_blocks(passed / (1 - model.dropout), 3, model.hidden_size))
    return masks


def _drawn(
    sample: Callable[[np.random.Generator, int], Batch], purpose: str, streams: Sequence[Stream], size: int
) -> Batch:
    """(M, T, B, ...) data of streams, drawn once for all that share one."""
    distinct = list(dict.fromkeys(streams))
    drawn = stacked([sample(generator(seed, purpose, step), size) for seed, step in distinct])
    if len(distinct) == len(streams):
        return drawn
    return chosen(drawn, torch.tensor([distinct.index(stream) for stream in streams]))
