"""What a store holds, as rows: the same whether they come from a database or from a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from rnnlab.store import (
    ATTEMPT_TAG,
    HEARTBEAT_TAG,
    HOST_TAG,
    KEY_TAG,
    KIND_TAG,
    LAUNCH_TAG,
    NUMERICS_TAG,
    PID_TAG,
    PREFIX_TAG,
    SHAPE_TAG,
    STATUS_TAG,
    SUPERSEDED_TAG,
    Place,
)
from rnnlab.store.runs import Row

RUN_TAGS = {  # column of a frame of runs -> tag
    "key": KEY_TAG,
    "status": STATUS_TAG,
    "numerics": NUMERICS_TAG,
    "prefix": PREFIX_TAG,
    "shape": SHAPE_TAG,
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
EXPERIMENTS = "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active'"
EXPERIMENT_TAGS = """
    SELECT experiments.name, experiment_tags.value
    FROM experiment_tags JOIN experiments ON experiments.experiment_id = experiment_tags.experiment_id
    WHERE experiments.lifecycle_stage = 'active' AND experiment_tags.key = ?
"""
POINTS_OF_COURSES = ("run_id", "key", "step", "timestamp", "value")
LARGEST = sys.float_info.max  # what MLflow makes of infinity
PARAMS = "SELECT run_uuid, key, value FROM params"
PARAMS_OF_RUN = "SELECT key, value FROM params WHERE run_uuid = ?"
TAGS = "SELECT key, value FROM tags WHERE run_uuid = ?"
TAGS_NAMED = "SELECT run_uuid, key, value FROM tags WHERE key IN (%s)"
VALUE = "CASE WHEN is_nan THEN NULL ELSE value END"
METRICS = f"SELECT run_uuid, key, {VALUE} FROM latest_metrics"  # noqa: S608
LATEST = f"{METRICS} WHERE run_uuid = ?"
POINTS = f"SELECT key, step, {VALUE} FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"  # noqa: S608
COURSE = f"SELECT run_uuid, step, timestamp, {VALUE} FROM metrics WHERE key = ?"  # noqa: S608
PORTION = 100_000  # rows that are held as tuples at a time


class Rows(Protocol):
    """One look at a store, which nobody else's writing changes where the kind of store can promise that."""

    def runs(self, kind: str) -> pd.DataFrame:
        """The runs of a kind (TRIAL, SWEEP) in the order of their start: RUN_COLUMNS."""

    def params(self) -> pd.DataFrame:
        """The params of all trials: run_id, key, value."""

    def metrics(self) -> pd.DataFrame:
        """The last value of each metric of all trials: run_id, key, value."""

    def latest(self, run_id: str) -> dict[str, float]:
        """The last value of each metric of one run."""

    def params_of(self, run_id: str) -> dict[str, str]:
        """All params of one run."""

    def tags(self, run_id: str) -> dict[str, str]:
        """All tags of one run."""

    def tags_named(self, names: Sequence[str]) -> pd.DataFrame:
        """These tags of all trials and sweeps, in any order: run_id, key, value."""

    def points(self, run_id: str) -> pd.DataFrame:
        """Every point of one run: key, step, value."""

    def courses(self, keys: Sequence[str]) -> pd.DataFrame:
        """Every point of these metrics, of all runs, in any order: `POINTS_OF_COURSES`."""

    def experiment_ids(self) -> dict[str, str]:
        """Name -> MLflow id of the experiments that nobody deleted."""

    def experiment_tags(self, key: str) -> dict[str, str]:
        """Name -> value of a tag of the experiments that have it and that nobody deleted."""

    def artifact(self, run: Row, name: str, folder: Path) -> Path:
        """The file of an artifact, which need not exist; `run` is a row of `runs`.

        What is not on this machine is copied to `folder`, where it is not there yet.
        """


class Connection(Protocol):
    """What connections to databases have in common."""

    def execute(self, query: str, parameters: Sequence[Any], /) -> Any:
        """Run a query; returns a cursor."""


class SqlRows:
    """The rows of a database: plain SQL, so that no schema is migrated and no server is needed.

    tables: those of the database
    mark:   what stands for a bound value in a query
    """

    def __init__(self, connection: Connection, place: Place, tables: Iterable[str], mark: str = "?") -> None:
        self.connection, self.place, self.mark = connection, place, mark
        self.empty = "runs" not in tables  # MLflow has not made its tables yet

    def runs(self, kind: str) -> pd.DataFrame:
        return table(self._fetch(RUNS, kind), RUN_COLUMNS)

    def params(self) -> pd.DataFrame:
        return table(self._fetch(PARAMS), ("run_id", "key", "value"))

    def metrics(self) -> pd.DataFrame:
        return numbers(self._fetch(METRICS), ("run_id", "key", "value"))

    def latest(self, run_id: str) -> dict[str, float]:
        return {key: value for _, key, value in self._fetch(LATEST, run_id)}

    def params_of(self, run_id: str) -> dict[str, str]:
        return dict(self._fetch(PARAMS_OF_RUN, run_id))

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(self._fetch(TAGS, run_id))

    def tags_named(self, names: Sequence[str]) -> pd.DataFrame:
        marks = ", ".join("?" for _ in names)
        return table(self._fetch(TAGS_NAMED % marks, *names), ("run_id", "key", "value"))

    def points(self, run_id: str) -> pd.DataFrame:
        return numbers(self._fetch(POINTS, run_id), ("key", "step", "value"))

    def courses(self, keys: Sequence[str]) -> pd.DataFrame:
        return courses((key, portion) for key in keys for portion in self._portions(COURSE, key))

    def experiment_ids(self) -> dict[str, str]:
        return {name: str(number) for name, number in self._fetch(EXPERIMENTS)}

    def experiment_tags(self, key: str) -> dict[str, str]:
        return dict(self._fetch(EXPERIMENT_TAGS, key))

    def artifact(self, run: Row, name: str, folder: Path) -> Path:
        """Artifacts lie in the store's folder for them, even where the two were moved together."""
        moved = Path(unquote(urlparse(run["artifacts"]).path)) / name
        if self.place.artifacts is None:
            return moved
        beside = self.place.artifacts / run["experiment"] / run["run_id"] / "artifacts" / name
        return beside if beside.is_file() else moved

    def _portions(self, query: str, *values: Any) -> Iterator[list[tuple[Any, ...]]]:
        if self.empty:
            return
        cursor = self.connection.execute(query.replace("?", self.mark), values)
        while portion := cursor.fetchmany(PORTION):
            yield portion

    def _fetch(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        if self.empty:
            return []
        return self.connection.execute(query.replace("?", self.mark), values).fetchall()


def table(rows: Iterable[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """A frame of rows from any source."""
    return pd.DataFrame.from_records(list(rows), columns=list(columns))


def numbers(rows: Iterable[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """As `table`, for rows whose `value` is a number, or None for none; what MLflow makes of infinity is none."""
    found = table(rows, columns).astype({"value": "float64"})
    return found.assign(value=found["value"].where(found["value"].abs() < LARGEST))


def courses(portions: Iterable[tuple[str, Sequence[tuple[Any, ...]]]]) -> pd.DataFrame:
    """`POINTS_OF_COURSES` from portions of rows (run, step, timestamp, value) of a metric; texts are categories."""
    parts = [_course(key, rows) for key, rows in portions if rows]
    if not parts:
        return pd.DataFrame({name: [] for name in POINTS_OF_COURSES}).astype({"run_id": "category", "key": "category"})
    whole = {name: np.concatenate([part[name] for part in parts]) for name in ("step", "timestamp", "value")}
    texts = {
        name: union_categoricals([part[name] for part in parts], sort_categories=True) for name in ("run_id", "key")
    }
    return pd.DataFrame(texts | whole)[list(POINTS_OF_COURSES)]


def _course(key: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    runs, steps, times, values = zip(*rows, strict=True)
    value = np.array(values, dtype="float64")
    value[np.abs(value) >= LARGEST] = np.nan
    one = pd.Categorical.from_codes(np.zeros(len(rows), dtype="int8"), pd.Index([key]))
    found = {"step": np.array(steps, dtype="int64"), "timestamp": np.array(times, dtype="int64")}
    return {"run_id": pd.Categorical(runs), "key": one, "value": value, **found}


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """One row per run and one column per key, from rows of run_id, key, value."""
    return long.pivot(index="run_id", columns="key", values="value")


def problem_of_tables(tables: Iterable[str]) -> str:
    """Why a database with these tables is not a store; empty where it is one, or can become one."""
    found = set(tables)
    foreign = found and not {"alembic_version", "experiments", "runs"} <= found
    return "a database of another program; must be one that MLflow made" if foreign else ""
