"""The run of a trial while it is written: made, or taken over from a launch that left it, and filled point by point."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnlab.frame import MEASURED, WHEN
from rnnlab.record import AT_LENGTH, AT_THE_END, BY_LAG, DIAGNOSED
from rnnlab.store import ATTEMPT_TAG, DIAGNOSTICS, ERROR_TAG, LAUNCH_TAG, NOTE_TAG
from rnnlab.store.batches import Point, log_points, log_tags
from rnnlab.store.reader import Reader
from rnnlab.store.runs import Row

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

WEIGHTS = "weights"  # the folder of parameters among a run's artifacts


@dataclass
class OpenRun:
    """A run that this process is writing."""

    client: MlflowClient
    run_id: str
    started: int  # milliseconds since 1970
    artifacts: ArtifactRepository
    points: list[Point] = field(default_factory=list)  # not yet written

    @classmethod
    def of(cls, client: MlflowClient, run: Run, uri: str) -> OpenRun:
        """Its artifacts are found once, at MLflow's tracking `uri`: the client would look the run up each time."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        artifacts = get_artifact_repository(run.info.artifact_uri, tracking_uri=uri)
        return cls(client, run.info.run_id, run.info.start_time, artifacts)

    def note(self, metrics: Mapping[str, float], step: int) -> None:
        """Add points that `write` writes."""
        self.points += [(name, value, step) for name, value in metrics.items()]

    def write(self, tags: Mapping[str, str] | None = None) -> None:
        """Write the points noted, and with the last of them tags."""
        log_points(self.client, self.run_id, self.started, self.points, tags)
        self.points.clear()

    def keep(self, weights: Path) -> None:
        """Keep a file of parameters as an artifact."""
        self.artifacts.log_artifact(str(weights), WEIGHTS)

    def keep_observed(self, observed: Mapping[str, Any], step: int) -> None:
        """Keep what diagnostics found after so many steps, as an artifact."""
        when = WHEN[step > 0]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{when}.json"
            content = {"when": when, "step": step, "observed": observed}
            file.write_text(json.dumps(content, allow_nan=False, separators=(",", ":")))
            self.artifacts.log_artifact(str(file), DIAGNOSTICS)

    def copy_course(self, run_id: str, reader: Reader, every: int, keeps_weights: bool) -> None:
        """Begin with what another run recorded at multiples of `every` steps, and with its initial parameters."""
        points = reader.curves(run_id)
        points = points[(points["step"] % every == 0) & ~points["key"].isin((*AT_THE_END, *MEASURED))]
        # Of the weights at the end of the smaller budget; the steps of the latter are lags
        points = points[~points["key"].str.startswith((AT_LENGTH, BY_LAG))]
        # At the end of the smaller budget more is found, and in other precision, than in the middle of a larger one
        diagnosed, end = points["key"].str.startswith(DIAGNOSED), points["step"] == points["step"].max()
        points = points[~(diagnosed & end) | (points["step"] == 0)]
        self.points += list(zip(points["key"], points["value"], points["step"], strict=True))
        self.write()
        for folder, file in ((WEIGHTS, "initial.safetensors"), (DIAGNOSTICS, f"{WHEN[0]}.json")):
            if keeps_weights or folder == DIAGNOSTICS:
                self._copy_artifact(run_id, folder, file)

    def _copy_artifact(self, run_id: str, folder: str, name: str) -> None:
        """That of another run, where it has it."""
        with tempfile.TemporaryDirectory() as draft, contextlib.suppress(Exception):
            file = self.client.download_artifacts(run_id, f"{folder}/{name}", draft)
            self.artifacts.log_artifact(file, folder)


def taken_over(client: MlflowClient, left: Row, tags: Mapping[str, str]) -> Run:
    """The run, to be gone on with, that a launch left without a result; `left` is its row in `Reader.trials`."""
    # What the same launch left, it imports: no attempt of its own.
    attempt = int(left["attempt"] or 1) + (left["launch"] != tags[LAUNCH_TAG])
    client.update_run(left["run_id"], status="RUNNING")
    log_tags(client, left["run_id"], {**tags, ATTEMPT_TAG: str(attempt)})
    run = client.get_run(left["run_id"])
    for tag in {ERROR_TAG, NOTE_TAG} & set(run.data.tags):  # of its failure
        client.delete_tag(left["run_id"], tag)
    return run
