"""Recurrent cells: one file each.

Shapes: M models, B sequences, H hidden units, G projected features (H for Elman; gates multiply it).
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor


class Cell(Protocol):
    """The contract that `tests/test_cells.py` checks for every file in this folder.

    Cells are frozen dataclasses; their fields are the parameters that a sweep can vary. The input
    reaches a cell already projected (W_xh x_t + b_h, for all steps at once), so a cell is only its recurrence.
    """

    version: ClassVar[int]  # rises when the numbers of an equal spec change

    def step(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        """(M, B, H) next state from the projected input (M, B, H), the state (M, B, H) and W_hh (M, H, H)."""
