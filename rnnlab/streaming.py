"""A network as one step of a stream, from an input and a state to an output and the next state; and its export.

At each step a stream gives what `rnnlab.model.forward` gives there for the whole sequence. What the parameters make of
a layer (an orthogonal matrix, say) is worked out once. The state is a flat tuple of tensors, those of the first layer
first: (B, H) each, or whatever a `ModuleCell` has. Of such a cell the state before the first step is taken to be
zeros, unless its module has a method `start(batch)` that returns it; it must keep its form from step to step.

Shapes: B sequences, I inputs, H hidden units, O outputs; M = T = 1 within a layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnlab.aligned import affine, padded_blocks, project, vectors, without_padding
from rnnlab.cells import State, Weights
from rnnlab.model import Part, embed, parts, read_out, shapes
from rnnlab.refusal import BadInput
from rnnlab.spec import name_of
from rnnlab.tasks import SEQUENCE_TO_SEQUENCE
from rnnlab.trial import Trial
from rnnlab.unroll import unroll_by_steps

EXAMPLE = 2  # sequences with which a program is traced: 1 would be taken for a constant


class Streaming(torch.nn.Module):
    """One trained model, step by step. Called with (x_t, *state) it returns (y_t, *state).

    weights: the parameters of one model, without model axis; other tensors among them are left out

    Raises `BadInput` where the network cannot stream or the weights are not those of the trial.
    """

    W_hy: Tensor
    b_y: Tensor
    E: Tensor  # where there is an embedding
    layers: Any  # a `ModuleList` of `_Cell` or `_Module`

    def __init__(self, trial: Trial, weights: Mapping[str, Tensor]) -> None:
        if problems := [*refusals(trial), *_unfit(trial, weights)]:
            raise BadInput(*problems)
        super().__init__()
        self.trial = trial
        own = {name: weights[name].detach().clone().unsqueeze(0) for name in shapes(trial)}
        for name in own.keys() & {"W_hy", "b_y", "E"}:
            self.register_buffer(name, own[name])
        form = _Module if hasattr(trial.cell, "module") else _Cell
        self.layers = torch.nn.ModuleList(form(trial, part, own) for part in parts(trial))
        self.sizes = [len(layer.start(EXAMPLE)) for layer in self.layers]  # tensors in the state of each layer

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """The output (B, O) and the next state, from x_t: (B,) integer symbols or (B, I) real values."""
        values = x_t[None, None]
        if self.trial.model.embedding_size:
            values = embed(self.E, values, _padding(self.trial))
        after: list[Tensor] = []
        for layer, before in zip(self.layers, self._by_layer(state), strict=True):
            values, own = layer(values, before)
            after += own
        held = {"W_hy": self.W_hy, "b_y": self.b_y}
        return read_out(self.trial, held, values)[0, 0], tuple(after)

    def forward(self, x_t: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        output, after = self.step(x_t, state)
        return output, *after

    def start(self, batch: int) -> State:
        """The state before the first step."""
        return tuple(tensor for layer in self.layers for tensor in layer.start(batch))

    def example(self, batch: int) -> Tensor:
        """An input x_t for so many sequences: the first symbol, or zeros."""
        task = self.trial.task
        if task.symbolic:
            return torch.zeros(batch, dtype=torch.long)
        return self.b_y.new_zeros(batch, task.input_size)

    def _by_layer(self, state: State) -> Iterator[State]:
        given = iter(state)
        for size in self.sizes:
            yield tuple(next(given) for _ in range(size))


class _Cell(torch.nn.Module):
    """A layer that is a `Cell`."""

    inputs: Tensor
    bias: Tensor
    recurrent: Tensor | None
    recurrent_bias: Tensor | None

    def __init__(self, trial: Trial, part: Part, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.cell, self.hidden, self.padding = trial.cell, trial.model.hidden_size, _padding(trial)
        self.raw = _reads_inputs(trial, part)
        own = _own(trial, part, parameters)
        weights = self.cell.weights(own).padded(self.hidden)
        self.register_buffer("inputs", weights.inputs if self.raw else padded_blocks(weights.inputs, 2, part.inputs))
        self.register_buffer("bias", weights.bias)
        self.register_buffer("recurrent", weights.recurrent)
        self.register_buffer("recurrent_bias", weights.recurrent_bias)
        self.gains = [self._held(f"gain{place}", gain) for place, gain in enumerate(weights.gains)]
        self.emitting = [self._held(f"own_{name}", own[name]) for name in own] if hasattr(self.cell, "emit") else []

    def _held(self, name: str, values: Tensor) -> str:
        self.register_buffer(name, values)
        return name

    def forward(self, values: Tensor, state: State) -> tuple[Tensor, State]:
        gains = tuple(self.get_buffer(name) for name in self.gains)
        weights = Weights(self.inputs, self.bias, self.recurrent, self.recurrent_bias, gains)
        if self.raw:
            projected = project(values, self.inputs, self.bias, self.padding)
        else:
            projected = affine(values, self.inputs, self.bias)
        before = tuple(padded_blocks(tensor.unsqueeze(0), 2, self.hidden) for tensor in state)
        output, after = unroll_by_steps(self.cell, projected, before, weights)
        if self.emitting:
            own = {name.removeprefix("own_"): self.get_buffer(name) for name in self.emitting}
            output = self.cell.emit(own, output, self.hidden)
        return output, tuple(without_padding(tensor, self.hidden)[0] for tensor in after)

    def start(self, batch: int) -> State:
        # A tensor for each: one that stood there twice, torch.export would take for one input
        return tuple(self.bias.new_zeros(batch, self.hidden) for _ in range(self.cell.states))


class _Module(torch.nn.Module):
    """A layer that is a `torch.nn.Module` itself, of a `ModuleCell`. Raises `BadInput` where its state has no form."""

    def __init__(self, trial: Trial, part: Part, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.hidden, self.padding = trial.model.hidden_size, _padding(trial)
        self.raw, self.size = _reads_inputs(trial, part), part.inputs
        own = {name: values[0] for name, values in _own(trial, part, parameters).items()}
        self.dtype = parameters["b_y"].dtype
        self.module = trial.cell.module(part.inputs, self.hidden).to(self.dtype)
        self.module.load_state_dict(own, strict=False)  # its buffers are as the cell makes them
        self.module.requires_grad_(False)
        self.form: pytree.TreeSpec = pytree.tree_structure(self._begun(EXAMPLE))
        if not self._is_stable():
            raise BadInput(
                f"cell={name_of(trial.cell)}: the form of its state changes from step to step, or it does not begin as "
                "zeros; must be a cell with a state of fixed form for a stream"
            )

    def forward(self, values: Tensor, state: State) -> tuple[Tensor, State]:
        if self.raw:
            given = vectors(values, self.size, self.padding).to(self.dtype)
        else:
            given = without_padding(values, self.size)
        output, after = self.module(given[0], pytree.tree_unflatten(state, self.form))
        return padded_blocks(output.unsqueeze(0), 3, self.hidden), tuple(pytree.tree_leaves(after))

    def start(self, batch: int) -> State:
        return tuple(tensor.clone() for tensor in pytree.tree_leaves(self._begun(batch)))

    def _begun(self, batch: int) -> Any:
        """The state before the first step, as the module has it."""
        if hasattr(self.module, "start"):
            return self.module.start(batch)
        _, after = self.module(self._ones(batch))
        return pytree.tree_map_only(Tensor, torch.zeros_like, after)

    def _ones(self, batch: int) -> Tensor:
        return torch.ones(1, batch, self.size, dtype=self.dtype)

    def _is_stable(self) -> bool:
        """Whether the state consists of tensors of fixed sizes and the module begins with it where it is given none."""
        values, begun = self._ones(EXAMPLE), self._begun(EXAMPLE)
        leaves = pytree.tree_leaves(begun)
        if not all(isinstance(leaf, Tensor) for leaf in leaves):
            return False
        (alone, _), (output, after) = self.module(values), self.module(values, begun)
        sizes = [tensor.shape for tensor in pytree.tree_leaves(after)]
        same_form = pytree.tree_structure(after) == self.form and sizes == [leaf.shape for leaf in leaves]
        return same_form and torch.allclose(output, alone, rtol=1e-4, atol=1e-4)


def exported(trial: Trial, weights: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """The stream as a program that needs torch alone, for any number of sequences; arguments as for `Streaming`."""
    stream = Streaming(trial, weights)
    batch = torch.export.Dim("batch", min=1)
    axes = [_batch_axes(*sizes) for sizes in zip(stream.start(EXAMPLE), stream.start(EXAMPLE + 1), strict=True)]
    varying = [dict.fromkeys(found, batch) for found in axes]
    arguments = (stream.example(EXAMPLE), *stream.start(EXAMPLE))
    shapes_of = {"x_t": {0: batch}, "state": tuple(varying)}
    with torch.no_grad(), warnings.catch_warnings():
        # torch's own recurrences list their parameters anew while they are traced; the program has those parameters
        warnings.filterwarnings("ignore", message="The tensor attributes .*_flat_weights")
        try:
            return torch.export.export(stream, arguments, dynamic_shapes=shapes_of, strict=False)
        except Exception as error:
            if not hasattr(trial.cell, "module"):  # all others are ours
                raise
            said = (str(error).strip().splitlines() or [""])[0]
            raise BadInput(
                f"cell={name_of(trial.cell)}: cannot be exported ({type(error).__name__}: {said}); "
                "must be a module that torch.export can trace"
            ) from error


def refusals(trial: Trial) -> Iterator[str]:
    """A line for each reason why a network cannot stream."""
    if trial.model.bidirectional:
        yield "model.bidirectional=true: the first output needs the end of the sequence; must be false for a stream"
    if trial.task.form == SEQUENCE_TO_SEQUENCE:
        yield (
            f"task={name_of(trial.task)}: an encoder reads the whole source before the first output; "
            "must be a task without one for a stream"
        )


def _unfit(trial: Trial, weights: Mapping[str, Tensor]) -> Iterator[str]:
    for name, shape in shapes(trial).items():
        if name not in weights:
            yield f"weights: {name} is missing; must be those of the trial"
        elif tuple(weights[name].shape) != shape:
            yield f"weights: {name} is of shape {tuple(weights[name].shape)}; must be {shape}"


def _batch_axes(few: Tensor, more: Tensor) -> Sequence[int]:
    """The axes whose size is the number of sequences, of a state before the first step for fewer and for more."""
    return [axis for axis in range(few.ndim) if few.shape[axis] != more.shape[axis]]


def _own(trial: Trial, part: Part, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameters[part.prefix + name] for name in trial.cell.shapes(part.inputs, trial.model.hidden_size)}


def _reads_inputs(trial: Trial, part: Part) -> bool:
    """Whether a layer reads the inputs of the task, else what another layer or the embedding gives."""
    return part.level == 0 and not trial.model.embedding_size


def _padding(trial: Trial) -> int | None:
    return getattr(trial.task, "padding", None)
