"""Read a store without writing to it, as frames."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd

from rnnlab.frame import tidy
from rnnlab.record import RESULTS, RUNNING
from rnnlab.store import NOTHING, STATUS_TAG, SWEEP, TRIAL, Place, sqlite_place
from rnnlab.store.kinds import kind_of
from rnnlab.store.rows import Rows


class Reader:
    """The runs in a store, as frames. Raises `BadInput` where there is no store; a path is that of a SQLite file."""

    def __init__(self, where: Place | Path) -> None:
        self.place = where if isinstance(where, Place) else sqlite_place(where)
        self.kind = kind_of(self.place)
        self.kind.check_readable(self.place)

    def experiments(self) -> list[str]:
        """The sorted names of the experiments that hold trials or sweeps."""
        with self._rows() as rows:
            return sorted({name for kind in (TRIAL, SWEEP) for name in rows.runs(kind)["experiment"]})

    def frame(self, experiment: str) -> pd.DataFrame:
        """The tidy frame of an experiment: one row per trial key, sorted by it.

        A trial belongs to the experiment when it was run in it or when one of its sweeps planned it, wherever
        in the store its run lives. Of several runs of a key the newest finished one counts, else the newest.
        """
        with self._rows() as rows:
            planned = frozenset().union(*_plans(rows, experiment).values())
            runs = rows.runs(TRIAL)
            runs = runs[(runs["experiment"] == experiment) | runs["key"].isin(planned)]
            chosen = _one_per_key(runs).set_index("run_id")
            params = _wide(rows.params(), chosen.index).replace(NOTHING, None)
            metrics = _wide(rows.metrics(), chosen.index)
        chosen["experiment"] = experiment
        found = chosen.drop(columns=["mlflow_status", "started", "artifacts"]).join(params).join(metrics)
        return tidy(found.reset_index()).sort_values("key", ignore_index=True)

    def plans(self, experiment: str) -> dict[str, frozenset[str]]:
        """Run of each of the experiment's sweeps, in their order -> the keys of the trials that it planned."""
        with self._rows() as rows:
            return _plans(rows, experiment)

    def result(self, run_id: str) -> tuple[str, int]:
        """(status, step) of a finished run: the step that solved it, or the last one."""
        with self._rows() as rows:
            steps, tags = rows.latest(run_id), rows.tags(run_id)
        step = steps.get("steps_to_solve", steps.get("trained_steps"))
        return tags[STATUS_TAG], int(step or 0)

    def finished(self) -> dict[str, str]:
        """Trial key -> id of the newest run that finished it, over the whole store."""
        with self._rows() as rows:
            runs = rows.runs(TRIAL)
        done = runs[runs["status"].isin(RESULTS)]
        return dict(zip(done["key"], done["run_id"], strict=True))

    def unfinished(self) -> pd.DataFrame:
        """The runs of trials that have neither ended nor failed: run_id, key, mlflow_status, started, experiment."""
        with self._rows() as rows:
            runs = rows.runs(TRIAL)
        return runs[runs["status"] == RUNNING]

    def ended_but_running(self) -> list[str]:
        """Ids of runs whose trial has ended but which MLflow shows as running: their writer was killed between."""
        with self._rows() as rows:
            runs = rows.runs(TRIAL)
        return list(runs[runs["status"].isin(RESULTS) & (runs["mlflow_status"] == "RUNNING")]["run_id"])

    def tags(self, run_id: str) -> dict[str, str]:
        """All tags of a run."""
        with self._rows() as rows:
            return rows.tags(run_id)

    def curves(self, run_id: str) -> pd.DataFrame:
        """Every recorded point of a run, by key and step: key, step, value (NaN where it was not a number)."""
        with self._rows() as rows:
            points = rows.points(run_id)
        return points.sort_values(["key", "step"], kind="stable", ignore_index=True)  # databases sort text as they like

    def experiment_ids(self) -> dict[str, str]:
        """Name -> MLflow id of the experiments."""
        with self._rows() as rows:
            return rows.experiment_ids()

    def _rows(self) -> AbstractContextManager[Rows]:
        """One look at the store."""
        return self.kind.rows(self.place)


def _plans(rows: Rows, experiment: str) -> dict[str, frozenset[str]]:
    sweeps = rows.runs(SWEEP)
    sweeps = sweeps[sweeps["experiment"] == experiment]
    texts = {run_id: rows.plan(experiment, run_id, uri) for run_id, uri in sweeps[["run_id", "artifacts"]].values}
    return {run_id: frozenset(json.loads(text)["keys"]) if text else frozenset() for run_id, text in texts.items()}


def _one_per_key(runs: pd.DataFrame) -> pd.DataFrame:
    """The newest finished run of each key, else the newest; `runs` is sorted by start."""
    ranked = runs.assign(finished=runs["status"].isin(RESULTS))
    newest = ranked.sort_values("finished", kind="stable").drop_duplicates("key", keep="last")
    return newest.drop(columns="finished")


def _wide(long: pd.DataFrame, run_ids: pd.Index) -> pd.DataFrame:
    """One row per run and one column per key."""
    return long[long["run_id"].isin(run_ids)].pivot(index="run_id", columns="key", values="value")
