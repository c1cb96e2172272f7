"""Clipping and optimisers for a stack: every model with its own learning rate, momentum and threshold.

All tensors are (M, P): M models, P parameters in a row. Each operation here rounds once (no fused
multiply-add), so that its bits do not depend on where in memory a model lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.trial import Train

RMSPROP_DECAY = 0.99  # of torch.optim.RMSprop
ADAM_DECAYS = (0.9, 0.999)  # Kingma and Ba 2015, section 2
EPSILON = 1e-8  # of torch.optim.RMSprop and Adam


class Rates(NamedTuple):
    """The settings that may differ within a stack, (M, 1) each."""

    learning_rate: Tensor
    momentum: Tensor
    clip_threshold: Tensor  # infinite where clipping is off


def rates(trains: Sequence[Train]) -> Rates:
    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).unsqueeze(1)

    thresholds = [torch.inf if train.clip_threshold is None else train.clip_threshold for train in trains]
    return Rates(
        column([train.learning_rate for train in trains]),
        column([train.momentum for train in trains]),
        column(thresholds),
    )


def clip_(gradient: Tensor, mode: str, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Clip each model's gradient in place; return its norm before (M,), in float64, and whether it acted (M,).

    mode "norm" scales the gradient down to the threshold where its global norm is larger; "value" bounds
    every entry. The norm is summed in float64, so that a large gradient is not taken for an infinite one.

    Source: Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural networks",
    algorithm 1 (norm); Mikolov 2012, "Statistical language models based on neural networks" (value).
    """
    norm = torch.linalg.vector_norm(gradient, dim=1, dtype=torch.float64)
    if mode == "norm":
        acted = norm > threshold[:, 0]
        factor = torch.where(acted, threshold[:, 0] / norm, 1.0)
        gradient.mul_(factor.to(gradient.dtype).unsqueeze(1))
    else:
        acted = gradient.abs().amax(1) > threshold[:, 0]
        torch.minimum(torch.maximum(gradient, -threshold, out=gradient), threshold, out=gradient)
    return norm, acted


Buffers = Mapping[str, Tensor]
Update = Callable[[Tensor, Tensor, Buffers, Rates, Sequence[int]], None]


@dataclass(frozen=True)
class Optimizer:
    """`update(parameters, gradient, buffers, rates, steps)` changes parameters and buffers in place.

    `steps` counts each model's training steps, this one included. Buffers start at 0.
    """

    buffers: tuple[str, ...]
    update: Update


def _sgd(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """v <- momentum v + g; w <- w - learning_rate v, as `torch.optim.SGD`."""
    velocity = buffers["velocity"].mul_(rates.momentum).add_(gradient)
    parameters.sub_(velocity * rates.learning_rate)


def _rmsprop(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """Tieleman and Hinton 2012, lecture 6e, with the constants of `torch.optim.RMSprop`."""
    square = _decay_(buffers["square"], RMSPROP_DECAY, gradient * gradient)
    parameters.sub_(gradient / square.sqrt().add_(EPSILON) * rates.learning_rate)


def _adam(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """Kingma and Ba 2015, algorithm 1; as `torch.optim.Adam` with its defaults."""
    first, second = ADAM_DECAYS
    mean = _decay_(buffers["mean"], first, gradient)
    square = _decay_(buffers["square"], second, gradient * gradient)
    corrections = [[1 - first**step, (1 - second**step) ** 0.5] for step in steps]
    correction = torch.tensor(corrections, dtype=parameters.dtype).reshape(-1, 2)
    denominator = (square.sqrt() / correction[:, 1:]).add_(EPSILON)
    parameters.sub_(mean / denominator * (rates.learning_rate / correction[:, :1]))


def _decay_(average: Tensor, decay: float, value: Tensor) -> Tensor:
    """average <- decay average + (1 - decay) value."""
    return average.mul_(decay).add_(value * (1 - decay))


OPTIMIZERS = {
    "sgd": Optimizer(("velocity",), _sgd),
    "rmsprop": Optimizer(("square",), _rmsprop),
    "adam": Optimizer(("mean", "square"), _adam),
}
