"""Gates that start with time scales up to a longest one, and an orthogonal recurrent matrix.

A forget gate with bias b keeps about sigmoid(b) of its unit's memory at each step, so it forgets within 1 + e^b steps.
With b ~ log U(1, longest - 1) the time scales of the units are spread evenly from 2 to `longest` steps. The input
gate has the bias -b: what a unit takes in and what it keeps then sum to 1.

Source: Tallec, Ollivier 2018, "Can recurrent neural networks warp time?", section 2, eq. 16. It leaves W_hh open,
which is that of `orthogonal` here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnlab.inits import uniform_between
from rnnlab.inits.orthogonal import Orthogonal
from rnnlab.spec import name_of, param
from rnnlab.trial import Trial


@dataclass(frozen=True)
class Chrono:
    version: ClassVar[int] = 1
    built_on: ClassVar[tuple[type, ...]] = (Orthogonal,)
    overrules: ClassVar[frozenset[str]] = frozenset({"forget_bias", "keep_bias"})
    spectral_radius: float = param(1.0, low=0)
    input_scale: float = param(0.1, low=0)
    longest: int = param(100, low=3)  # steps: T_max, the range of the dependencies expected

    def recurrent(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        return Orthogonal(self.spectral_radius).recurrent(generator, hidden_size)

    def gate_bias(self, generator: np.random.Generator, hidden_size: int) -> Tensor:
        return uniform_between(generator, 1, self.longest - 1, hidden_size).log()

    def refuses(self, trial: Trial) -> Iterator[str]:
        if not getattr(trial.cell, "gated", False):
            yield f"init=chrono: needs a cell with gates, cell={name_of(trial.cell)} has none; must be another init"
