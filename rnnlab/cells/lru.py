"""Linear recurrent unit: a complex diagonal recurrence without a nonlinearity in time; a gate mixes its outputs.

    x_t = lambda x_{t-1} + gamma B u_t      lambda = exp(-exp(nu) + i exp(theta))
    y_t = Re(C x_t) + D u_t + b             h_t = P y_t sigmoid(Q y_t)

At the start the lambda lie on a ring between `least` and `largest`, gamma is sqrt(1 - |lambda|^2), so that a longer
memory does not mean a larger state. As the recurrence is linear, a single layer cannot multiply what it is shown at
different times; `model.layers` stacks more of them.

Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", sections 3.2.2 (the ring),
3.3 (the exponentials), 3.4 (gamma and the phase) and appendix A; D is a full matrix here, diagonal there; the gate is
the linear unit of their block, after Dauphin et al. 2017, "Language modeling with gated convolutional networks".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.aligned import affine, padded_blocks, sigmoid
from rnnlab.cells import Parameters, State, Streams, Weights
from rnnlab.inits import Init, standard_normal
from rnnlab.spec import param
from rnnlab.trial import Trial


@dataclass(frozen=True)
class Lru:
    version: ClassVar[int] = 1
    states: ClassVar[int] = 3  # Re x, Im x, D u + b
    additive: ClassVar[bool] = True
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    least: float = param(0.9, low=0, high=1)  # |lambda| at the start, r_min
    largest: float = param(0.999, low=1e-6, high=1)  # r_max
    phase: float = param(2 * math.pi, above=0, high=2 * math.pi)  # largest angle of lambda at the start, radians a step

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.least >= self.largest:
            yield f"cell.least={self.least:g}: must be < cell.largest, which is {self.largest:g}"

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return {
            "nu": (hidden,),
            "theta": (hidden,),
            "gamma": (hidden,),
            "B": (2 * hidden, inputs),
            "C": (hidden, 2 * hidden),
            "D": (hidden, inputs),
            "b": (hidden,),
            "PQ": (2 * hidden, hidden),
            "b_PQ": (2 * hidden,),
        }

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        ring = torch.from_numpy(streams("recurrent").uniform(size=(2, hidden)))
        squared = ring[0] * (self.largest**2 - self.least**2) + self.least**2
        mixing = standard_normal(streams("recurrent.mixing"), 4, hidden, hidden) / math.sqrt(hidden)
        return {
            "nu": torch.log(-0.5 * torch.log(squared)),
            "theta": torch.log(self.phase * ring[1]),
            "gamma": 0.5 * torch.log1p(-squared),
            "B": standard_normal(streams("input"), 2 * hidden, inputs) * (scale / math.sqrt(2)),
            "C": mixing[:2].transpose(0, 1).flatten(1),
            "D": standard_normal(streams("input.skip"), hidden, inputs) * scale,
            "b": torch.zeros(hidden, dtype=torch.float64),
            "PQ": mixing[2:].flatten(0, 1),
            "b_PQ": torch.zeros(2 * hidden, dtype=torch.float64),
        }

    def weights(self, parameters: Parameters) -> Weights:
        size, angle = torch.exp(-torch.exp(parameters["nu"])), torch.exp(parameters["theta"])
        gains = size * torch.cos(angle), size * torch.sin(angle)
        gamma = torch.exp(parameters["gamma"])
        normalised = torch.cat([gamma, gamma], dim=1).unsqueeze(-1) * parameters["B"]
        nothing = torch.zeros_like(gamma)
        bias = torch.cat([nothing, nothing, parameters["b"]], dim=1)
        return Weights(torch.cat([normalised, parameters["D"]], dim=1), bias, None, gains=gains)

    def advance(self, fed: State, state: State, gains: State) -> tuple[State, State]:
        real, imaginary, skipped = fed[0].chunk(3, -1)
        a, b = gains
        x, y, _ = state
        return (real + (a * x - b * y), imaginary + (a * y + b * x), skipped.contiguous()), ()

    def retreat(
        self, gradient: State, before: State, after: State, kept: State, gains: State
    ) -> tuple[State, State, State]:
        by_x, by_y, _ = gradient
        a, b = gains
        x, y, skipped = before
        by_gains = by_x * x + by_y * y, by_y * x - by_x * y
        return (
            (torch.cat(gradient, -1),),
            (by_x * a + by_y * b, by_y * a - by_x * b, torch.zeros_like(skipped)),
            by_gains,
        )

    def emit(self, parameters: Parameters, states: Tensor, hidden: int) -> Tensor:
        width = states.shape[-1] // 3
        signed = torch.cat([parameters["C"][..., :hidden], -parameters["C"][..., hidden:]], dim=2)
        mixing = padded_blocks(padded_blocks(signed, 1, hidden), 2, hidden)
        summed = affine(states[..., : 2 * width].contiguous(), mixing, mixing.new_zeros(mixing.shape[:2]))
        gate = padded_blocks(padded_blocks(parameters["PQ"], 1, hidden), 2, hidden)
        both = affine(summed + states[..., 2 * width :], gate, padded_blocks(parameters["b_PQ"], 1, hidden))
        return both[..., :width] * sigmoid(both[..., width:].contiguous())

    def radius(self, parameters: Parameters) -> Tensor:
        return torch.exp(-torch.exp(parameters["nu"].double())).amax(1)
