"""Temporal convolutional network: a yardstick that looks back over a fixed stretch, without a recurrent state.

    block i = 0, 1, ...:  u = relu(conv_d(x))   v = relu(conv_d(u))   x <- relu(x + v)     d = 2^i
    conv_d(x)_t = b + sum over j < kernel of W_j x_{t - j d}          steps before the first are 0

In the first block x is W x + b (a convolution of size 1) beside v where the inputs are not as many as the channels. An
output sees its own step and the 2 (kernel - 1) (2^blocks - 1) steps before it (`reach` counts both), in every layer.
There is neither dropout nor weight normalisation, which the source has. Weights start from N(0, 2 / fan-in) (He et al.
2015), with 1 / blocks of that variance in the second convolution of a block, so that what the blocks add
up to does not grow with their number (Radford et al. 2019); those of size 1 from N(0, 1 / fan-in). Biases
start at 0.

The state is what each convolution still needs of its inputs, (kernel - 1) d steps of them: sequences can be cut
anywhere, and any stretch follows from the one before.

Source: Bai, Kolter, Koltun 2018, "An empirical evaluation of generic convolutional and recurrent networks for sequence
modeling", sections 3.2 (causal), 3.3 (dilated) and 3.4 (residual blocks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils import skip_init

from rnnlab.cells import Streams, module_shapes, refuses_without_recurrence
from rnnlab.inits import Init, standard_normal
from rnnlab.spec import param
from rnnlab.trial import Trial

# A convolution holds as many steps as it reaches over: at most so many times the sequence, or what is short anyway
LONGEST, SHORT = 4, 256


@dataclass(frozen=True)
class Tcn:
    version: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    reads_input_scale: ClassVar[bool] = False
    kernel: int = param(3, low=1)  # steps that a convolution sees
    blocks: int = param(6, low=1, high=20)  # of two convolutions each; the dilation doubles from one to the next

    @property
    def reach(self) -> int:
        """Steps that an output of one layer sees, its own among them: the receptive field."""
        return 1 + 2 * (self.kernel - 1) * (2**self.blocks - 1)

    def refuses(self, trial: Trial) -> Iterator[str]:
        yield from refuses_without_recurrence(trial)
        most = LONGEST * max(SHORT, trial.task.length)
        if (self.kernel - 1) * 2 ** (self.blocks - 1) > most:
            yield (
                f"cell.blocks={self.blocks}: an output would see {self.reach} steps of sequences of "
                f"{trial.task.length}; must be fewer, that no convolution reaches over more than {most}"
            )

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return module_shapes(self, inputs, hidden)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        found = self.shapes(inputs, hidden)
        return {name: _initial(name, shape, streams, self.blocks) for name, shape in found.items()}

    def module(self, inputs: int, hidden: int) -> torch.nn.Module:
        return Network(inputs, hidden, self.kernel, self.blocks)


def _initial(name: str, shape: tuple[int, ...], streams: Streams, blocks: int) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.float64)
    if name.endswith("skip.weight"):
        return standard_normal(streams(name), *shape) / math.sqrt(shape[1])
    share = 1 / blocks if name.endswith("second.weight") else 1
    return standard_normal(streams(name), *shape) * math.sqrt(2 / (shape[0] * shape[1]) * share)


class Convolution(torch.nn.Module):
    """Causal and dilated; time first."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = torch.nn.Parameter(torch.empty(kernel, inputs, outputs))  # [j] reads the input j dilations ago
        self.bias = torch.nn.Parameter(torch.empty(outputs))

    def forward(self, values: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """The outputs for (T, B, inputs), and the latest inputs: those that come `before` the next ones."""
        steps, batch, _ = values.shape
        past = (len(self.weight) - 1) * self.dilation
        if before is None:
            before = values.new_zeros(past, *values.shape[1:])
        seen = torch.cat([before, values])
        found: Tensor = self.bias
        # One product for each tap: time comes first, so what it reads is a slice, and nothing is copied
        for lag, weight in enumerate(self.weight.unbind()):
            begin = past - lag * self.dilation
            found = torch.addmm(found, seen[begin : begin + steps].flatten(0, 1), weight)
        latest = seen[steps:]
        # In training the inputs are kept anyway; else they would live on behind a part of them
        return found.unflatten(0, (steps, batch)), latest if latest.requires_grad else latest.clone()


class Block(torch.nn.Module):
    """Two convolutions, and the way past them."""

    def __init__(self, inputs: int, hidden: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, hidden, kernel, dilation)
        self.second = Convolution(hidden, hidden, kernel, dilation)
        self.skip = skip_init(torch.nn.Linear, inputs, hidden) if inputs != hidden else torch.nn.Identity()

    def forward(self, values: Tensor, before: Sequence[Tensor | None]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        inner, one = self.first(values, before[0])
        inner, other = self.second(torch.relu(inner), before[1])
        return torch.relu(self.skip(values) + torch.relu(inner)), (one, other)


class Network(torch.nn.Module):
    """Blocks of growing dilation."""

    def __init__(self, inputs: int, hidden: int, kernel: int, blocks: int) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            Block(hidden if level else inputs, hidden, kernel, 2**level) for level in range(blocks)
        )

    def forward(
        self, inputs: Tensor, state: Sequence[Sequence[Tensor | None]] | None = None
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        values, after = inputs, []
        for block, before in zip(self.blocks, state or [(None, None)] * len(self.blocks), strict=True):
            values, latest = block(values, before)
            after.append(latest)
        return values, tuple(after)
