"""The network of a trial, stacked: input (one-hot or real) -> recurrent layer -> linear readout.

Parameters are a dict of tensors with leading axis M; a single model is M = 1.

    W_xh (M, H, I)   W_hh (M, H, H)   b_h (M, H)   W_hy (M, O, H)   b_y (M, O)

Shapes: M models, T time, B sequences, I input size, H hidden units, O output size, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rnnlab.cells import Cell
from rnnlab.inits import standard_normal
from rnnlab.seeding import generator
from rnnlab.trial import Trial
from rnnlab.unroll import unroll

ALIGNMENT = 16  # numbers: 64 bytes in float32, a cache line and the widest vector register


def shapes(trial: Trial) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of one model, in the order in which they are stored."""
    inputs, hidden, outputs = trial.task.input_size, trial.model.hidden_size, trial.task.output_size
    return {
        "W_xh": (hidden, inputs),
        "W_hh": (hidden, hidden),
        "b_h": (hidden,),
        "W_hy": (outputs, hidden),
        "b_y": (outputs,),
    }


def parameter_count(trial: Trial) -> int:
    """Number of trained parameters of one model."""
    return sum(math.prod(shape) for shape in shapes(trial).values())


def initial(trial: Trial) -> dict[str, Tensor]:
    """The parameters of one model before training (no model axis), in float32.

    W_hh comes from the trial's init; W_xh ~ N(0, input_scale^2); W_hy ~ N(0, 1/H); biases are 0. Each
    matrix has its own random stream, so changing one setting leaves the other matrices as they were.
    """
    hidden = trial.model.hidden_size
    sizes = shapes(trial)
    drawn = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in sizes.items()}
    drawn["W_hh"] = trial.init.recurrent(generator(trial.seed, "init.recurrent"), hidden)
    drawn["W_xh"] = standard_normal(generator(trial.seed, "init.input"), *sizes["W_xh"]) * trial.init.input_scale
    drawn["W_hy"] = standard_normal(generator(trial.seed, "init.readout"), *sizes["W_hy"]) / math.sqrt(hidden)
    return {name: values.to(torch.float32) for name, values in drawn.items()}


def forward(cell: Cell, parameters: Mapping[str, Tensor], inputs: Tensor, scored: slice) -> Tensor:
    """(M, K, B, O) the outputs y_t = W_hy h_t + b_y at the K time steps of `scored`, from state 0.

    inputs: (M, T, B) integer symbols or (M, T, B, I) real values

    Matrices are padded with zeros until each model's takes a multiple of `ALIGNMENT` numbers: the last bits of
    a product depend on where its matrices start in memory, and so they start alike in every model of a
    stack. The padding units stay at 0, as f(0) = 0 for every nonlinearity.
    """
    outputs = parameters["b_y"].shape[1]
    projected = project(parameters, inputs)
    models, _, batch, hidden = projected.shape
    start = projected.new_zeros(models, batch, hidden)
    recurrent = padded(parameters["W_hh"], (1, ALIGNMENT), (2, ALIGNMENT))
    states = unroll(cell, projected, start, recurrent, scored)
    return read_out(parameters, states)[..., :outputs]


def project(parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """(M, T, B, padded H) W_xh x_t + b_h for all steps.

    The bias is the weight of an input that is always 1: its gradient then comes from the same matrix
    product, where a sum over (T, B) could depend on the number of models, in the last bit.
    """
    with_bias = torch.cat([parameters["W_xh"].mT, parameters["b_h"].unsqueeze(1)], dim=1)
    weights = padded(with_bias, (1, granule(inputs)), (2, ALIGNMENT))
    size = parameters["W_xh"].shape[2]
    extended = weights.new_zeros(*inputs.shape[:3], weights.shape[1])
    if inputs.is_floating_point():
        extended[..., :size] = inputs
    else:
        extended.scatter_(-1, inputs.unsqueeze(-1), 1)
    extended[..., size] = 1
    return torch.bmm(extended.flatten(1, 2), weights).unflatten(1, inputs.shape[1:3])


def read_out(parameters: Mapping[str, Tensor], states: Tensor) -> Tensor:
    """(M, K, B, padded O) W_hy h + b_y of the states (M, K, B, padded H); the bias as in `project`."""
    columns = max(2, granule(states))  # torch multiplies by a single column in another way where M = 1
    weights = padded(parameters["W_hy"], (1, columns), (2, ALIGNMENT))
    bias = padded(parameters["b_y"].unsqueeze(1), (1, ALIGNMENT), (2, columns))
    flat = states.flatten(1, 2)
    constant = flat.new_zeros(*flat.shape[:2], ALIGNMENT)
    constant[..., 0] = 1
    return torch.baddbmm(torch.bmm(constant, bias), flat, weights.mT).unflatten(1, states.shape[1:3])


def padded(tensor: Tensor, *axes: tuple[int, int]) -> Tensor:
    """The tensor with zeros appended, so that along each (axis, multiple) its size is a multiple."""
    missing = [0] * tensor.ndim
    for axis, multiple in axes:
        missing[axis] = -tensor.shape[axis] % multiple
    if not any(missing):
        return tensor
    return functional.pad(tensor, [amount for size in reversed(missing) for amount in (0, size)])


def granule(sequences: Tensor) -> int:
    """The width in multiples of which T x B rows fill a multiple of `ALIGNMENT`; `sequences` is (M, T, B, ...)."""
    return ALIGNMENT // math.gcd(ALIGNMENT, sequences.shape[1] * sequences.shape[2])


class Layout:
    """Where each parameter of a model lies in one row of P numbers.

    Clipping and the optimiser then are a few operations on (M, P), and a trial joins or leaves a
    stack as one row. P is a multiple of `ALIGNMENT`; the rest of a row is zero.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        self.sizes = dict(sizes)
        used = sum(math.prod(shape) for shape in self.sizes.values())
        self.width = math.ceil(used / ALIGNMENT) * ALIGNMENT
        self.padding = self.width - used

    def pack(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(P,) the row of one model; its parameters have no model axis."""
        return self.join([parameters[name].unsqueeze(0) for name in self.sizes])[0]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """(M, P) rows from the stacked tensors, given in the order of `sizes`."""
        models = tensors[0].shape[0]
        rest = tensors[0].new_zeros(models, self.padding)
        return torch.cat([tensor.reshape(models, -1) for tensor in tensors] + [rest], dim=1)

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """The stacked parameters as views into `rows` (M, P)."""
        pieces = rows.split([*(math.prod(shape) for shape in self.sizes.values()), self.padding], dim=1)
        return {
            name: piece.unflatten(1, shape) for (name, shape), piece in zip(self.sizes.items(), pieces, strict=False)
        }
