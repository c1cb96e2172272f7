"""The vanilla recurrent cell: h_t = f(W_xh x_t + W_hh h_{t-1} + b_h), with f tanh, relu or identity.

Source: Elman 1990, "Finding structure in time"; the form is that of `torch.nn.RNN`, whose two biases
are one here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rnnlab.trial import param


@dataclass(frozen=True)
class Elman:
    version: ClassVar[int] = 1
    nonlinearity: str = param("tanh", choices=("tanh", "relu", "identity"))

    def step(self, projected: Tensor, state: Tensor, recurrent: Tensor) -> Tensor:
        return self.activate(torch.baddbmm(projected, state, recurrent.mT))

    def activate(self, preactivation: Tensor, out: Tensor | None = None) -> Tensor:
        """f, elementwise; into `out` where given."""
        if self.nonlinearity == "tanh":
            return torch.tanh(preactivation, out=out)
        if self.nonlinearity == "relu":
            return torch.relu(preactivation) if out is None else torch.clamp(preactivation, min=0, out=out)
        return preactivation if out is None or out is preactivation else out.copy_(preactivation)

    def pull_back_(self, gradient: Tensor, state: Tensor) -> Tensor:
        """`gradient` times f' at the pre-activation that led to `state`, in place: 1 - h^2, [h > 0] or 1.

        For tanh, g - (g h) h in operations that round once each: a fused kernel may round otherwise where a
        vector ends, which would let a model's bits depend on its place in the stack.
        """
        if self.nonlinearity == "tanh":
            gradient.sub_((gradient * state).mul_(state))
        elif self.nonlinearity == "relu":
            gradient.mul_(state > 0)
        return gradient
