"""The experiment that runs are written to: made where there is none, with a view of them for the UI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnnlab.refusal import BadInput
from rnnlab.store import Place
from rnnlab.store.client import insist
from rnnlab.store.view import VIEW_TAG, view_state

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

PLAIN_VIEW = ("task", "init", "init.spectral_radius", "seed")  # what the UI shows before there is a sweep


def experiment_id(client: MlflowClient, place: Place, name: str) -> str:
    """MLflow's id of the experiment; raises `BadInput` where it was deleted."""
    found = client.get_experiment_by_name(name) or _create(client, place, name)
    if found.lifecycle_stage != "active":
        raise BadInput(f"experiment={name}: was deleted in the store; restore it there or take another name")
    if VIEW_TAG not in found.tags:
        set_view(client, found.experiment_id, PLAIN_VIEW)
    return found.experiment_id


def set_view(client: MlflowClient, number: str, axes: Sequence[str]) -> None:
    """Let the UI show the runs of an experiment, by its id, along these axes."""
    insist(client.set_experiment_tag, number, VIEW_TAG, view_state(axes))


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
