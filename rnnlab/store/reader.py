"""Read a store without writing to it: plain SQL, so that no schema is migrated and no server is needed."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd

from rnnlab.frame import tidy
from rnnlab.record import RESULTS, RUNNING
from rnnlab.store import (
    KEY_TAG,
    KIND_TAG,
    NOTHING,
    NUMERICS_TAG,
    PLAN_FILE,
    STATUS_TAG,
    SWEEP,
    TRIAL,
    artifacts_of,
    check_readable,
    connect,
)

# The runs of one kind that nobody deleted. The name of a column or table is a constant here, values are bound.
RUNS = f"""
    SELECT runs.run_uuid AS run_id, runs.name AS run_name, runs.status AS mlflow_status, runs.start_time AS started,
           runs.artifact_uri AS artifacts, experiments.name AS experiment,
           key_tag.value AS key, status_tag.value AS status, numerics_tag.value AS numerics
    FROM runs
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    JOIN tags AS kind_tag ON kind_tag.run_uuid = runs.run_uuid AND kind_tag.key = '{KIND_TAG}'
    LEFT JOIN tags AS key_tag ON key_tag.run_uuid = runs.run_uuid AND key_tag.key = '{KEY_TAG}'
    LEFT JOIN tags AS status_tag ON status_tag.run_uuid = runs.run_uuid AND status_tag.key = '{STATUS_TAG}'
    LEFT JOIN tags AS numerics_tag ON numerics_tag.run_uuid = runs.run_uuid AND numerics_tag.key = '{NUMERICS_TAG}'
    WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' AND kind_tag.value = ?
    ORDER BY runs.start_time, runs.run_uuid
"""  # noqa: S608
PARAMS = "SELECT run_uuid AS run_id, key, value FROM params"
METRICS = "SELECT run_uuid AS run_id, key, CASE is_nan WHEN 1 THEN NULL ELSE value END AS value FROM latest_metrics"


class Reader:
    """The runs in a store, as frames. Raises `BadInput` where there is no store."""

    def __init__(self, path: Path) -> None:
        check_readable(path)
        self.path = path

    def experiments(self) -> list[str]:
        """The sorted names of the experiments that hold trials or sweeps."""
        with self._connection() as connection:
            runs = pd.concat([self._runs(connection, kind) for kind in (TRIAL, SWEEP)])
        return sorted(runs["experiment"].unique())

    def frame(self, experiment: str) -> pd.DataFrame:
        """The tidy frame of an experiment: one row per trial key, sorted by it.

        A trial belongs to the experiment when it was run in it or when one of its sweeps planned it, wherever
        in the store its run lives. Of several runs of a key the newest finished one counts, else the newest.
        """
        planned = frozenset().union(*self.plans(experiment).values())
        with self._connection() as connection:
            runs = self._runs(connection, TRIAL)
            runs = runs[(runs["experiment"] == experiment) | runs["key"].isin(planned)]
            chosen = _one_per_key(runs).set_index("run_id")
            params = _wide(pd.read_sql_query(PARAMS, connection), chosen.index).replace(NOTHING, None)
            metrics = _wide(pd.read_sql_query(METRICS, connection), chosen.index)
        chosen["experiment"] = experiment
        rows = chosen.drop(columns=["mlflow_status", "started", "artifacts"]).join(params).join(metrics)
        return tidy(rows.reset_index()).sort_values("key", ignore_index=True)

    def plans(self, experiment: str) -> dict[str, frozenset[str]]:
        """Run of each of the experiment's sweeps, in their order -> the keys of the trials that it planned."""
        with self._connection() as connection:
            sweeps = self._runs(connection, SWEEP)
        sweeps = sweeps[sweeps["experiment"] == experiment]
        return {run_id: self._plan(experiment, run_id, uri) for run_id, uri in sweeps[["run_id", "artifacts"]].values}

    def result(self, run_id: str) -> tuple[str, int]:
        """(status, step) of a finished run: the step that solved it, or the last one."""
        query = (
            "SELECT key, value FROM latest_metrics WHERE run_uuid = ? AND key IN ('steps_to_solve', 'trained_steps')"
        )
        with self._connection() as connection:
            steps = dict(connection.execute(query, (run_id,)).fetchall())
        step = steps.get("steps_to_solve", steps.get("trained_steps"))
        return self.tags(run_id)[STATUS_TAG], int(step or 0)

    def finished(self) -> dict[str, str]:
        """Trial key -> id of the newest run that finished it, over the whole store."""
        with self._connection() as connection:
            runs = self._runs(connection, TRIAL)
        done = runs[runs["status"].isin(RESULTS)]
        return dict(zip(done["key"], done["run_id"], strict=True))

    def unfinished(self) -> pd.DataFrame:
        """The runs of trials that have neither ended nor failed: run_id, key, mlflow_status, started, experiment."""
        with self._connection() as connection:
            runs = self._runs(connection, TRIAL)
        return runs[runs["status"] == RUNNING]

    def ended_but_running(self) -> list[str]:
        """Ids of runs whose trial has ended but which MLflow shows as running: their writer was killed between."""
        with self._connection() as connection:
            runs = self._runs(connection, TRIAL)
        return list(runs[runs["status"].isin(RESULTS) & (runs["mlflow_status"] == "RUNNING")]["run_id"])

    def tags(self, run_id: str) -> dict[str, str]:
        """All tags of a run."""
        with self._connection() as connection:
            return dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall())

    def curves(self, run_id: str) -> pd.DataFrame:
        """Every recorded point of a run: key, step, value (NaN where it was not a number)."""
        query = """SELECT key, step, CASE is_nan WHEN 1 THEN NULL ELSE value END AS value
                   FROM metrics WHERE run_uuid = ? ORDER BY key, step"""
        with self._connection() as connection:
            return pd.read_sql_query(query, connection, params=(run_id,))

    def experiment_ids(self) -> dict[str, str]:
        """Name -> MLflow id of the experiments."""
        with self._connection() as connection:
            if not _has_runs(connection):
                return {}
            rows = connection.execute("SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'")
            return {name: str(number) for name, number in rows.fetchall()}

    def _plan(self, experiment: str, run_id: str, uri: str) -> frozenset[str]:
        """The keys in a sweep's plan, which lies beside the store even where the two were moved together."""
        beside = artifacts_of(self.path) / experiment / run_id / "artifacts" / PLAN_FILE
        file = beside if beside.is_file() else Path(unquote(urlparse(uri).path)) / PLAN_FILE
        return frozenset(json.loads(file.read_text())["keys"]) if file.is_file() else frozenset()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(connect(self.path, "ro")) as connection:
            yield connection

    def _runs(self, connection: sqlite3.Connection, kind: str) -> pd.DataFrame:
        if not _has_runs(connection):
            names = "run_id run_name mlflow_status started artifacts experiment key status numerics"
            return pd.DataFrame(columns=names.split())
        return pd.read_sql_query(RUNS, connection, params=(kind,))


def _one_per_key(runs: pd.DataFrame) -> pd.DataFrame:
    """The newest finished run of each key, else the newest; `runs` is sorted by start."""
    ranked = runs.assign(finished=runs["status"].isin(RESULTS))
    newest = ranked.sort_values("finished", kind="stable").drop_duplicates("key", keep="last")
    return newest.drop(columns="finished")


def _wide(long: pd.DataFrame, run_ids: pd.Index) -> pd.DataFrame:
    """One row per run and one column per key."""
    return long[long["run_id"].isin(run_ids)].pivot(index="run_id", columns="key", values="value")


def _has_runs(connection: sqlite3.Connection) -> bool:
    """Whether the database has MLflow's tables."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone() is not None
