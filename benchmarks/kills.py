"""Kill a sweep at random moments, launch the same command again, and compare with a sweep that nobody disturbed.

python -m benchmarks.kills [--kills 50] [--seed 0] [--folder DIR]

Half of the kills (SIGKILL) hit the launching process, half one of its workers. Each comes at a random moment, most of
them while trials train; after each, the same command is launched. In the end the frame and every curve must
equal those of the undisturbed sweep, in all columns that are not declared as measured; no trial may have two runs,
no run may be left running, and no worker may be left at work. Writes `benchmarks/results/kills.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from rnnlab.frame import MEASURED
from rnnlab.record import RUNNING
from rnnlab.recovery import launches
from rnnlab.store import sqlite_place
from rnnlab.store.reader import Reader

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "kills.json"
EXPERIMENT = "adhoc"
# 72 trials of four shapes: some are solved, some diverge, most use their whole budget.
SWEEP = (
    "-m",
    "task.delay=4,40",
    "task.symbols=2",
    "task.alphabet=2",
    "cell.nonlinearity=tanh,relu",
    "model.hidden_size=24",
    "init.spectral_radius=0.8,1.1,1.4",
    "train.learning_rate=0.003,0.1",
    "train.clip_threshold=null",
    "train.batch_size=10",
    "train.max_steps={steps}",
    "train.eval_every=20",
    "train.eval_size=50",
    "seed=0,1,2",
    "engine.stack_size=8",
    "engine.checkpoint_seconds=0.1",
    "engine.progress=quiet",
)
KILLS = 50
START_LIMIT = 60.0  # seconds until workers must have begun
END_LIMIT = 20.0  # seconds until workers must have ended whose launch is gone


class Sweep:
    """One command, launched as often as need be."""

    def __init__(self, store: Path, words: Sequence[str]) -> None:
        self.store = store
        self.command = [sys.executable, "-m", "experiments.train", *words, f"store.path={store}"]
        self.sweeps = sqlite_place(store).sweeps
        self.earlier: set[str] = set()  # names of the folders of earlier launches

    @contextlib.contextmanager
    def launched(self) -> Iterator[subprocess.Popen[bytes]]:
        """The launching process, in a group of its own; what is left of it is ended."""
        self.earlier = {folder.name for folder in launches(self.sweeps)}
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(  # noqa: S603
                self.command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
                said.seek(0)
                self.said = said.read().decode(errors="replace")

    def workers(self, of_all: bool = False) -> list[int]:
        """The process ids of the workers that live, of this launch or of all."""
        found = []
        for folder in launches(self.sweeps):
            if folder.name in self.earlier and not of_all:
                continue
            for lock in folder.live_workers():
                with contextlib.suppress(OSError, ValueError):
                    found.append(json.loads(lock.read_text())["pid"])
        return found

    def positions(self) -> dict[str, int]:
        """Trial key -> step of its last record, of the trials that are in training."""
        steps: dict[str, int] = {}
        for spool in sorted(self.sweeps.glob("launches/*/spool/*.jsonl")):
            if spool.parent.parent.name in self.earlier:
                continue
            with contextlib.suppress(OSError):
                for line in spool.read_bytes().split(b"\n")[:-1]:
                    record = json.loads(line)
                    if "key" in record:
                        steps[record["key"]] = record["step"]
                        if record["status"] != RUNNING:
                            del steps[record["key"]]
        return steps


def kill_once(sweep: Sweep, chance: random.Random, target: str) -> dict[str, object]:
    """Launch, kill at a random moment, and tell what was hit; `target` is "parent" or "worker"."""
    left = 0.0
    with sweep.launched() as process:
        began = time.monotonic()
        while not sweep.workers() and process.poll() is None and time.monotonic() - began < START_LIMIT:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 2.0))
        positions, workers = sweep.positions(), sweep.workers()
        finished = process.poll() is not None
        if target == "parent":
            process.kill()
            if chance.random() < 0.5:  # else the next launch finds them at work
                left = _until_ended(sweep)
        elif workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(chance.uniform(0, 3))  # another worker takes over, until all are cut off
            os.killpg(process.pid, signal.SIGKILL)
    return {
        "target": target,
        "in_mid_training": not finished and any(step > 0 for step in positions.values()),
        "finished_before": finished,
        "deepest_step": max(positions.values(), default=0),
        "seconds_until_workers_ended": left,
    }


def _until_ended(sweep: Sweep) -> float:
    """The seconds until the workers of a killed launch have ended; infinite where some do not."""
    began = time.monotonic()
    while sweep.workers(of_all=True):
        if time.monotonic() - began > END_LIMIT:
            return math.inf
        time.sleep(0.01)
    return round(time.monotonic() - began, 2)


def contents(store: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """The frame without what is measured, and the curves by trial key."""
    reader = Reader(store)
    frame = reader.frame(EXPERIMENT)
    curves = {}
    for key, run_id in zip(frame["key"], frame["run_id"], strict=True):
        points = reader.curves(run_id)
        curves[key] = points[~points["key"].isin(MEASURED)].reset_index(drop=True)
    return frame.drop(columns=[name for name in MEASURED if name in frame]), curves


def compare(store: Path, reference: Path) -> list[str]:
    """What differs between two stores, and what is not as it should be in the first."""
    frame, curves = contents(store)
    expected, expected_curves = contents(reference)
    problems = [] if frame.equals(expected) else ["the frames differ"]
    if curves.keys() != expected_curves.keys():
        problems.append("the trials differ")
    problems += [
        f"the curve of {key} differs" for key in expected_curves if not curves[key].equals(expected_curves[key])
    ]
    runs = Reader(store).trials()
    problems += [f"{count} runs of trial {key}" for key, count in runs["key"].value_counts().items() if count > 1]
    every = pd.concat([runs, Reader(store).sweeps()])
    problems += [f"run {run_id} is left running" for run_id in every[every["mlflow_status"] == "RUNNING"]["run_id"]]
    return problems


def main() -> int:
    """The exit status: 0 where all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        report = drill(folder, chosen.kills, chosen.steps, random.Random(chosen.seed))  # noqa: S311
    if chosen.kills >= KILLS and int(str(report["in_mid_training"])) < 0.8 * chosen.kills:
        report["problems"] = [*list(report["problems"]), "too few kills in mid-training"]  # type: ignore[call-overload]
    chosen.results.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "each"}, indent=1))
    return 1 if report["problems"] else 0


def drill(folder: Path, kills: int, steps: int, chance: random.Random) -> dict[str, object]:
    """Kill a sweep `kills` times, let it end, and report."""
    words = [word.format(steps=steps) for word in SWEEP]
    sweep = Sweep(folder / "killed.db", words)
    targets = [("parent", "worker")[number % 2] for number in range(kills)]
    chance.shuffle(targets)
    began = time.monotonic()
    each = []
    for target in targets:
        each.append(kill_once(sweep, chance, target))
        print(f"{len(each)} of {kills}: {each[-1]}", file=sys.stderr)
    with sweep.launched() as process:
        status = process.wait()
    problems = [] if status == 0 else [f"the last launch ended with {status}: {sweep.said}"]
    left = sweep.workers(of_all=True)
    problems += [f"worker {pid} is left" for pid in left]
    slowest = max(float(str(kill["seconds_until_workers_ended"])) for kill in each)
    problems += [f"{path} is left" for path in sweep.sweeps.rglob("*") if path.name not in ("launches", "checkpoints")]
    problems += ["workers went on without their launch"] if math.isinf(slowest) else []
    undisturbed = Sweep(folder / "whole.db", words)
    with undisturbed.launched() as process:
        process.wait()
    problems += compare(sweep.store, undisturbed.store)
    frame = Reader(sweep.store).frame(EXPERIMENT)
    return {
        "trials": len(frame),
        "statuses": frame["status"].value_counts().to_dict(),
        "kills": kills,
        "parents": targets.count("parent"),
        "workers": targets.count("worker"),
        "in_mid_training": sum(bool(kill["in_mid_training"]) for kill in each),
        "after_the_end": sum(bool(kill["finished_before"]) for kill in each),
        "slowest_end_of_orphans_s": slowest,
        "launches_of_the_longest_trial": int(frame["attempt"].max()),
        "seconds": round(time.monotonic() - began),
        "problems": problems,
        "each": each,
    }


if __name__ == "__main__":
    sys.exit(main())
