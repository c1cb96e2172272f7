"""Trajectories made by hand: of one layer with given matrices and inputs, or with given states."""

import torch
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.cells import Cell, Weights
from rnnlab.cells.elman import Elman
from rnnlab.diagnostics.trajectory import Trajectory
from rnnlab.model import Part
from rnnlab.unroll import step

PART = Part("", 1, 0, False)
LINEAR = Elman("identity")


def driven(recurrent: Tensor, given: Tensor, cell: Cell = LINEAR, bias: Tensor | None = None) -> Trajectory:
    """From state 0 by the matrices (M, H, H), with what comes in (M, T, B, H), which has the bias (M, H) in it."""
    models, hidden, _ = recurrent.shape
    nothing = recurrent.new_zeros(models, hidden)
    weights = Weights(nothing.unsqueeze(-1), nothing if bias is None else bias, recurrent).padded(hidden)
    projected = padded_blocks(given, 3, hidden)
    states = [projected.new_zeros(projected[:, 0].shape)]
    for fed in projected.unbind(1):
        states += step(cell, fed, (states[-1],), weights)
    return Trajectory(PART, cell, weights, projected, states, hidden)


def linear(*matrices: Tensor, steps: int = 60) -> Trajectory:
    """h_t = W h_{t-1} for each W (H, H): one sequence, without inputs."""
    stacked = torch.stack(matrices)
    return driven(stacked, stacked.new_zeros(len(stacked), steps, 1, stacked.shape[1]))


def passing(states: Tensor, cell: Cell = LINEAR) -> Trajectory:
    """Through the states (M, T, B, H), whatever leads there."""
    models, _, _, hidden = states.shape
    weights = Weights(states.new_zeros(models, hidden, 1), states.new_zeros(models, hidden), None).padded(hidden)
    joined = padded_blocks(states, 3, hidden)
    before = torch.zeros_like(joined[:, 0])
    return Trajectory(PART, cell, weights, joined, [before, *joined.unbind(1)], hidden)
