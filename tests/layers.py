"""Layers as users may write them, for `cell=module cell.path=layers.NAME`: one that fits, and many that do not."""

from typing import ClassVar

import numpy as np
import torch
from torch import nn


class Leaky(nn.Module):
    """h_t = (1 - rate) h_{t-1} + rate tanh(W [x_t, h_{t-1}] + b), in plain steps; `spare` is never used."""

    built = 0

    def __init__(self, input_size, hidden_size, rate=0.5):
        super().__init__()
        Leaky.built += 1
        self.hidden_size = hidden_size
        self.inner = nn.Linear(input_size + hidden_size, hidden_size)
        self.register_buffer("rate", torch.tensor(rate))
        self.spare = nn.Parameter(torch.ones(2))

    def forward(self, inputs, state=None):
        h = inputs.new_zeros(inputs.shape[1], self.hidden_size) if state is None else state
        outputs = []
        for x in inputs:
            h = (1 - self.rate) * h + self.rate * torch.tanh(self.inner(torch.cat([x, h], -1)))
            outputs.append(h)
        return torch.stack(outputs), h


class NeedsMore(nn.Module):
    def __init__(self, input_size, hidden_size, heads):
        super().__init__()


class Notes(torch.autograd.Function):
    """Returns its argument; notes where in a cache line it begins, and where its gradient does."""

    begins: ClassVar[list] = []

    @staticmethod
    def forward(ctx, values):
        Notes.begins.append(values.data_ptr() % 64)
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        Notes.begins.append(gradient.data_ptr() % 64)
        return gradient


class Noting(Leaky):
    def forward(self, inputs, state=None):
        Notes.begins += [values.data_ptr() % 64 for values in self.parameters()]
        outputs, h = super().forward(Notes.apply(inputs), state)
        return Notes.apply(outputs), h


class Widens(Leaky):
    def __init__(self, input_size, hidden_size):
        if input_size == hidden_size:
            raise ValueError("has as many units as inputs")
        super().__init__(input_size, hidden_size)


class Frozen(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.inner.bias.requires_grad_(False)


class Spectral(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.poles = nn.Parameter(torch.zeros(2, dtype=torch.complex64))


class DrawsByNumpy(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.spare.data[:] = torch.from_numpy(np.random.rand(2))


class Reservoir(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.register_buffer("fixed", torch.randn(3))


class OutputsAlone(Leaky):
    def forward(self, inputs, state=None):
        return super().forward(inputs, state)[0]


class NoState(Leaky):
    def forward(self, inputs):
        return super().forward(inputs)


class Forgets(Leaky):
    def forward(self, inputs, state=None):
        return super().forward(inputs)


class Noisy(Leaky):
    def forward(self, inputs, state=None):
        return super().forward(inputs + 0.1 * torch.randn_like(inputs), state)


class Counts(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, inputs, state=None):
        self.calls += 1
        return super().forward(inputs, state)


class Keeps(Leaky):
    kept = None

    def forward(self, inputs, state=None):
        outputs, self.kept = super().forward(inputs, self.kept if state is None else state)
        return outputs, self.kept


class Mixes(Leaky):
    def forward(self, inputs, state=None):
        return super().forward(inputs - inputs.mean(1, keepdim=True), state)


class LooksAhead(Leaky):
    def forward(self, inputs, state=None):
        return super().forward(torch.cat([inputs[1:], inputs[:1]]), state)


class Normalised(Leaky):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.norm = nn.BatchNorm1d(input_size)

    def forward(self, inputs, state=None):
        return super().forward(self.norm(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2]), state)


class WritesInPlace(Leaky):
    """Its outputs are filled in step by step: there is no batching rule for that."""

    def forward(self, inputs, state=None):
        found, h = super().forward(inputs, state)
        outputs = torch.zeros(found.shape)
        outputs[0] = found[0]
        outputs[1:] += found[1:]
        return outputs, h
