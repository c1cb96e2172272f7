"""The network of a trial, stacked: symbols or real inputs -> (embedding) -> recurrent layers -> linear readout.

Parameters are a dict of tensors with leading axis M; a single model is M = 1. Those of the first layer are named as
the cell names them (`W_xh`, `W_hh`, `b_h`), those of layer 1, 2, ... begin with `layer1.`, those of the backward
direction with `backward.`, those of the encoder, where there is one, with `encoder.`; beside them W_hy (M, O,
directions x H), b_y (M, O) and the embedding E (M, V, embedding size).

Shapes: M models, T time, B sequences, I input size, H hidden units, K scored steps, O output size, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.aligned import ALIGNMENT, affine, aligned, padded, padded_blocks, project, vectors, without_padding
from rnnlab.cells import State, Weights
from rnnlab.inits import standard_normal
from rnnlab.looped import unroll_modules
from rnnlab.seeding import generator
from rnnlab.tasks import MANY_TO_ONE, SEQUENCE_TO_SEQUENCE
from rnnlab.trial import Trial
from rnnlab.unroll import ALL, unroll

ENCODER = "encoder."
States = Sequence[State]  # of each layer


class Part(NamedTuple):
    """One layer in one direction: where its parameters are."""

    prefix: str  # of their names
    inputs: int  # size of what it reads
    level: int  # 0: the first layer
    backward: bool


def parts(trial: Trial, encoder: bool = False) -> Iterator[Part]:
    """The layers of a network, or of its encoder, the lowest first, forward before backward."""
    before = ENCODER if encoder else ""
    for level in range(trial.model.layers):
        inputs = directions(trial) * trial.model.hidden_size if level else input_size(trial)
        for backward in range(directions(trial)):
            prefix = f"{before}{f'layer{level}.' if level else ''}{'backward.' if backward else ''}"
            yield Part(prefix, inputs, level, bool(backward))


def all_parts(trial: Trial) -> list[Part]:
    """The layers of a network and of its encoder."""
    return [*parts(trial), *(parts(trial, encoder=True) if trial.task.form == SEQUENCE_TO_SEQUENCE else ())]


def directions(trial: Trial) -> int:
    return 2 if trial.model.bidirectional else 1


def input_size(trial: Trial) -> int:
    """The size of what the first layer reads."""
    return trial.model.embedding_size or trial.task.input_size


def shapes(trial: Trial) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of one model, in the order in which they are stored."""
    hidden, outputs = trial.model.hidden_size, trial.task.output_size
    found = {
        part.prefix + name: shape
        for part in all_parts(trial)
        for name, shape in trial.cell.shapes(part.inputs, hidden).items()
    }
    found |= {"W_hy": (outputs, directions(trial) * hidden), "b_y": (outputs,)}
    return found | ({"E": (trial.task.input_size, trial.model.embedding_size)} if trial.model.embedding_size else {})


def parameter_count(trial: Trial) -> int:
    """Number of trained parameters of one model."""
    return sum(math.prod(shape) for shape in shapes(trial).values())


def initial(trial: Trial) -> dict[str, Tensor]:
    """The parameters of one model before training (no model axis), in float32.

    What is recurrent comes from the cell and the trial's init. W_xh ~ N(0, input_scale^2) in the first layer, and N(0,
    1/inputs) above it, which keeps the scale of the states below; W_hy ~ N(0, 1/inputs), E ~ N(0, 1/embedding size), so
    that a symbol's vector is as long as a one-hot one; biases of the readout are 0. Each matrix has its own random
    stream, so changing one setting leaves the other matrices as they were.
    """
    drawn: dict[str, Tensor] = {}
    for part in all_parts(trial):
        scale = 1 / math.sqrt(part.inputs) if part.level else trial.init.input_scale

        def streams(name: str, prefix: str = part.prefix) -> np.random.Generator:
            return generator(trial.seed, f"init.{prefix}{name}")

        found = trial.cell.initial(trial.init, streams, part.inputs, trial.model.hidden_size, scale)
        drawn |= {part.prefix + name: values for name, values in found.items()}
    sizes = shapes(trial)
    outputs, states = sizes["W_hy"]
    drawn["W_hy"] = standard_normal(generator(trial.seed, "init.readout"), outputs, states) / math.sqrt(states)
    drawn["b_y"] = torch.zeros(outputs, dtype=torch.float64)
    if "E" in sizes:
        symbols, width = sizes["E"]
        drawn["E"] = standard_normal(generator(trial.seed, "init.embedding"), symbols, width) / math.sqrt(width)
    return {name: drawn[name].to(torch.float32) for name in sizes}


def forward(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    scored: slice,
    lengths: Tensor | None = None,
    dropout: Sequence[Tensor] = (),
) -> Tensor:
    """(M, K, B, O) the outputs at the K time steps of `scored`, from state 0.

    trial:   says what the network consists of; that of any model of the stack
    inputs:  (M, T, B) integer symbols or (M, T, B, I) real values
    lengths: (M, B) steps of each sequence, None where all have T
    dropout: factors (M, T, B, directions x padded H) of what each layer but the last gives to the next
    """
    start: States | None = None
    if trial.task.form == SEQUENCE_TO_SEQUENCE:
        begin = trial.task.source_length
        read = [factors[:, :begin] for factors in dropout]
        _, start = run(trial, parameters, inputs[:, :begin], slice(0, 0), lengths, read, encoder=True)
        dropout = [factors[:, begin:] for factors in dropout]
        inputs, scored, lengths = inputs[:, begin:], slice(scored.start - begin, scored.stop - begin), None
    return run(trial, parameters, inputs, scored, lengths, dropout, start)[0]


def run(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    scored: slice,
    lengths: Tensor | None = None,
    dropout: Sequence[Tensor] = (),
    start: States | None = None,
    encoder: bool = False,
) -> tuple[Tensor, list[State]]:
    """The outputs at the steps `scored`, and the state of each layer after the last step, from the states `start`.

    A network in two directions has no use for states: it needs the whole sequence. An encoder has no outputs; its state
    is that at the end of each sequence.
    """
    values, raw = inputs, True
    if trial.model.embedding_size:
        values, raw = embed(parameters["E"], inputs, getattr(trial.task, "padding", None)), False
    states: list[State] = []
    levels = trial.model.layers
    found = list(parts(trial, encoder))
    for level in range(levels):
        keep = scored if level == levels - 1 else ALL
        ahead, *back = [part for part in found if part.level == level]
        begun = start[level] if start is not None else None
        output, last = layer(trial, parameters, ahead, values, raw, keep, begun, lengths if encoder else None)
        if back:
            whole = level == levels - 1 and trial.task.form == MANY_TO_ONE
            behind = _from_behind(trial, parameters, back[0], values, raw, lengths)
            kept = len(range(behind.shape[1])[keep])
            output = torch.cat([output, behind[:, :1].expand(-1, kept, -1, -1) if whole else behind[:, keep]], dim=-1)
        states.append(last)
        if level < len(dropout):
            output = output * dropout[level]
        values, raw = output, False
    return (values if encoder else read_out(trial, parameters, values)), states


def layer(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    part: Part,
    values: Tensor,
    raw: bool,
    keep: slice,
    start: State | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, State]:
    """(M, K, B, padded H) the output of one layer at the steps `keep`, and its state after the last one.

    raw:     whether `values` are the inputs of the task, else aligned values (M, T, B, padded)
    lengths: (M, B) the steps after which the state stays as it is
    """
    if hasattr(trial.cell, "module"):
        return _module_layer(trial, parameters, part, values, raw, keep, start)
    own, weights, projected = prepared(trial, parameters, part, values, raw)
    active = None
    if lengths is not None:
        active = torch.arange(projected.shape[1])[None, :, None] < lengths.unsqueeze(1)
    output, last = unroll(trial.cell, projected, start or at_rest(trial, projected), weights, keep, active)
    emit = getattr(trial.cell, "emit", None)
    return (emit(own, output, trial.model.hidden_size) if emit else output), last


def _module_layer(
    trial: Trial,
    parameters: Mapping[str, Tensor],
    part: Part,
    values: Tensor,
    raw: bool,
    keep: slice,
    start: State | None,
) -> tuple[Tensor, State]:
    hidden = trial.model.hidden_size
    own = {name: parameters[part.prefix + name] for name in trial.cell.shapes(part.inputs, hidden)}
    if raw:
        given = vectors(values, part.inputs, getattr(trial.task, "padding", None)).to(parameters["b_y"].dtype)
    else:
        given = without_padding(values, hidden if part.level else part.inputs)
    outputs, states = unroll_modules(trial.cell, own, given, hidden, start)
    return padded_blocks(outputs[:, keep], 3, hidden), states


def prepared(
    trial: Trial, parameters: Mapping[str, Tensor], part: Part, values: Tensor, raw: bool
) -> tuple[dict[str, Tensor], Weights, Tensor]:
    """A layer's own parameters, what it computes with, padded, and its projected inputs (M, T, B, G)."""
    cell, hidden = trial.cell, trial.model.hidden_size
    own = {name: parameters[part.prefix + name] for name in cell.shapes(part.inputs, hidden)}
    weights = cell.weights(own).padded(hidden)
    if raw:
        return own, weights, project(values, weights.inputs, weights.bias, getattr(trial.task, "padding", None))
    block = hidden if part.level else part.inputs
    return own, weights, affine(values, padded_blocks(weights.inputs, 2, block), weights.bias)


def at_rest(trial: Trial, projected: Tensor) -> State:
    """The state before the first step."""
    models, _, batch, _ = projected.shape
    return (projected.new_zeros(models, batch, aligned(trial.model.hidden_size)),) * trial.cell.states


def _from_behind(
    trial: Trial, parameters: Mapping[str, Tensor], part: Part, values: Tensor, raw: bool, lengths: Tensor | None
) -> Tensor:
    """(M, T, B, padded H) the output of a layer that reads each sequence from its end.

    At step 0 it has read the whole sequence: this is what a single output for the whole sequence needs, not the output
    at the last step, which has read the last input alone.
    """
    output, _ = layer(trial, parameters, part, turned(values, lengths), raw, ALL)
    return turned(output, lengths)


def turned(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence (M, T, B, ...) from its end to its beginning; the padding after it stays where it is."""
    if lengths is None:
        return values.flip(1)
    times = torch.arange(values.shape[1])[None, :, None]
    last = lengths.unsqueeze(1) - 1
    index = torch.where(times <= last, last - times, times)
    for _ in range(values.ndim - 3):
        index = index.unsqueeze(-1)
    return values.gather(1, index.expand(values.shape))


def embed(table: Tensor, symbols: Tensor, padding: int | None) -> Tensor:
    """(M, T, B, padded width) the vectors of symbols by the table (M, V, width); that of `padding` is zero."""
    weights = padded(table.mT, (1, ALIGNMENT))
    return project(symbols, weights, weights.new_zeros(weights.shape[:2]), padding)


def read_out(trial: Trial, parameters: Mapping[str, Tensor], states: Tensor) -> Tensor:
    """(M, K, B, O) y = W_hy h + b_y of the aligned states (M, K, B, directions x padded H)."""
    weights = padded_blocks(parameters["W_hy"], 2, trial.model.hidden_size)
    return affine(states, weights, parameters["b_y"])[..., : weights.shape[1]]


class Layout:
    """Where each parameter of a model lies in one row of P numbers.

    Clipping and the optimiser then are a few operations on (M, P), and a trial joins or leaves a
    stack as one row. P is a multiple of `ALIGNMENT`; the rest of a row is zero.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        self.sizes = dict(sizes)
        used = sum(math.prod(shape) for shape in self.sizes.values())
        self.width = aligned(used)
        self.padding = self.width - used

    def pack(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(P,) the row of one model; its parameters have no model axis."""
        return self.join([parameters[name].unsqueeze(0) for name in self.sizes])[0]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """(M, P) rows from the stacked tensors, given in the order of `sizes`."""
        models = tensors[0].shape[0]
        rest = tensors[0].new_zeros(models, self.padding)
        return torch.cat([tensor.reshape(models, -1) for tensor in tensors] + [rest], dim=1)

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """The stacked parameters as views into `rows` (M, P)."""
        pieces = rows.split([*(math.prod(shape) for shape in self.sizes.values()), self.padding], dim=1)
        return {
            name: piece.view(len(piece), *shape)
            for (name, shape), piece in zip(self.sizes.items(), pieces, strict=False)
        }
