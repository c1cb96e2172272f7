"""Recurrent cells: one file each.

Shapes: M models, T time, B sequences, I inputs of a layer, H hidden units, G features that a step is fed with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.inits import Init, standard_normal
from rnnlab.spec import name_of
from rnnlab.trial import Trial

Parameters = Mapping[str, Tensor]
Streams = Callable[[str], np.random.Generator]  # what is drawn ("recurrent", "input") -> its own random stream
State = tuple[Tensor, ...]  # (M, B, H) each, the output first


class Weights(NamedTuple):
    """What a layer computes with at each step; a cell derives it from the layer's parameters.

    Axes that are said to be G or R consist of blocks of H.
    """

    inputs: Tensor  # (M, G, I): W_xh, of all gates
    bias: Tensor  # (M, G): b_h
    recurrent: Tensor | None  # (M, G, R): W_hh, applied to the first R / H tensors of the state; None: no product
    recurrent_bias: Tensor | None = None  # (M, G): added to that product
    gains: State = ()  # (M, H) each: what else multiplies the state, unit by unit

    def padded(self, hidden: int) -> Weights:
        """With every block of H padded to a multiple of `aligned.ALIGNMENT`; the axis I stays as it is."""
        recurrent, extra = self.recurrent, self.recurrent_bias
        return Weights(
            padded_blocks(self.inputs, 1, hidden),
            padded_blocks(self.bias, 1, hidden),
            None if recurrent is None else padded_blocks(padded_blocks(recurrent, 1, hidden), 2, hidden),
            None if extra is None else padded_blocks(extra, 1, hidden),
            tuple(padded_blocks(gain, 1, hidden) for gain in self.gains),
        )


class Cell(Protocol):
    """The contract that `tests/test_cells.py` checks for every file in this folder.

    Cells are frozen dataclasses; their fields are the parameters that a sweep can vary. The input reaches a cell
    already projected (W_xh x_t + b_h, for all steps at once), so a cell is only its recurrence. A cell may have these
    members beside those of the protocol:

    emit(parameters, states, hidden)    (M, K, B, H) the output of the layer, where it is not the first tensor of the
                                        state; from the tensors of the state side by side (M, K, B, tensors x H), padded
    elman                               the `Elman` cell that it is, given its weights: it then runs on that fast path
    reads_input_scale                   false: not even the scale of the inputs is read from the init
    built_on                            other cells and inits that its numbers come from: where the version of one is
                                        raised, the keys of this cell's trials change too
    """

    version: ClassVar[int]  # rises when the numbers of an equal spec change
    states: ClassVar[int]  # number of tensors in the state; zeros where a sequence begins
    additive: ClassVar[bool]  # whether a step depends on the projected input and the product by their sum alone
    gated: ClassVar[bool]  # whether it has a forget gate, whose bias an init may set
    reads_init: ClassVar[bool]  # whether the init decides its recurrent weights; else only its input scale is read

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of one layer of one model, in the order in which they are stored."""

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        """The parameters of one layer of one model before training, in float64; W_xh has entries N(0, scale^2)."""

    def weights(self, parameters: Parameters) -> Weights:
        """What the layer computes with, differentiable; models one by one where bits would depend on the stack."""

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        """One step: the next state, and what `retreat` needs beside the states.

        fed:   where the cell is additive, the sum of the projected input and the product of W_hh and the state
               (M, B, G); else the two apart
        gains: (M, 1, H) each
        """

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        """The derivative of `advance`: from the gradient of the next state to those of its three arguments.

        The gradient of the state is without its way through the product; that of the gains is not yet summed over B.
        """

    def radius(self, parameters: Parameters) -> Tensor:
        """(M,) the spectral radius of the recurrent matrix; of gates, that of the candidate."""


class ModuleCell(Protocol):
    """A cell whose layers are `torch.nn.Module`s, run one model after another: what does not fit into `Cell`.

    It has `version`, `gated`, `reads_init`, `shapes` and `initial` as a `Cell`, and `module` in place of the rest. It
    may have these members beside those of the protocol:

    batching                            "vmap": the models of a stack run together, and their bits may depend on it
    built_on                            as of a `Cell`
    """

    version: ClassVar[int]
    gated: ClassVar[bool]
    reads_init: ClassVar[bool]
    reads_input_scale: ClassVar[bool]  # whether `initial` looks at its `scale`; else nothing is read of the init

    def __hash__(self) -> int:
        """Layers are kept by their cell: equal cells have equal modules."""

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """As `Cell.shapes`: the names and shapes of the module's parameters."""

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        """As `Cell.initial`."""

    def module(self, inputs: int, hidden: int) -> torch.nn.Module:
        """A layer with the interface of `torch.nn.RNN`: from inputs (T, B, I), and a state or nothing, to outputs
        (T, B, H) and the state after the last step. The state may have any form, and need not be of fixed size."""


@functools.cache
def template(cell: ModuleCell, inputs: int, hidden: int) -> torch.nn.Module:
    """The module of a layer, built once; its own parameters are not used."""
    return cell.module(inputs, hidden)


def module_shapes(cell: ModuleCell, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a module's parameters."""
    return {name: tuple(values.shape) for name, values in template(cell, inputs, hidden).named_parameters()}


def apply(module: torch.nn.Module, parameters: Parameters, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """The outputs of a module (T, B, H) with these parameters, and its state after the last step.

    Fixed tensors of the module follow the parameters in their precision.
    """
    dtype = inputs.dtype
    fixed = {name: held.to(dtype) for name, held in module.named_buffers() if held.is_floating_point()}
    arguments = (inputs,) if state is None else (inputs, state)
    return torch.func.functional_call(module, fixed | dict(parameters), arguments)


def apply_batched(
    module: torch.nn.Module, parameters: Parameters, inputs: Tensor, state: Any = None
) -> tuple[Tensor, Any]:
    """As `apply` for all models of a stack at once, by `torch.vmap`: everything has a leading axis M."""
    if state is None:
        return torch.vmap(lambda own, given: apply(module, own, given))(dict(parameters), inputs)
    return torch.vmap(lambda own, given, begun: apply(module, own, given, begun))(dict(parameters), inputs, state)


def refuses_without_recurrence(trial: Trial) -> Iterator[str]:
    """A line for each thing asked for that needs a recurrent state, of a cell that looks back in another way."""
    name, truncation = name_of(trial.cell), trial.train.truncation
    if hasattr(trial.task, "source_length"):
        yield (
            f"cell={name}: has no recurrent state for an encoder to hand over; "
            f"must be a recurrent cell for task={name_of(trial.task)}"
        )
    if truncation is not None:
        yield f"train.truncation={truncation}: cell={name} has no recurrent state to cut at; must be null"


def standard_shapes(inputs: int, hidden: int, gates: int = 1, reads: int = 1) -> dict[str, tuple[int, ...]]:
    """W_xh, W_hh and b_h for so many gates of H units each, that read so many tensors of the state."""
    return {"W_xh": (gates * hidden, inputs), "W_hh": (gates * hidden, reads * hidden), "b_h": (gates * hidden,)}


def standard_initial(
    init: Init, streams: Streams, inputs: int, hidden: int, scale: float, gates: int = 1, reads: int = 1
) -> dict[str, Tensor]:
    """As `standard_shapes`: each block of W_hh from the init by a stream of its own; the bias is 0."""
    names = ["recurrent", *(f"recurrent.{block}" for block in range(1, gates * reads))]
    blocks = [init.recurrent(streams(name), hidden) for name in names]
    rows = [torch.cat(blocks[gate * reads : (gate + 1) * reads], dim=1) for gate in range(gates)]
    return {
        "W_xh": standard_normal(streams("input"), gates * hidden, inputs) * scale,
        "W_hh": torch.cat(rows),
        "b_h": torch.zeros(gates * hidden, dtype=torch.float64),
    }


def skew(entries: Tensor, hidden: int) -> Tensor:
    """(M, H, H) the skew-symmetric matrices A = -A^T with these entries (M, H (H - 1) / 2) below the diagonal."""
    rows, columns = torch.tril_indices(hidden, hidden, offset=-1)
    lower = entries.new_zeros(entries.shape[0], hidden, hidden).index_put(
        (torch.arange(entries.shape[0])[:, None], rows, columns), entries
    )
    return lower - lower.mT
