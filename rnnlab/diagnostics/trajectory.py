"""What a network does with a batch, step by step: the states of each layer, and what led from one to the next.

It computes what `rnnlab.model.forward` computes without dropout, by autograd's own steps instead of the fast paths, so
that the gradient with respect to every single state can be asked for.

Shapes: M models, T time, B sequences, H hidden units, K scored steps, O outputs, G features that a step is fed with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rnnlab.cells import Cell, State, Weights
from rnnlab.model import ALL, ENCODER, Part, States, at_rest, directions, embed, parts, prepared, read_out, turned
from rnnlab.refusal import BadInput
from rnnlab.spec import name_of
from rnnlab.tasks import MANY_TO_ONE, SEQUENCE_TO_SEQUENCE, Batch
from rnnlab.trial import Trial
from rnnlab.unroll import emitted, step


@dataclass(frozen=True)
class Trajectory:
    """The course of one layer in one direction.

    A layer of the backward direction reads the sequence from its end, and its states stand in that order.
    """

    part: Part
    cell: Cell
    weights: Weights  # padded to multiples of `aligned.ALIGNMENT`, as all that follows
    projected: Tensor  # (M, T, B, G) projected inputs
    states: Sequence[Tensor]  # T + 1 of (M, B, n x padded H), its n tensors joined; first the one before any step
    hidden: int  # H
    active: Tensor | None = None  # (M, T, B) false where a sequence has ended: its state stays as it is
    begin: int = 0  # the time step of the sequence at which the layer starts: a decoder begins after the source

    def outputs(self) -> Tensor:
        """(M, T, B, padded H) the first tensor of the state after each step: h_t."""
        return torch.stack([self.split(state)[0] for state in self.states[1:]], dim=1)

    def split(self, joined: Tensor) -> State:
        """The n tensors of a state."""
        return tuple(joined.chunk(self.cell.states, dim=-1))

    @property
    def coordinates(self) -> Tensor:
        """(n H,) the places in a joined state that are no padding."""
        width = self.states[0].shape[-1]
        return torch.arange(width).unflatten(0, (self.cell.states, -1))[:, : self.hidden].flatten()

    @property
    def name(self) -> str:
        """`layer 1`, `layer 2 backward`, `encoder layer 1`."""
        encoder = "encoder " if self.part.prefix.startswith(ENCODER) else ""
        return f"{encoder}layer {self.part.level + 1}{' backward' if self.part.backward else ''}"

    @property
    def recurrent(self) -> Tensor | None:
        """(M, H, H) W_hh without padding, where the cell has one that is square."""
        recurrent = self.weights.recurrent
        if recurrent is None or recurrent.shape[1] != recurrent.shape[2]:
            return None
        return recurrent[:, : self.hidden, : self.hidden]

    def lengths_in(self, batch: Batch) -> Tensor | None:
        """(M, B) those of the batch; None in a decoder: the lengths of a source say nothing of what it writes."""
        return None if self.begin else batch.lengths

    def steps(self, lengths: Tensor | None = None) -> Tensor:
        """(M, B) the steps of each sequence: `lengths` where given, else those in which its state moves."""
        models, steps, batch = self.projected.shape[:3]
        if lengths is not None:
            return lengths
        return torch.full((models, batch), steps) if self.active is None else self.active.sum(1)

    def of_sequences(self, places: slice) -> Trajectory:
        """The same of some of the sequences."""
        active = None if self.active is None else self.active[:, :, places]
        states = [state[:, places] for state in self.states]
        return replace(self, states=states, projected=self.projected[:, :, places], active=active)

    def detached(self) -> Trajectory:
        """The same without what gradients need."""
        return self._each(Tensor.detach)

    def doubled(self) -> Trajectory:
        """The same states, in float64."""
        return self._each(Tensor.double)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Trajectory:
        states = [change(state) for state in self.states]
        return replace(self, states=states, projected=change(self.projected), weights=changed(self.weights, change))


def trajectories(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> tuple[list[Trajectory], Tensor]:
    """The trajectory of each layer, the lowest first (an encoder's before the decoder's), and the outputs (M, K, B, O).

    parameters: stacked, (M, ...) each; trial: that of any model of the stack; batch: with a model axis. Raises
    `BadInput` for a cell without a state of fixed size.

    Where gradients are recorded, the states depend on a first state that requires one, so that they can be asked for
    the gradient of a loss even if no parameter is.
    """
    if hasattr(trial.cell, "module"):
        raise BadInput(f"cell={name_of(trial.cell)}: has no states that could be looked at; must be a recurrent cell")
    found: list[Trajectory] = []
    inputs, scored, lengths, begin, start = batch.inputs, trial.task.scored, batch.lengths, 0, None
    if trial.task.form == SEQUENCE_TO_SEQUENCE:
        begin = trial.task.source_length
        read = _run(trial, parameters, inputs[:, :begin], lengths, encoder=True)
        found += read[0]
        start = [path.split(path.states[-1]) for path in read[0]]
        inputs, scored, lengths = inputs[:, begin:], slice(scored.start - begin, scored.stop - begin), None
    paths, values = _run(trial, parameters, inputs, lengths, start, begin=begin, keep=scored)
    return found + paths, read_out(trial, parameters, values)


def doubled(batch: Batch) -> Batch:
    """Real values in float64; symbols as they are."""

    def each(values: Tensor) -> Tensor:
        return values.double() if values.is_floating_point() else values

    return batch._replace(inputs=each(batch.inputs), targets=each(batch.targets))


def changed(weights: Weights, change: Callable[[Tensor], Tensor]) -> Weights:
    """With `change` applied to each tensor."""

    def each(values: Tensor | None) -> Tensor | None:
        return None if values is None else change(values)

    gains = tuple(change(gain) for gain in weights.gains)
    inputs, bias = change(weights.inputs), change(weights.bias)
    return Weights(inputs, bias, each(weights.recurrent), each(weights.recurrent_bias), gains)


def _run(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    lengths: Tensor | None,
    start: States | None = None,
    encoder: bool = False,
    begin: int = 0,
    keep: slice = ALL,
) -> tuple[list[Trajectory], Tensor]:
    """As `rnnlab.model.run`: the trajectories, and what the last layer gives at the steps `keep`."""
    values, raw = inputs, True
    if trial.model.embedding_size:
        values, raw = embed(parameters["E"], inputs, getattr(trial.task, "padding", None)), False
    found: list[Trajectory] = []
    for part in parts(trial, encoder):
        given = turned(values, lengths) if part.backward else values
        path, output = _layer(trial, parameters, part, given, raw, start, lengths if encoder else None, begin)
        found.append(path)
        if not part.backward:
            outputs = [output]
        else:
            outputs.append(turned(output, lengths))
        if len(outputs) == directions(trial):
            top = part.level == trial.model.layers - 1
            if top and len(outputs) == 2 and trial.task.form == MANY_TO_ONE:
                outputs[1] = outputs[1][:, :1].expand_as(outputs[0])
            values, raw = torch.cat(outputs, dim=-1) if len(outputs) == 2 else output, False
    return found, values[:, keep]


def _layer(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    part: Part,
    values: Tensor,
    raw: bool,
    start: States | None,
    lengths: Tensor | None,
    begin: int,
) -> tuple[Trajectory, Tensor]:
    own, weights, projected = prepared(trial, parameters, part, values, raw)
    active = None
    if lengths is not None:
        active = torch.arange(projected.shape[1])[None, :, None] < lengths.unsqueeze(1)
    before = start[part.level] if start is not None and not part.backward else at_rest(trial, projected)
    states = [*_joined(trial.cell, before, weights, projected, active)]
    path = Trajectory(part, trial.cell, weights, projected, states, trial.model.hidden_size, active, begin)
    output = torch.stack([emitted(trial.cell, path.split(state)) for state in path.states[1:]], dim=1)
    emit = getattr(trial.cell, "emit", None)
    return path, emit(own, output, trial.model.hidden_size) if emit else output


def _joined(cell: Cell, start: State, weights: Weights, projected: Tensor, active: Tensor | None) -> Iterator[Tensor]:
    """The states, the first before any step, each as one tensor on which all that follows depends.

    Joined, the tensors of a state are coordinates of their own: where a cell computes one of them from another (an
    LSTM's h from its c), the gradient with respect to the other would count that way twice.
    """
    joined = torch.cat(start, dim=-1)
    if torch.is_grad_enabled() and not joined.requires_grad:
        joined.requires_grad_()
    yield joined
    for t, step_input in enumerate(projected.unbind(1)):
        after = torch.cat(step(cell, step_input, tuple(joined.chunk(cell.states, dim=-1)), weights), dim=-1)
        joined = after if active is None else torch.where(active[:, t].unsqueeze(-1), after, joined)
        yield joined
