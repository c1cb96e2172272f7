"""Recurrent matrices: their eigenvalues, by how much they can stretch a state, and how far they are from normal.

The eigenvalues of W say what W^t does in the long run, its largest singular value what one step can do. The two agree
for a normal matrix (W W^T = W^T W: orthogonal, symmetric and skew ones, among others); the further from normal, the
more a state can grow for a while although every eigenvalue is below 1.

All arithmetic is in float64. One matrix after another, each in its own memory, as in `rnnlab.inits`: no result depends
on the stack. Shapes: M models, H hidden units.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.inits import eigenvalues


class MatrixSpectrum(NamedTuple):
    """What is said of M matrices; NaN for one with an entry that is not finite."""

    eigenvalues: Tensor  # (M, H) complex, the largest modulus first
    spectral_radius: Tensor  # (M,) the largest |eigenvalue|
    largest_singular_value: Tensor  # (M,)
    departure: Tensor  # (M,) from normality, in the units of W
    relative_departure: Tensor  # (M,) its share of ||W||_F: 0 for a normal matrix, 1 for a nilpotent one, 0 for W = 0


def spectrum(matrices: Tensor) -> MatrixSpectrum:
    """That of each matrix (M, H, H). Raises ValueError if they are not square.

    The departure from normality is that of Henrici in the Frobenius norm, sqrt(||W||_F^2 - sum_i |lambda_i|^2): the
    norm of the strictly upper part of a Schur form of W. As a difference of squares it is known to about 1e-7 of
    ||W||_F: what is smaller is rounding.

    Source: Henrici 1962, "Bounds for iterates, inverses, spectral variation and fields of values of non-normal
    matrices".
    """
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"matrices of shape {tuple(matrices.shape)}: must be (M, H, H)")
    found = [_spectrum(matrix, values) for matrix, values in zip(matrices, eigenvalues(matrices), strict=True)]
    return MatrixSpectrum(*map(torch.stack, zip(*found, strict=True)))


def largest_singular_values(matrices: Tensor) -> Tensor:
    """(M,) of each matrix (M, H, H); NaN for one with an entry that is not finite. Much faster than `spectrum`."""
    return torch.stack([_largest_singular_value(matrix.to(torch.float64, copy=True)) for matrix in matrices])


def _largest_singular_value(copied: Tensor) -> Tensor:
    """The root of the largest eigenvalue of W^T W: the others it loses to rounding, this one it does not."""
    scale = copied.abs().max()
    if not scale.isfinite():
        return scale * math.nan
    unit = copied / torch.where(scale > 0, scale, 1)  # whose squares neither over- nor underflow
    return torch.linalg.eigvalsh(unit.T @ unit)[-1].clamp(min=0).sqrt() * scale


def _spectrum(matrix: Tensor, values: Tensor) -> MatrixSpectrum:
    """That of one matrix (H, H), with no model axis."""
    sizes = values.abs()
    order = sizes.argsort(descending=True, stable=True)
    copied = matrix.to(torch.float64, copy=True)
    scale = copied.abs().max()
    if not scale.isfinite():
        return MatrixSpectrum(values, scale * math.nan, scale * math.nan, scale * math.nan, scale * math.nan)
    unit = torch.where(scale > 0, scale, 1)
    whole = (copied / unit).square().sum()  # squares of the entries as they are may over- or underflow
    rest = (whole - (sizes / unit).square().sum()).clamp(min=0)
    relative = (rest / torch.where(whole > 0, whole, 1)).sqrt()
    return MatrixSpectrum(values[order], sizes.max(), torch.linalg.svdvals(copied)[0], scale * rest.sqrt(), relative)
