"""MLflow's client of a store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from rnnlab.store import Place

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Unless the user has set them. By default MLflow tries eight times in four minutes and waits two minutes for each
# answer. With these a server that is gone is reported after some 5 seconds, one that fell silent after half a minute.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each run that ends
}


def client_of(place: Place) -> MlflowClient:
    """A client of the store; making it makes or checks the tables of a database."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # takes a second

    for name in ("mlflow", "alembic"):  # they tell each step of making the schema; what fails, we tell
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(place.uri)


def insist(write: Callable[..., object], *arguments: str) -> None:
    """Write a tag; once more where another machine wrote it at the same moment: MLflow looks, then inserts."""
    from mlflow.exceptions import MlflowException

    try:
        write(*arguments)
    except MlflowException:
        write(*arguments)
