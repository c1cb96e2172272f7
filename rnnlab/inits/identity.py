"""The identity matrix, times the spectral radius asked for.

Source: Le, Jaitly, Hinton 2015, "A simple way to initialize recurrent networks of rectified linear units" (there with
relu and radius 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.spec import param


@dataclass(frozen=True)
class Identity:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        return self.spectral_radius * torch.eye(hidden_size, dtype=torch.float64)
