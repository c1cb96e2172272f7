"""What a network does with one sequence, kept to be seen: what comes in, its states, what comes out and what should.

And what it would do if one input were another: the earliest that an output needs. Where the states then differ, and for
how long, is what the network remembers of it.

Shapes: M models, T time, B sequences, I inputs, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.diagnostics.trajectory import Trajectory, trajectories
from rnnlab.model import turned
from rnnlab.tasks import Batch
from rnnlab.trial import Trial

DIGITS = 6  # significant ones of what is kept as text

Quantities = dict[str, dict[str, Any]]  # quantity -> its `index` (lag, rank, ...), and as many values, or lists of them


def shown(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> list[dict[str, Quantities]]:
    """Of each of M networks its first sequence; the quantities of each layer, and of the `network`.

    `input` and `state` have an index for each time step, `output` and `target` for each that is scored. `changed/input`
    and `changed/state` are those with one input changed: the earliest that an output of the sequence needs, replaced by
    the one that another sequence of the batch has in its place. They are absent where the batch holds no other.
    """
    given = _first(batch)
    changed, differing = _changed(trial, batch)
    with torch.no_grad():
        paths, outputs = trajectories(trial, parameters, given)
        others, _ = trajectories(trial, parameters, given._replace(inputs=changed))
    found = [_network(trial, given, outputs, model) for model in range(len(outputs))]
    _add_states(found, range(len(found)), paths, given, "state")
    _add_states(found, differing, others, given, "changed/state")
    inputs = _channels(trial, changed[:, :, 0])
    for model in differing:
        found[model]["network"]["changed/input"] = table(range(trial.task.length), inputs[model])
    return found


def table(index: Sequence[int], values: Tensor) -> dict[str, Any]:
    """Values, or vectors of them, by their index, as plain values."""
    return {"index": list(index), "value": _rounded(values.tolist())}


def _network(trial: Trial, given: Batch, outputs: Tensor, model: int) -> dict[str, Quantities]:
    """What comes in, what comes out, and what should."""
    scored, inputs = range(trial.task.length)[trial.task.scored], _channels(trial, given.inputs[:, :, 0])
    asked = given.mask[model, list(scored), 0]
    steps = [step for step, wanted in zip(scored, asked.tolist(), strict=True) if wanted]
    targets = given.targets[model, steps, 0].double()
    return {
        "network": {
            "input": table(range(trial.task.length), inputs[model]),
            "output": table(steps, outputs[model, asked, 0, : trial.task.output_size]),
            "target": table(steps, targets if targets.ndim > 1 else targets.unsqueeze(1)),
        }
    }


def _add_states(
    found: list[dict[str, Quantities]], models: Iterable[int], paths: Sequence[Trajectory], given: Batch, quantity: str
) -> None:
    """The states of each layer of these models, in the order of time."""
    for path in paths:
        ran = turned(path.outputs(), given.lengths) if path.part.backward else path.outputs()
        steps = range(path.begin, path.begin + ran.shape[1])
        for model in models:
            found[model].setdefault(path.name, {})[quantity] = table(steps, ran[model, :, 0, : path.hidden])


def _first(batch: Batch) -> Batch:
    """(M, T, 1, ...) the first sequence alone."""
    lengths = None if batch.lengths is None else batch.lengths[:, :1]
    return Batch(batch.inputs[:, :, :1], batch.targets[:, :, :1], batch.mask[:, :, :1], lengths)


def _changed(trial: Trial, batch: Batch) -> tuple[Tensor, list[int]]:
    """(M, T, 1, ...) the inputs of the first sequence with one of them changed, and the models where that can be."""
    inputs, differing = batch.inputs[:, :, :1].clone(), []
    for model in range(len(inputs)):
        own = Batch(*(None if field is None else field[model] for field in batch))  # type: ignore[arg-type]
        needed = _needed(trial, own)
        if 0 not in needed:
            continue
        here = inputs[model, needed[0], 0].clone()
        others = (own.inputs[step, sequence] for sequence, step in needed.items())
        if (other := next((one for one in others if not torch.equal(one, here)), None)) is not None:
            inputs[model, needed[0], 0] = other
            differing.append(model)
    return inputs, differing


def _needed(trial: Trial, batch: Batch) -> dict[int, int]:
    """Sequence -> the earliest step whose input an output of it needs."""
    found: dict[int, int] = {}
    for time, sequence, lag in trial.task.lags(batch).tolist():
        found[sequence] = min(time - lag, found.get(sequence, time - lag))
    return found


def _channels(trial: Trial, inputs: Tensor) -> Tensor:
    """(M, T, I) what comes in; a symbol is a channel that is 1 while the others are 0."""
    if not trial.task.symbolic:
        return inputs
    return torch.nn.functional.one_hot(inputs, trial.task.input_size).double()


def _rounded(values: Any) -> Any:
    """With so many digits as are worth keeping; None for what is not a finite number, which JSON does not have."""
    if isinstance(values, list):
        return [_rounded(one) for one in values]
    return float(f"{values:.{DIGITS}g}") if math.isfinite(values) else None
