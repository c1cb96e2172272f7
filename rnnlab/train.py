"""Train a stack: trials of one shape, side by side along a leading model axis, each as if it were alone.

`chunks` trains from one evaluation to the next and yields a `Record` of every trial at step 0, at each evaluation
and at its end. Trials leave the stack when they are solved, exhausted or diverged, and waiting ones join at the next
chunk border, so the stack stays full. At a border a trial can be taken down as a `Checkpoint`, from which it goes
on in any other stack as if nothing had happened. No input or output, no clock, no global random state.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from rnnlab.bptt import gradients
from rnnlab.draws import Stream, dropout_factors, held_out, training_batch
from rnnlab.model import Layout, forward, initial, shapes
from rnnlab.optim import OPTIMIZERS, clip_, rates, scheduled
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, UPDATE_RATIO, Checkpoint, Observation, Record
from rnnlab.slot import COURSE, Slot
from rnnlab.tasks import Task, at_steps
from rnnlab.trial import Trial, shape_key

EVALUATION_ELEMENTS = 2**24  # at most so many hidden values (models x time x sequences x units) at once

Refill = Callable[[int], Sequence[Trial]]  # free places -> trials of the same shape that take them
Resume = Callable[[Trial], Checkpoint | None]  # where a trial stands, None: at its beginning


class Watch(Protocol):
    """Observes trials while they train, and changes nothing: `rnnlab.watch`."""

    def due(self, trial: Trial, step: int) -> bool:
        """Whether a trial that goes on is observed at the evaluation after so many steps."""

    def observe(
        self, trials: Sequence[Trial], parameters: Mapping[str, Tensor], steps: Sequence[int], ended: Sequence[bool]
    ) -> list[Observation]:
        """What is observed of trials with these stacked parameters, after so many steps."""


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


class Stack:
    """The tensors of M trials of one shape: parameters (M, P) and the buffers of their optimiser.

    `resume` says where a trial stands that joins; `watch` observes trials at evaluations and at their ends.
    """

    def __init__(
        self, trials: Sequence[Trial], resume: Resume = lambda trial: None, watch: Watch | None = None
    ) -> None:
        first = trials[0]
        self.resume, self.watch = resume, watch
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
        trial, streams = self.slots[0].trial, self._streams()
        batch = training_batch(self.task, streams, self.train.batch_size)
        losses, found = gradients(trial, self.leaves, batch, dropout_factors(trial, streams))
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
        if self.watch is not None:
            self._note_movement(before)
        finite = torch.isfinite(losses) & torch.isfinite(norms) & torch.isfinite(self.parameters).all(1)
        for slot, fine in zip(self.slots, finite.tolist(), strict=True):
            slot.step += fine
        if finite.all():
            return []
        self.parameters[~finite] = before[~finite]
        return self._drop(finite)

    def _note_movement(self, before: Tensor) -> None:
        """For trials with which this step is the last before an evaluation, how far it went, relative to the start."""
        last = [slot.step + 1 == slot.border for slot in self.slots]
        if any(last):
            both = torch.stack([self.parameters - before, before])
            moved, begun = torch.linalg.vector_norm(both, dim=2, dtype=torch.float64)
            for slot, share in itertools.compress(zip(self.slots, (moved / begun).tolist(), strict=True), last):
                slot.moved = share

    def _drop(self, finite: Tensor) -> list[Record]:
        """Let the trials leave that diverged, those where `finite` (M,) does not hold; return their records."""
        lost = [i for i, fine in enumerate(finite.tolist()) if not fine]
        records = self._observed(lost, [self._end(i, DIVERGED, {}, self.slots[i].step + 1) for i in lost])
        self.keep(finite.nonzero()[:, 0].tolist())
        return records

    def evaluate(self, places: Sequence[int]) -> list[Record]:
        """Evaluate the trials at `places` on their held-out sequences; those that end leave the stack."""
        if not places:
            return []
        with one_thread():
            measured = self._measure(places)
            records = [self._judge(place, metrics) for place, metrics in zip(places, measured, strict=True)]
            records = self._observed(places, records)
        ended = {place for place, record in zip(places, records, strict=True) if record.ended}
        if ended:
            self.keep([i for i in range(len(self.slots)) if i not in ended])
        return records

    def _observed(self, places: Sequence[int], records: Sequence[Record]) -> list[Record]:
        """The records of the trials at `places`, with what is observed of those where that is due."""
        records, slots = list(records), [self.slots[place] for place in places]
        watch = self.watch
        if watch is None:
            return records
        due = [i for i, record in enumerate(records) if record.ended or watch.due(slots[i].trial, record.step)]
        moved = [slot.moved for slot in slots]
        for slot in slots:
            slot.moved = math.nan  # it was that of the step before this evaluation alone
        if not due:
            return records
        parameters = {name: leaf.detach()[[places[i] for i in due]] for name, leaf in self.leaves.items()}
        ended = [records[i].ended for i in due]
        found = watch.observe([slots[i].trial for i in due], parameters, [records[i].step for i in due], ended)
        for i, one in zip(due, found, strict=True):
            ratio = {UPDATE_RATIO: moved[i]} if math.isfinite(moved[i]) else {}
            metrics = {**records[i].metrics, **one.metrics, **ratio}
            records[i] = replace(records[i], metrics=metrics, observed=one.details or {})
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
            seeds = [self.slots[place].trial.seed for place in group_places]
            batch = held_out(self.task, seeds, self.train.eval_size)
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
        metrics = slot.training_metrics() | measured
        metrics["eval/relative_loss"] = metrics["eval/loss"] / self.task.baseline
        if not math.isfinite(metrics["eval/loss"]):
            return self._end(place, DIVERGED, metrics, slot.step)
        if slot.evaluation_counts():
            slot.note_evaluation(
                self.task.solved({name.removeprefix("eval/"): value for name, value in measured.items()})
            )
        if (status := slot.status()) != RUNNING:
            return self._end(place, status, metrics, slot.step)
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

    def _streams(self) -> list[Stream]:
        """By which the draws of the next training step are named, for each trial."""
        return [(slot.trial.seed, slot.step) for slot in self.slots]


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
