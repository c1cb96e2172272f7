"""Transformer that looks back alone: a yardstick with direct access to every step within its context.

    x_t = W x_t + b + position_t
    block:  x <- x + attention(norm(x))     x <- x + W_2 relu(W_1 norm(x))     with 4 H units between W_1 and W_2
    y = norm(x)

In each block a step attends to itself and to the `context` steps before it; through the blocks of one layer an output
sees `reach` steps. Positions are sinusoids of the step's number, so that sequences may be longer than those trained on.
There is no dropout. Weights start from N(0, 1 / fan-in), biases at 0, gains of the norms at 1.

The state is the number of steps so far, and the keys and values of the last `context` steps of each block.

Source: Vaswani et al. 2017, "Attention is all you need", sections 3.1 to 3.3 and 3.5 (positions); Xiong et al. 2020,
"On layer normalization in the transformer architecture", section 3 (norms before each part, and one at the end).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import skip_init

from rnnlab.cells import Streams, module_shapes, refuses_without_recurrence
from rnnlab.inits import Init, standard_normal
from rnnlab.spec import param
from rnnlab.trial import Trial

LONGEST_WAVE = 10_000  # over 2 pi, in steps: section 3.5 of the source
EXPANSION = 4  # units of the inner layer for each of H: section 3.3 of the source

Cache = tuple[Tensor, Tensor]  # (S, B, H) keys and values of the S latest steps


@dataclass(frozen=True)
class Transformer:
    version: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    reads_input_scale: ClassVar[bool] = False
    blocks: int = param(2, low=1)
    heads: int = param(4, low=1)
    context: int = param(256, low=1)  # steps that a block looks back

    @property
    def reach(self) -> int:
        """Steps that an output of one layer sees, its own among them."""
        return 1 + self.blocks * self.context

    def refuses(self, trial: Trial) -> Iterator[str]:
        hidden = trial.model.hidden_size
        if hidden % self.heads:
            yield f"model.hidden_size={hidden}: must be a multiple of cell.heads={self.heads}"
        yield from refuses_without_recurrence(trial)

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return module_shapes(self, inputs, hidden)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        return {name: _initial(name, shape, streams) for name, shape in self.shapes(inputs, hidden).items()}

    def module(self, inputs: int, hidden: int) -> torch.nn.Module:
        return Network(inputs, hidden, self)


def _initial(name: str, shape: tuple[int, ...], streams: Streams) -> Tensor:
    if len(shape) == 1:
        return torch.full(shape, float(name.endswith("norm.weight")), dtype=torch.float64)
    return standard_normal(streams(name), *shape) / math.sqrt(shape[1])


def positions(first: int | Tensor, steps: int, hidden: int, dtype: torch.dtype) -> Tensor:
    """(T, 1, H) sines and cosines in turn of the steps `first`, `first + 1`, ..."""
    unit = torch.arange(hidden, dtype=torch.float64)
    wave = LONGEST_WAVE ** (unit // 2 * 2 / hidden).double()
    angle = (first + torch.arange(steps)).double()[:, None, None] / wave
    return torch.where(unit % 2 == 0, angle.sin(), angle.cos()).to(dtype)


def visible(steps: int, seen: int, context: int, first: int | Tensor) -> Tensor:
    """(T, S) whether each of the T latest of S steps looks at each of them; what lies before step 0 was never there.

    first: the number of steps before the T latest; a cache of fixed size holds more places at the beginning
    """
    lag = torch.arange(seen - steps, seen)[:, None] - torch.arange(seen)
    return (lag >= 0) & (lag <= context) & (torch.arange(seen) + first >= seen - steps)


class Attention(torch.nn.Module):
    """Heads that look back over `context` steps."""

    def __init__(self, hidden: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads, self.context = heads, context
        self.read = skip_init(torch.nn.Linear, hidden, 3 * hidden)  # queries, keys, values
        self.write = skip_init(torch.nn.Linear, hidden, hidden)

    def forward(self, values: Tensor, cache: Cache | None, passed: int | Tensor) -> tuple[Tensor, Cache]:
        query, key, value = self.read(values).chunk(3, -1)
        if cache is not None:
            key, value = torch.cat([cache[0], key]), torch.cat([cache[1], value])
        steps, seen = len(query), len(key)
        whole = seen <= self.context + 1 and cache is None  # the causal mask alone, which torch has in its kernel
        found = functional.scaled_dot_product_attention(
            self._by_head(query),
            self._by_head(key),
            self._by_head(value),
            attn_mask=None if whole else visible(steps, seen, self.context, passed),
            is_causal=whole,
        )
        first = max(0, seen - self.context)
        return self.write(found.permute(2, 0, 1, 3).flatten(2)), (_kept(key, first), _kept(value, first))

    def _by_head(self, values: Tensor) -> Tensor:
        """(T, B, H) -> (B, heads, T, H / heads)."""
        return values.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)


def _kept(values: Tensor, first: int) -> Tensor:
    """The steps from `first` on; copied, but in training: there the whole is kept anyway."""
    latest = values[first:]
    return latest if latest.requires_grad else latest.clone()


class Block(torch.nn.Module):
    """Attention, then two layers for each step by itself."""

    def __init__(self, hidden: int, heads: int, context: int) -> None:
        super().__init__()
        self.attention_norm = skip_init(torch.nn.LayerNorm, hidden)
        self.attention = Attention(hidden, heads, context)
        self.inner_norm = skip_init(torch.nn.LayerNorm, hidden)
        self.inner = skip_init(torch.nn.Linear, hidden, EXPANSION * hidden)
        self.outer = skip_init(torch.nn.Linear, EXPANSION * hidden, hidden)

    def forward(self, values: Tensor, cache: Cache | None, passed: int | Tensor) -> tuple[Tensor, Cache]:
        attended, latest = self.attention(self.attention_norm(values), cache, passed)
        values = values + attended
        return values + self.outer(torch.relu(self.inner(self.inner_norm(values)))), latest


class Network(torch.nn.Module):
    """The inputs with their positions, the blocks, and a norm at the end."""

    def __init__(self, inputs: int, hidden: int, cell: Transformer) -> None:
        super().__init__()
        self.hidden, self.context = hidden, cell.context
        self.embedding = skip_init(torch.nn.Linear, inputs, hidden)
        self.blocks = torch.nn.ModuleList(Block(hidden, cell.heads, cell.context) for _ in range(cell.blocks))
        self.norm = skip_init(torch.nn.LayerNorm, hidden)

    def start(self, batch: int) -> tuple[Tensor, tuple[Cache, ...]]:
        """The state before the first step in the form that it keeps: the steps so far, and caches of full size."""
        empty = self.norm.weight.new_zeros(self.context, batch, self.hidden)
        return torch.zeros((), dtype=torch.long), tuple((empty, empty) for _ in self.blocks)

    def forward(
        self, inputs: Tensor, state: tuple[int | Tensor, Sequence[Cache | None]] | None = None
    ) -> tuple[Tensor, tuple[int | Tensor, tuple[Cache, ...]]]:
        first, caches = state or (0, [None] * len(self.blocks))
        values = self.embedding(inputs) + positions(first, len(inputs), self.hidden, inputs.dtype)
        after = []
        for block, cache in zip(self.blocks, caches, strict=True):
            values, latest = block(values, cache, first)
            after.append(latest)
        return self.norm(values), (first + len(inputs), tuple(after))
