"""A few incoming connections for each unit, with normal weights, scaled to the spectral radius asked for.

Each row of W_hh has `nonzeros` entries from N(0, 1) in random places, so every unit hears from so many units, whatever
their number: its input does not grow with H. With H <= `nonzeros` the matrix is dense. The radius before scaling
is not 0: from any unit, incoming connections can be followed back without end, so some of them form a cycle.

Source: Martens 2010, "Deep learning via Hessian-free optimization" (15 incoming connections); Sutskever, Martens,
Dahl, Hinton 2013, "On the importance of initialization and momentum in deep learning", section 4.1 and table 4
(recurrent, there with radius 1.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.inits import scaled, standard_normal, uniform_between
from rnnlab.spec import param


@dataclass(frozen=True)
class Sparse:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)
    nonzeros: int = param(15, low=1)  # incoming connections of a unit, at most H; it may hear from itself

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        count = min(self.nonzeros, hidden_size)
        sources = uniform_between(generator, 0, 1, hidden_size, hidden_size).argsort(1)[:, :count]
        weights = standard_normal(generator, hidden_size, count)
        matrix = torch.zeros(hidden_size, hidden_size, dtype=torch.float64).scatter_(1, sources, weights)
        return scaled(matrix, self.spectral_radius)
