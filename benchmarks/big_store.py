"""A store with many runs and long curves, made in a minute: the tables by MLflow, the rows by SQL, in one transaction.

python -m benchmarks.big_store PATH RUNS POINTS

The rows are those that `rnnlab.store.writer.Writer` would write; a test compares the two. Trials are real, from a grid
like that of conf/experiment/learnability.yaml; how they end is invented, and every curve goes to the end of the budget.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab import provenance
from rnnlab.build import build
from rnnlab.collector import derived, run_name
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED, Record
from rnnlab.refusal import show
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.store import (
    ATTEMPT_TAG,
    HEARTBEAT_TAG,
    KEY_TAG,
    KIND_TAG,
    PREFIX_TAG,
    SHAPE_TAG,
    STATUS_TAG,
    TRIAL,
    StoreSettings,
    sqlite_place,
)
from rnnlab.store.writer import Writer
from rnnlab.trial import Trial, shape_key

EXPERIMENT, LAUNCH = "learnability", "20260101-000000-benchmark"
AXES = (
    "task",
    "task.delay",
    "task.length",
    "model.hidden_size",
    "init.spectral_radius",
    "train.clip_threshold",
    "seed",
)
TASKS = {"copy": ("delay", (5, 10, 20, 40, 80)), "adding": ("length", (5, 10, 20, 40, 80))}
SIZES, RADII, CLIPS = (32, 128), (0.5, 0.8, 1.0, 1.2, 1.5), (0.1, 1.0, 10.0, None)
EVERY = 20  # training steps between evaluations
BEGAN = 1_767_225_600_000  # milliseconds since 1970: when the first run began; each further one a second later
STATE = {RUNNING: "RUNNING", FAILED: "FAILED"}  # what MLflow shows of a run that ended so; of others FINISHED


@dataclass(frozen=True)
class Course:
    """What a trial leaves in a store: its records, of which the last ends it, if it ended."""

    trial: Trial
    records: list[Record]

    @property
    def status(self) -> str:
        return self.records[-1].status


def trials(count: int, points: int) -> list[Trial]:
    """The first of a grid over task, distance, size, radius and clip threshold, seed after seed."""
    tasks = [(task, field, dial) for task, (field, dials) in TASKS.items() for dial in dials]
    grid = list(itertools.product(tasks, SIZES, RADII, CLIPS))
    return [_trial(place // len(grid), *grid[place % len(grid)], points) for place in range(count)]


def _trial(seed: int, task: tuple[str, str, int], size: int, radius: float, clip: float | None, points: int) -> Trial:
    name, field, dial = task
    train = {"clip_threshold": clip, "max_steps": EVERY * (points - 1), "eval_every": EVERY}
    mapping = {
        "task": {"name": name, field: dial},
        "cell": {"name": "elman"},
        "init": {"name": "gaussian", "spectral_radius": radius},
        "model": {"hidden_size": size},
        "train": train,
        "seed": seed,
    }
    return build(mapping, registry())


def course(trial: Trial, status: str = "") -> Course:
    """Invented: a horizon that grows with the radius, an end in every way unless `status` says which."""
    chance = generator(trial.seed, f"big store {trial.key}", 0)
    steps = range(0, trial.train.max_steps + 1, EVERY)
    ease = 12 * trial.init.spectral_radius**2 * (trial.model.hidden_size / 64) ** 0.5 / trial.task.distance
    luck = chance.random()
    status = status or _ending(ease * math.exp(luck - 0.5), luck, trial)
    curves = _curves(trial, ease, chance.random(len(steps)))
    points = zip(*(curve.tolist() for curve in curves.values()), strict=True)
    records = [
        Record(trial.key, step, RUNNING, dict(zip(curves, values, strict=True)))
        for step, values in zip(steps, points, strict=True)
    ]
    if status != RUNNING:
        records[-1] = _last(trial, records[-1], status, luck)
    return Course(trial, records)


def _curves(trial: Trial, ease: float, noise: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics that training writes, over as many points as there is noise."""
    share = np.linspace(0, 1, len(noise))
    loss = trial.task.baseline * (0.02 + np.exp(-3 * ease * share)) * (0.95 + 0.1 * noise)
    return {
        "eval/loss": loss,
        "eval/accuracy": 1 - 0.5 * np.minimum(loss / trial.task.baseline, 1),
        "eval/relative_loss": loss / trial.task.baseline,
        "model/spectral_radius": trial.init.spectral_radius * (1 + 0.1 * share),
        "train/loss": loss * (1 + 0.1 * noise),
        "train/gradient_norm": np.exp(-2 * share + noise),
        "train/clipped": (noise > 0.9).astype(float),
    }


def _ending(ease: float, luck: float, trial: Trial) -> str:
    if trial.seed % 50 == 7 and luck > 0.9:
        return FAILED if luck > 0.95 else RUNNING
    if trial.train.clip_threshold is None and trial.init.spectral_radius > 1.1 and luck > 0.7:
        return DIVERGED
    return SOLVED if ease > 1 else EXHAUSTED


def _last(trial: Trial, record: Record, status: str, luck: float) -> Record:
    """The record that ends a trial."""
    solved = {"steps_to_solve": 20.0 * int(1 + luck * (trial.train.max_steps / 20 - 3))} if status == SOLVED else {}
    ends = {"solved": float(status == SOLVED), "trained_steps": float(record.step), **solved}
    lost = {"eval/loss": math.nan} if status == DIVERGED else {}
    error = "RuntimeError: invented" if status == FAILED else ""
    metrics = {**record.metrics, **lost} if status == FAILED else {**record.metrics, **lost, **ends}
    return Record(trial.key, record.step, status, metrics, measured={"seconds": 1 + luck}, error=error)


def fill(path: Path, courses: Iterable[Course], planned: Sequence[Trial]) -> None:
    """Make the store, with a sweep that planned these trials."""
    with Writer(StoreSettings(str(path)), EXPERIMENT, provenance.tags(), LAUNCH) as writer:
        writer.begin_sweep(
            planned, AXES, "made by benchmarks.big_store", {"command.txt": "python -m benchmarks.big_store"}
        )
        writer.complete = True
        number, tags = writer.experiment_id, {**writer.tags, HEARTBEAT_TAG: str(BEGAN // 1000), ATTEMPT_TAG: "1"}
    folder = sqlite_place(path).artifacts
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        for place, one in enumerate(courses):
            run_id, began = one.trial.key[:32], BEGAN + 1000 * place
            home = f"{(folder.absolute() / EXPERIMENT).as_uri()}/{run_id}/artifacts"
            end = None if one.status == RUNNING else began + one.records[-1].step
            state, name = STATE.get(one.status, "FINISHED"), run_name(one.trial)
            row = (run_id, name, "UNKNOWN", "", "", "unknown", state, began, end, "", "active", home, number)
            _insert(connection, "runs", RUN, [row])
            described = {**tags, **_tags(one), "mlflow.runName": name}
            _insert(connection, "tags", TEXT, [(key, value, run_id) for key, value in described.items()])
            values = {**one.trial.flat(), **derived(one.trial)}
            params = [(key, "null" if value is None else show(value), run_id) for key, value in values.items()]
            _insert(connection, "params", TEXT, params)
            points = [*_points(one, run_id, began)]
            _insert(connection, "metrics", POINT, points)
            _insert(connection, "latest_metrics", POINT, list({point[0]: point for point in points}.values()))


RUN = (
    *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status", "start_time"),
    *("end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id"),
)
TEXT = ("key", "value", "run_uuid")
POINT = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")


def _insert(connection: sqlite3.Connection, table: str, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    marks = ", ".join("?" * len(columns))
    query = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - names are constants here
    connection.executemany(query, rows)


def _tags(one: Course) -> Mapping[str, str]:
    trial, error = one.trial, one.records[-1].error
    lost = {"rnnlab.error": error, "mlflow.note.content": f"```\n{error}\n```"} if error else {}
    tags = {KIND_TAG: TRIAL, KEY_TAG: trial.key, PREFIX_TAG: trial.prefix_key, SHAPE_TAG: shape_key(trial)}
    return {**tags, STATUS_TAG: one.status, **lost}


def _points(one: Course, run_id: str, began: int) -> Iterator[tuple]:
    for record in one.records:
        for name, value in {**record.metrics, **record.measured}.items():
            nan = not math.isfinite(value)
            yield name, 0.0 if nan else value, began + record.step, run_id, record.step, nan


def main(words: Sequence[str]) -> int:
    """Make the store."""
    path, count, points = Path(words[0]), int(words[1]), int(words[2])
    planned = trials(count, points)
    fill(path, map(course, planned), planned)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
