"""Gated recurrent unit: one gate interpolates between the old state and a candidate, another cuts the candidate's past.

    r, z = sigmoid(W_x x_t + W_h h_{t-1} + b)    n = tanh(W_xn x_t + b_n + r (W_hn h_{t-1} + b_hn))
    h_t = n + z (h_{t-1} - n)

The reset gate acts after the product, as in `torch.nn.GRU`, whose redundant biases of r and z are one here; in the
published form of Cho et al., and in their code, it acts on the state before the product. Where the init sets gate
biases (`chrono`), z is the gate that keeps.

Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", section 2.3; Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", section 2 (gate
biases).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.aligned import sigmoid
from rnnlab.cells import Parameters, State, Streams, Weights, standard_initial, standard_shapes
from rnnlab.inits import Init, spectral_radius
from rnnlab.spec import param


@dataclass(frozen=True)
class Gru:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 1
    additive: ClassVar[bool] = False
    gated: ClassVar[bool] = True
    reads_init: ClassVar[bool] = True
    keep_bias: float = param(0.0)  # of the gate z before training: larger remembers longer

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return standard_shapes(inputs, hidden, gates=3) | {"b_hn": (hidden,)}

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        drawn = standard_initial(init, streams, inputs, hidden, scale, gates=3)
        given = init.gate_bias(streams("gate"), hidden) if hasattr(init, "gate_bias") else self.keep_bias
        drawn["b_h"].unflatten(0, (3, hidden))[1] = given
        return drawn | {"b_hn": torch.zeros(hidden, dtype=torch.float64)}

    def weights(self, parameters: Parameters) -> Weights:
        extra = parameters["b_hn"]
        recurrent_bias = torch.cat([torch.zeros_like(extra), torch.zeros_like(extra), extra], dim=1)
        return Weights(parameters["W_xh"], parameters["b_h"], parameters["W_hh"], recurrent_bias)

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        projected, product = fed
        hidden = state[0].shape[-1]
        gates = sigmoid(projected[..., : 2 * hidden] + product[..., : 2 * hidden])
        r, z = gates.chunk(2, -1)
        n = torch.tanh(projected[..., 2 * hidden :] + r * product[..., 2 * hidden :])
        return (n + z * (state[0] - n),), (gates, n, product[..., 2 * hidden :])

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        gates, n, recalled = kept
        r, z = gates.chunk(2, -1)
        by_old = gradient[0] * z
        by_n = gradient[0] - by_old
        by_candidate = by_n - by_n * n * n
        by_gates = torch.cat([by_candidate * recalled, gradient[0] * (before[0] - n)], -1) * gates
        by_gates = by_gates - by_gates * gates
        fed = torch.cat([by_gates, by_candidate], -1), torch.cat([by_gates, by_candidate * r], -1)
        return fed, (by_old,), ()

    def radius(self, parameters: Parameters) -> Tensor:
        return spectral_radius(parameters["W_hh"][:, 2 * parameters["W_hh"].shape[2] :])
