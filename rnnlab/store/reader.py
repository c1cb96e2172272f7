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
from rnnlab.record import RESULTS
from rnnlab.store import (
    ATTEMPT_TAG,
    HEARTBEAT_TAG,
    HOST_TAG,
    KEY_TAG,
    KIND_TAG,
    LAUNCH_TAG,
    NOTHING,
    NUMERICS_TAG,
    PID_TAG,
    PLAN_FILE,
    PREFIX_TAG,
    STATUS_TAG,
    SUPERSEDED_TAG,
    SWEEP,
    TRIAL,
    artifacts_of,
    check_readable,
    connect,
)
from rnnlab.store.runs import Row, finished

RUN_TAGS = {  # column of a frame of runs -> tag
    "key": KEY_TAG,
    "status": STATUS_TAG,
    "numerics": NUMERICS_TAG,
    "prefix": PREFIX_TAG,
    "launch": LAUNCH_TAG,
    "heartbeat": HEARTBEAT_TAG,
    "host": HOST_TAG,
    "pid": PID_TAG,
    "attempt": ATTEMPT_TAG,
    "superseded": SUPERSEDED_TAG,
}
RUN_COLUMNS = ("run_id", "run_name", "mlflow_status", "started", "artifacts", "experiment", *RUN_TAGS)
JOIN_TAG = "LEFT JOIN tags AS {name}_tag ON {name}_tag.run_uuid = runs.run_uuid AND {name}_tag.key = '{tag}'"
# The runs of one kind that nobody deleted. The name of a column or table is a constant here, values are bound.
RUNS = f"""
    SELECT runs.run_uuid AS run_id, runs.name AS run_name, runs.status AS mlflow_status, runs.start_time AS started,
           runs.artifact_uri AS artifacts, experiments.name AS experiment,
           {", ".join(f"{name}_tag.value AS {name}" for name in RUN_TAGS)}
    FROM runs
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    JOIN tags AS kind_tag ON kind_tag.run_uuid = runs.run_uuid AND kind_tag.key = '{KIND_TAG}'
    {" ".join(JOIN_TAG.format(name=name, tag=tag) for name, tag in RUN_TAGS.items())}
    WHERE runs.lifecycle_stage = 'active' AND experiments.lifecycle_stage = 'active' AND kind_tag.value = ?
    ORDER BY runs.start_time, runs.run_uuid
"""  # noqa: S608
PARAMS = "SELECT run_uuid AS run_id, key, value FROM params"
METRICS = "SELECT run_uuid AS run_id, key, CASE is_nan WHEN 1 THEN NULL ELSE value END AS value FROM latest_metrics"


INTERNAL = ("mlflow_status", "started", "artifacts", "prefix", "launch", "heartbeat", "superseded")  # not in a frame


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
        rows = chosen.drop(columns=list(INTERNAL)).join(params).join(metrics)
        return tidy(rows.reset_index()).sort_values("key", ignore_index=True)

    def plans(self, experiment: str) -> dict[str, frozenset[str]]:
        """Run of each of the experiment's sweeps, in their order -> the keys of the trials that it planned."""
        sweeps = self.sweeps()
        sweeps = sweeps[sweeps["experiment"] == experiment]
        return {run["run_id"]: self._plan(run) for run in sweeps.to_dict("records")}

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
        return finished(self.trials())

    def trials(self) -> pd.DataFrame:
        """Every run of a trial, oldest first: the columns `RUN_COLUMNS`."""
        with self._connection() as connection:
            return self._runs(connection, TRIAL)

    def sweeps(self) -> pd.DataFrame:
        """Every run of a sweep, oldest first: the columns `RUN_COLUMNS`."""
        with self._connection() as connection:
            return self._runs(connection, SWEEP)

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

    def artifact(self, run: Row, name: str) -> Path:
        """The file of a run's artifact, which need not exist; `run` is a row of `trials` or `sweeps`.

        Artifacts lie beside the store, even where the two were moved together.
        """
        beside = artifacts_of(self.path) / run["experiment"] / run["run_id"] / "artifacts" / name
        return beside if beside.is_file() else Path(unquote(urlparse(run["artifacts"]).path)) / name

    def _plan(self, run: Row) -> frozenset[str]:
        """The keys in a sweep's plan."""
        file = self.artifact(run, PLAN_FILE)
        return frozenset(json.loads(file.read_text())["keys"]) if file.is_file() else frozenset()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(connect(self.path, "ro")) as connection:
            yield connection

    def _runs(self, connection: sqlite3.Connection, kind: str) -> pd.DataFrame:
        if not _has_runs(connection):
            return pd.DataFrame(columns=list(RUN_COLUMNS))
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
