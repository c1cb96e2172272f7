"""Run a cell over time and back: the one door to every implementation of the recurrence.

Shapes: M models, T time, B sequences, H hidden units. The model axis comes first, so that every
reduction runs within one model and its result does not depend on the others, to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnlab.cells import Cell
from rnnlab.cells.elman import Elman

ALL = slice(None)


def unroll(cell: Cell, projected: Tensor, state: Tensor, recurrent: Tensor, keep: slice = ALL) -> Tensor:
    """(M, K, B, H) the states after the K time steps of `keep` (step size 1), differentiable by full BPTT.

    projected: (M, T, B, H) projected inputs W_xh x_t + b_h
    state:     (M, B, H) the state before the first step
    recurrent: (M, H, H) W_hh
    """
    if isinstance(cell, Elman):
        return _ElmanUnroll.apply(projected, state, recurrent, cell, keep)
    return unroll_by_steps(cell, projected, state, recurrent, keep)


def unroll_by_steps(cell: Cell, projected: Tensor, state: Tensor, recurrent: Tensor, keep: slice = ALL) -> Tensor:
    """As `unroll`, for any cell: one `cell.step` after another, the gradient by autograd."""
    states = []
    for step_input in projected.unbind(1):
        state = cell.step(step_input, state, recurrent)
        states.append(state)
    return torch.stack(states[keep], dim=1)


class _ElmanUnroll(torch.autograd.Function):
    """Elman over time with its own backward pass: few kernels per step, one product for dL/dW_hh.

    Within, time comes first: torch's batched product is fast only into contiguous memory. The reduction
    over time and sequences is left to one product with the model axis first.

    Source: Werbos 1990, "Backpropagation through time: what it does and how to do it", section III; here
    delta_t = f'(h_t) (dL/dh_t + W_hh^T delta_{t+1}) and dL/dW_hh = sum_t delta_t h_{t-1}^T.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, state: Tensor, recurrent: Tensor, cell: Elman, keep: slice) -> Tensor:
        models, steps, batch, hidden = projected.shape
        states = projected.new_empty(steps + 1, models, batch, hidden)
        states[0] = state
        at = states.unbind()
        transposed = recurrent.mT
        for t, step_input in enumerate(projected.unbind(1)):
            torch.baddbmm(step_input, at[t], transposed, out=at[t + 1])
            cell.activate(at[t + 1], out=at[t + 1])
        ctx.save_for_backward(states, recurrent)
        ctx.cell, ctx.kept = cell, range(steps)[keep]
        return states[1:][keep].transpose(0, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, recurrent = ctx.saved_tensors
        by_time = _deltas(ctx.cell, states, recurrent, gradient, ctx.kept)
        deltas = by_time.transpose(0, 1).contiguous()
        before = states[:-1].transpose(0, 1).contiguous()
        weights = torch.bmm(deltas.flatten(1, 2).mT, before.flatten(1, 2)) if ctx.needs_input_grad[2] else None
        start = torch.bmm(by_time[0], recurrent) if ctx.needs_input_grad[1] else None
        return deltas, start, weights, None, None


def _deltas(cell: Elman, states: Tensor, recurrent: Tensor, gradient: Tensor, kept: range) -> Tensor:
    """(T, M, B, H) the gradient with respect to the pre-activations.

    states: (T + 1, M, B, H), the start first; gradient: (M, K, B, H), that of the states in `kept`
    """
    deltas = torch.empty_like(states[1:])
    deltas[kept.stop :] = 0
    after, at, given = states[1:].unbind(), deltas.unbind(), gradient.unbind(1)
    for t in reversed(range(kept.stop)):
        if t + 1 == kept.stop:
            at[t].copy_(given[-1])
        elif t >= kept.start:
            torch.baddbmm(given[t - kept.start], at[t + 1], recurrent, out=at[t])
        else:
            torch.bmm(at[t + 1], recurrent, out=at[t])
        cell.pull_back_(at[t], after[t])
    return deltas
