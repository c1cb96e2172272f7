"""Run layers that are `torch.nn.Module`s, one model of the stack after another: bits then cannot depend on the stack.

Shapes: M models, T time, B sequences, I inputs of a layer, H hidden units.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import ModuleCell

TEMPLATES: dict[Hashable, torch.nn.Module] = {}


def template(cell: ModuleCell, inputs: int, hidden: int) -> torch.nn.Module:
    """The module of a layer, built once; its own parameters are not used."""
    key = (cell, inputs, hidden)
    if key not in TEMPLATES:
        TEMPLATES[key] = cell.module(inputs, hidden)
    return TEMPLATES[key]


def unroll_modules(
    cell: ModuleCell, parameters: Mapping[str, Tensor], inputs: Tensor, hidden: int, start: tuple[Any, ...] | None
) -> tuple[Tensor, tuple[Any, ...]]:
    """(M, T, B, H) the outputs for the inputs (M, T, B, I), and the state of each model after the last step.

    start: the state of each model before the first step, of whatever form the module has; None: the module's own start
    """
    module = template(cell, inputs.shape[-1], hidden)
    outputs, states = [], []
    for model in range(inputs.shape[0]):
        # Copies lie alike in memory, views into a stack need not
        own = {name: values[model].clone() for name, values in parameters.items()}
        arguments = (inputs[model].clone(), start[model]) if start is not None else (inputs[model].clone(),)
        output, state = torch.func.functional_call(module, own, arguments)
        outputs.append(output)
        states.append(state)
    return torch.stack(outputs), tuple(states)
