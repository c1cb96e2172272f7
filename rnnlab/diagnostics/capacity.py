"""Linear memory capacity: of how many past inputs does the state of a layer tell, read by a linear readout?

A layer is driven by one random signal u_t, independent from step to step, through a fixed input vector v: v u_t stands
in place of W_xh x_t, biases and recurrent weights stay. For each delay k a linear readout is fitted to u_{t-k}; the
squared correlation of the two is the capacity at this delay. Summed over all delays it is at most N, the number of
values that are read; a line of N units, each handing on what the one before had, reaches it.

It depends on more than the weights. Of a network that is not linear, the scale of the input decides the total
(Ballarin, Grigoryeva, Ortega 2025): compare at one `input_scale` only, and the course over the delays rather than the
total. Of a linear network the total is N for almost every W and v: where less is measured, that is what RIDGE hides,
not what the network has forgotten (Ballarin, Grigoryeva, Ortega 2024).

Source: Jaeger 2001, "Short term memory in echo state networks"; Ballarin, Grigoryeva, Ortega 2024, "Memory of recurrent
networks: do we compute it right?", and 2025, "Memory capacity of nonlinear recurrent networks: is it informative?";
Dambre, Verstraeten, Schrauwen, Massar 2012, "Information processing capacity of dynamical systems" (the bound N).

Shapes: M models, H hidden units, G features that a step is fed with, N values that are read (padded: S), K delays,
P samples, R rows.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.aligned import ALIGNMENT, aligned, column_sums, padded, padded_blocks
from rnnlab.cells import Cell, Weights
from rnnlab.diagnostics.trajectory import Trajectory, changed
from rnnlab.seeding import generator
from rnnlab.unroll import emitted, step

INPUT_SCALE = 0.1  # that of the inits: root mean square of the entries of v
RIDGE = 1e-9  # of the mean variance of what is read: as if it were read with noise of this variance
SIGNALS = 4  # in parallel: many short ones take less time than one as long as all of them, but for the washout of each
STEADY = 2.0  # our choice: factor by which the spread may differ between early and late in a steady state
CHUNK = 32  # steps whose states are held at once


class MemoryCapacity(NamedTuple):
    """NaN for a model whose states are not finite, or in no steady state."""

    total: Tensor  # (M,) the sum over the delays; what chance lifts above N is cut
    by_delay: Tensor  # (M, K) at delays 0, 1, ..., K - 1: 1 if u_{t-k} can be told exactly, about 0 if not at all


class _Moments(NamedTuple):
    """Means over the P samples of a set of signals; S is that of the states, less a constant."""

    states: Tensor  # (M, S, S) covariance
    both: Tensor  # (M, S, K) covariance with the delayed inputs
    inputs: Tensor  # (K,) variance of these


def memory_capacity(
    path: Trajectory,
    input_vector: Tensor | None = None,
    input_scale: float = INPUT_SCALE,
    delays: int | None = None,
    samples: int | None = None,
    washout: int | None = None,
    signals: int = SIGNALS,
) -> MemoryCapacity:
    """That of the layer of a trajectory, in float64, whatever its states are there; u_t is uniform, of variance 1.

    input_vector: (M or 1, G unpadded) v; by default a direction drawn at random, the same for all models, with entries
                  of root mean square `input_scale` in every gate
    delays:       K (default 2 N); what is remembered longer is not counted
    samples:      P, of each of two independent sets of signals: one to fit, one to correlate (default 20 N, at least
                  2000; rounded up to a multiple of `signals`)
    washout:      steps before these, of each signal (default K + 100)
    signals:      in a set

    Read is what the layer gives to the next, with an intercept; of a cell with `emit`, all tensors of its state. Delay
    0 is counted: the present input is in the state already, so that W_hh = 0 has capacity 1.

    Bias: as the readout is fitted and judged on different signals, nothing is gained by fitting noise. A squared
    correlation is 1 / (P - 1) on average if there is none; it is corrected for that, r^2 - (1 - r^2) / (P - 2), so that
    noise has mean 0 and does not lift the sum over many delays (one of them may be below 0). What remains is that the
    readout is fitted to P samples: a delay of which C can be told is low by about (1 - C) N / P. Chance moves the total
    by some percent, more where memory is long and N small.

    A model is in no steady state if the spread of its states differs by more than STEADY between the second half of the
    washout and the second half of the samples: a state that grows without bound, or a memory too long for so few steps.
    One whose states do not move has capacity 0. Raises ValueError for numbers that make no sense.
    """
    size = path.hidden * (path.cell.states if hasattr(path.cell, "emit") else 1)
    delays = 2 * size if delays is None else delays
    samples = max(2000, 20 * size) if samples is None else samples
    washout = delays + 100 if washout is None else washout
    if delays < 1 or samples < 4 or washout < delays or signals < 1:
        told = f"delays={delays}, samples={samples}, washout={washout}, signals={signals}"
        raise ValueError(f"{told}: must be >= 1, >= 4, >= delays, >= 1")
    each = math.ceil(samples / signals)
    weights = changed(path.weights, Tensor.double)
    vector = _direction(weights, path.hidden) * input_scale if input_vector is None else input_vector.double()
    drawn = generator(0, "diagnostics.capacity.signal").uniform(size=(washout + each, 2 * signals))
    driving = (torch.from_numpy(drawn) - 0.5) * math.sqrt(12)
    with torch.no_grad():
        driven = _driven(path.cell, weights, path.hidden, vector, driving)
        (fitted, judged), steady = _moments(driven, driving, delays, washout)
        found = _corrected(_readout(fitted, size), judged, signals * each)
    by_delay = torch.where(steady.unsqueeze(1), found, math.nan)
    return MemoryCapacity(by_delay.sum(1).clamp(max=size), by_delay)


def _direction(weights: Weights, hidden: int) -> Tensor:
    """(1, G unpadded) entries of root mean square 1 in each block of H."""
    blocks = weights.bias.shape[1] // aligned(hidden)
    drawn = torch.from_numpy(generator(0, "diagnostics.capacity.direction").standard_normal((blocks, hidden)))
    return (drawn / drawn.square().mean(1, keepdim=True).sqrt()).flatten().unsqueeze(0)


def _driven(cell: Cell, weights: Weights, hidden: int, vector: Tensor, signals: Tensor) -> Iterator[Tensor]:
    """(M, B, S) what is read after each step of all signals (T, B), from state 0."""
    along = padded_blocks(vector, 1, hidden).unsqueeze(1)
    bias = weights.bias.unsqueeze(1)
    state = (bias.new_zeros(len(bias), signals.shape[1], aligned(hidden)),) * cell.states
    for values in signals:
        state = step(cell, bias + values[:, None] * along, state, weights)
        yield emitted(cell, state)


def _moments(driven: Iterator[Tensor], signals: Tensor, delays: int, washout: int) -> tuple[list[_Moments], Tensor]:
    """Those of both sets of signals after the washout, and (M,) whether the model is in a steady state."""
    lagged = signals[washout - delays + 1 :].unfold(0, delays, 1).flip(-1)  # (R, B, K) u_{t-k}
    both = [_centred_inputs(one) for one in lagged.chunk(2, dim=1)]
    # One constant for all signals: near their mean, so that no digits are lost
    centre = deque(itertools.islice(driven, washout // 2 + 1), maxlen=1).pop().mean(1, keepdim=True)
    before = [(states - centre).square().sum((1, 2)) for states in itertools.islice(driven, washout - washout // 2 - 1)]
    totals: list[Tensor] = []
    after = []
    for begin in range(0, len(lagged), CHUNK):
        states = torch.stack(list(itertools.islice(driven, CHUNK)), dim=2) - centre.unsqueeze(2)  # (M, B, R, S)
        after.append(states.square().sum((1, 3)))
        chunks = (one[:, begin : begin + CHUNK] for one in both)
        new = [_products(own, inputs) for own, inputs in zip(states.chunk(2, dim=1), chunks, strict=True)]
        totals = [total.add_(of) for total, of in zip(totals, new, strict=True)] if totals else new
    samples = len(lagged) * signals.shape[1] // 2
    variances = [one.square().mean((0, 1)) for one in both]
    found = [_centred(total / samples, of, delays) for total, of in zip(totals, variances, strict=True)]
    return found, _steady(torch.stack(before, dim=1) if before else after[0], torch.cat(after, dim=1))


def _steady(before: Tensor, after: Tensor) -> Tensor:
    """(M,) whether the spread is the same in the second half of the washout and of the samples; (M, steps) each."""
    early, late = before.mean(1), after.tensor_split(2, dim=1)[1].mean(1)
    return (late <= STEADY * early) & (early <= STEADY * late)


def _centred_inputs(lagged: Tensor) -> Tensor:
    """(B, R, K) of (R, B, K): each signal's rows together, less their mean over all."""
    return (lagged - lagged.mean((0, 1))).transpose(0, 1)


def _products(states: Tensor, lagged: Tensor) -> Tensor:
    """(M, S, S + K + 1, padded) products of the states (M, B, R, S) with themselves, with u_{t-k} (B, R, K) and 1."""
    rows, inputs = states.flatten(1, 2), lagged.flatten(0, 1)
    beside = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1).expand(len(states), -1, -1)
    return torch.bmm(rows.mT, padded(torch.cat([rows, beside], dim=2), (2, ALIGNMENT)))


def _centred(means: Tensor, variances: Tensor, delays: int) -> _Moments:
    width = means.shape[1]
    centre = means[..., width + delays]
    states = means[..., :width] - centre.unsqueeze(1) * centre.unsqueeze(2)
    return _Moments(states, means[..., width : width + delays], variances)


def _readout(fitted: _Moments, size: int) -> Tensor:
    """(M, S, K) the weights of ridge regression."""
    variance = fitted.states.diagonal(dim1=1, dim2=2).sum(1) / size
    ridge = torch.where(variance > 0, RIDGE * variance, 1)
    identity = torch.eye(fitted.states.shape[1], dtype=fitted.states.dtype)
    root = torch.linalg.cholesky_ex(fitted.states + ridge[:, None, None] * identity)[0]
    return torch.cholesky_solve(fitted.both, root)


def _corrected(readout: Tensor, judged: _Moments, samples: int) -> Tensor:
    """(M, K) squared correlations of what is read with u_{t-k}, less what chance gives; 0 where it never changes."""
    along = column_sums(readout * judged.both)
    variance = column_sums(readout * torch.bmm(judged.states, readout))
    squared = along.square() / (variance * judged.inputs)
    return torch.where(variance == 0, 0, squared - (1 - squared) / (samples - 2))
