"""Train a stack: trials of one shape, side by side along a leading model axis, each as if it were alone.

`chunks` trains from one evaluation to the next and yields a `Record` of every trial at step 0, at each evaluation
and at its end. Trials leave the stack when they are solved, exhausted or diverged, and waiting ones join at the next
chunk border, so the stack stays full. At a border a trial can be taken down as a `Checkpoint`, from which it goes
on in any other stack as if nothing had happened. No input or output, no clock, no global random state.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.bptt import gradients
from rnnlab.model import Layout, forward, initial, shapes
from rnnlab.optim import OPTIMIZERS, clip_, rates, scheduled
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, SOLVED, Checkpoint, Record
from rnnlab.seeding import generator
from rnnlab.tasks import Batch, Task, at_steps, chosen, stacked
from rnnlab.trial import Trial, shape_key

COURSE = ("step", "passed", "first_passage", "losses", "norms", "clipped")  # of a slot, in its checkpoint
EVALUATION_ELEMENTS = 2**24  # at most so many hidden values (models x time x sequences x units) at once

Refill = Callable[[int], Sequence[Trial]]  # free places -> trials of the same shape that take them
Resume = Callable[[Trial], Checkpoint | None]  # where a trial stands, None: at its beginning


def fit(trials: Sequence[Trial], refill: Refill = lambda free: ()) -> Iterator[Record]:
    """Train `trials` (of equal `shape_key`) together; yield their records as they come."""
    for records in chunks(Stack(trials), refill):
        yield from records


def chunks(stack: Stack, refill: Refill = lambda free: ()) -> Iterator[list[Record]]:
    """Train all trials of the stack to their ends; yield what is new at each chunk border.

    The stack keeps its width: where trials have left, those that `refill` gives join.
    """
    width = len(stack.slots)
    yield stack.evaluate(stack.unseen())
    while True:
        free = width - len(stack.slots)
        joining = refill(free) if free else ()
        if joining:
            stack.join(joining)
            yield stack.evaluate(stack.unseen())
        elif stack.slots:
            diverged = stack.train_to_border()
            yield diverged + stack.evaluate([i for i, slot in enumerate(stack.slots) if slot.step == slot.border])
        else:
            return


@dataclass
class Slot:
    """The course of one trial in a stack: what is not a tensor."""

    trial: Trial
    step: int = 0  # training steps done
    border: int = 0  # the step of the next evaluation; where that is `step`, the evaluation is due
    passed: list[int] = field(default_factory=list)  # steps of the latest evaluations that passed in a row
    first_passage: int | None = None  # step of the first evaluation that passed
    losses: list[float] = field(default_factory=list)  # of the training steps since the last evaluation
    norms: list[float] = field(default_factory=list)  # of their gradients, before clipping
    clipped: list[bool] = field(default_factory=list)  # whether clipping acted

    @classmethod
    def of(cls, trial: Trial, checkpoint: Checkpoint | None) -> Slot:
        """The slot of a trial at its beginning, or where a checkpoint left it."""
        if checkpoint is None:
            return cls(trial)
        slot = cls(trial, **checkpoint.course)
        slot.border = slot.next_border()
        return slot

    def next_border(self) -> int:
        train = self.trial.train
        return min((self.step // train.eval_every + 1) * train.eval_every, train.max_steps)

    def training_metrics(self) -> dict[str, float]:
        """Means over the training steps since the last evaluation."""
        if not self.losses:
            return {}
        named: dict[str, Sequence[float]] = {
            "train/loss": self.losses,
            "train/gradient_norm": self.norms,
            "train/clipped": self.clipped,
        }
        return {
            name: math.fsum(values) / len(values) if _finite(values) else math.nan for name, values in named.items()
        }

    def note_evaluation(self, passes: bool) -> None:
        self.passed = [*self.passed, self.step] if passes else []
        if passes and self.first_passage is None:
            self.first_passage = self.step
        self.losses, self.norms, self.clipped = [], [], []
        self.border = self.next_border()

    def course(self) -> dict[str, Any]:
        """What else decides how the trial goes on: plain values."""
        return {name: copy.copy(getattr(self, name)) for name in COURSE}

    def outcome(self, status: str) -> dict[str, float]:
        """The final metrics of a trial that ends with `status`; what did not happen is absent."""
        steps_to_solve = self.passed[0] if status == SOLVED else None
        found = {"steps_to_solve": steps_to_solve, "first_passage": self.first_passage}
        happened = {name: float(step) for name, step in found.items() if step is not None}
        return {"solved": float(status == SOLVED), "trained_steps": float(self.step)} | happened


class Stack:
    """The tensors of M trials of one shape: parameters (M, P) and the buffers of their optimiser.

    `resume` says where a trial stands that joins.
    """

    def __init__(self, trials: Sequence[Trial], resume: Resume = lambda trial: None) -> None:
        first = trials[0]
        self.resume = resume
        self.shape = shape_key(first)
        self.task: Task = first.task
        self.train = first.train
        self.optimizer = OPTIMIZERS[self.train.optimizer]
        self.layout = Layout(shapes(first))
        self.slots: list[Slot] = []
        self.parameters = torch.empty(0, self.layout.width)
        self.buffers = {name: torch.empty(0, self.layout.width) for name in self.optimizer.buffers}
        self.join(trials)

    def join(self, trials: Sequence[Trial]) -> None:
        """Append trials, at step 0 or where their checkpoints left them."""
        if any(shape_key(trial) != self.shape for trial in trials):
            raise ValueError("trials of different shapes cannot train in one stack")
        checkpoints = [self.resume(trial) for trial in trials]
        with one_thread():
            starts = [
                found.tensors if found else initial(trial) for trial, found in zip(trials, checkpoints, strict=True)
            ]
            rows = torch.stack([self.layout.pack(start) for start in starts])
        self.slots += map(Slot.of, trials, checkpoints)
        self.parameters = torch.cat([self.parameters, rows])
        for name, old in self.buffers.items():
            memories = [self._buffer(name, found, row) for found, row in zip(checkpoints, rows, strict=True)]
            self.buffers[name] = torch.cat([old, torch.stack(memories)])
        self._refresh()

    def _buffer(self, name: str, checkpoint: Checkpoint | None, row: Tensor) -> Tensor:
        """(P,) one buffer of one model, as its checkpoint holds it; zeros at the beginning."""
        if checkpoint is None:
            return torch.zeros_like(row)
        return self.layout.pack({of: checkpoint.tensors[f"{name}.{of}"] for of in self.layout.sizes})

    def unseen(self) -> list[int]:
        """The places of trials at their beginning that have not been evaluated yet."""
        return [place for place, slot in enumerate(self.slots) if slot.border == 0]

    def checkpoints(self) -> dict[str, Checkpoint]:
        """Where each trial stands, by its key; to be asked for at a chunk border."""
        return {slot.trial.key: self._checkpoint(place) for place, slot in enumerate(self.slots)}

    def _checkpoint(self, place: int) -> Checkpoint:
        return Checkpoint(self.slots[place].course(), self.weights(place) | self._memory(place))

    def keep(self, places: Sequence[int]) -> None:
        """Let all trials leave but those at `places`."""
        index = torch.tensor(places, dtype=torch.long)
        self.slots = [self.slots[i] for i in places]
        self.parameters = self.parameters[index]
        self.buffers = {name: values[index] for name, values in self.buffers.items()}
        self._refresh()

    def _refresh(self) -> None:
        views = self.layout.views(self.parameters)
        self.leaves = {name: view.detach().requires_grad_() for name, view in views.items()}
        self.rates = rates([slot.trial.train for slot in self.slots])

    def weights(self, place: int) -> dict[str, Tensor]:
        """A copy of one model's parameters."""
        views = self.layout.views(self.parameters[place : place + 1])
        return {name: view[0].clone() for name, view in views.items()}

    def train_to_border(self) -> list[Record]:
        """Train until the first evaluation is due; return the records of the trials that diverged on the way."""
        diverged: list[Record] = []
        with one_thread():
            for _ in range(min(slot.border - slot.step for slot in self.slots)):
                diverged += self._train_step()
                if not self.slots:
                    break
        return diverged

    def _train_step(self) -> list[Record]:
        """One update of every model; a trial whose loss, gradient or update is not finite leaves as it was before."""
        batch = self._batch("train", range(len(self.slots)), self.train.batch_size)
        losses, found = gradients(self.slots[0].trial, self.leaves, batch, self._dropout())
        gradient = self.layout.join(found)
        norms, clipped = clip_(gradient, self.train.clip_mode, self.rates.clip_threshold)
        for slot, loss, norm, acted in zip(self.slots, losses.tolist(), norms.tolist(), clipped.tolist(), strict=True):
            slot.losses.append(loss)
            slot.norms.append(norm)
            slot.clipped.append(acted)
        before = self.parameters.clone()
        steps = [slot.step + 1 for slot in self.slots]
        now = scheduled(self.rates, [slot.trial.train for slot in self.slots], steps)
        self.optimizer.update(self.parameters, gradient, self.buffers, now, steps)
        finite = torch.isfinite(losses) & torch.isfinite(norms) & torch.isfinite(self.parameters).all(1)
        for slot, fine in zip(self.slots, finite.tolist(), strict=True):
            slot.step += fine
        if finite.all():
            return []
        self.parameters[~finite] = before[~finite]
        return self._drop(finite)

    def _drop(self, finite: Tensor) -> list[Record]:
        """Let the trials leave that diverged, those where `finite` (M,) does not hold; return their records."""
        lost = [i for i, fine in enumerate(finite.tolist()) if not fine]
        records = [self._end(i, DIVERGED, {}, self.slots[i].step + 1) for i in lost]
        self.keep(finite.nonzero()[:, 0].tolist())
        return records

    def evaluate(self, places: Sequence[int]) -> list[Record]:
        """Evaluate the trials at `places` on their held-out sequences; those that end leave the stack."""
        if not places:
            return []
        with one_thread():
            measured = self._measure(places)
        records = [self._judge(place, metrics) for place, metrics in zip(places, measured, strict=True)]
        ended = {place for place, record in zip(places, records, strict=True) if record.ended}
        if ended:
            self.keep([i for i in range(len(self.slots)) if i not in ended])
        return records

    def _measure(self, places: Sequence[int]) -> list[dict[str, float]]:
        """Metrics of the trials at `places`; in groups, so that memory is bounded."""
        trial = self.slots[0].trial
        hidden_values = self.task.length * self.train.eval_size * trial.model.hidden_size
        group = max(1, EVALUATION_ELEMENTS // hidden_values)
        measured: list[dict[str, float]] = []
        for start in range(0, len(places), group):
            group_places = list(places[start : start + group])
            parameters = {name: leaf.detach()[group_places] for name, leaf in self.leaves.items()}
            batch = self._batch("eval", group_places, self.train.eval_size)
            outputs = forward(trial, parameters, batch.inputs, self.task.scored, batch.lengths)
            metrics = self.task.metrics(outputs, at_steps(batch, self.task.scored))
            columns = {f"eval/{name}": values.tolist() for name, values in metrics.items()}
            if hasattr(trial.cell, "radius"):  # of the first layer
                columns["model/spectral_radius"] = trial.cell.radius(parameters).tolist()
            measured += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return measured

    def _judge(self, place: int, measured: dict[str, float]) -> Record:
        """The record of an evaluation, and with it the decision whether the trial has ended."""
        slot = self.slots[place]
        train = slot.trial.train
        metrics = slot.training_metrics() | measured
        metrics["eval/relative_loss"] = metrics["eval/loss"] / self.task.baseline
        if not math.isfinite(metrics["eval/loss"]):
            return self._end(place, DIVERGED, metrics, slot.step)
        if slot.step % train.eval_every == 0:  # else a larger budget would not see it: it decides nothing
            slot.note_evaluation(
                self.task.solved({name.removeprefix("eval/"): value for name, value in measured.items()})
            )
        if len(slot.passed) >= train.passes_to_solve:
            return self._end(place, SOLVED, metrics, slot.step)
        if slot.step >= train.max_steps:
            return self._end(place, EXHAUSTED, metrics, slot.step)
        weights = self.weights(place) if slot.step == 0 else {}
        return Record(slot.trial.key, slot.step, RUNNING, metrics, weights)

    def _end(self, place: int, status: str, metrics: dict[str, float], step: int) -> Record:
        """The last record of a trial; one that ran out of budget keeps what a larger budget needs to go on."""
        slot = self.slots[place]
        final = slot.training_metrics() | metrics | slot.outcome(status)
        if status != EXHAUSTED:
            return Record(slot.trial.key, step, status, final, self.weights(place))
        checkpoint = self._checkpoint(place)
        return Record(slot.trial.key, step, status, final, checkpoint.tensors, checkpoint.course)

    def _memory(self, place: int) -> dict[str, Tensor]:
        """A copy of what the optimiser remembers of one model: `velocity.W_hh`, ..."""
        rows = {name: self.layout.views(values[place : place + 1]) for name, values in self.buffers.items()}
        return {f"{name}.{of}": view[0].clone() for name, views in rows.items() for of, view in views.items()}

    def _dropout(self) -> list[Tensor]:
        """Factors (M, T, B, directions x padded H) for what each layer but the last gives to the next."""
        model = self.slots[0].trial.model
        if not model.dropout:
            return []
        shape = self.task.length, self.train.batch_size, (2 if model.bidirectional else 1) * model.hidden_size
        wanted = [(slot.trial.seed, slot.step) for slot in self.slots]
        masks = []
        for level in range(model.layers - 1):
            drawn = {
                (seed, step): generator(seed, f"dropout.{level}", step).random(shape, dtype=np.float32)
                for seed, step in set(wanted)
            }
            passed = torch.stack([torch.from_numpy(drawn[pair]) for pair in wanted]) >= model.dropout
            masks.append(padded_blocks(passed / (1 - model.dropout), 3, model.hidden_size))
        return masks

    def _batch(self, purpose: str, places: Sequence[int], size: int) -> Batch:
        """(M, T, B, ...) the data of the trials at `places`, drawn once for all that share it."""
        slots = [self.slots[place] for place in places]
        if purpose == "eval":
            return held_out(self.task, [slot.trial.seed for slot in slots], size)
        return _drawn(self.task.sample, purpose, [(slot.trial.seed, slot.step) for slot in slots], size)


def held_out(task: Task, seeds: Sequence[int], size: int) -> Batch:
    """(M, T, B, ...) the sequences on which trials with these seeds are evaluated."""
    return _drawn(getattr(task, "held_out", task.sample), "eval", [(seed, 0) for seed in seeds], size)


def _drawn(
    sample: Callable[[np.random.Generator, int], Batch], purpose: str, wanted: Sequence[tuple[int, int]], size: int
) -> Batch:
    """(M, T, B, ...) data of streams, given as (seed, step); drawn once for all that share one."""
    distinct = list(dict.fromkeys(wanted))
    drawn = stacked([sample(generator(seed, purpose, step), size) for seed, step in distinct])
    if len(distinct) == len(wanted):
        return drawn
    return chosen(drawn, torch.tensor([distinct.index(pair) for pair in wanted]))


def continues(trial: Trial, checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint holds exactly what this trial needs to go on, within its budget."""
    sizes = shapes(trial)
    buffers = [f"{name}." for name in OPTIMIZERS[trial.train.optimizer].buffers]
    wanted = {prefix + name: shape for prefix in ("", *buffers) for name, shape in sizes.items()}
    found = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    step = checkpoint.course.get("step")
    in_budget = isinstance(step, int) and 0 <= step < trial.train.max_steps
    return found == wanted and set(checkpoint.course) == set(COURSE) and in_budget


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch computes with one thread: with more, sums are split and their bits depend on the stack."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _finite(values: Sequence[float]) -> bool:
    return all(map(math.isfinite, values))
