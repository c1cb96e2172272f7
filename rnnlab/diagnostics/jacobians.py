"""How a small change of a state goes on: the Jacobian of each step along a trajectory, and their products.

For tanh units J_t = dh_t/dh_{t-1} = diag(1 - h_t^2) W_hh; here it is the derivative of the cell's own step, whatever
the cell. A gradient goes the other way through the same matrices: dL/dh_{t-lag} = (J_t ... J_{t-lag+1})^T dL/dh_t, so
the singular values of the product bound by what factor it can grow or shrink.

Shapes: M models, T time, B sequences, K tangents, N coordinates of a state (padded: S), L lags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells.elman import Elman
from rnnlab.diagnostics.trajectory import Trajectory
from rnnlab.unroll import step


def push(path: Trajectory, t: int, tangents: Tensor) -> Tensor:
    """(M, K, B, S) what becomes of small changes of the state after `t` steps in the next one: J v for each of them.

    tangents: (M, K, B, S), zero where a state is padding
    """
    elman = getattr(path.cell, "elman", None)
    moved = _derived(path, t, tangents) if elman is None else _by_hand(elman, path, t, tangents)
    if path.active is None:
        return moved
    return torch.where(path.active[:, t, None, :, None], moved, tangents)


def _by_hand(elman: Elman, path: Trajectory, t: int, tangents: Tensor) -> Tensor:
    """diag(f'(a_t)) W_hh v: that of plain units, which is much faster."""
    assert path.weights.recurrent is not None  # noqa: S101 - of all cells with plain units
    moved = torch.bmm(tangents.flatten(1, 2), path.weights.recurrent.mT).unflatten(1, tangents.shape[1:3])
    return elman.pull_back_(moved, path.states[t + 1].unsqueeze(1))


def _derived(path: Trajectory, t: int, tangents: Tensor) -> Tensor:
    """The derivative of the cell's own step, in forward mode."""
    models, count, batch = tangents.shape[:3]

    def repeated(values: Tensor) -> Tensor:
        return values.unsqueeze(1).expand(models, count, batch, -1).flatten(1, 2)

    given = repeated(path.projected[:, t])

    def advance(joined: Tensor) -> Tensor:
        return torch.cat(step(path.cell, given, path.split(joined), path.weights), dim=-1)

    primal, tangent = repeated(path.states[t]).clone(), tangents.flatten(1, 2).clone()  # no views for torch here
    moved: Tensor = torch.func.jvp(advance, (primal,), (tangent,))[1]
    return moved.unflatten(1, (count, batch))


def identity(path: Trajectory) -> Tensor:
    """(M, N, B, S) a tangent along each coordinate of a state."""
    models, batch, width = path.states[0].shape
    places = path.coordinates
    tangents = path.states[0].new_zeros(len(places), width)
    tangents[torch.arange(len(places)), places] = 1
    return tangents[None, :, None].expand(models, -1, batch, -1)


def step_jacobian(path: Trajectory, t: int) -> Tensor:
    """(M, B, N, N) J: the derivative of the state after `t` + 1 steps (rows) by that after `t` (columns)."""
    return push(path, t, identity(path))[..., path.coordinates].movedim(1, -1)


def log_singular_values(path: Trajectory, lags: Sequence[int]) -> Tensor:
    """(L, M, B, N) ln of the singular values of ds_T/ds_{T-lag}, s the last state, largest first; for rising lags >= 0.

    Products are kept at norm 1 and their size apart, so that nothing under- or overflows. What lies below the rounding
    of the largest (N eps of it) is not known and NaN; a product that is exactly zero has -inf, one that is not finite
    NaN.
    """
    last = len(path.states) - 1
    if sorted(set(lags)) != list(lags) or not all(0 <= lag <= last for lag in lags):
        raise ValueError(f"lags={list(lags)}: must rise, from 0 to {last}")
    start = path.states[0]
    size = len(path.coordinates)
    product = torch.eye(size, dtype=start.dtype).expand(*start.shape[:2], size, size)
    log_scale = start.new_zeros(start.shape[:2])
    found: list[Tensor] = []
    for lag in range(lags[-1] + 1 if lags else 0):
        if lag:
            product = product @ step_jacobian(path, last - lag)
            norm = torch.linalg.matrix_norm(product)
            product = product / torch.where(norm > 0, norm, 1)[..., None, None]
            log_scale = log_scale + norm.log()
        if lag in lags:
            found.append(_logs(product) + log_scale.unsqueeze(-1))
    return torch.stack(found) if found else start.new_zeros(0, *start.shape[:2], size)


def _logs(product: Tensor) -> Tensor:
    """ln of the singular values (M, B, N), NaN where rounding hides them."""
    finite = torch.isfinite(product).all(-1).all(-1)
    values = torch.linalg.svdvals(torch.where(finite[..., None, None], product, 0))
    floor = product.shape[-1] * torch.finfo(product.dtype).eps * values[..., :1]
    known = (values >= floor) & finite.unsqueeze(-1)
    return torch.where(known, values.log(), math.nan)
