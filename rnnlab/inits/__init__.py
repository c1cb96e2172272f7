"""Initialisers of the recurrent matrix: one file each. What they share: the protocol and the scaling.

All arithmetic is in float64; the caller rounds. H is the number of hidden units.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor


class Init(Protocol):
    """The contract that `tests/test_inits.py` checks for every file in this folder.

    Inits are frozen dataclasses with at least the two fields below.

    Two more members are optional. `gate_bias(generator, hidden_size)` is the initial bias (H,) of forget gates, in
    float64, where it is not 0; input gates have its negative. Cells with gates (`gated` is true of them) ask for it, in
    place of their own fields whose names are in `overrules`. `built_on` names other inits that its numbers come from:
    where the version of one is raised, the keys of this one's trials change too.
    """

    version: ClassVar[int]  # rises when the numbers of an equal spec change

    @property
    def spectral_radius(self) -> float:
        """Of W_hh: the largest |eigenvalue|."""

    @property
    def input_scale(self) -> float:
        """Standard deviation of the entries of W_xh."""

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        """W_hh (H, H) in float64, of exactly the spectral radius asked for."""


def spectral_radius(matrices: Tensor) -> Tensor:
    """(M,) the largest |eigenvalue| of each square matrix (M, H, H), in float64; NaN where an entry is not finite."""
    return torch.stack([_eigenvalues(matrix).abs().max() for matrix in matrices])


def eigenvalues(matrices: Tensor) -> Tensor:
    """(M, H) those of each square matrix (M, H, H), complex, in float64; NaN where an entry is not finite.

    One matrix after another, each in its own memory: the bits that LAPACK returns depend on the alignment.
    """
    return torch.stack([_eigenvalues(matrix) for matrix in matrices])


def _eigenvalues(matrix: Tensor) -> Tensor:
    copied = matrix.to(torch.float64, copy=True)
    shift = copied.abs().max()
    if not shift.isfinite():
        return torch.full(copied.shape[:1], complex(torch.nan, torch.nan), dtype=torch.complex128)
    try:
        return torch.linalg.eigvals(copied)
    except torch.linalg.LinAlgError:  # LAPACK's iteration may stall on low rank; not so on the shifted matrix
        return torch.linalg.eigvals(copied + shift * torch.eye(len(copied), dtype=torch.float64)) - shift


def scaled(matrix: Tensor, radius: float) -> Tensor:
    """The square matrix (H, H), in float64, times what gives it this spectral radius; its own must not be 0."""
    return matrix * (radius / spectral_radius(matrix[None])[0])


def standard_normal(generator: np.random.Generator, *shape: int) -> Tensor:
    """Independent N(0, 1) entries in float64."""
    return torch.from_numpy(generator.standard_normal(shape)).clone()  # into memory aligned as torch aligns it


def uniform_between(generator: np.random.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Independent U(low, high) entries in float64."""
    return torch.from_numpy(generator.uniform(low, high, shape)).clone()
