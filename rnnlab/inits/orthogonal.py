"""A random orthogonal matrix (uniform, by Haar measure), times the spectral radius asked for.

Source: Saxe, McClelland, Ganguli 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear
neural networks", section 3;
Mezzadri 2007, "How to generate random matrices from the classical compact groups" (the signs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.inits import standard_normal
from rnnlab.spec import param


@dataclass(frozen=True)
class Orthogonal:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        q, r = torch.linalg.qr(standard_normal(generator, hidden_size, hidden_size))
        signs = torch.where(r.diagonal() < 0, -1.0, 1.0)  # without them, q is not uniform
        return q * signs * self.spectral_radius
