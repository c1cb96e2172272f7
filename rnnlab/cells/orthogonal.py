"""An Elman cell whose recurrent matrix stays orthogonal while it trains: no direction of the state fades or grows.

    W_hh = exp(A),  A = -A^T;  what is trained are the H (H - 1) / 2 entries of A below its diagonal

At the start A consists of 2 x 2 blocks, so that W_hh rotates each pair of units by an angle of its own, uniform in
(-pi, pi). In float32 it is orthogonal to about 1e-6 then, and to 1e-4 when the entries of A have grown a hundredfold.
With tanh the state still shrinks; nonlinearity=identity keeps its norm exactly.

Source: Lezcano-Casado and Martinez-Rubio 2019, "Cheap orthogonal constraints in neural networks" (the exponential,
and in the code the angles); Henaff, Szlam, LeCun 2016, "Recurrent orthogonal networks and long-memory tasks" (the
blocks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.cells import Parameters, State, Streams, Weights, skew
from rnnlab.cells.elman import Elman
from rnnlab.inits import Init, spectral_radius, standard_normal
from rnnlab.spec import param


@dataclass(frozen=True)
class Orthogonal:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 1
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    built_on: ClassVar[tuple[type, ...]] = (Elman,)
    nonlinearity: str = param("tanh", choices=("tanh", "relu", "identity"))

    @property
    def elman(self) -> Elman:
        return Elman(self.nonlinearity)

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {"W_xh": (hidden, inputs), "A": (hidden * (hidden - 1) // 2,), "b_h": (hidden,)}

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        angles = torch.from_numpy(streams("recurrent").uniform(-math.pi, math.pi, hidden // 2))
        matrix = torch.zeros(hidden, hidden, dtype=torch.float64)
        matrix[range(1, 2 * len(angles), 2), range(0, 2 * len(angles), 2)] = angles
        rows, columns = torch.tril_indices(hidden, hidden, offset=-1)
        return {
            "W_xh": standard_normal(streams("input"), hidden, inputs) * scale,
            "A": matrix[rows, columns],
            "b_h": torch.zeros(hidden, dtype=torch.float64),
        }

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], self.recurrent(parameters))

    def recurrent(self, parameters: Parameters) -> Tensor:
        """(M, H, H) exp(A)."""
        matrices = skew(parameters["A"], parameters["b_h"].shape[1])
        return torch.stack([torch.linalg.matrix_exp(matrix.clone()) for matrix in matrices])

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        return self.elman.advance(fed, state, gains)

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        return self.elman.retreat(gradient, before, after, kept, gains)

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(self.recurrent(parameters))
