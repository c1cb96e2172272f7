"""The vanilla recurrent cell: h_t = f(W_xh x_t + W_hh h_{t-1} + b_h), with f tanh, relu or identity.

Source: Elman 1990, "Finding structure in time"; the form is that of `torch.nn.RNN`, whose two biases
are one here.
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
class Elman:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 1
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = True
    nonlinearity: str = param("tanh", choices=("tanh", "relu", "identity"))

    @property
    def elman(self) -> Elman:
        return self

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return standard_shapes(inputs, hidden)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        return standard_initial(init, streams, inputs, hidden, scale)

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], parameters["W_hh"])

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        return (self.activate(fed[0]),), ()

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        return (self.pull_back_(gradient[0].clone(), after[0]),), (torch.zeros_like(before[0]),), ()

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(parameters["W_hh"])

    def activate(self, preactivation: Tensor, out: Tensor | None = None) -> Tensor:
        """f, elementwise; into `out` where given."""
        if self.nonlinearity == "tanh":
            return torch.tanh(preactivation, out=out)
        if self.nonlinearity == "relu":
            return torch.relu(preactivation) if out is None else torch.clamp(preactivation, min=0, out=out)
        return preactivation if out is None or out is preactivation else out.copy_(preactivation)

    def pull_back_(self, gradient: Tensor, state: Tensor) -> Tensor:
        """`gradient` times f' at the pre-activation that led to `state`, in place: 1 - h^2, [h > 0] or 1.

        For tanh, g - (g h) h in operations that round once each: a fused kernel may round otherwise where a
        vector ends, which would let a model's bits depend on its place in the stack.
        """
        if self.nonlinearity == "tanh":
            gradient.sub_((gradient * state).mul_(state))
        elif self.nonlinearity == "relu":
            gradient.mul_(state > 0)
        return gradient
