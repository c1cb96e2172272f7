"""Matrix products whose bits do not depend on the stack: every model's operands start alike in memory.

The last bits of a product depend on where its matrices start. Matrices are therefore padded with zeros until each
model's takes a multiple of `ALIGNMENT` numbers. The padding units of a layer stay at 0: every cell maps zeros to zeros.

Shapes: M models, T time, B sequences, G output features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

ALIGNMENT = 16  # numbers: 64 bytes in float32, a cache line and the widest vector register


def padded(tensor: Tensor, *axes: tuple[int, int]) -> Tensor:
    """The tensor with zeros appended, so that along each (axis, multiple) its size is a multiple."""
    missing = [0] * tensor.ndim
    for axis, multiple in axes:
        missing[axis] = -tensor.shape[axis] % multiple
    if not any(missing):
        return tensor
    return functional.pad(tensor, [amount for size in reversed(missing) for amount in (0, size)])


def padded_blocks(tensor: Tensor, axis: int, block: int) -> Tensor:
    """As `padded` to `ALIGNMENT`, for an axis that consists of blocks of this size, each by itself."""
    if block % ALIGNMENT == 0:
        return tensor
    return padded(tensor.unflatten(axis, (-1, block)), (axis + 1, ALIGNMENT)).flatten(axis, axis + 1)


def without_padding(tensor: Tensor, block: int) -> Tensor:
    """The inverse of `padded_blocks`, for the last axis."""
    if block % ALIGNMENT == 0:
        return tensor
    return tensor.unflatten(-1, (-1, aligned(block)))[..., :block].flatten(-2)


def aligned(size: int) -> int:
    """The size after padding."""
    return math.ceil(size / ALIGNMENT) * ALIGNMENT


def granule(sequences: Tensor) -> int:
    """The width in multiples of which T x B rows fill a multiple of `ALIGNMENT`; `sequences` is (M, T, B, ...).

    In a program that is being exported B is open: the largest width serves any.
    """
    if torch.compiler.is_exporting():
        return ALIGNMENT
    return granule_of(sequences.shape[1] * sequences.shape[2])


def granule_of(rows: int) -> int:
    """The width in multiples of which so many rows fill a multiple of `ALIGNMENT`."""
    return ALIGNMENT // math.gcd(ALIGNMENT, rows)


def vectors(inputs: Tensor, size: int, empty: int | None = None) -> Tensor:
    """(M, T, B, size) real inputs as they are, symbols (M, T, B) as one-hot vectors, the symbol `empty` as zeros."""
    if inputs.is_floating_point():
        return inputs
    extended = torch.zeros(*inputs.shape, size)
    return _mark(extended, inputs, empty)


def _mark(extended: Tensor, symbols: Tensor, empty: int | None) -> Tensor:
    extended.scatter_(-1, symbols.unsqueeze(-1), 1)
    if empty is not None:
        extended[..., empty] = 0
    return extended


def project(inputs: Tensor, weights: Tensor, bias: Tensor, empty: int | None = None) -> Tensor:
    """(M, T, B, G) W x + b for raw inputs: symbols (M, T, B) or real values (M, T, B, I).

    weights: (M, G, I) with G a multiple of `ALIGNMENT`; bias: (M, G); empty: the symbol that has a zero vector

    The bias is the weight of an input that is always 1: its gradient then comes from the same matrix
    product, where a sum over (T, B) could depend on the number of models, in the last bit.
    """
    size = weights.shape[2]
    with_bias = padded(torch.cat([weights.mT, bias.unsqueeze(1)], dim=1), (1, granule(inputs)))
    extended = with_bias.new_zeros(*inputs.shape[:3], with_bias.shape[1])
    if inputs.is_floating_point():
        extended[..., :size] = inputs
    else:
        _mark(extended, inputs, empty)
    extended[..., size] = 1
    return torch.bmm(extended.flatten(1, 2), with_bias).unflatten(1, inputs.shape[1:3])


def affine(sequences: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """(M, T, B, padded G) W h + b of aligned values (M, T, B, I); the bias as in `project`.

    weights: (M, G, I); bias: (M, G); I is a multiple of `ALIGNMENT`
    """
    columns = max(2, granule(sequences))  # torch multiplies by a single column in another way where M = 1
    matrix = padded(weights, (1, columns))
    row = padded(bias.unsqueeze(1), (1, ALIGNMENT), (2, columns))
    flat = sequences.flatten(1, 2)
    constant = flat.new_zeros(*flat.shape[:2], ALIGNMENT)
    constant[..., 0] = 1
    return torch.baddbmm(torch.bmm(constant, row), flat, matrix.mT).unflatten(1, sequences.shape[1:3])


def column_sums(rows: Tensor) -> Tensor:
    """(M, G) the sums over all rows (M, N, G) of each model, as a matrix product."""
    ones = rows.new_zeros(rows.shape[0], rows.shape[1], ALIGNMENT)
    ones[..., 0] = 1
    return torch.bmm(rows.mT, ones)[..., 0]


def sigmoid(values: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), by tanh: torch's own rounds otherwise where a vector register ends."""
    return torch.tanh(values * 0.5) * 0.5 + 0.5
