"""Write runs to MLflow, in batches, so that writing anything twice changes nothing."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from filelock import FileLock

from rnnlab.frame import MEASURED
from rnnlab.record import AT_LENGTH, AT_THE_END, FAILED, RUNNING, Record
from rnnlab.store import (
    ATTEMPT_TAG,
    ERROR_TAG,
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
    SHAPE_TAG,
    STATUS_TAG,
    SUPERSEDED_TAG,
    SWEEP,
    TRIAL,
    Place,
    StoreSettings,
    Unreachable,
    place_of,
    reason,
    runs,
)
from rnnlab.store.client import client_of
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import VIEW_TAG, view_state
from rnnlab.trial import BadInput, Trial, shape_key, show

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

HEARTBEAT_EVERY = 30.0  # seconds between signs of life
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
    """The one writer of a launch's runs, in one experiment; a context manager.

    Creates the store where there is none. A point's time is the run's start plus its step in milliseconds, so
    that a point written again is the same point. `live` names the launches of this machine that are at work: runs of
    others that are gone are marked as ended when the writer starts.
    """

    def __init__(
        self,
        settings: StoreSettings,
        experiment: str,
        tags: Mapping[str, str],
        launch: str = "",
        live: Collection[str] = (),
    ) -> None:
        self.place = place_of(settings)
        self.keeps_weights = settings.weights == "both"
        self.launch = launch
        self.tags = {**tags, HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid()), LAUNCH_TAG: launch}
        self.open: dict[str, OpenRun] = {}
        self.sweep_run = ""
        self.complete = False  # whether the launch did all that it planned; set by the caller
        self.beat = 0.0  # when the runs last got a sign of life
        self.place.lock.parent.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(self.place.lock)
        with self._writing():
            self.client = _client(self.place)
            self.experiment_id = self._experiment(experiment)
            self.reader = Reader(self.place)
            self.experiment = experiment
            self._mend(live)
            known = self.reader.trials()
        self.unended = runs.unended(known, self.tags.get(NUMERICS_TAG))
        mine = known[(known["launch"] == launch) & (known["status"] != RUNNING)]
        self.written = dict(zip(mine["key"], mine["run_id"], strict=True))  # by this launch, before it was cut off

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is StoreFailure and self.place.path is None:  # a server that is gone would be waited for once more
            return
        with contextlib.suppress(*([StoreFailure] if kind else [])):  # one failure is enough to report
            self._close()

    def _mend(self, live: Collection[str]) -> None:
        """Let the store show what its runs are: ended where their owner is gone, superseded by newer ones."""
        for run_id, status in runs.orphans(pd.concat([self.reader.trials(), self.reader.sweeps()]), live):
            self.client.set_terminated(run_id, status)
        self._supersede()

    def _supersede(self) -> None:
        """Mark the runs that a newer one of the same trial replaces."""
        for run_id, newer in runs.replaced(self.reader.trials()).items():
            _insist(self.client.set_tag, run_id, SUPERSEDED_TAG, newer)

    def _close(self) -> None:
        """Write the rest and mark what has not ended as such."""
        self.flush()
        with self._writing():
            for run in self.open.values():
                self.client.set_terminated(run.run_id, "KILLED")
            if self.sweep_run:
                self.client.set_terminated(self.sweep_run, "FINISHED" if self.complete else "KILLED")
            self._supersede()
            kind_of(self.place).settle(self.place)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Within, this process alone writes to the store; raises `StoreFailure` where that does not work."""
        from mlflow.exceptions import MlflowException

        try:
            with self.lock:
                kind_of(self.place).wait(self.place)
                yield
        except (MlflowException, sqlite3.Error, OSError, Unreachable) as error:
            raise StoreFailure(f"{self.place}: could not be written ({reason(error)})") from error

    def begin_sweep(
        self, trials: Sequence[Trial], axes: Sequence[str], note: str, files: Mapping[str, str] | None = None
    ) -> None:
        """Record what this launch plans: a run with the keys of all its trials; the same plan again goes on in it.

        `files` (name -> text) are kept as artifacts of the run, in a folder for each launch.
        """
        keys = [trial.key for trial in trials]
        tags = {**self.tags, KIND_TAG: SWEEP, NOTE_TAG: note, HEARTBEAT_TAG: _now()}
        with self._writing():
            _insist(self.client.set_experiment_tag, self.experiment_id, VIEW_TAG, view_state(axes))
            planned = frozenset(keys)
            same = [run for run, found in self.reader.plans(self.experiment).items() if found == planned]
            if same:
                self.sweep_run = same[-1]
                self.client.update_run(self.sweep_run, status="RUNNING")
                self.client.log_batch(self.sweep_run, tags=_tags(tags))
            else:
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=f"sweep of {len(trials)} trials")
                self.sweep_run = run.info.run_id
                plan = {"keys": keys, "trials": [trial.mapping() for trial in trials]}
                self._keep({PLAN_FILE: json.dumps(plan)}, "")
            self._keep(files or {}, f"launches/{self.launch}")

    def _keep(self, files: Mapping[str, str], folder: str) -> None:
        """Keep texts as artifacts of the sweep's run."""
        with tempfile.TemporaryDirectory() as draft:
            for name, text in files.items():
                file = Path(draft) / name
                file.write_text(text)
                self.client.log_artifact(self.sweep_run, str(file), folder or None)

    def begin(self, trial: Trial, name: str, derived: Mapping[str, float], continues: str = "") -> str:
        """Create the trial's run, or go on in the one that an earlier launch left without a result; return its id.

        `continues` is the run of a smaller budget from whose end the trial goes on: its curve is the beginning of
        this one's.
        """
        tags = {KIND_TAG: TRIAL, KEY_TAG: trial.key, PREFIX_TAG: trial.prefix_key, STATUS_TAG: RUNNING}
        tags |= {**self.tags, SHAPE_TAG: shape_key(trial), HEARTBEAT_TAG: _now()}
        left = self.unended.get(trial.key)
        with self._writing():
            if left is None:
                run = self.client.create_run(self.experiment_id, tags={**tags, ATTEMPT_TAG: "1"}, run_name=name)
            else:
                run = self._take_over(left, tags)
            params = [_param(key, value) for key, value in {**trial.flat(), **derived}.items()]
            self.client.log_batch(run.info.run_id, params=params)
            self.open[trial.key] = OpenRun(run.info.run_id, run.info.start_time, self._artifacts(run.info.artifact_uri))
            if continues:
                self._copy_course(continues, trial)
        return run.info.run_id

    def _take_over(self, left: runs.Row, tags: Mapping[str, str]) -> Run:
        """Go on in a run without a result; `left` is its row in `Reader.trials`."""
        attempt = int(left["attempt"] or 1) + (left["launch"] != self.launch)  # what the same launch left it imports
        self.client.update_run(left["run_id"], status="RUNNING")
        self.client.log_batch(left["run_id"], tags=_tags({**tags, ATTEMPT_TAG: str(attempt)}))
        run = self.client.get_run(left["run_id"])
        for tag in {ERROR_TAG, NOTE_TAG} & set(run.data.tags):  # of its failure
            self.client.delete_tag(left["run_id"], tag)
        return run

    def _copy_course(self, run_id: str, trial: Trial) -> None:
        """Begin the trial's run with what another run recorded where both evaluate, and with its initial parameters."""
        run = self.open[trial.key]
        points = self.reader.curves(run_id)
        points = points[(points["step"] % trial.train.eval_every == 0) & ~points["key"].isin((*AT_THE_END, *MEASURED))]
        points = points[~points["key"].str.startswith(AT_LENGTH)]  # of the weights at the end of the smaller budget
        run.points += list(zip(points["key"], points["value"], points["step"], strict=True))
        self._write_points(run)
        if self.keeps_weights:
            with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
                file = self.client.download_artifacts(run_id, "weights/initial.safetensors", folder)
                run.artifacts.log_artifact(file, "weights")

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

    def supplement(self, run: runs.Row, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of its last step to a run that has ended, a row of `Reader.trials`."""
        started = int(run["started"])
        with self._writing():
            points = [_metric(name, value, step, started) for name, value in metrics.items()]
            for first in range(0, len(points), MAX_METRICS):
                self.client.log_batch(run["run_id"], metrics=points[first : first + MAX_METRICS])

    def flush(self) -> None:
        """Write all that was noted."""
        with self._writing():
            tags = self._sign_of_life()
            for run in self.open.values():
                self._write_points(run, tags)
            if self.sweep_run and tags:
                self.client.log_batch(self.sweep_run, tags=_tags(tags))

    def _sign_of_life(self) -> dict[str, str]:
        """The tags that say that this process is at work, where it is time to write them again."""
        if time.monotonic() - self.beat < HEARTBEAT_EVERY:
            return {}
        self.beat = time.monotonic()
        return {HEARTBEAT_TAG: _now()}

    def _end(self, record: Record) -> None:
        tags = {STATUS_TAG: record.status}
        if record.error:
            tags |= {ERROR_TAG: record.error[-ERROR_LENGTH:], NOTE_TAG: f"```\n{record.error}\n```"}
        with self._writing():
            run = self.open[record.key]
            run.points += [(name, value, record.step) for name, value in record.measured.items()]
            self._write_points(run, tags)
            self.client.set_terminated(run.run_id, "FAILED" if record.status == FAILED else "FINISHED")
        del self.open[record.key]  # after: what could not be written stays open

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
            _insist(self.client.set_experiment_tag, found.experiment_id, VIEW_TAG, view_state(PLAIN_VIEW))
        return found.experiment_id

    def _create_experiment(self, name: str) -> Experiment:
        """Make an experiment, unless another machine was faster."""
        from mlflow.exceptions import MlflowException

        root = self.place.artifacts
        folder = (root.absolute() / name).as_uri() if root else None
        try:
            return self.client.get_experiment(self.client.create_experiment(name, artifact_location=folder))
        except MlflowException:
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise
            return found

    def _artifacts(self, uri: str) -> ArtifactRepository:
        """The artifacts of one run; asking the client for them costs a look-up of the run each time."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(uri, tracking_uri=self.place.uri)


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


def _insist(write: Callable[..., object], *arguments: str) -> None:
    """Write a tag; once more where another machine wrote it at the same moment: MLflow looks, then inserts."""
    from mlflow.exceptions import MlflowException

    try:
        write(*arguments)
    except MlflowException:
        write(*arguments)


def _now() -> str:
    return f"{time.time():.0f}"


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
