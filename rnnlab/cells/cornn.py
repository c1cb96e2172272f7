"""Coupled oscillators: each unit swings, driven by the others, so that gradients are bounded from above and below.

    z_t = z_{t-1} + step (tanh(W y_{t-1} + V z_{t-1} + W_xh x_t + b_h) - stiffness y_{t-1} - friction z_{t-1})
    y_t = y_{t-1} + step z_t

y is the output. W comes from the init; V, which acts on the velocities z, too, by a stream of its own.

Source: Rusch and Mishra 2021, "Coupled oscillatory recurrent neural network (coRNN)", with the friction taken
explicitly, as in the authors' code (there gamma is the stiffness and epsilon the friction; defaults as in the code
for sequential MNIST).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.cells import Parameters, State, Streams, Weights, standard_initial, standard_shapes
from rnnlab.inits import Init, spectral_radius
from rnnlab.spec import param


@dataclass(frozen=True)
class Cornn:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 2  # y, z
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = True
    step: float = param(0.042, above=0, high=1)  # Delta t
    stiffness: float = param(2.7, low=0, high=1e6)  # gamma
    friction: float = param(4.7, low=0, high=1e6)  # epsilon

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return standard_shapes(inputs, hidden, reads=2)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        return standard_initial(init, streams, inputs, hidden, scale, reads=2)

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], parameters["W_hh"])

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        y, z = state
        force = torch.tanh(fed[0])
        faster = z + (force - y * self.stiffness - z * self.friction) * self.step
        return (y + faster * self.step, faster), (force,)

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        by_y, force = gradient[0], kept[0]
        by_z = gradient[1] + by_y * self.step
        by_force = by_z * self.step
        fed = by_force - by_force * force * force
        return (fed,), (by_y - by_force * self.stiffness, by_z - by_force * self.friction), ()

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(parameters["W_hh"][:, :, : parameters["W_hh"].shape[1]])
