"""Gradient flow: how large the gradient of a loss is at each state on its way back through time and layers.

The loss is that of the last scored output of each sequence alone, so that a lag is counted from one step; a task's
whole loss would add up what comes from many.

Shapes: M models, T time, B sequences, L lags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.diagnostics.trajectory import Trajectory, trajectories
from rnnlab.tasks import MANY_TO_ONE, Batch, at_steps
from rnnlab.trial import Trial


class Flow(NamedTuple):
    """The gradients in one layer and direction, by their lag = 0, 1, ..., T - 1."""

    path: Trajectory
    norms: Tensor  # (M, B, L) |dL/dh| at the state so many steps before the one that the output reads; 0 where none is
    there: Tensor  # (M, B, L) whether the layer has such a state: none lies before the beginning of a sequence


class ByLag(NamedTuple):
    """The norms of a `Flow` over its sequences, (M, L) each."""

    mean: Tensor  # of ln |dL/dh|, over the gradients that are neither zero nor broken; NaN where there are none
    spread: Tensor  # their standard deviation (n - 1); NaN for fewer than two
    counted: Tensor  # how many they are
    zero: Tensor  # gradients that are exactly zero: cut off, or smaller than any number
    broken: Tensor  # gradients that are infinite or no number


def gradient_flow(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> list[Flow]:
    """The flow in each layer, the lowest first (an encoder's before the decoder's); arguments as for `trajectories`.

    Every sequence has a loss of its own: it is not divided by their number. The state of a cell with several tensors
    (LSTM's h and c) is one vector. Lags begin at the state that the last scored output reads; those of an encoder go on
    where the decoder begins, and in the backward direction, which reads from the end, a lag leads to later steps. Below
    the top of a network in two directions no lag has a meaning: the layer above reads every state, from both sides;
    such a layer has no lags here.

    Source: Bengio, Simard, Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult";
    Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks", section 2.
    """
    last = _last_scored(batch.mask)
    with torch.enable_grad():
        paths, outputs = trajectories(trial, parameters, batch)
        one_each = at_steps(batch._replace(mask=last), trial.task.scored)
        losses = trial.task.loss(outputs, one_each) * last.flatten(1).sum(1)  # a mean over sequences: now their sum
        states = [state for path in paths for state in path.states[1:]]
        found = iter(torch.autograd.grad(losses.sum(), states, allow_unused=True, materialize_grads=True))
    flows = []
    for path in paths:
        norms = torch.stack([_norm(next(found)) for _ in path.states[1:]], dim=-1)
        norms, there = _by_lag(norms, _read_at(trial, path, last, batch.lengths), last.shape[1])
        flows.append(Flow(path.detached(), norms, there & (not _read_from_both_sides(trial, path))))
    return flows


def relative(flow: Flow) -> Flow:
    """The same with the norms of each sequence divided by its first: that at lag 0, in an encoder at its last state."""
    first = flow.norms.gather(-1, flow.there.int().argmax(-1, keepdim=True))
    return flow._replace(norms=torch.where(flow.there, flow.norms / first, 0))


def by_lag(flow: Flow) -> ByLag:
    """Mean and spread of the logarithm of the norms, and what cannot be in them.

    Of the logarithm: norms of different sequences may differ by powers of ten, of which a mean would show the largest.
    """
    zero, broken = flow.there & (flow.norms == 0), flow.there & ~torch.isfinite(flow.norms)
    counted = flow.there & ~zero & ~broken
    logs = torch.where(counted, flow.norms, 1).log()
    count = counted.sum(1)
    mean = torch.where(count > 0, logs.sum(1) / count, math.nan)
    squares = torch.where(counted, logs - mean.unsqueeze(1), 0).square().sum(1)
    spread = torch.where(count > 1, (squares / (count - 1)).sqrt(), math.nan)
    return ByLag(mean, spread, count, zero.sum(1), broken.sum(1))


def relative_by_lag(flow: Flow) -> ByLag:
    """Mean and spread of the norms relative to the first of each sequence; zero and broken, of the norms themselves.

    A sequence whose first norm is zero or broken is not in the means.
    """
    return by_lag(relative(flow))._replace(zero=by_lag(flow).zero, broken=by_lag(flow).broken)


def slope(mean: Tensor, lags: range) -> Tensor:
    """(M,) the slope of the least-squares line through mean ln |dL/dh| (M, L) over these lags, per step.

    NaN where the mean of one of them is not known. `rnnlab.theory.MeanField.slope` is what theory says of it.
    """
    places = torch.tensor(lags)
    if len(lags) < 2 or not 0 <= places.min() <= places.max() < mean.shape[1]:
        raise ValueError(f"lags={lags}: must be two or more, from 0 to {mean.shape[1] - 1}")
    centred = places.to(mean.dtype) - places.to(mean.dtype).mean()
    return mean[:, places] @ centred / centred.square().sum()


def _norm(gradient: Tensor) -> Tensor:
    """(M, B) the norm of (M, B, S), also where squares of the entries would under- or overflow."""
    size = gradient.abs().amax(-1)
    unit = torch.where((size > 0) & torch.isfinite(size), size, 1)
    return unit * torch.linalg.vector_norm(gradient / unit.unsqueeze(-1), dim=-1)


def _read_from_both_sides(trial: Trial, path: Trajectory) -> bool:
    return trial.model.bidirectional and path.part.level < trial.model.layers - 1


def _last_scored(mask: Tensor) -> Tensor:
    """(M, T, B) true at the last of the scored steps of each sequence, of those where `mask` (M, T, B) is true."""
    later = mask.flip(1).cumsum(1).flip(1)  # how many are scored from here on
    return mask & (later == 1)


def _read_at(trial: Trial, path: Trajectory, last: Tensor, lengths: Tensor | None) -> Tensor:
    """(M, B) which state after a step, in the order of `path.states[1:]`, the last scored output reads.

    For an encoder, whose states nothing reads, the place where that would be, could it go on.
    """
    steps = last.int().argmax(1)
    if not path.part.backward:
        return steps - path.begin
    ends = torch.full_like(steps, len(path.states) - 1) if lengths is None else lengths
    return ends - 1 - (0 if trial.task.form == MANY_TO_ONE else steps)


def _by_lag(norms: Tensor, read_at: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(M, B, L) the norms (M, B, T) in the order of lags, and where there are any."""
    places = read_at.unsqueeze(-1) - torch.arange(count)
    there = (places >= 0) & (places < norms.shape[-1])
    return torch.where(there, norms.gather(-1, places.clamp(0, norms.shape[-1] - 1)), 0), there
