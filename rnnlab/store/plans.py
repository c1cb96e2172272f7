"""What sweeps planned: every trial with its key, from the artifact that the run of each sweep keeps."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rnnlab.frame import typed
from rnnlab.refusal import show
from rnnlab.store import NOTHING, PLAN_FILE, SWEEP
from rnnlab.store.rows import Rows, wide
from rnnlab.store.runs import Row
from rnnlab.trial import KINDS

EMPTY = ("key", "task", "seed", "distance")  # the columns of planned trials where there are none


@dataclass(frozen=True)
class Plan:
    """The trials of one sweep: their keys, their nested mappings and their distances, in the same order.

    Mappings and distances are empty where an earlier rnnlab, or somebody else, left them out.
    """

    keys: tuple[str, ...] = ()
    trials: tuple[Mapping[str, Any], ...] = ()
    distances: tuple[float, ...] = ()

    def rows(self) -> Iterator[dict[str, Any]]:
        """One for each trial: its fields as texts, under their dotted names."""
        distances = self.distances or (math.nan,) * len(self.keys)
        for key, trial, distance in zip(self.keys, self.trials, distances, strict=False):
            yield {"key": key, **_texts(trial), "distance": distance}


def plans(rows: Rows, experiment: str) -> dict[str, Plan]:
    """Run of each of the experiment's sweeps, in their order -> its plan; empty where that cannot be read."""
    sweeps = rows.runs(SWEEP)
    sweeps = sweeps[sweeps["experiment"] == experiment]
    return {run["run_id"]: _plan(rows, run) for run in sweeps.to_dict("records")}


def _plan(rows: Rows, run: Row) -> Plan:
    with tempfile.TemporaryDirectory() as folder:
        file = rows.artifact(run, PLAN_FILE, Path(folder))
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return _checked(json.loads(file.read_text()))
    return Plan()


def _checked(content: Mapping[str, Any]) -> Plan:
    keys, trials = tuple(content["keys"]), tuple(content.get("trials", ()))
    if not all(isinstance(key, str) for key in keys) or not all(isinstance(one, Mapping) for one in trials):
        raise TypeError("not a plan")
    return Plan(keys, trials, tuple(map(float, content.get("distances", ()))))


def _texts(trial: Mapping[str, Any]) -> dict[str, str | None]:
    """`Trial.mapping` as the params of a run: flat, in texts; nothing for null."""
    values: dict[str, Any] = {}
    for section, content in trial.items():
        if not isinstance(content, Mapping):
            values[section] = content
            continue
        fields = dict(content)
        if section in KINDS:
            values[section] = fields.pop("name", None)
        values |= {f"{section}.{name}": value for name, value in fields.items()}
    return {name: None if value is None else show(value) for name, value in values.items()}


def planned(found: Iterable[Plan], rows: Rows) -> pd.DataFrame:
    """The trials of all plans, sorted by key: `key`, the columns of a frame that are fields of trials, `distance`.

    Distances that no plan has are those of runs of the same task in the store, or missing.
    """
    by_key = {row["key"]: row for plan in found for row in plan.rows()}
    if not by_key:
        return pd.DataFrame({name: pd.Series(dtype="float64" if name in EMPTY[2:] else "str") for name in EMPTY})
    table = pd.DataFrame(by_key.values())
    texts = table.reindex(columns=list(dict.fromkeys([*EMPTY[:3], *table.columns.drop("distance")]))).astype("str")
    trials = typed(texts.assign(distance=table["distance"])).sort_values("key", ignore_index=True)
    return trials if trials["distance"].notna().all() else _with_distances(trials, rows)


def _with_distances(trials: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """The trials with the distances that runs of the same task, with the same fields, have in the store."""
    params = rows.params()
    texts = wide(params[params["key"].str.startswith("task") | (params["key"] == "distance")]).replace(NOTHING, None)
    fields = sorted(name for name in {*texts, *trials, "task"} if name == "task" or name.startswith("task."))
    runs = typed(texts.reindex(columns=[*fields, "distance"])).dropna(subset="distance")
    known = dict(zip(_told(runs[fields]), runs["distance"], strict=True))
    found = _told(typed(trials.reindex(columns=fields)))
    return trials.assign(distance=trials["distance"].fillna(pd.Series([known.get(task) for task in found])))


def _told(tasks: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """What tells the task of each row from others: the fields that it has."""
    for values in tasks.itertuples(index=False):
        yield tuple((name, value) for name, value in zip(tasks.columns, values, strict=True) if pd.notna(value))
