"""A store behind an MLflow tracking server, which is read through MLflow's API and keeps the artifacts itself."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rnnlab.refusal import BadInput
from rnnlab.store import (
    KIND_TAG,
    SWEEP,
    TRIAL,
    Place,
    Unreachable,
    reason,
)
from rnnlab.store.client import client_of
from rnnlab.store.files import problem_of_folder
from rnnlab.store.rows import RUN_COLUMNS, RUN_TAGS, courses, numbers, table
from rnnlab.store.runs import Row

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

PAGE = 500  # runs in one answer, some 10 kB each
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def exists(place: Place) -> bool:
    return True


def check_usable(place: Place) -> None:
    check_readable(place)
    if problem := problem_of_folder(place.sweeps):
        raise BadInput(f"store.folder={place.sweeps.parent}: {problem}")


def check_readable(place: Place) -> None:
    with _answering(place, "must be an MLflow tracking server that answers"):
        client = client_of(place)
        with _without_retries():
            client.search_experiments(max_results=1)


@contextlib.contextmanager
def rows(place: Place) -> Iterator[ServerRows]:
    with _answering(place, "must be an MLflow tracking server that answers"):
        yield ServerRows(place)


def preparing(place: Place) -> contextlib.AbstractContextManager[None]:
    """Nothing to do: the server has made its tables."""
    return contextlib.nullcontext()


def wait(place: Place) -> None:
    """Nothing: the other side sees to it that writers take turns."""


def settle(place: Place) -> None:
    """Nothing to do: the server keeps its own journal."""


class ServerRows:
    """The rows of one look at a server. The trials are asked for once, together with their params and metrics."""

    def __init__(self, place: Place) -> None:
        self.client, self.place = client_of(place), place
        self.found: dict[str, list[Run]] = {}

    def runs(self, kind: str) -> pd.DataFrame:
        names = {number: name for name, number in self.experiment_ids().items()}
        return table((_row(run, names[run.info.experiment_id]) for run in self._runs(kind, list(names))), RUN_COLUMNS)

    def params(self) -> pd.DataFrame:
        return table(self._of_trials(lambda run: run.data.params), ("run_id", "key", "value"))

    def metrics(self) -> pd.DataFrame:
        return numbers(self._of_trials(lambda run: run.data.metrics), ("run_id", "key", "value"))

    def latest(self, run_id: str) -> dict[str, float]:
        return dict(self.client.get_run(run_id).data.metrics)

    def params_of(self, run_id: str) -> dict[str, str]:
        return dict(self.client.get_run(run_id).data.params)

    def tags(self, run_id: str) -> dict[str, str]:
        return dict(self.client.get_run(run_id).data.tags)

    def tags_named(self, names: Sequence[str]) -> pd.DataFrame:
        experiments = list(self.experiment_ids().values())
        runs = (run for kind in (TRIAL, SWEEP) for run in self._runs(kind, experiments))
        found = (
            (run.info.run_id, name, run.data.tags[name]) for run in runs for name in names if name in run.data.tags
        )
        return table(found, ("run_id", "key", "value"))

    def points(self, run_id: str) -> pd.DataFrame:
        keys = sorted(self.client.get_run(run_id).data.metrics)
        points = [point for key in keys for point in self.client.get_metric_history(run_id, key)]
        points.sort(key=lambda point: (point.key, point.step, point.timestamp))
        return numbers(((point.key, point.step, point.value) for point in points), ("key", "step", "value"))

    def courses(self, keys: Sequence[str]) -> pd.DataFrame:
        runs = self._runs(TRIAL, list(self.experiment_ids().values()))
        wanted = ((run.info.run_id, key) for run in runs for key in keys if key in run.data.metrics)
        found = ((run_id, key, self.client.get_metric_history(run_id, key)) for run_id, key in wanted)
        return courses(
            (key, [(run_id, point.step, point.timestamp, point.value) for point in history])
            for run_id, key, history in found
        )

    def experiment_ids(self) -> dict[str, str]:
        return {experiment.name: experiment.experiment_id for experiment in self._experiments()}

    def experiment_tags(self, key: str) -> dict[str, str]:
        return {found.name: found.tags[key] for found in self._experiments() if key in found.tags}

    def artifact(self, run: Row, name: str, folder: Path) -> Path:
        """A file that is there is whole: it is moved there when it has come."""
        file = folder / name
        if file.is_file() or not self._has(run["run_id"], name):
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            Path(self.client.download_artifacts(run["run_id"], name, draft)).replace(file)
        return file

    def _has(self, run_id: str, name: str) -> bool:
        folder = name.rpartition("/")[0]
        return any(found.path == name for found in self.client.list_artifacts(run_id, folder or None))

    def _of_trials(self, values: Callable[[Run], Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
        for run in self._runs(TRIAL, list(self.experiment_ids().values())):
            yield from ((run.info.run_id, key, value) for key, value in values(run).items())

    def _experiments(self) -> list[Experiment]:
        return _all(lambda token: self.client.search_experiments(page_token=token))

    def _runs(self, kind: str, experiment_ids: list[str]) -> list[Run]:
        if kind not in self.found:
            wanted = f"tags.`{KIND_TAG}` = '{kind}'"
            found = _all(
                lambda token: self.client.search_runs(
                    experiment_ids, wanted, max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
                )
            )
            self.found[kind] = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        return self.found[kind]


def _row(run: Run, experiment: str) -> tuple[Any, ...]:
    info, tags = run.info, run.data.tags
    described = (info.run_id, info.run_name, info.status, info.start_time, info.artifact_uri, experiment)
    return (*described, *(tags.get(tag) for tag in RUN_TAGS.values()))


def _all(page_from: Callable[[str | None], Any]) -> list[Any]:
    """Everything that a search finds, page after page."""
    page = page_from(None)
    found = list(page)
    while page.token:
        page = page_from(page.token)
        found += page
    return found


@contextlib.contextmanager
def _answering(place: Place, wanted: str) -> Iterator[None]:
    """Raises `Unreachable` where the server does not answer within, or not as it must."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:  # requests' own errors are OSErrors
        raise Unreachable(f"{place}: cannot be read ({reason(error)}); {wanted}") from error


@contextlib.contextmanager
def _without_retries() -> Iterator[None]:
    """Within, a server that does not answer is reported at once: nothing is lost yet."""
    before = os.environ[RETRIES]
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before
