"""What a sweep does on a full disk, with a locked database, a read-only store, and checkpoints that are garbage.

python -m benchmarks.hardships

Each hardship befalls a real sweep in processes of its own; then the cause goes away and the same command is launched
again. In the end the frame and all curves must equal those of a sweep that nobody disturbed. The disk is a small
tmpfs, which takes the right to mount. Writes `benchmarks/results/hardships.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.kills import Sweep, compare

RESULTS = Path(__file__).parent / "results" / "hardships.json"
WORDS = (
    "-m",
    "task.delay=4,30",
    "model.hidden_size=24",
    "init.spectral_radius=0.8,1.2",
    "train.batch_size=10",
    "train.max_steps=1500",
    "train.eval_size=50",
    "seed=0,1,2",
    "engine.checkpoint_seconds=0.1",
    "engine.progress=quiet",
)
LOCKED = 30.0  # seconds
SMALL_DISK = "2500k"


def run(sweep: Sweep, meanwhile: Callable[[subprocess.Popen[bytes]], None] = lambda process: None) -> dict[str, Any]:
    """Launch a sweep and let something happen to it; how it ended and what it said."""
    began = time.monotonic()
    with sweep.launched() as process:
        meanwhile(process)
        status = process.wait()
    said = sweep.said.replace(str(sweep.store.parent), "FOLDER")
    lines = [line for line in said.splitlines() if line.strip()]
    return {"status": status, "said": lines, "seconds": round(time.monotonic() - began, 1)}


def until_training(sweep: Sweep, process: subprocess.Popen[bytes]) -> None:
    """Return when some trial has been trained a little."""
    while process.poll() is None and not any(step > 0 for step in sweep.positions().values()):
        time.sleep(0.01)


def full_disk(folder: Path) -> tuple[Sweep, list[dict[str, Any]]]:
    """A disk that is too small, and later is not."""
    disk = folder / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(disk))
    sweep = Sweep(disk / "store.db", WORDS)
    launches = [run(sweep)]
    mount("-o", "remount,size=500m", str(disk))
    return sweep, [*launches, run(sweep)]


def locked_database(folder: Path) -> tuple[Sweep, list[dict[str, Any]]]:
    """Another program holds the database for 30 seconds while trials train."""
    sweep = Sweep(folder / "store.db", WORDS)

    def lock(process: subprocess.Popen[bytes]) -> None:
        until_training(sweep, process)
        connection = sqlite3.connect(sweep.store, check_same_thread=False, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        threading.Timer(LOCKED, lambda: (connection.rollback(), connection.close())).start()

    return sweep, [run(sweep, lock), run(sweep)]


def read_only_store(folder: Path) -> tuple[Sweep, list[dict[str, Any]]]:
    """A sweep is interrupted, and the store is made read-only before the next launch."""
    sweep = Sweep(folder / "store.db", WORDS)
    launches = [run(sweep, lambda process: (until_training(sweep, process), process.send_signal(signal.SIGTERM))[0])]
    sweep.store.chmod(0o444)
    launches.append(run(sweep))
    sweep.store.chmod(0o644)
    return sweep, [*launches, run(sweep)]


def garbage_checkpoints(folder: Path) -> tuple[Sweep, list[dict[str, Any]]]:
    """A sweep is killed; of its checkpoints one half is truncated and the other overwritten with noise."""
    sweep = Sweep(folder / "store.db", WORDS)
    launches = [run(sweep, lambda process: (_until_checkpoints(sweep, process), os.killpg(process.pid, 9))[0])]
    for number, file in enumerate(sorted((sweep.sweeps / "checkpoints").iterdir())):
        file.write_bytes(file.read_bytes()[:-100] if number % 2 else os.urandom(1000))
    return sweep, [*launches, run(sweep)]


def _until_checkpoints(sweep: Sweep, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and len(list((sweep.sweeps / "checkpoints").glob("*.safetensors"))) < 4:
        time.sleep(0.01)


# What befalls the sweep -> how its launches must end
HARDSHIPS = {full_disk: [1, 0], locked_database: [0, 0], read_only_store: [143, 2, 0], garbage_checkpoints: [-9, 0]}


def misbehaviour(hardship: Callable[..., object], launches: list[dict[str, Any]]) -> list[str]:
    """What of the launches is not as it should be."""
    wanted = HARDSHIPS[hardship]
    problems = []
    if [launch["status"] for launch in launches] != wanted:
        problems.append(f"the launches must end with {wanted}")
    problems += [
        f"not one line: {launch['said']}"
        for launch in launches
        if launch["status"] in (1, 2) and len(launch["said"]) != 1
    ]
    if hardship is locked_database and launches[0]["seconds"] < LOCKED:
        problems.append("the lock did not hold anybody up")
    if hardship is garbage_checkpoints and not any("the trial starts again" in line for line in launches[-1]["said"]):
        problems.append("nobody was told of the checkpoints")
    return problems


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)  # noqa: S603, S607


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder, without what was mounted in it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        finally:
            if (Path(folder) / "disk").is_mount():
                subprocess.run(["umount", str(Path(folder) / "disk")], check=True)  # noqa: S603, S607


def main() -> int:
    """The exit status: 0 where every sweep was completed with nothing lost."""
    report = {}
    with place() as folder:
        undisturbed = Sweep(folder / "store.db", WORDS)
        run(undisturbed)
        for hardship in HARDSHIPS:
            with place() as other:
                sweep, launches = hardship(other)
                problems = compare(sweep.store, undisturbed.store)
            problems += misbehaviour(hardship, launches)
            report[hardship.__name__] = {"launches": launches, "problems": problems}
            print(json.dumps({hardship.__name__: report[hardship.__name__]}, indent=1))
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(found["problems"] for found in report.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
