"""Recurrent cells: one file each.

Shapes: M models, T time, B sequences, I inputs of a layer, H hidden units, G features that a step is fed with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.inits import Init, standard_normal

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

    It has `version`, `gated`, `reads_init`, `shapes` and `initial` as a `Cell`, and `module` in place of the rest.
    """

    version: ClassVar[int]
    gated: ClassVar[bool]
    reads_init: ClassVar[bool]

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """As `Cell.shapes`: the names and shapes of the module's parameters."""

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        """As `Cell.initial`."""

    def module(self, inputs: int, hidden: int) -> torch.nn.Module:
        """A layer with the interface of `torch.nn.RNN`: from inputs (T, B, I), and a state or nothing, to outputs
        (T, B, H) and the state after the last step."""


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
