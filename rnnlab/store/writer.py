"""Write runs to MLflow, in batches, so that writing anything twice changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pandas as pd
from filelock import FileLock

from rnnlab.record import FAILED, RUNNING, Record
from rnnlab.refusal import BadInput
from rnnlab.store import (
    ATTEMPT_TAG,
    DISTANCE,
    ERROR_TAG,
    HEARTBEAT_TAG,
    HOST_TAG,
    KEY_TAG,
    KIND_TAG,
    LAUNCH_TAG,
    NOTE_TAG,
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
from rnnlab.store.batches import log_params, log_points, log_tags
from rnnlab.store.client import client_of, insist
from rnnlab.store.experiment import experiment_id, present
from rnnlab.store.kinds import kind_of
from rnnlab.store.open_run import OpenRun, taken_over
from rnnlab.store.reader import Reader
from rnnlab.store.view import view_of
from rnnlab.trial import Trial, shape_key

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEARTBEAT_EVERY = 30.0  # seconds between signs of life
ERROR_LENGTH = 4000  # characters of a traceback that a tag keeps


class StoreFailure(Exception):
    """The store could not be written; what was written before is whole, and the same launch goes on from there."""


class Writer:
    """The one writer of a launch's runs, in one experiment; a context manager.

    Creates the store where there is none. `live` names the launches of this machine that are at work: runs of others
    that are gone are marked as ended when the writer starts.
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
            self.experiment_id = experiment_id(self.client, self.place, experiment)
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
            insist(self.client.set_tag, run_id, SUPERSEDED_TAG, newer)

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
            planned = frozenset(keys)
            same = [run for run, found in self.reader.plans(self.experiment).items() if found == planned]
            if same:
                self.sweep_run = same[-1]
                self.client.update_run(self.sweep_run, status="RUNNING")
                log_tags(self.client, self.sweep_run, tags)
            else:
                run = self.client.create_run(self.experiment_id, tags=tags, run_name=f"sweep of {len(trials)} trials")
                self.sweep_run = run.info.run_id
                plan = {"keys": keys, "trials": [trial.mapping() for trial in trials]}
                plan["distances"] = [trial.task.distance for trial in trials]
                self._keep({PLAN_FILE: json.dumps(plan)}, "")
            self._keep(files or {}, f"launches/{self.launch}")
            view = view_of(axes, [trial.flat() | {DISTANCE: trial.task.distance} for trial in trials])
            present(self.client, self.experiment_id, view, len(trials), self.sweep_run, note)

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
                run = taken_over(self.client, left, tags)
            log_params(self.client, run.info.run_id, {**trial.flat(), **derived})
            opened = self.open[trial.key] = OpenRun.of(self.client, run, self.place.uri)
            if continues:
                opened.copy_course(continues, self.reader, trial.train.eval_every, self.keeps_weights)
        return opened.run_id

    def write(self, record: Record, weights: Path | None = None) -> None:
        """Note what `record` says of a trial that has begun; a record that ends it ends its run.

        `weights` is the file of the parameters that belong to the record.
        """
        run = self.open[record.key]
        run.note(record.metrics, record.step)
        if weights is not None and self.keeps_weights:
            with self._writing():
                run.keep(weights)
        if record.observed:
            with self._writing():
                run.keep_observed(record.observed, record.step)
        if record.ended:
            self._end(record)

    def supplement(self, run: runs.Row, metrics: Mapping[str, float], step: int) -> None:
        """Add metrics of its last step to a run that has ended, a row of `Reader.trials`."""
        points = [(name, value, step) for name, value in metrics.items()]
        with self._writing():
            log_points(self.client, run["run_id"], int(run["started"]), points)

    def flush(self) -> None:
        """Write all that was noted."""
        with self._writing():
            tags = self._sign_of_life()
            for run in self.open.values():
                run.write(tags)
            if self.sweep_run and tags:
                log_tags(self.client, self.sweep_run, tags)

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
            run.note(record.measured, record.step)
            run.write(tags)
            self.client.set_terminated(run.run_id, "FAILED" if record.status == FAILED else "FINISHED")
        del self.open[record.key]  # after: what could not be written stays open


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


def _now() -> str:
    return f"{time.time():.0f}"
