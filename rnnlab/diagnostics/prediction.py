"""What mean-field theory predicts of a layer as it was drawn: `rnnlab.theory` with the layer's own numbers put in.

Shapes: M models.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnlab.diagnostics.trajectory import Trajectory
from rnnlab.theory import MeanField, mean_field


def outside_theory(path: Trajectory) -> str:
    """Why theory says nothing of a layer, in words; "" where it does: tanh units h = tanh(W_hh h + u) alone."""
    elman = getattr(path.cell, "elman", None)
    if elman is None:
        return "mean-field theory here is that of tanh units without gates"
    if elman.nonlinearity != "tanh":
        return f"mean-field theory here is that of tanh units, not of {elman.nonlinearity}"
    return ""


def predictions(path: Trajectory, lengths: Tensor | None = None) -> list[MeanField]:
    """What theory predicts of each of the M models, from the gain of W_hh and the variance of what comes in.

    The gain is ||W_hh||_F / sqrt(H): the g of a Gaussian matrix with entries of variance g^2 / H, and of g times an
    orthogonal matrix. The input variance s^2 is the mean square of W_xh x_t + b_h over steps, sequences and units; of
    `lengths` (M, B) steps where given, else of all in which a sequence's state moves.

    It holds of weights as they were drawn, in wide layers; for trained ones it says what a random layer with as large
    weights would do. A model whose numbers are not finite has NaN. Raises ValueError where `outside_theory` says why.
    """
    recurrent, inputs = path.weights.recurrent, path.projected[..., : path.hidden].double()
    if (reason := outside_theory(path)) or recurrent is None:
        raise ValueError(reason)
    gains = torch.linalg.matrix_norm(recurrent.double()) / path.hidden**0.5
    running = torch.arange(inputs.shape[1])[None, :, None] < path.steps(lengths).unsqueeze(1)
    variances = torch.where(running, inputs.square().mean(-1), 0).sum((1, 2)) / running.sum((1, 2))
    return [_of(gain, variance) for gain, variance in zip(gains.tolist(), variances.tolist(), strict=True)]


def told(found: MeanField) -> dict[str, float]:
    """All numbers of a prediction, by name."""
    names = ("gain", "input_variance", "variance", "chi", "slope", "e_fold")
    return {**{name: getattr(found, name) for name in names}, "reach": found.reach()}


def _of(gain: float, variance: float) -> MeanField:
    try:
        return mean_field(gain, variance)
    except ValueError:  # not finite
        return MeanField(gain, variance, float("nan"), float("nan"))
