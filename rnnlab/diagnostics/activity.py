"""What the units of a layer do over a batch: how many are saturated or dead, and how many dimensions they fill.

Each is a number per model, of the first tensor h_t of the state after every step. Steps after a sequence has ended do
not count: `lengths` (M, B) says how many it has, by default all in which its state moves. NaN for a model with a state
that is not finite, or without any. One model after another, in float64: no result depends on the stack.

Shapes: M models, T time, B sequences, H hidden units, R rows: all steps of all sequences of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rnnlab.diagnostics.trajectory import Trajectory

SATURATED = 0.9  # |tanh| from which a unit counts as saturated: there its slope 1 - h^2 is below 0.19


def saturation(path: Trajectory, threshold: float = SATURATED, lengths: Tensor | None = None) -> Tensor:
    """(M,) the share of units x steps x sequences with |h| > threshold.

    Only where h is a tanh of what the unit is fed with, an Elman cell of this kind: there |h| near 1 means a slope near
    0. NaN for all others: a rectified or linear unit has no such bound, and where h is a product with a gate or an
    average over time (LSTM, GRU, antisymmetric and coupled oscillators), its size says nothing about a slope.

    Source: the threshold is that of Karpathy, Johnson, Li 2015, "Visualizing and understanding recurrent networks",
    there for gates.
    """
    if _nonlinearity(path) != "tanh":
        return _unknown(path)
    return _of_each_model(path, lengths, lambda rows: (rows.abs() > threshold).double().mean())


def dead_units(path: Trajectory, lengths: Tensor | None = None) -> Tensor:
    """(M,) the share of units that are 0 at every step of every sequence.

    Only for rectified units, whose slope is 0 wherever they are: such a unit gets no gradient from this batch. NaN for
    all others. That a unit is silent on one batch does not say that it is on any other input.

    Source: Lu, Shin, Su, Karniadakis 2020, "Dying ReLU and initialization: theory and numerical examples".
    """
    if _nonlinearity(path) != "relu":
        return _unknown(path)
    return _of_each_model(path, lengths, lambda rows: (rows == 0).all(0).double().mean())


def participation_ratio(path: Trajectory, lengths: Tensor | None = None) -> Tensor:
    """(M,) (sum_i lambda_i)^2 / sum_i lambda_i^2, with lambda the variances along the principal axes of the states.

    Over all steps and sequences together: 1 if they lie on a line, H if they spread alike in all directions. NaN where
    they do not vary by more than rounding. R independent states of H equal variances give about H R / (H + R), so it is
    biased downwards where there are few, and steps in a row are far from independent.

    Source: Gao et al. 2017, "A theory of multineuronal dimensionality, dynamics and measurement".
    """
    return _of_each_model(path, lengths, _participation_ratio)


def _participation_ratio(rows: Tensor) -> Tensor:
    moved = rows - rows.mean(0)
    spread = moved.abs().max()
    if spread <= len(rows) * torch.finfo(rows.dtype).eps * rows.abs().max():
        return rows.new_tensor(math.nan)
    moved = moved / spread  # whose squares neither over- nor underflow
    covariance = moved.T @ moved
    return covariance.trace().square() / covariance.square().sum()


def _of_each_model(path: Trajectory, lengths: Tensor | None, measured: Callable[[Tensor], Tensor]) -> Tensor:
    """(M,) what is measured of the rows (R, H)."""
    outputs = path.outputs()
    running = torch.arange(outputs.shape[1])[None, :, None] < path.steps(lengths).unsqueeze(1)
    found = _unknown(path)
    for model, (states, kept) in enumerate(zip(outputs, running, strict=True)):
        rows = states[..., : path.hidden][kept].double()
        if len(rows) and rows.isfinite().all():
            found[model] = measured(rows)
    return found


def _unknown(path: Trajectory) -> Tensor:
    return torch.full(path.states[0].shape[:1], math.nan, dtype=torch.float64)


def _nonlinearity(path: Trajectory) -> str | None:
    """That of an Elman cell, be it one by another name; None for the others."""
    return getattr(getattr(path.cell, "elman", None), "nonlinearity", None)
