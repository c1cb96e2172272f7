"""Bytes of the tensors that are alive at once while a stack trains or is evaluated.

Counted stage by stage, as `train.py`, `draws.py`, `bptt.py`, `model.py` and `unroll.py` make and drop them;
`tests/test_cost.py` compares with what torch allocates.

Shapes: M models, T time, B sequences, K scored steps, H hidden units, P parameters of one model.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.aligned import ALIGNMENT, aligned, granule_of
from rnnlab.cells import Cell
from rnnlab.looped import saved_numbers
from rnnlab.model import ENCODER, Layout, Part, all_parts, directions, shapes
from rnnlab.optim import OPTIMIZERS
from rnnlab.seeding import generator
from rnnlab.spec import name_of
from rnnlab.train import EVALUATION_ELEMENTS
from rnnlab.trial import Trial

NUMBER = 4  # bytes of a float32
EXPONENTIAL = 50  # matrices (H, H) that the exponential of one makes on its way back, measured
UPDATE_ROWS = {"sgd": 1, "rmsprop": 2, "adam": 3, "adamw": 3}  # temporary rows of P numbers that an update makes


def training_bytes(trial: Trial, width: int) -> int:
    """The peak of the tensors of a stack of `width` such trials while it trains."""
    rows = _Rows(trial, width)
    sizes = _Sizes(trial, trial.train.batch_size, width, trial.train.truncation)
    summed = 0 if trial.train.truncation is None else 2 * rows.row  # over windows: the sum, and what is added to it
    return rows.held + sizes.data + max(summed + sizes.training(), rows.update + sizes.outputs - sizes.data)


def evaluation_bytes(trial: Trial, width: int) -> int:
    """The peak of the tensors of a stack of `width` such trials while it is evaluated, in groups as `train.py` does."""
    size, hidden = trial.train.eval_size, trial.model.hidden_size
    group = min(width, max(1, EVALUATION_ELEMENTS // (trial.task.length * size * hidden)))
    sizes = _Sizes(trial, size, group)
    copied = _Rows(trial, group).row
    return _Rows(trial, width).held + copied + sizes.data + max(sizes.evaluating(), 4 * NUMBER * hidden**2)


def peak_bytes(trial: Trial, width: int) -> int:
    """The peak of the tensors of a stack of `width` such trials."""
    return max(training_bytes(trial, width), evaluation_bytes(trial, width))


def parameter_rows(trial: Trial) -> int:
    """How often a stack holds P numbers for each model, always: parameters and buffers."""
    return 1 + len(OPTIMIZERS[trial.train.optimizer].buffers)


def update_bytes(trial: Trial, width: int) -> int:
    """Parameters, buffers and what an update of so many models holds beside them."""
    rows = _Rows(trial, width)
    return rows.held + rows.update


def width_of_step(trial: Trial) -> int:
    """Of how many blocks of H the features consist that one step of all layers is fed with."""
    if not hasattr(trial.cell, "module"):
        return footprint(trial.cell).features * len(all_parts(trial))
    hidden, steps, batch = trial.model.hidden_size, trial.task.length, trial.train.batch_size
    saved = sum(saved_numbers(trial.cell, part.inputs, hidden, steps, batch) for part in all_parts(trial))
    return math.ceil(saved / (hidden * steps * batch))


def largest_tensor_bytes(trial: Trial) -> int:
    """The largest tensor over all steps that training one model makes."""
    return _Sizes(trial, trial.train.batch_size, 1, trial.train.truncation).largest


class _Rows:
    """Bytes of tensors (M, P)."""

    def __init__(self, trial: Trial, models: int) -> None:
        self.row = models * NUMBER * Layout(shapes(trial)).width
        self.held = parameter_rows(trial) * self.row
        self.update = (3 + UPDATE_ROWS[trial.train.optimizer]) * self.row  # the gradient twice, the parameters before


class _Layer(NamedTuple):
    """Bytes of one layer in one direction."""

    held: int  # from its forward pass until its backward pass
    forward: int  # beside, at the peak of its forward pass
    backward: int  # beside, at the peak of its backward pass
    given: int  # of its output, in an evaluation
    evaluated: int  # at the peak of an evaluation, its output included


class _Sizes:
    """Bytes of tensors over time, of `models` models at `batch` sequences; `window`: of truncated BPTT."""

    def __init__(self, trial: Trial, batch: int, models: int, window: int | None = None) -> None:
        self.trial, self.batch, self.models = trial, batch, models
        task = trial.task
        one = task.sample(generator(0, "cost"), 1)
        self.data = models * batch * sum(field.nbytes for field in one if field is not None)
        self.window = min(window or task.length, task.length)
        asked = len(range(task.length)[task.scored])
        self.scored = min(self.window, asked)
        self.hidden = aligned(trial.model.hidden_size)
        columns = max(2, granule_of(self.scored * batch))
        self.outputs = self._numbers(self.scored * math.ceil(task.output_size / columns) * columns)
        self.read = self._numbers(self.scored * ALIGNMENT) + 2 * self.outputs  # the constant of the bias, twice outputs
        borders = 0 if window is None else math.ceil(asked / window)
        states = getattr(trial.cell, "states", 1)
        self.borders = borders * states * trial.model.layers * self._numbers(self.hidden)
        parts = sorted(all_parts(trial), key=lambda part: not part.prefix.startswith(ENCODER))
        self.layers = [self._layer(part) for part in parts]
        # Masks cover the whole sequence, and each layer but the last gives a product to the next
        blanked = trial.model.layers - 1 if trial.model.dropout else 0
        self.masks = blanked * directions(trial) * self._numbers((task.length + self.window) * self.hidden)

    def training(self) -> int:
        """The peak from the forward to the backward pass."""
        held = peak = self.borders + self.masks
        for layer in self.layers:
            peak = max(peak, held + layer.held + layer.forward)
            held += layer.held
        peak = max(peak, held + self.read + self.outputs)
        both = directions(self.trial)
        by_output = both * self._numbers(self.scored * self.hidden)
        for layer in reversed(self.layers):
            peak = max(peak, held + by_output + self.outputs + layer.backward)
            held -= layer.held
            by_output = both * self._numbers(self.window * self.hidden)
        squares = EXPONENTIAL + 8 * self.models if name_of(self.trial.cell) == "orthogonal" else 0
        if self.trial.train.omega:  # the states, their copy and errors, each with its direction
            peak += 5 * self._numbers(self.window * self.hidden)
        return max(peak, self.borders + squares * NUMBER * self.hidden**2)

    def evaluating(self) -> int:
        """The peak of a forward pass without gradients."""
        below, peak = 0, 0
        for layer in self.layers:
            peak = max(peak, below + layer.evaluated)
            below = layer.given
        return max(peak, below + self.read)

    @property
    def largest(self) -> int:
        if hasattr(self.trial.cell, "module"):  # its models run one after another
            return self._extended(self.window)
        features = footprint(self.trial.cell).features
        return max(self._numbers((self.window + 1) * self.hidden * features), self._extended(self.window))

    def _extended(self, steps: int) -> int:
        """One-hot vectors, or real inputs, with the bias's input and padding."""
        granule = granule_of(steps * self.batch)
        return self._numbers(steps * math.ceil((self.trial.task.input_size + 1) / granule) * granule)

    def _shape(self, part: Part) -> dict[str, tuple[int, ...]]:
        return self.trial.cell.shapes(part.inputs, self.trial.model.hidden_size)

    def _numbers(self, for_each_sequence: int) -> int:
        return self.models * self.batch * NUMBER * for_each_sequence

    def _layer(self, part: Part) -> _Layer:
        trial, both = self.trial, self.trial.model.bidirectional
        encoder, top = part.prefix.startswith(ENCODER), part.level == trial.model.layers - 1
        steps = self.window
        if hasattr(trial.task, "source_length"):
            source = trial.task.source_length
            steps = source if encoder else trial.task.length - source
        unit = self._numbers(steps * self.hidden)
        kept = 0 if encoder and top else self._numbers(self.scored * self.hidden) if top else unit
        inputs = self._extended(steps) if part.level == 0 else self._numbers(steps * ALIGNMENT)
        if part.level == 0 and trial.model.embedding_size:  # one-hot vectors, then those of the embedding
            inputs += self._numbers(steps * (aligned(trial.model.embedding_size) + ALIGNMENT))
        # Reading from the end turns inputs and outputs round; the outputs of both directions are joined
        turned = (2 * unit * (part.level > 0) + unit + 2 * kept) if part.backward else 0
        sizes = [math.prod(map(aligned, shape)) for shape in self._shape(part).values()]
        weights = self.models * NUMBER * max(sizes)
        if hasattr(trial.cell, "module"):
            return self._module(part, steps, unit, kept, turned)
        if getattr(trial.cell, "elman", None) is not None and not encoder:
            layer = self._elman(unit, unit if part.backward else kept, inputs, weights)
            below = 0 if top and not both else layer.given if self.models > 1 or both else 0
            return layer._replace(held=layer.held + below + turned, evaluated=layer.evaluated + turned)
        above = part.level > 0 or bool(trial.model.embedding_size)
        return self._any_cell(unit, unit if part.backward else kept, inputs, weights, turned, above)

    def _module(self, part: Part, steps: int, unit: int, kept: int, turned: int) -> _Layer:
        saved = saved_numbers(self.trial.cell, part.inputs, self.trial.model.hidden_size, steps, self.batch) * NUMBER
        inputs = self._numbers(steps * part.inputs)
        return _Layer(
            held=inputs + self.models * saved + kept + turned,
            forward=unit,
            backward=unit,
            given=kept,
            evaluated=2 * inputs + 3 * saved // 4 + 2 * unit + turned,  # without a gradient, most goes at once
        )

    def _elman(self, unit: int, kept: int, inputs: int, weights: int) -> _Layer:
        copied = kept if self.models > 1 else 0  # a transposed stack of one is contiguous as it is
        states = unit + self._numbers(self.hidden)
        padding = weights if self.hidden != self.trial.model.hidden_size else 0
        return _Layer(
            held=inputs + states + padding,
            forward=unit + copied,
            backward=unit * (3 if self.models > 1 else 1) + weights,
            given=copied or states,
            evaluated=max(inputs + unit, unit + states + copied + padding),
        )

    def _any_cell(self, unit: int, kept: int, inputs: int, weights: int, turned: int, above: bool) -> _Layer:
        use = footprint(self.trial.cell)
        projected, emitted, mixed = use.features * unit, use.emitted * kept, use.mixed * kept
        projecting = projected * (2 if above else 1)  # above the first layer, the bias is projected first
        reads = use.reads * unit * (2 if use.reads > 1 else 1)  # several are joined first
        return _Layer(
            held=inputs + use.held * unit + emitted + mixed + turned + 2 * weights,
            forward=projecting,
            backward=(use.fed + use.stacked) * unit + reads + 2 * weights,
            given=kept if use.mixed else emitted,
            evaluated=max(inputs + projecting, projected + emitted + max(emitted, mixed)) + turned,
        )


class Footprint(NamedTuple):
    """Numbers that a cell makes for each hidden unit, step and sequence."""

    features: int  # of the projected input
    held: int  # of the states and of what `advance` keeps for `retreat`
    fed: int  # of the gradients of what a step is fed with
    stacked: int  # of those, copies in one tensor for the products over time
    reads: int  # of the states that W_hh multiplies
    emitted: int  # of the states that leave the recurrence
    mixed: int  # that `emit` makes of them


@functools.cache
def footprint(cell: Cell) -> Footprint:
    """Measured on one step of two sequences, from the tensors that the cell's own functions return."""
    hidden = ALIGNMENT
    own = {name: torch.zeros(1, *shape) for name, shape in cell.shapes(1, hidden).items()}
    weights = cell.weights(own)
    features = weights.bias.shape[1]
    fed = tuple(torch.zeros(1, 2, features) for _ in range(1 if cell.additive else 2))
    state = tuple(torch.zeros(1, 2, hidden) for _ in range(cell.states))
    gains = tuple(gain.unsqueeze(1) for gain in weights.gains)
    after, kept = cell.advance(fed, state, gains)
    by_fed, _, _ = cell.retreat(state, state, after, kept, gains)
    emits = cell.states if hasattr(cell, "emit") else 1
    mixed = 0
    if hasattr(cell, "emit"):
        saved: list[Tensor] = []
        leaves = {name: values.requires_grad_() for name, values in own.items()}

        def note(tensor: Tensor) -> Tensor:
            saved.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            states = torch.zeros(1, ALIGNMENT, 1, emits * hidden, requires_grad=True)
            cell.emit(leaves, states, hidden)
        rows = [tensor for tensor in saved if tensor.numel() >= ALIGNMENT * hidden and tensor.shape[1] == ALIGNMENT]
        mixed = math.ceil(sum(_storages(rows)) / (ALIGNMENT * hidden))
    return Footprint(
        features=features // hidden,
        held=sum(_storages([*after, *kept])) // (2 * hidden),
        fed=sum(_storages(by_fed)) // (2 * hidden),
        stacked=sum(tensor.shape[-1] for tensor in by_fed) // hidden,
        reads=0 if weights.recurrent is None else weights.recurrent.shape[2] // hidden,
        emitted=emits,
        mixed=mixed,
    )


def _storages(tensors: Sequence[Tensor]) -> Iterator[int]:
    """The numbers in each different piece of memory that these tensors are views into."""
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return (size // NUMBER for size in found.values())
