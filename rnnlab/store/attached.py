"""Keep a file with a run that is in the store already."""

from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import unquote, urlparse

from filelock import FileLock

from rnnlab.refusal import BadInput
from rnnlab.store import LOCK_TIMEOUT, Place, reason
from rnnlab.store.client import client_of
from rnnlab.store.kinds import kind_of


def attach(place: Place, run_id: str, name: str, content: bytes) -> None:
    """Write the artifact `name` (a path) of a run, in the place of one of that name.

    Raises `BadInput` where that is not possible; a moved store is one: MLflow would write to where it was.
    """
    from mlflow.exceptions import MlflowException

    kind_of(place).check_usable(place)
    folder, _, file = name.rpartition("/")
    try:
        with FileLock(place.lock, timeout=LOCK_TIMEOUT), tempfile.TemporaryDirectory() as draft:
            kind_of(place).wait(place)
            client = client_of(place)
            _check_home(place, client.get_run(run_id).info.artifact_uri)
            path = Path(draft) / file
            path.write_bytes(content)
            client.log_artifact(run_id, str(path), folder or None)
    except (MlflowException, OSError) as error:
        raise BadInput(f"{place}: the report cannot be kept with run {run_id} ({reason(error)})") from error


def _check_home(place: Place, artifacts: str) -> None:
    """Raise `BadInput` where the folder of a run's artifacts is not that of the store."""
    if place.artifacts is None:  # a server knows
        return
    home = Path(unquote(urlparse(artifacts).path))
    if not home.resolve().is_relative_to(place.artifacts.resolve()):
        raise BadInput(f"{place}: its artifacts are said to be in {home}; must be a store where it was made")
