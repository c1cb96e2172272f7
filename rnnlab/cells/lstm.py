"""Long short-term memory: a cell state that gates write to, keep and read, so that the error flows back undamped.

    i, f, o = sigmoid(...)    g = tanh(...)    each of W_xh x_t + W_hh h_{t-1} + b_h
    c_t = f c_{t-1} + i g     h_t = o tanh(c_t)

The bias of the forget gate starts at `forget_bias`: at 1 the cell remembers from the start (Jozefowicz et al. 2015),
unless the init sets it (`chrono`); then the input gate's is its negative (Tallec and Ollivier 2018, equation 16).

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory"; Gers, Schmidhuber, Cummins 2000, "Learning to
forget" (the forget gate); Jozefowicz, Zaremba, Sutskever 2015, "An empirical exploration of recurrent network
architectures" (its bias). Gates in the order of `torch.nn.LSTM`, whose two biases are one here.
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
class Lstm:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 2  # h, c
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = True
    reads_init: ClassVar[bool] = True
    forget_bias: float = param(1.0)  # before training

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return standard_shapes(inputs, hidden, gates=4)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        drawn = standard_initial(init, streams, inputs, hidden, scale, gates=4)
        bias = drawn["b_h"].unflatten(0, (4, hidden))
        if hasattr(init, "gate_bias"):
            bias[1] = init.gate_bias(streams("gate"), hidden)
            bias[0] = -bias[1]
        else:
            bias[1] = self.forget_bias
        return drawn

    def weights(self, parameters: Parameters) -> Weights:
        return Weights(parameters["W_xh"], parameters["b_h"], parameters["W_hh"])

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        gates = _activated(fed[0])
        i, f, g, o = gates.chunk(4, -1)
        c = f * state[1] + i * g
        squashed = torch.tanh(c)
        return (o * squashed, c), (gates, squashed)

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        by_h, by_c = gradient
        gates, squashed = kept
        i, f, g, o = gates.chunk(4, -1)
        by_squashed = by_h * o
        by_c = by_c + (by_squashed - by_squashed * squashed * squashed)
        by_gates = torch.cat([by_c * g, by_c * before[1], by_c * i, by_h * squashed], -1)
        return (_pulled_back(by_gates, gates),), (torch.zeros_like(by_h), by_c * f), ()

    def radius(self, parameters: Parameters) -> Tensor:
        hidden = parameters["W_hh"].shape[2]
        return spectral_radius(parameters["W_hh"][:, 2 * hidden : 3 * hidden])


def _activated(fed: Tensor) -> Tensor:
    """(M, B, 4 H) sigmoid of i, f and o, tanh of g; one tanh for all, as sigmoid(x) = 1/2 + tanh(x/2) / 2."""
    halved = fed * 0.5
    candidate = slice(fed.shape[-1] // 2, 3 * fed.shape[-1] // 4)
    halved[..., candidate] = fed[..., candidate]
    squashed = torch.tanh(halved)
    gates = squashed * 0.5 + 0.5
    gates[..., candidate] = squashed[..., candidate]
    return gates


def _pulled_back(gradient: Tensor, gates: Tensor) -> Tensor:
    """`gradient` times the derivative of `_activated` at its result: s (1 - s), and 1 - g^2 for the candidate."""
    candidate = slice(gates.shape[-1] // 2, 3 * gates.shape[-1] // 4)
    scaled = gradient * gates
    found = scaled - scaled * gates
    g = gates[..., candidate]
    found[..., candidate] = gradient[..., candidate] - gradient[..., candidate] * g * g
    return found
