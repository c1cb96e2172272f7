"""The experiment that runs are written to: made where there is none, with a view and a description for the UI."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from filelock import FileLock

from rnnlab.refusal import BadInput
from rnnlab.store import DISTANCE, EXPERIMENT_KIND_TAG, LOCK_TIMEOUT, NOTE_TAG, VIEW_VERSION_TAG, Place
from rnnlab.store.client import client_of, insist
from rnnlab.store.kinds import kind_of
from rnnlab.store.view import PLAIN, SEED, VERSION, VIEW_TAG, View, describe_experiment, view_of, view_state
from rnnlab.trial import KINDS, SECTIONS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from rnnlab.store.reader import Reader

ML_KIND = "custom_model_development"  # the kind of experiment for which the UI shows runs first, and does not ask


def experiment_id(client: MlflowClient, place: Place, name: str) -> str:
    """MLflow's id of the experiment; raises `BadInput` where it was deleted."""
    found = client.get_experiment_by_name(name) or _create(client, place, name)
    if found.lifecycle_stage != "active":
        raise BadInput(f"experiment={name}: was deleted in the store; restore it there or take another name")
    if VIEW_TAG not in found.tags:
        present(client, found.experiment_id, PLAIN)
    return found.experiment_id


def present(client: MlflowClient, number: str, view: View, trials: int = 0, sweep: str = "", plan: str = "") -> None:
    """Prepare an experiment, by its id, for the UI.

    `trials` are those of its last sweep, `sweep` is the id of that sweep's run, `plan` the run's description. A
    description that a person wrote stays.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment(number)
    note = describe_experiment(experiment.name, number, view, trials, sweep, plan)
    before, written = experiment.tags.get(NOTE_TAG, ""), experiment.tags.get(VIEW_VERSION_TAG, "")
    tags = {VIEW_TAG: view_state(view), EXPERIMENT_KIND_TAG: ML_KIND}
    if not before or written.endswith(_digest(before)):
        tags |= {NOTE_TAG: note}
    with contextlib.suppress(MlflowException):  # no MLflow that refuses one of them shall stop a launch
        for name, value in (tags | {VIEW_VERSION_TAG: f"{VERSION} {_digest(note)}"}).items():
            insist(client.set_experiment_tag, number, name, value)


def refresh(reader: Reader) -> None:
    """Prepare the experiments that an earlier rnnlab made for the UI, where the store can be written."""
    from mlflow.exceptions import MlflowException

    place = reader.place
    with kind_of(place).rows(place) as rows:
        versions = {name: tag.partition(" ")[0] for name, tag in rows.experiment_tags(VIEW_VERSION_TAG).items()}
    old = [name for name in reader.experiments() if versions.get(name) != VERSION]
    if not old:
        return
    with contextlib.suppress(MlflowException, BadInput, OSError):
        place.lock.parent.mkdir(parents=True, exist_ok=True)
        client = client_of(place)
        with FileLock(place.lock, LOCK_TIMEOUT):
            for name in old:
                _present_stored(client, reader, name)


def _present_stored(client: MlflowClient, reader: Reader, name: str) -> None:
    """As `present`, from what the store holds."""
    frame = reader.frame(name)
    fields = [*sorted(filter(_of_a_trial, frame.columns), key=_section), SEED]
    trials = frame[[*fields, DISTANCE]].astype(object).where(frame[[*fields, DISTANCE]].notna(), None)
    axes = [field for field in fields if trials[field].nunique(dropna=False) > 1]
    runs = reader.sweeps()
    sweep = next(iter(runs.loc[runs["experiment"] == name, "run_id"][::-1]), "")
    plan = reader.tags(sweep).get(NOTE_TAG, "") if sweep else ""
    view = view_of(axes, [dict(zip(trials.columns, row, strict=True)) for row in trials.itertuples(index=False)])
    present(client, reader.experiment_ids()[name], view, len(frame), sweep, plan)


def _of_a_trial(column: str) -> bool:
    return column in KINDS or (_section(column) < len(SECTIONS) and "." in column)


def _section(column: str) -> int:
    """The place of a column's section among those of a trial; their number where it is in none."""
    return [*SECTIONS, column.partition(".")[0]].index(column.partition(".")[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _create(client: MlflowClient, place: Place, name: str) -> Experiment:
    """Make an experiment, unless another machine was faster."""
    from mlflow.exceptions import MlflowException

    root = place.artifacts
    folder = (root.absolute() / name).as_uri() if root else None
    try:
        return client.get_experiment(client.create_experiment(name, artifact_location=folder))
    except MlflowException:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return found
