"""Independent uniform entries, as PyTorch's recurrent layers start with, scaled to the spectral radius asked for.

PyTorch draws from U(-1/sqrt(H), 1/sqrt(H)): a variance of 1/(3 H), so that the radius of its matrix tends to
1/sqrt(3) = 0.577 with H, no less by the circular law and no more by Geman's bound. That radius is the default here, and
PyTorch's bounds are then met but for the fluctuations of the unscaled radius, some percent at H = 100. The factor
1/sqrt(H) itself drops out in the scaling.

Source: `torch.nn.RNN` (the bounds); Tao, Vu, Krishnapur 2010, "Random matrices: universality of ESDs and the circular
law" (entries that are not normal); Geman 1986, "The spectral radius of large random matrices", Annals of Probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.inits import scaled, uniform_between
from rnnlab.spec import param


@dataclass(frozen=True)
class Uniform:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1 / math.sqrt(3), low=0)  # of PyTorch's matrix for large H: 0.577
    input_scale: float = param(0.1, low=0)

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        return scaled(uniform_between(generator, -1, 1, hidden_size, hidden_size), self.spectral_radius)
