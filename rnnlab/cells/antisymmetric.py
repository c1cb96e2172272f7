"""Antisymmetric network: a small step along an ordinary differential equation that neither decays nor explodes.

    h_t = h_{t-1} + step tanh((A - damping I) h_{t-1} + W_xh x_t + b_h),  A = -A^T

The eigenvalues of A are imaginary, so that without damping a state only turns. What is trained are the H (H - 1) / 2
entries of A below its diagonal; at the start A = W - W^T, with W from the init.

Source: Chang, Chen, Haber, Chi 2019, "AntisymmetricRNN: a dynamical system view on recurrent neural networks",
sections 3.2 and 3.3, equations 10 and 12 (there epsilon and gamma; without the gated variant, equation 13).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.cells import Parameters, State, Streams, Weights, skew
from rnnlab.inits import Init, spectral_radius, standard_normal
from rnnlab.spec import name_of, param
from rnnlab.trial import Trial


@dataclass(frozen=True)
class Antisymmetric:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 1
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = True
    step: float = param(0.1, above=0, high=10)  # epsilon
    damping: float = param(0.01, low=0, high=1e6)  # gamma

    def refuses(self, trial: Trial) -> Iterator[str]:
        if name_of(trial.init) == "identity":
            yield "init=identity: A = W - W^T would be 0; must be another init for cell=antisymmetric"

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"W_xh": (hidden, inputs), "A": (hidden * (hidden - 1) // 2,), "b_h": (hidden,)}

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        drawn = init.recurrent(streams("recurrent"), hidden)
        rows, columns = torch.tril_indices(hidden, hidden, offset=-1)
        return {
            "W_xh": standard_normal(streams("input"), hidden, inputs) * scale,
            "A": (drawn - drawn.mT)[rows, columns],
            "b_h": torch.zeros(hidden, dtype=torch.float64),
        }

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], self.recurrent(parameters))

    def recurrent(self, parameters: Parameters) -> Tensor:
        """(M, H, H) A - damping I."""
        hidden = parameters["b_h"].shape[1]
        return skew(parameters["A"], hidden) - self.damping * torch.eye(hidden, dtype=parameters["A"].dtype)

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        change = torch.tanh(fed[0])
        return (state[0] + change * self.step,), (change,)

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        by_change, change = gradient[0] * self.step, kept[0]
        return (by_change - by_change * change * change,), (gradient[0],), ()

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(self.recurrent(parameters))
