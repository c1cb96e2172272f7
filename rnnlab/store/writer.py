"""Write runs to MLflow, in batches, so that writing anything twice changes nothing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock

from rnnlab.record import FAILED, RUNNING, Record
from rnnlab.store import (
    HOST_TAG,
    KEY_TAG,
    KIND_TAG,
    NOTHING,
    PID_TAG,
    PLAN_FILE,
    STATUS_TAG,
    SWEEP,
    TRIAL,
    Place,
    StoreSettings,
    Unreachable,
    place_of,
    reason,
)
from rnnlab.store.client import client_of
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import VIEW_TAG, view_state
from rnnlab.trial import BadInput, Trial, show

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MAX_METRICS = 1000  # in one call of MLflow's API
PLAIN_VIEW = ("task", "init", "init.spectral_radius", "seed")  # what the UI shows before there is a sweep
NOTE_TAG = "mlflow.note.content"  # shown by the UI as Markdown
ERROR_LENGTH = 4000  # characters of a traceback that a tag keeps


class StoreFailure(Exception):
    """The store could not be written; what was written before is whole, and the same launch goes on from there."""


@dataclass
class OpenRun:
    """A run that this process is writing."""

    run_id: str
    started: int  # milliseconds since 1970
    artifacts: ArtifactRepository
    points: list[tuple[str, float, int]] = field(default_factory=list)  # (metric, value, step), not yet written


class Writer:
    """The one writer of a store, for the runs of one experiment; a context manager.

    Creates the store where there is none. A point's time is the run's start plus its step in milliseconds, so
    that a point written again is the same point.
    """

    def __init__(self, settings: StoreSettings, experiment: str, tags: Mapping[str, str]) -> None:
        self.place = place_of(settings)
        self.keeps_weights = settings.weights == "both"
        self.tags = {**tags, HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid())}
        self.open: dict[str, OpenRun] = {}
        self.sweep_run = ""
        self.complete = False  # whether the launch did all that it planned; set by the caller
        self.place.lock.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.place.lock)
        with self._writing():
            self.client = _client(self.place)
            self.experiment_id = self._experiment(experiment)
            self.reader = Reader(self.place)
            self.experiment = experiment
            self.abandoned = self._abandoned()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is StoreFailure and self.place.path is None:  # a server that is gone would be waited for once more
            return
        with contextlib.suppress(*([StoreFailure] if kind else [])):  # one failure is enough to report
            self._close()

    def _close(self) -> None:
        """Write the rest and mark what has not ended as such."""
        self.flush()
        with self._writing():
            for run in self.open.values():
                self.client.set_terminated(run.run_id, "KILLED")
            if self.sweep_run:
                self.client.set_terminated(self.sweep_run, "FINISHED" if self.complete else "KILLED")
            kind_of(self.place).settle(self.place)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Within, this process alone writes to the store; raises `StoreFailure` where that does not work."""
        from mlflow.exceptions import MlflowException

        try:
            with self.lock:
                yield
        except (MlflowException, sqlite3.Error, OSError, Unreachable) as error:
            raise StoreFailure(f"{self.place}: could not be written ({reason(error)})") from error

    def begin_sweep(self, trials: Sequence[Trial], axes: Sequence[str], note: str) -> None:
        """Record what this launch plans: a run with the keys of all its trials; the same plan again goes on in it."""
        keys = [trial.key for trial in trials]
        plan = {"keys": keys, "trials": [trial.mapping() for trial in trials]}
        with self._writing():
            self.client.set_experiment_tag(self.experiment_id, VIEW_TAG, view_state(axes))
            planned = frozenset(keys)
            same = [run for run, found in self.reader.plans(self.experiment).items() if found == planned]
            if same:
                self.sweep_run = same[-1]
                self.client.update_run(self.sweep_run, status="RUNNING")
                return
            tags = {**self.tags, KIND_TAG: SWEEP, NOTE_TAG: note}
            run = self.client.create_run(self.experiment_id, tags=tags, run_name=f"sweep of {len(trials)} trials")
            self.sweep_run = run.info.run_id
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / PLAN_FILE
                file.write_text(json.dumps(plan))
                self.client.log_artifact(self.sweep_run, str(file))

    def begin(self, trial: Trial, name: str, derived: Mapping[str, float]) -> str:
        """Create the trial's run, or take over the one that an interrupted launch left; return its id."""
        tags = {**self.tags, KIND_TAG: TRIAL, KEY_TAG: trial.key, STATUS_TAG: RUNNING}
        with self._writing():
            run = self.abandoned.pop(trial.key, None)
            if run is not None:
                run = self.client.get_run(run.info.run_id)  # as it is now: another launch may have been faster
            if run is None or _owner_lives(run.data.tags, run.info.status):
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
            else:
                self.client.update_run(run.info.run_id, status="RUNNING")
            params = [_param(key, value) for key, value in {**trial.flat(), **derived}.items()]
            self.client.log_batch(run.info.run_id, params=params, tags=_tags(tags))
        self.open[trial.key] = OpenRun(run.info.run_id, run.info.start_time, self._artifacts(run.info.artifact_uri))
        return run.info.run_id

    def write(self, record: Record, weights: Path | None = None) -> None:
        """Note what `record` says of a trial that has begun; a record that ends it ends its run.

        `weights` is the file of the parameters that belong to the record.
        """
        run = self.open[record.key]
        run.points += [(name, value, record.step) for name, value in record.metrics.items()]
        if weights is not None and self.keeps_weights:
            with self._writing():
                run.artifacts.log_artifact(str(weights), "weights")
        if record.ended:
            self._end(record)

    def flush(self) -> None:
        """Write all that was noted."""
        with self._writing():
            for run in self.open.values():
                self._write_points(run)

    def _end(self, record: Record) -> None:
        tags = {STATUS_TAG: record.status}
        if record.error:
            tags |= {"rnnlab.error": record.error[-ERROR_LENGTH:], NOTE_TAG: f"```\n{record.error}\n```"}
        with self._writing():
            run = self.open.pop(record.key)
            self._write_points(run, tags)
            self.client.set_terminated(run.run_id, "FAILED" if record.status == FAILED else "FINISHED")

    def _write_points(self, run: OpenRun, tags: Mapping[str, str] | None = None) -> None:
        """Write the points noted for a run, and with the last of them its tags."""
        points = [_metric(*point, run.started) for point in run.points]
        while len(points) > MAX_METRICS:
            self.client.log_batch(run.run_id, metrics=points[:MAX_METRICS])
            points = points[MAX_METRICS:]
        if points or tags:
            self.client.log_batch(run.run_id, metrics=points, tags=_tags(tags or {}))
        run.points.clear()

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name) or self._create_experiment(name)
        if found.lifecycle_stage != "active":
            raise BadInput(f"experiment={name}: was deleted in the store; restore it there or take another name")
        if VIEW_TAG not in found.tags:
            self.client.set_experiment_tag(found.experiment_id, VIEW_TAG, view_state(PLAIN_VIEW))
        return found.experiment_id

    def _create_experiment(self, name: str) -> Experiment:
        """Make an experiment, unless another machine was faster."""
        from mlflow.exceptions import MlflowException

        root = self.place.artifacts
        folder = (root.absolute() / name).as_uri() if root else None
        try:
            self.client.create_experiment(name, artifact_location=folder)
        except MlflowException:
            if self.client.get_experiment_by_name(name) is None:
                raise
        found = self.client.get_experiment_by_name(name)
        assert found is not None, name  # noqa: S101 - it was just made
        return found

    def _artifacts(self, uri: str) -> ArtifactRepository:
        """The artifacts of one run; asking the client for them costs a look-up of the run each time."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(uri, tracking_uri=self.place.uri)

    def _abandoned(self) -> dict[str, Run]:
        """Trial key -> a run that its owner left unfinished and that can go on; mends runs that only look so."""
        for run_id in self.reader.ended_but_running():
            self.client.set_terminated(run_id, "FINISHED")
        left = self.reader.unfinished()
        left = left[left["experiment"] == self.experiment]
        runs = [self.client.get_run(run_id) for run_id in left["run_id"]]
        return {run.data.tags[KEY_TAG]: run for run in runs if not _owner_lives(run.data.tags, run.info.status)}


def _client(place: Place) -> MlflowClient:
    """A client of the store, whose schema exists and which the UI can read while it is written."""
    from mlflow.exceptions import MlflowException

    try:
        with kind_of(place).preparing(place):
            client = client_of(place)
            client.search_experiments(max_results=1)
    except MlflowException as error:
        raise BadInput(f"{place}: MLflow cannot use it ({reason(error)})") from error
    return client


def _owner_lives(tags: Mapping[str, str], status: str) -> bool:
    """Whether the process that began an unfinished run may still be writing it."""
    if status != "RUNNING":
        return False
    if tags.get(HOST_TAG) != socket.gethostname():
        return True  # on another machine: cannot tell
    try:
        os.kill(int(tags[PID_TAG]), 0)
    except (KeyError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(tags[PID_TAG]) != os.getpid()


def _param(key: str, value: Any) -> Any:
    from mlflow.entities import Param

    return Param(key, NOTHING if value is None else show(value))


def _tags(values: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in values.items()]


def _metric(name: str, value: float, step: int, started: int) -> Metric:
    from mlflow.entities import Metric

    return Metric(
        name, value if math.isfinite(value) else math.nan, started + step, step
    )  # inf would be stored as 1.8e308
