"""What tracking costs: seconds and memory of the launching process for each trial, and its share of a sweep.

python -m benchmarks.tracking [--trials 10000] [--rounds 5] [--only cost share memory]

1. Cost: trials with 8 metrics x 100 points each and two files of parameters go through the real way, from the spool
   to MLflow; beside it, in the same run, the cheapest way in which MLflow's own client could log them.
2. Memory: the growth of the launching process over many trials that come and go, 32 at a time.
3. Share: a real sweep whose trials train 3 s or more each, with as many workers as cores; the processor time of the
   launching process while workers train, against that of all cores in the wall time: by so much the sweep would be
   faster without tracking. Waiting for the disk is not in it, as workers train meanwhile.

Writes `benchmarks/results/tracking.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from rnnlab import engine
from rnnlab.build import build
from rnnlab.collector import Collector, Outcome
from rnnlab.folder import Folder, Work, new_folder
from rnnlab.model import initial
from rnnlab.processes import cores
from rnnlab.progress import Display
from rnnlab.record import EXHAUSTED, RUNNING, Record
from rnnlab.registry import registry
from rnnlab.spool import SpoolWriter
from rnnlab.store import StoreSettings, sqlite_place
from rnnlab.store.writer import Writer
from rnnlab.trial import Trial

RESULTS = Path(__file__).parent / "results" / "tracking.json"
METRICS, POINTS = 8, 100
AT_ONCE = 32  # trials in training: two stacks of 16
SECONDS, WORKERS = 3.0, 2  # of training for each trial; side by side
BAR_MS, BAR_KB, BAR_SHARE = 80.0, 10.0, 0.03


def trial_of(number: int, **train: object) -> Trial:
    """A small trial; another number, another trial."""
    mapping = {
        "task": {"name": "copy", "delay": 5},
        "cell": {"name": "elman"},
        "init": {"name": "gaussian"},
        "model": {"hidden_size": 32},
        "train": train,
        "seed": number,
    }
    return build(mapping, registry())


def course(trial: Trial, points: int) -> Iterator[Record]:
    """The records of a trial with so many evaluations."""
    weights = initial(trial)
    for point in range(points):
        metrics = {f"eval/metric_{number}": 0.1 * number + point for number in range(METRICS)}
        if point == points - 1:
            ends = {"solved": 0.0, "trained_steps": float(point)}
            yield Record(trial.key, point, EXHAUSTED, metrics | ends, weights)
        else:
            yield Record(trial.key, point, RUNNING, metrics, weights if point == 0 else {})


class Pipeline:
    """The way of records from a worker's spool to the store, without training."""

    def __init__(self, root: Path, trials: Sequence[Trial]) -> None:
        self.folder: Folder = new_folder(root / "store.db.sweeps")
        self.folder.root.parent.mkdir(parents=True)
        self.owner = self.folder.create(Work(trials, "tracking", 16, 2, 0, 20.0, {}))
        self.spool = SpoolWriter(self.folder, "worker", "here")
        self.writer = Writer(StoreSettings(str(root / "store.db")), "tracking", {}, self.folder.name)
        display = Display("quiet", trials, 0, "tracking")
        self.clock = 0.0
        self.collector = Collector(self.folder, trials, {}, self.writer, display, Outcome())

    def pass_through(self, trials: Sequence[Trial], points: int) -> float:
        """Let trials begin, run side by side and end; return the seconds that the launching process needed."""
        courses = [list(course(trial, points)) for trial in trials]
        needed = 0.0
        for records in zip(*courses, strict=True):
            for record in records:
                self.spool.append(record)
            began = time.perf_counter()
            self.collector.collect()
            self.clock += SECONDS * len(trials) / WORKERS / points  # that training to here would have taken
            self.collector.flush_if_due(self.clock)
            needed += time.perf_counter() - began
        return needed

    def close(self) -> None:
        self.spool.close()
        with self.writer:
            pass
        self.owner.close()


def cost(root: Path, rounds: int) -> dict[str, object]:
    """Milliseconds for each trial, ours and by MLflow's client alone, interleaved."""
    trials = [trial_of(number) for number in range(AT_ONCE * (rounds + 1))]
    with contextlib.closing(Pipeline(root, trials)) as pipeline:
        ours, theirs = [], []
        for number in range(rounds + 1):  # the first is not counted
            batch = trials[number * AT_ONCE : (number + 1) * AT_ONCE]
            ours.append(pipeline.pass_through(batch, POINTS) / AT_ONCE * 1000)
            theirs.append(by_client(root, batch) / AT_ONCE * 1000)
    return {
        "metrics_x_points": [METRICS, POINTS],
        "ms_per_trial": spread(ours[1:]),
        "ms_per_trial_of_a_bare_client": spread(theirs[1:]),
        "bar_ms": BAR_MS,
        "met": statistics.median(ours[1:]) <= BAR_MS,
    }


def by_client(root: Path, trials: Sequence[Trial]) -> float:
    """Seconds that MLflow's client needs for the same: one run each, all points in one batch, no files."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(sqlite_place(root / "store.db").uri)
    courses = [list(course(trial, POINTS)) for trial in trials]
    began = time.perf_counter()
    for trial, records in zip(trials, courses, strict=True):
        run = client.create_run("0")
        points = [
            Metric(name, value, 1000 + record.step, record.step)
            for record in records
            for name, value in record.metrics.items()
        ]
        params = [Param(key, str(value)) for key, value in trial.flat().items()]
        client.log_batch(run.info.run_id, params=params, metrics=points)
        client.set_terminated(run.info.run_id)
    return time.perf_counter() - began


def memory(root: Path, count: int) -> dict[str, object]:
    """Kilobytes by which the launching process grows with each trial, after the first thousand."""
    trials = [trial_of(number) for number in range(count)]
    sizes = []
    with contextlib.closing(Pipeline(root, trials)) as pipeline:
        for start in range(0, count, AT_ONCE):
            pipeline.pass_through(trials[start : start + AT_ONCE], 3)
            sizes.append((start, resident_kb()))
    settled = [size for start, size in sizes if start >= min(1000, count // 4)]
    growth = (settled[-1] - settled[0]) / (len(settled) * AT_ONCE)
    return {
        "trials": count,
        "kb_per_trial": round(growth, 2),
        "resident_mb_at_the_end": round(sizes[-1][1] / 1024),
        "bar_kb": BAR_KB,
        "met": growth <= BAR_KB,
    }


def resident_kb() -> int:
    """The memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def share(root: Path) -> dict[str, object]:
    """The launching process's part of a sweep of 16 trials, two stacks side by side."""
    train = {"max_steps": 6000, "eval_every": 60, "batch_size": 20, "passes_to_solve": 1000, "eval_size": 50}
    trials = [trial_of(number, **train) for number in range(16)]
    trials = [build(trial.mapping() | {"task": {"name": "copy", "delay": 60}}, registry()) for trial in trials]
    settings = engine.EngineSettings(progress="quiet")
    spent: list[tuple[float, float]] = []
    collect_while = Collector.collect_while

    def measured(collector: Collector, at_work: Iterator[None]) -> None:
        began = time.process_time(), time.perf_counter()
        collect_while(collector, at_work)
        spent.append((time.process_time() - began[0], time.perf_counter() - began[1]))

    Collector.collect_while = measured  # type: ignore[method-assign]
    try:
        outcome = engine.run(trials, "share", StoreSettings(str(root / "share.db")), settings, "benchmark")
    finally:
        Collector.collect_while = collect_while  # type: ignore[method-assign]
    from rnnlab.store.reader import Reader

    frame = Reader(root / "share.db").frame("share")
    (processor, wall) = spent[0]
    part = processor / (wall * cores())
    return {
        "trials": len(trials),
        "seconds_of_training_per_trial": spread(list(frame["seconds"])),
        "wall_s": round(wall, 1),
        "processor_s_of_the_launching_process": round(processor, 2),
        "share": round(part, 4),
        "bar_share": BAR_SHARE,
        "exit_status": outcome.exit_status,
        "met": bool(part <= BAR_SHARE and frame["seconds"].min() >= 3),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def main() -> int:
    """The exit status: 0 where all bars are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=("cost", "share", "memory"), help="measure again only these")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(chosen.results.read_text()) if chosen.only and chosen.results.exists() else {}
    report: dict[str, dict[str, object]] = dict(known)
    for name, measure in {
        "cost": lambda root: cost(root, chosen.rounds),
        "share": share,
        "memory": lambda root: memory(root, chosen.trials),
    }.items():
        if chosen.only and name not in chosen.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            report[name] = measure(Path(folder))
        print(json.dumps({name: report[name]}, indent=1))
    chosen.results.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(part["met"] for part in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
