"""Independent normal entries, scaled to the spectral radius asked for.

For equal seeds the matrix is the same at every radius, up to its scale: comparisons along the radius are
paired. Before scaling, the radius tends to 1 with H when the entries have variance 1/H, no less by the circular law
and no more by Geman's bound.

Source: Ginibre 1965, "Statistical ensembles of complex, quaternion, and real matrices"; Geman 1986, "The spectral
radius of large random matrices", Annals of Probability; scaling to a set spectral radius as in Jaeger 2001,
"The echo state approach to analysing and training recurrent neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.inits import scaled, standard_normal
from rnnlab.spec import param


@dataclass(frozen=True)
class Gaussian:
    version: ClassVar[int] = 1
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        return scaled(standard_normal(generator, hidden_size, hidden_size), self.spectral_radius)
