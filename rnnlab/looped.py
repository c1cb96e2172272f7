"""Run layers that are `torch.nn.Module`s, one model of the stack after another: bits then cannot depend on the stack.

Shapes: M models, T time, B sequences, I inputs of a layer, H hidden units.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import ModuleCell, apply, apply_batched, template

BATCHES = (2, 3)  # sequences with which a layer is measured: a batch of one can have copies of its own


def unroll_modules(
    cell: ModuleCell, parameters: Mapping[str, Tensor], inputs: Tensor, hidden: int, start: Any
) -> tuple[Tensor, Any]:
    """(M, T, B, H) the outputs for the inputs (M, T, B, I), and the state of each model after the last step.

    start: the state of each model before the first step, as it was returned; None: the module's own start
    """
    module = template(cell, inputs.shape[-1], hidden)
    if getattr(cell, "batching", "loop") == "vmap":
        return apply_batched(module, parameters, inputs, start)
    models = inputs.shape[0]
    # One gradient for all models by `unbind`; by indexing, each model would fill a whole stack with zeros
    own = {name: values.unbind() for name, values in parameters.items()}
    found = [
        # Copies lie alike in memory, views into a stack need not
        apply(module, {name: values[model].clone() for name, values in own.items()}, given.clone(), begun)
        for model, given, begun in zip(range(models), inputs.unbind(), start or [None] * models, strict=True)
    ]
    outputs = [_with_aligned_gradient(output) for output, _ in found]
    return torch.stack(outputs), tuple(state for _, state in found)


def _with_aligned_gradient(output: Tensor) -> Tensor:
    """The output of one model, whose gradient is a part of that of the stack: it, too, is copied to lie alike."""
    if output.requires_grad:
        output.register_hook(_copied)
    return output


def _copied(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clone(memory_format=torch.contiguous_format)


@functools.cache
def saved_numbers(cell: ModuleCell, inputs: int, hidden: int, steps: int, batch: int) -> int:
    """How many float32 numbers a training forward of one layer of one model keeps for its backward pass.

    Its copies of parameters and inputs count where they are kept, its outputs where the module itself keeps them. What
    a module holds only while it runs is not among them: `torch.nn.GRU` its projected inputs, for instance.
    Measured with few sequences and extended to `batch` in a straight line; a tensor kept twice counts once.
    """
    few, more = (_saved(cell, inputs, hidden, steps, size) for size in BATCHES)
    return few + (more - few) * (batch - BATCHES[0]) // (BATCHES[1] - BATCHES[0])


def _saved(cell: ModuleCell, inputs: int, hidden: int, steps: int, batch: int) -> int:
    parameters = {name: torch.zeros(1, *shape).requires_grad_() for name, shape in cell.shapes(inputs, hidden).items()}
    kept: dict[int, Tensor] = {}  # by where a tensor's memory begins

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        unroll_modules(cell, parameters, torch.zeros(1, steps, batch, inputs), hidden, None)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // torch.float32.itemsize
