"""Rotations of pairs of units by random angles, times the spectral radius asked for.

W_hh is block-diagonal with blocks [[cos a, -sin a], [sin a, cos a]], a ~ U(-pi, pi); an odd last unit keeps its value.
A linear network then is a set of clocks that each turn by their own angle at every step, and nothing mixes them.

Source: Henaff, Szlam, LeCun 2016, "Recurrent orthogonal networks and long-memory tasks" (the explicit solution of the
copy task). The angles are those of what the code of Lezcano-Casado, Martinez-Rubio 2019, "Cheap orthogonal
constraints in neural networks", names after Henaff.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.inits import uniform_between
from rnnlab.spec import param


@dataclass(frozen=True)
class BlockRotation:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        angles = uniform_between(generator, -math.pi, math.pi, hidden_size // 2).tolist()
        odd = [torch.ones(1, 1, dtype=torch.float64)] * (hidden_size % 2)
        return torch.block_diag(*map(_rotation, angles), *odd) * self.spectral_radius


def _rotation(angle: float) -> Tensor:
    cosine, sine = math.cos(angle), math.sin(angle)
    return torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
