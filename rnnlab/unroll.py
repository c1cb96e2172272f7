"""Run a cell over time and back: the one door to every implementation of the recurrence.

Shapes: M models, T time, B sequences, H hidden units, G features that a step is fed with. The model axis comes first,
so that every reduction runs within one model and its result does not depend on the others, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnlab.aligned import column_sums
from rnnlab.cells import Cell, State, Weights
from rnnlab.cells.elman import Elman

ALL = slice(None)


def unroll(
    cell: Cell, projected: Tensor, state: State, weights: Weights, keep: slice = ALL, active: Tensor | None = None
) -> tuple[Tensor, State]:
    """The states after the K time steps of `keep` (step size 1), and the last one; differentiable by full BPTT.

    projected: (M, T, B, G) projected inputs W_xh x_t + b_h
    state:     (M, B, H) each, the state before the first step
    weights:   the recurrent ones are used
    active:    (M, T, B) false where a sequence has ended: its state stays as it is

    Returns (M, K, B, n H), the n tensors of the state side by side where the cell has `emit`, else n = 1; and the state
    after the last step, (M, B, H) each.
    """
    elman = getattr(cell, "elman", None)
    if elman is not None and active is None and weights.recurrent is not None:
        states, last = _ElmanUnroll.apply(projected, state[0], weights.recurrent, elman, keep)
        return states, (last,)
    gains = tuple(gain.unsqueeze(1) for gain in weights.gains)
    returned = _Unroll.apply(
        cell, keep, active, projected, weights.recurrent, weights.recurrent_bias, len(state), *state, *gains
    )
    return returned[0], returned[1:]


def unroll_by_steps(
    cell: Cell, projected: Tensor, state: State, weights: Weights, keep: slice = ALL, active: Tensor | None = None
) -> tuple[Tensor, State]:
    """As `unroll`: one `cell.advance` after another, the gradient by autograd."""
    states = []
    for t, step_input in enumerate(projected.unbind(1)):
        after = step(cell, step_input, state, weights)
        if active is not None:
            running = active[:, t].unsqueeze(-1)
            after = tuple(torch.where(running, new, old) for new, old in zip(after, state, strict=True))
        state = after
        states.append(emitted(cell, state))
    return torch.stack(states, dim=1)[:, keep], state


def step(cell: Cell, step_input: Tensor, state: State, weights: Weights) -> State:
    """The state after one step; step_input: (M, B, G), the projected input."""
    gains = tuple(gain.unsqueeze(1) for gain in weights.gains)
    fed = _fed(cell, step_input, state, weights.recurrent, weights.recurrent_bias)
    return cell.advance(fed, state, gains)[0]


def _fed(
    cell: Cell, step_input: Tensor, state: State, recurrent: Tensor | None, recurrent_bias: Tensor | None
) -> State:
    """What a step is fed with: the projected input (M, B, G) and the product of W_hh and the state."""
    if recurrent is None:
        return (step_input,)
    read = _read(state, recurrent)
    if cell.additive:
        return (torch.baddbmm(step_input, read, recurrent.mT),)
    if recurrent_bias is None:
        return step_input, torch.bmm(read, recurrent.mT)
    return step_input, torch.baddbmm(recurrent_bias.unsqueeze(1), read, recurrent.mT)


def _read(state: Sequence[Tensor], recurrent: Tensor) -> Tensor:
    """(M, B, R) the tensors of the state that W_hh multiplies."""
    count = recurrent.shape[2] // state[0].shape[2]
    return state[0] if count == 1 else torch.cat(tuple(state[:count]), dim=-1)


def emitted(cell: Cell, state: State) -> Tensor:
    """What of a state goes to the layer's output: all its tensors side by side where the cell has `emit`."""
    return torch.cat(state, dim=-1) if hasattr(cell, "emit") else state[0]


class _Unroll(torch.autograd.Function):
    """Any cell over time by its `advance`, and back by its `retreat`; one product for the gradient of W_hh.

    Source: Werbos 1990, "Backpropagation through time: what it does and how to do it", section III.
    """

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        keep: slice,
        active: Tensor | None,
        projected: Tensor,
        recurrent: Tensor | None,
        recurrent_bias: Tensor | None,
        count: int,
        *given: Tensor,
    ) -> tuple[Tensor, ...]:
        state, gains = given[:count], given[count:]
        states, kept, outputs = [state], [], []
        steps = range(projected.shape[1])
        wanted = set(steps[keep])
        training = any(ctx.needs_input_grad)
        for t, step_input in enumerate(projected.unbind(1)):
            after, remembered = cell.advance(_fed(cell, step_input, state, recurrent, recurrent_bias), state, gains)
            if active is not None:
                running = active[:, t].unsqueeze(-1)
                after = tuple(torch.where(running, new, old) for new, old in zip(after, state, strict=True))
            state = after
            if training:
                states.append(state)
                kept.append(remembered)
            if t in wanted:
                outputs.append(emitted(cell, state))
        if training:
            ctx.cell, ctx.kept_steps, ctx.active, ctx.with_bias = cell, steps[keep], active, recurrent_bias is not None
            ctx.steps, ctx.gains = len(steps), len(gains)
            # Saved so and not as attributes: each layer's go as soon as its gradient is known
            ctx.save_for_backward(recurrent, *gains, *(value for step in [*states, *kept] for value in step))
        nothing = projected.new_empty(*projected.shape[:1], 0, *emitted(cell, state).shape[1:])
        return torch.stack(outputs, dim=1) if outputs else nothing, *state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        given, last = gradients[0], list(gradients[1:])
        course = _Course(ctx.saved_tensors, ctx.steps, ctx.gains, len(last))
        fed, sums = _retreat(ctx, course, given, last)
        by_projected = torch.stack(fed[0], dim=1)
        by_recurrent = by_bias = None
        if course.recurrent is not None:
            rows = by_projected.flatten(1, 2) if ctx.cell.additive else torch.stack(fed[1], dim=1).flatten(1, 2)
            before = torch.stack([_read(state, course.recurrent) for state in course.states[:-1]], dim=1)
            by_recurrent = torch.bmm(rows.mT, before.flatten(1, 2))
            by_bias = column_sums(rows) if ctx.with_bias else None
        by_gains = [column_sums(total).unsqueeze(1) for total in sums]
        return None, None, None, by_projected, by_recurrent, by_bias, None, *last, *by_gains


class _Course:
    """What the forward pass saved, put in order again."""

    def __init__(self, saved: Sequence[Tensor], steps: int, gains: int, count: int) -> None:
        self.recurrent, self.gains = saved[0], saved[1 : 1 + gains]
        rest = saved[1 + gains :]
        split = (steps + 1) * count
        each = (len(rest) - split) // steps
        self.states = [rest[place : place + count] for place in range(0, split, count)]
        self.kept = [rest[split + t * each : split + (t + 1) * each] for t in range(steps)]


def _retreat(
    ctx: Any, course: _Course, given: Tensor, last: list[Tensor]
) -> tuple[Sequence[list[Tensor]], list[Tensor]]:
    """The gradients of what each step was fed with, by time, and of the gains, summed over time but not over B.

    given: (M, K, B, n H), of the states in `kept_steps`; last: that of the last state, which becomes that of the first
    """
    cell, gains, recurrent = ctx.cell, course.gains, course.recurrent
    at_steps = dict(zip(ctx.kept_steps, given.unbind(1), strict=True))
    fed: list[list[Tensor]] = [[], []]
    sums = [torch.zeros_like(last[0]) for _ in gains]
    for t in reversed(range(ctx.steps)):
        if t in at_steps:
            pieces = at_steps[t].chunk(len(last), -1) if hasattr(cell, "emit") else [at_steps[t]]
            last[: len(pieces)] = [total + piece for total, piece in zip(last, pieces, strict=False)]
        running = None if ctx.active is None else ctx.active[:, t].unsqueeze(-1)
        moving = last if running is None else [torch.where(running, value, 0) for value in last]
        by_fed, by_state, by_gains = cell.retreat(tuple(moving), *course.states[t : t + 2], course.kept[t], gains)
        for place, value in enumerate(by_fed):
            fed[place].append(value)
        for total, value in zip(sums, by_gains, strict=True):
            total.add_(value)
        before = list(by_state)
        if recurrent is not None:
            width = before[0].shape[2]
            back = torch.bmm(by_fed[-1], recurrent)
            for place in range(recurrent.shape[2] // width):
                before[place] = before[place] + back[..., place * width : (place + 1) * width]
        if running is not None:
            before = [value + torch.where(running, 0, rest) for value, rest in zip(before, last, strict=True)]
        last[:] = before
    return [values[::-1] for values in fed], sums


class _ElmanUnroll(torch.autograd.Function):
    """Elman over time with its own backward pass: few kernels per step, one product for dL/dW_hh.

    Within, time comes first: torch's batched product is fast only into contiguous memory. The reduction
    over time and sequences is left to one product with the model axis first.

    Source: Werbos 1990, "Backpropagation through time: what it does and how to do it", section III; here
    delta_t = f'(h_t) (dL/dh_t + W_hh^T delta_{t+1}) and dL/dW_hh = sum_t delta_t h_{t-1}^T.
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, state: Tensor, recurrent: Tensor, cell: Elman, keep: slice
    ) -> tuple[Tensor, Tensor]:
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
        ctx.set_materialize_grads(False)
        return states[1:][keep].transpose(0, 1).contiguous(), states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, last: Tensor | None) -> tuple[Tensor | None, ...]:
        states, recurrent = ctx.saved_tensors
        by_time = _deltas(ctx.cell, states, recurrent, gradient, ctx.kept, last)
        deltas = by_time.transpose(0, 1).contiguous()
        before = states[:-1].transpose(0, 1).contiguous()
        weights = torch.bmm(deltas.flatten(1, 2).mT, before.flatten(1, 2)) if ctx.needs_input_grad[2] else None
        start = torch.bmm(by_time[0], recurrent) if ctx.needs_input_grad[1] else None
        return deltas, start, weights, None, None


def _deltas(
    cell: Elman, states: Tensor, recurrent: Tensor, gradient: Tensor | None, kept: range, last: Tensor | None
) -> Tensor:
    """(T, M, B, H) the gradient with respect to the pre-activations.

    states: (T + 1, M, B, H), the start first; gradient: (M, K, B, H), that of the states in `kept`; last: (M, B, H),
    that of the last state
    """
    deltas = torch.empty_like(states[1:])
    given = dict(zip(kept, gradient.unbind(1), strict=True)) if gradient is not None else {}
    if last is not None:
        final = len(deltas) - 1
        given[final] = given[final] + last if final in given else last
    stop = max(given, default=-1) + 1
    deltas[stop:] = 0
    after, at = states[1:].unbind(), deltas.unbind()
    for t in reversed(range(stop)):
        if t + 1 == stop:
            at[t].copy_(given[t])
        elif t in given:
            torch.baddbmm(given[t], at[t + 1], recurrent, out=at[t])
        else:
            torch.bmm(at[t + 1], recurrent, out=at[t])
        cell.pull_back_(at[t], after[t])
    return deltas
