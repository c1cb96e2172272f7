"""IRNN: rectified linear units whose recurrent matrix starts as the identity, so that a new state is the old one.

    h_t = relu(W_xh x_t + W_hh h_{t-1} + b_h),  W_hh = scale I at the start

Source: Le, Jaitly, Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units" (scale 1; a
smaller one forgets).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnnlab.cells import Parameters, State, Streams, Weights, standard_initial, standard_shapes
from rnnlab.cells.elman import Elman
from rnnlab.inits import Init, spectral_radius
from rnnlab.inits.identity import Identity
from rnnlab.spec import param

RECTIFIED = Elman("relu")


@dataclass(frozen=True)
class Irnn:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 1
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    built_on: ClassVar[tuple[type, ...]] = (Elman, Identity)
    scale: float = param(1.0, low=0, high=1e6)  # of the identity

    @property
    def elman(self) -> Elman:
        return RECTIFIED

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return standard_shapes(inputs, hidden)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        return standard_initial(Identity(self.scale), streams, inputs, hidden, scale)

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], parameters["W_hh"])

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        return RECTIFIED.advance(fed, state, gains)

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        return RECTIFIED.retreat(gradient, before, after, kept, gains)

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(parameters["W_hh"])
