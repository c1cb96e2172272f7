"""Clipping and optimisers for a stack: every model with its own learning rate, its schedule, momentum and threshold.

All tensors are (M, P): M models, P parameters in a row. Each operation here rounds once (no fused
multiply-add), so that its bits do not depend on where in memory a model lies.
"""

from __future__ import annotations

import math
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
    """The settings of a training step that may differ within a stack, (M, 1) each."""

    learning_rate: Tensor
    momentum: Tensor
    clip_threshold: Tensor  # infinite where clipping is off
    nesterov: Tensor  # true or false
    weight_decay: Tensor
    retained: Tensor  # what decoupled weight decay leaves of a weight: 1 - learning_rate weight_decay


def rates(trains: Sequence[Train]) -> Rates:
    """Those of the first training step."""
    thresholds = [torch.inf if train.clip_threshold is None else train.clip_threshold for train in trains]
    return Rates(
        learning_rate=_column([train.learning_rate for train in trains]),
        momentum=_column([train.momentum for train in trains]),
        clip_threshold=_column(thresholds),
        nesterov=torch.tensor([train.nesterov and train.momentum > 0 for train in trains]).unsqueeze(1),
        weight_decay=_column([train.weight_decay for train in trains]),
        retained=_column([1 - train.learning_rate * train.weight_decay for train in trains]),
    )


def scheduled(first: Rates, trains: Sequence[Train], steps: Sequence[int]) -> Rates:
    """The rates of each model's training step `steps`, counted from 1; `first` are those of the first step."""
    if all(train.schedule == "constant" for train in trains):
        return first
    now = [learning_rate(train, step) for train, step in zip(trains, steps, strict=True)]
    retained = [1 - rate * train.weight_decay for rate, train in zip(now, trains, strict=True)]
    return first._replace(learning_rate=_column(now), retained=_column(retained))


def learning_rate(train: Train, step: int) -> float:
    """Of one model at its training step `step`, counted from 1: it depends on nothing else.

    cosine: from `learning_rate` at the first step down to 0 after the last; step: multiplied by
    `schedule_factor` after every `schedule_every` steps.

    Source: Loshchilov, Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5, without restarts.
    """
    done = step - 1
    if train.schedule == "cosine":
        return train.learning_rate * ((1 + math.cos(math.pi * done / train.max_steps)) / 2)
    if train.schedule == "step":
        return train.learning_rate * train.schedule_factor ** (done // train.schedule_every)
    return train.learning_rate


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


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
    """`update(parameters, gradient, buffers, rates, steps)` changes parameters and buffers, and spends the gradient.

    `steps` counts each model's training steps, this one included. Buffers start at 0.
    """

    buffers: tuple[str, ...]
    update: Update


def _sgd(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """v <- momentum v + g; w <- w - learning_rate v, or with nesterov g + momentum v for v, as `torch.optim.SGD`.

    Source: Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization and momentum in deep learning",
    section 2; in the form of `torch.optim.SGD`, whose weights are those that the momentum leads to.
    """
    _add_decay_(gradient, parameters, rates)
    velocity = buffers["velocity"].mul_(rates.momentum).add_(gradient)
    if rates.nesterov.any():
        ahead = gradient.add_(velocity * rates.momentum)
        velocity = torch.where(rates.nesterov, ahead, velocity, out=gradient)
    parameters.sub_(velocity * rates.learning_rate)


def _rmsprop(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """Tieleman and Hinton 2012, lecture 6e, with the constants of `torch.optim.RMSprop`."""
    _add_decay_(gradient, parameters, rates)
    square = _decay_(buffers["square"], RMSPROP_DECAY, gradient * gradient)
    parameters.sub_(gradient / square.sqrt().add_(EPSILON) * rates.learning_rate)


def _adam(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """Kingma and Ba 2015, algorithm 1; as `torch.optim.Adam` with its defaults."""
    _add_decay_(gradient, parameters, rates)
    _adam_step(parameters, gradient, buffers, rates, steps)


def _adamw(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
    """Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2; as `torch.optim.AdamW`."""
    parameters.mul_(rates.retained)
    _adam_step(parameters, gradient, buffers, rates, steps)


def _adam_step(parameters: Tensor, gradient: Tensor, buffers: Buffers, rates: Rates, steps: Sequence[int]) -> None:
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


def _add_decay_(gradient: Tensor, parameters: Tensor, rates: Rates) -> None:
    """g <- g + weight_decay w, the gradient of the loss + weight_decay |w|^2 / 2, in the models that have weight decay.

    In the others not even the sign of a zero changes: whether it is added is no matter of the stack mates.
    """
    if rates.weight_decay.any():
        decayed = (parameters * rates.weight_decay).add_(gradient)
        torch.where(rates.weight_decay > 0, decayed, gradient, out=gradient)


OPTIMIZERS = {
    "sgd": Optimizer(("velocity",), _sgd),
    "rmsprop": Optimizer(("square",), _rmsprop),
    "adam": Optimizer(("mean", "square"), _adam),
    "adamw": Optimizer(("mean", "square"), _adamw),
}
