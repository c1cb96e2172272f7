"""Any recurrent layer of any installed package: a `torch.nn.Module` class with the interface of `torch.nn.GRU`.

    cell=module cell.path=torchrecurrent.IndRNN
    cell=module cell.path=torch.nn.GRU "cell.options='{\\"bias\\": false}'"

`path` is the class as it is imported. It is called as Class(input_size, hidden_size, **options) and builds a layer
whose forward(inputs, state or nothing) takes inputs (T, B, input_size) and returns outputs (T, B, hidden_size) and the
state after the last step, from which another call goes on. `refuses` says in one line what does not fit: it builds
layers of up to about 1000 units and runs them over four steps. Refused are random numbers in forward (dropout) and
buffers that change (batch normalisation), as a trial's numbers would then depend on more than the trial; and what looks
ahead, mixes the sequences of a batch (`batch_first`) or gives more than hidden_size outputs (two directions).

The layers of torchrecurrent 0.2.5 are called in just this way, each with one layer inside unless `options` says more;
all 39 fit, IntersectionRNN where there are as many inputs as units (`model.embedding_size`).

Parameters start as the class draws them, from torch's generator, which is set to 32 bits of the trial's own stream and
put back after. Their names begin with `module.`, so that none is that of another parameter.

The models of a stack run one after another (`batching=loop`): slow in a wide stack, equal to the bit. `batching=vmap`
runs them at once, equal to about 1e-5; torch's own RNN, GRU and LSTM cannot.

The trial's key holds path and options, not the version of the package: its results stand beside `packages.txt` of the
launch, which lists every installed distribution. After a change of the class, choose another store or another path.

Source: the class at `path`; the interface is that of torch.nn.RNN, torch 2.13.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import Streams, apply_batched, module_shapes
from rnnlab.inits import Init
from rnnlab.spec import name_of, param
from rnnlab.trial import Trial

STEPS, BATCH = 4, 3  # of the sequences with which a class is tried
LARGEST = 2**20  # units times inputs and units: of about 1000 units; to try larger layers would cost too much
CLOSE = 1e-4  # of the outputs on different ways to them, in float32
CLASS = "must be an importable torch.nn.Module class, such as torch.nn.GRU"
LIKE_TORCH = "must be like torch.nn.GRU"


@dataclass(frozen=True)
class Module:
    version: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    reads_input_scale: ClassVar[bool] = False
    path: str = param("torch.nn.GRU")  # package.Class
    options: str = param("{}")  # a JSON object: more arguments of the class
    batching: str = param("loop", choices=("loop", "vmap"))  # how the models of a stack run

    def refuses(self, trial: Trial) -> Iterator[str]:
        model, hidden = trial.model, trial.model.hidden_size
        sizes = [model.embedding_size or trial.task.input_size]
        if model.layers > 1:
            sizes.append(hidden * (2 if model.bidirectional else 1))
        yield from dict.fromkeys(line for size in sizes for line in problems(self, size, hidden))
        if hasattr(trial.task, "source_length") and _has_lengths(trial.task):
            yield (
                "cell=module: its state cannot be kept where a shorter sequence ends; "
                f"must be another cell for task={name_of(trial.task)}"
            )

    def canonical(self) -> dict[str, str]:
        """One text for all ways to write the same options."""
        try:
            return {"options": json.dumps(json.loads(self.options), sort_keys=True)}
        except ValueError:  # `refuses` says so
            return {}

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        return module_shapes(self, inputs, hidden)

    def initial(self, init: Init, streams: Streams, inputs: int, hidden: int, scale: float) -> dict[str, Tensor]:
        built = self.build(inputs, hidden, int(streams("module").integers(2**32)))
        return {name: values.detach().to(torch.float64) for name, values in built.named_parameters()}

    def module(self, inputs: int, hidden: int) -> torch.nn.Module:
        return self.build(inputs, hidden, seed=0)

    def build(self, inputs: int, hidden: int, seed: int) -> Named:
        """The layer as its class draws it, by a random generator that begins at `seed`."""
        with chance(seed):
            return Named(found_class(self.path)(inputs, hidden, **json.loads(self.options)))


class Named(torch.nn.Module):
    """Puts `module.` before the names of a module's parameters."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *arguments: Any) -> Any:
        return self.module(*arguments)


@contextlib.contextmanager
def chance(seed: int) -> Iterator[None]:
    """Within, torch's generator begins at `seed`; after, it stands where it stood before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def found_class(path: str) -> Any:
    """What `path` names. Raises whatever its import raises."""
    package, _, name = path.rpartition(".")
    return getattr(importlib.import_module(package), name)


@functools.cache
def _has_lengths(task: Any) -> bool:
    return task.sample(np.random.Generator(np.random.Philox(0)), 1).lengths is not None


# What does not fit. Each check relies on those before it.


class Unfit(Exception):
    """A line that says why a class cannot be a cell."""


@functools.cache
def problems(cell: Module, inputs: int, hidden: int) -> tuple[str, ...]:
    """Why this class, with these options, cannot be a layer of these sizes: one line for each reason."""
    lines: list[str] = []
    for check in (_check_class, _check_options):
        with _collected(lines):
            check(cell)
    if not lines and hidden * (inputs + hidden) <= LARGEST:
        with _collected(lines):
            layer = _check_parameters(cell, inputs, hidden)
            _check_forward(cell, layer, inputs, hidden)
    return tuple(lines)


@contextlib.contextmanager
def _collected(lines: list[str]) -> Iterator[None]:
    try:
        yield
    except Unfit as found:
        lines.append(str(found))


@contextlib.contextmanager
def _blamed(cell: Module, what: str, needed: str) -> Iterator[None]:
    """Turns what a user's code raises, which can be anything, into a line."""
    try:
        yield
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Unfit(f"cell.path={cell.path}: {what} ({said}); {needed}") from error


def _require(holds: bool, cell: Module, what: str, needed: str = LIKE_TORCH) -> None:
    if not holds:
        raise Unfit(f"cell.path={cell.path}: {what}; {needed}")


def _check_class(cell: Module) -> None:
    with _blamed(cell, "cannot be imported", CLASS):
        found = found_class(cell.path)
    _require(isinstance(found, type) and issubclass(found, torch.nn.Module), cell, "is no torch.nn.Module class", CLASS)


def _check_options(cell: Module) -> None:
    with contextlib.suppress(ValueError):
        if isinstance(json.loads(cell.options), dict):
            return
    raise Unfit(f"cell.options={cell.options}: must be a JSON object in quotes, such as '{{\"bias\": false}}'")


def _check_parameters(cell: Module, inputs: int, hidden: int) -> Named:
    built = "must take input_size, hidden_size and cell.options"
    with _blamed(cell, f"cannot be built with ({inputs}, {hidden}, **{cell.options})", built):
        layer, twin, other = (cell.build(inputs, hidden, seed) for seed in (0, 0, 1))
        tensors, again = layer.state_dict(), twin.state_dict()
        repeats = all(torch.equal(values, again[name]) for name, values in tensors.items())
        fixed = dict(other.named_buffers())
        alike = all(torch.equal(values, fixed[name]) for name, values in layer.named_buffers())
    _require(repeats, cell, "draws its parameters elsewhere", "must draw them from torch's generator")
    _require(alike, cell, "draws buffers, which would be the same for all seeds", "must draw parameters alone")
    for name, values in layer.module.named_parameters():
        _require(values.requires_grad, cell, f"its parameter {name} is not to be trained", "must be a buffer")
        _require(not values.is_complex(), cell, f"its parameter {name} is complex", "must be real")
    return layer


def _check_forward(cell: Module, layer: Named, inputs: int, hidden: int) -> None:
    values = torch.arange(STEPS * BATCH * inputs).sin().reshape(STEPS, BATCH, inputs)
    held = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    first = getattr(layer.module, "batch_first", False)
    _require(not first, cell, "its batch comes first", "must take time first: batch_first false")
    with _blamed(cell, "cannot be called", "must take inputs (T, B, input_size), and a state or nothing"), chance(0):
        before = torch.default_generator.get_state()
        result = layer(values)
        drawn = not torch.equal(before, torch.default_generator.get_state())
        again = layer(values)
    pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Tensor)
    _require(pair, cell, "its forward does not return a pair", "must return (outputs, state)")
    output, _ = result
    wanted = STEPS, BATCH, hidden
    shapes = f"its outputs for {STEPS} steps of {BATCH} sequences are {tuple(output.shape)}"
    _require(output.shape == wanted, cell, shapes, f"must be {wanted}: one direction, no projection")
    _require(not drawn, cell, "draws random numbers in forward", "must draw none: no dropout")
    for name, buffer in layer.named_buffers():
        unchanged = torch.equal(buffer, held[name])
        _require(unchanged, cell, f"its buffer {name.removeprefix('module.')} changes in forward", "must stay as it is")
    _require(_close(output, again[0]), cell, "a second call gives other outputs", "must keep nothing between calls")
    _check_company(cell, layer, values, output)
    if cell.batching == "vmap":
        _check_vmap(cell, layer, values)


def _check_company(cell: Module, layer: Named, values: Tensor, output: Tensor) -> None:
    """What an output depends on: its own sequence, no later step; and a state stands for all earlier ones."""
    with _blamed(cell, "cannot be called with the state that it returns", LIKE_TORCH), chance(0):
        moved, ahead = values.clone(), values.clone()
        moved[:, 0] += 1
        ahead[-1] += 1
        beside, before = layer(moved)[0][:, 1:], layer(ahead)[0][:-1]
        start, state = layer(values[:2])
        streamed = torch.cat([start, layer(values[2:], state)[0]])
    _require(_close(beside, output[:, 1:]), cell, "mixes the sequences of a batch")
    _require(_close(before, output[:-1]), cell, "looks ahead in time", "must be causal")
    _require(_close(streamed, output), cell, "does not go on from the state that it returns")


def _check_vmap(cell: Module, layer: Named, values: Tensor) -> None:
    key = f"cell.batching=vmap: {cell.path}"
    if any(isinstance(part, torch.nn.RNNBase) for part in layer.modules()):
        raise Unfit(f"{key} has one of torch's fused recurrences, for which there is no batching rule; must be loop")
    pair = {name: torch.stack([held.detach()] * 2).requires_grad_() for name, held in layer.named_parameters()}
    try:
        output, _ = apply_batched(layer, pair, torch.stack([values] * 2))
        torch.autograd.grad(output.sum(), list(pair.values()), allow_unused=True)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise Unfit(f"{key} cannot run under torch.vmap ({said}); must be loop") from error


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=CLOSE, atol=CLOSE, equal_nan=True)
