"""The tidy frame: one row per trial, read from the store; its columns are declared here, once.

Beside the columns below a frame has one for every field of its trials under the dotted name
(`task.delay`, `init.spectral_radius`, `train.clip_threshold`, `seed`, ...). Where a trial has no such field, or
a metric was not (yet) recorded, the entry is missing (NaN). Numbers are float64, all else is text (`true`, `false`).
Metrics by lag (`record.BY_LAG_METRICS`) are courses, whose last value says nothing of a trial: they have no column.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from rnnlab.record import AT_LENGTH, BY_LAG_METRICS, STATUSES
from rnnlab.refusal import BadInput
from rnnlab.trial import Model, Train

TEXT = ("run_id", "run_name", "experiment", "key", "status", "numerics", "host", "pid", "task", "cell", "init")
# What differs from launch to launch; all other columns are the same, to the bit, however often a sweep is interrupted.
MEASURED = ("run_id", "host", "pid", "attempt", "seconds")
NUMBERS = (
    "seed",
    "distance",  # steps: the largest lag that any scored output needs
    "baseline",  # loss of the strategy without memory
    "parameters",  # trained parameters of the network
    "train_bytes",  # of the tensors that training it alone makes, at their peak
    "model.hidden_size",
    "init.spectral_radius",
    "train.clip_threshold",  # NaN: clipping is off
    "train.max_steps",
    "attempt",  # launches that have worked at the trial
    "seconds",  # of training: the trial's share of its stack's
    "trained_steps",
    "steps_to_solve",  # NaN: not solved
    "first_passage",  # NaN: no evaluation passed
    "eval/loss",
    "eval/accuracy",
    "eval/relative_loss",  # eval/loss over baseline
)

# Columns of the values of metrics over training, one row per point of a trial
COURSE = ("key", "metric", "step", "value")
# Columns of what is observed of networks that training starts from or ends with, one row per number
OBSERVATION = (
    "key",  # of the trial
    "when",  # one of WHEN
    "step",  # training steps done then
    "layer",  # `layer 1`, `layer 2 backward`, `encoder layer 1`; or `network`
    "quantity",  # what it is, such as `gradient/mean`
    "index",  # lag, rank, delay or time step
    "place",  # unit or channel, where there are several at an index; else 0
    "value",
)
WHEN = ("initial", "final")  # a file for each among the artifacts of a run


# Fields that runs of an earlier rnnlab do not have, and what they did without; a missing number means null anyway
ADDED_LATER = {
    f"{section}.{field.name}": str(field.metadata["absent"]).lower()
    if isinstance(field.metadata["absent"], bool)
    else field.metadata["absent"]
    for section, spec in (("model", Model), ("train", Train))
    for field in dataclasses.fields(spec)
    if field.metadata["absent"] is not dataclasses.MISSING
}
# The same of tasks, cells and inits. A frame knows none of them, so this repeats what they declare as `absent`
ADDED_TO_MEMBERS: dict[tuple[str, str], dict[str, Any]] = {
    ("task", "adding"): {"markers": "halves", "target": "sum", "lengths": "equal"},
    ("task", "copy"): {"inputs": "one-hot"},
}


def lengths(frame: pd.DataFrame) -> list[int]:
    """The values of the task's dial at which trials of the frame were evaluated beyond their training, ascending.

    Their columns are `record.at_length(value, metric)`: `at_length/40/accuracy`, and so `loss` and `relative_loss`.
    """
    found = {str(name).removeprefix(AT_LENGTH).partition("/")[0] for name in frame if str(name).startswith(AT_LENGTH)}
    return sorted(map(int, found))


def rows_of(observed: Mapping[str, Any], quantities: Collection[str]) -> Iterator[tuple[str, str, float, float, float]]:
    """What `rnnlab.diagnostics.observation` keeps, number by number: (layer, quantity, index, place, value)."""
    for layer, tables in observed.items():
        for quantity in sorted(tables.keys() & set(quantities)):
            table = tables[quantity]
            for index, value in zip(table["index"], table["value"], strict=True):
                for place, number in enumerate(value if isinstance(value, list) else [value]):
                    yield layer, quantity, index, place, math.nan if number is None else number


def tidy(rows: pd.DataFrame) -> pd.DataFrame:
    """The frame with every declared column present and typed; `BadInput` where the rows cannot be a frame."""
    missing = [name for name in ("run_id", "key", "status") if name not in rows.columns]
    if missing:
        raise BadInput(f"store: the runs have no {', '.join(missing)}; were they written by rnnlab?")
    columns = dict.fromkeys([*TEXT, *NUMBERS, *rows.columns])
    frame = typed(rows.reindex(columns=[name for name in columns if name not in BY_LAG_METRICS]))
    unknown = sorted(set(frame["status"].dropna()) - set(STATUSES))
    if unknown:
        raise BadInput(f"store: unknown status {', '.join(unknown)}; a newer rnnlab may have written it")
    return frame


def typed(texts: pd.DataFrame) -> pd.DataFrame:
    """The same columns with what the texts of a store mean: numbers, and what a field meant before there was one."""
    frame = texts.astype({name: "str" for name in texts if texts[name].isna().all()})
    for name, absent in ADDED_LATER.items():
        if name in frame and absent is not None:
            frame[name] = frame[name].fillna(str(absent) if isinstance(frame[name].dtype, pd.StringDtype) else absent)
    for (kind, member), fields in ADDED_TO_MEMBERS.items():
        for name, absent in fields.items():
            if (column := f"{kind}.{name}") in frame:
                frame[column] = frame[column].mask(frame[column].isna() & (frame[kind] == member), absent)
    for name in frame.columns.difference(list(TEXT)):
        numbers = pd.to_numeric(frame[name], errors="coerce")
        frame[name] = numbers.astype("float64") if numbers.notna().any() or name in NUMBERS else frame[name]
    return frame
