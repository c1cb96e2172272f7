"""The loss of a stack and its gradient: full or truncated backpropagation through time, and the regulariser Omega.

Shapes: M models, T time, B sequences, H hidden units, K scored steps, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.model import States, at_rest, forward, parts, prepared, read_out, run
from rnnlab.tasks import Batch, at_steps
from rnnlab.trial import Trial
from rnnlab.unroll import unroll

Leaves = Mapping[str, Tensor]


def gradients(
    trial: Trial, leaves: Leaves, batch: Batch, dropout: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Tensor]]:
    """(M,) the losses, and the gradient with respect to each of the leaves, in their order.

    trial: says what is computed; that of any model of the stack
    """
    if trial.train.truncation is not None:
        return _truncated(trial, leaves, batch, dropout, trial.train.truncation)
    if trial.train.omega:
        return _regularised(trial, leaves, batch)
    outputs = forward(trial, leaves, batch.inputs, trial.task.scored, batch.lengths, dropout)
    losses = trial.task.loss(outputs, at_steps(batch, trial.task.scored))
    # What an encoder's last layer computes from its states is not used where only the states go on
    found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return losses.detach(), list(found)


def _truncated(
    trial: Trial, leaves: Leaves, batch: Batch, dropout: Sequence[Tensor], window: int
) -> tuple[Tensor, list[Tensor]]:
    """As `gradients`, by windows of so many steps: the state goes on from one to the next, the gradient does not.

    The windows are counted from the end of the last scored step, so that what is asked there can reach back over a
    whole window, and nothing reaches further; a shorter sequence of a batch ends within a window. All windows give
    to one update. The network first runs ahead, without a gradient; then each window with scored outputs is computed
    again, from the state at its beginning, by itself: memory grows with the window, not with the sequence.

    Source: Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", BPTT(h; h') (here h' = h = window); Sutskever 2013, "Training recurrent neural networks", section
    2.8.6.
    """
    steps = range(batch.inputs.shape[1])[trial.task.scored]
    windows = _windows(steps.stop, window)
    begun: list[States | None] = []  # only where they are computed again
    pieces: list[Tensor] = []
    states: States | None = None
    with torch.no_grad():
        for span in windows:
            begun.append(states if span.stop > steps.start else None)
            values, states = _run_window(trial, leaves, batch, dropout, span, steps, states)
            pieces.append(values)
    outputs = torch.cat(pieces, dim=1).requires_grad_()
    losses = trial.task.loss(outputs, at_steps(batch, trial.task.scored))
    (by_outputs,) = torch.autograd.grad(losses.sum(), outputs)
    totals = [torch.zeros_like(leaf) for leaf in leaves.values()]
    shares = by_outputs.split([piece.shape[1] for piece in pieces], dim=1)
    for span, start, share in zip(windows, begun, shares, strict=True):
        if share.shape[1]:
            values, _ = _run_window(trial, leaves, batch, dropout, span, steps, start)
            found = torch.autograd.grad(values, list(leaves.values()), share, allow_unused=True)
            totals = [total if new is None else total + new for total, new in zip(totals, found, strict=True)]
    return losses.detach(), totals


def _windows(stop: int, window: int) -> list[range]:
    """The steps before `stop` in windows, the first of which may be shorter."""
    first = stop % window or window
    return [range(max(0, end - window), end) for end in range(first, stop + 1, window)]


def _run_window(
    trial: Trial,
    leaves: Leaves,
    batch: Batch,
    dropout: Sequence[Tensor],
    span: range,
    scored: range,
    start: States | None,
) -> tuple[Tensor, States]:
    """The outputs at the scored steps of one window, and the states at its end."""
    within = slice(max(0, scored.start - span.start), max(0, min(len(span), scored.stop - span.start)))
    kept = within if within.start < within.stop else slice(0, 0)
    part = slice(span.start, span.stop)
    masks = [mask[:, part] for mask in dropout]
    return run(trial, leaves, batch.inputs[:, part], kept, None, masks, start)


def _regularised(trial: Trial, leaves: Leaves, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """As `gradients`, with that of `train.omega` times Omega added to W_hh; for one Elman layer.

    Omega is the mean over all steps and sequences of (|delta_{t+1} W_hh diag f'(a_t)| / |delta_{t+1}| - 1)^2, with
    delta_t the gradient with respect to the pre-activation a_t: it asks that the error keeps its size on its way
    back. As in the source, delta and f' count as constants; steps without an error add 0.

    Source: Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", section 3.3,
    equation 9 (there a sum over steps). Equation 10 and the authors' code take the ratio of the squared norms, near 1
    four times as strong; the code divides by the number of steps with an error.
    """
    task, cell, hidden = trial.task, trial.cell.elman, trial.model.hidden_size
    (part,) = parts(trial)
    _, weights, projected = prepared(trial, leaves, part, batch.inputs, raw=True)
    states, _ = unroll(cell, projected, at_rest(trial, projected), weights)
    outputs = read_out(trial, leaves, states[:, task.scored])
    losses = task.loss(outputs, at_steps(batch, task.scored))
    *found, deltas = torch.autograd.grad(losses.sum(), [*leaves.values(), projected])
    with torch.no_grad():
        recurrent = padded_blocks(padded_blocks(leaves["W_hh"], 1, hidden), 2, hidden)
        after, before = deltas[:, 1:].flatten(1, 2), states[:, :-1].flatten(1, 2)
        back = cell.pull_back_(torch.bmm(after, recurrent), before)
        # Directions and sizes apart, sizes in float64: errors that vanish are what this is for, and their squares
        # would leave the range of float32
        sizes = [torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float64) for rows in (back, after)]
        counted = (sizes[0] > 0) & (sizes[1] > 0)
        back, after = (
            torch.where(counted, rows / size, 0).to(rows.dtype) for rows, size in zip((back, after), sizes, strict=True)
        )
        strength = torch.where(counted, 2 * (sizes[0] / sizes[1] - 1), 0) * (trial.train.omega / counted.shape[1])
        pulled = cell.pull_back_(back, before) * strength.to(before.dtype)
        by_recurrent = torch.bmm(after.mT, pulled)[:, :hidden, :hidden]
    place = list(leaves).index("W_hh")
    found[place] = found[place] + by_recurrent
    return losses.detach(), found
