"""Params, tags and points of a run as MLflow's API takes them: many in one call, but not too many.

A point's time is the run's start plus its step in milliseconds, so that a point written again is the same point. What
is measured by lag has the lag in the place of the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnlab.record import placed
from rnnlab.refusal import show
from rnnlab.store import NOTHING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

MAX_METRICS = 1000  # in one call of MLflow's API

Point = tuple[str, float, int]  # (metric, value, step)


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Write what describes a run; the same once more changes nothing."""
    client.log_batch(run_id, params=[_param(key, value) for key, value in values.items()])


def log_tags(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    client.log_batch(run_id, tags=_tags(values))


def log_points(
    client: MlflowClient, run_id: str, started: int, points: Sequence[Point], tags: Mapping[str, str] | None = None
) -> None:
    """Write points of a run that began at `started` (milliseconds since 1970), and with the last of them its tags."""
    metrics = [_metric(*placed(name, step), value, started) for name, value, step in points]
    while len(metrics) > MAX_METRICS:
        client.log_batch(run_id, metrics=metrics[:MAX_METRICS])
        metrics = metrics[MAX_METRICS:]
    if metrics or tags:
        client.log_batch(run_id, metrics=metrics, tags=_tags(tags or {}))


def _param(key: str, value: Any) -> Param:
    from mlflow.entities import Param

    return Param(key, NOTHING if value is None else show(value))


def _tags(values: Mapping[str, str]) -> list[RunTag]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in values.items()]


def _metric(name: str, step: int, value: float, started: int) -> Metric:
    from mlflow.entities import Metric

    stored = value if math.isfinite(value) else math.nan  # inf would be stored as 1.8e308
    return Metric(name, stored, started + step, step)
