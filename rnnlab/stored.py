"""A trained model, as a store holds it: which run, of which trial, with which weights."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rnnlab.build import build
from rnnlab.checkpoints import Unusable, read
from rnnlab.model import shapes
from rnnlab.record import RESULTS
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.store import NOTHING
from rnnlab.store.reader import Reader
from rnnlab.store.runs import Row
from rnnlab.trial import KINDS, SECTIONS, Model, Train, Trial

FINAL = "weights/final.safetensors"  # artifact of a run that ended; of an exhausted one, a whole checkpoint
INITIAL = "weights/initial.safetensors"


def run_of(reader: Reader, prefix: str) -> Row:
    """The run (column -> value) of a trial that has ended, by the beginning of its id. Raises `BadInput`."""
    found = [row for row in reader.trials().to_dict("records") if prefix and row["run_id"].startswith(prefix)]
    if not found:
        sweep = prefix and any(run_id.startswith(prefix) for run_id in reader.sweeps()["run_id"])
        what = "is the run of a sweep" if sweep else f"no run in {reader.place} begins so"
        raise BadInput(f"run={prefix}: {what}; must be the beginning of the id of a trial's run")
    if len(found) > 1:
        raise BadInput(f"run={prefix}: {len(found)} runs begin so; must be longer")
    if found[0]["status"] not in RESULTS:
        raise BadInput(f"run={prefix}: is {found[0]['status']}; must be one of {', '.join(RESULTS)}")
    return found[0]


def trial_of(reader: Reader, run: Row) -> Trial:
    """The trial of a run. Raises `BadInput` where this version of rnnlab cannot have trained it."""
    what = f"run={run['run_id']}"
    try:
        trial = build(_mapping(reader.params(run["run_id"])), registry())
    except BadInput as error:
        raise BadInput(*(f"{what}: {problem}" for problem in error.problems)) from error
    if trial.key != run["key"]:
        raise BadInput(f"{what}: its task, cell or init has changed since; must be a run of this version of rnnlab")
    return trial


def network(reader: Reader, prefix: str, artifact: str = FINAL) -> tuple[Row, Trial, dict[str, Tensor]]:
    """The run whose id begins so, its trial, and its weights as of `weights_of`. Raises `BadInput`."""
    run = run_of(reader, prefix)
    trial = trial_of(reader, run)
    try:
        return run, trial, weights_of(reader, run, trial, artifact)
    except Unusable as error:
        raise BadInput(f"run={prefix}: its weights {error}; must be a run with weights") from error


def weights_of(reader: Reader, run: Row, trial: Trial, artifact: str = FINAL) -> dict[str, Tensor]:
    """The parameters of a run, without model axis: at its end, or `INITIAL`.

    Raises `Unusable` where the store does not have them.
    """
    file = reader.artifact(run, artifact)
    if not file.is_file():
        raise Unusable("are not in the store (store.weights=none)")
    tensors = read(file).checkpoint.tensors
    found = {name: tensors[name] for name in shapes(trial) if name in tensors}
    if {name: tuple(values.shape) for name, values in found.items()} != shapes(trial):
        raise Unusable("do not fit the trial")
    return found


def _mapping(texts: Mapping[str, str]) -> dict[str, Any]:
    """The mapping for `build`, from the fields of `Trial.flat` as text; other texts are passed over."""
    mapping: dict[str, Any] = {"seed": _value(texts.get("seed", ""), int)}
    specs: dict[str, type | None] = {"model": Model, "train": Train}
    for section in SECTIONS:
        name = texts.get(section)
        spec = registry()[section].get(str(name)) if section in KINDS else specs[section]
        mapping[section] = {"name": name} if section in KINDS else {}
        mapping[section] |= _fields(spec, section, texts) if spec else {}
    return mapping


def _fields(spec: type, section: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a spec; one that was added after the run has the value that means what was before."""
    declared = typing.get_type_hints(spec)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        text = texts.get(f"{section}.{field.name}")
        if text is not None:
            found[field.name] = _value(text, declared[field.name])
        elif field.metadata["absent"] is not dataclasses.MISSING:
            found[field.name] = field.metadata["absent"]
    return found


def _value(text: str, declared: Any) -> Any:
    """What was written as `text`; the text itself where it cannot be a value of the type, for `build` to refuse."""
    kinds = typing.get_args(declared) or (declared,)
    if text == NOTHING and type(None) in kinds:
        return None
    if str in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
