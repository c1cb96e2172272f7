"""The folder of a launch: what is to do, who does it, and what came out. Processes share nothing else.

plan.json          the trials to train, written once
owner.lock         locked by the launching process while it lives
stop               exists when workers shall end at the next chunk border
workers/NAME.lock  locked by a worker while it lives
claims/KEY         locked by the worker that trains the trial; tells what became of earlier attempts
spool/NAME.jsonl   records of a worker, one JSON object a line, only ever appended
weights/           parameters that belong to records (safetensors)
logs/              what the workers print

The folder lies in `SWEEPS/launches`; beside that, `SWEEPS/checkpoints` is common to all launches of a store.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rnnlab.build import build
from rnnlab.checkpoints import replace_synced, sync_folder
from rnnlab.claims import DONE
from rnnlab.evaluation import EvalSettings, Evaluation
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.trial import Trial

VERSION = 1  # of the layout of a folder and its plan


@dataclass(frozen=True)
class Work:
    """What a launch has to do, as its workers and whoever recovers it need to know."""

    trials: Sequence[Trial]
    experiment: str
    stack_size: int | None  # trials in a stack, at most
    workers: int
    memory: int  # bytes that all workers together may use
    checkpoint_seconds: float  # between checkpoints
    tags: Mapping[str, str]  # of the runs
    continues: Mapping[str, str] = field(default_factory=dict)  # trial key -> run of a smaller budget that it goes on
    lengths: Sequence[int] = field(default_factory=list)  # at which the final weights are evaluated too
    by_lag: bool = False  # whether they are by the distance of each output
    diagnostics: Mapping[str, Any] = field(default_factory=dict)  # the settings, by name

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """What is measured of trials that have ended."""
        return EvalSettings(tuple(self.lengths), self.by_lag).asked

    def to_json(self) -> str:
        return json.dumps({"version": VERSION} | vars(self) | {"trials": [trial.mapping() for trial in self.trials]})

    @classmethod
    def of_json(cls, text: str) -> Work:
        """The work that `to_json` wrote, without trials that cannot be built any more; raises `ValueError`."""
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.pop("version", None) != VERSION:
            raise ValueError("the plan of a launch by another version of rnnlab")
        trials = []
        for mapping in fields["trials"]:
            with contextlib.suppress(BadInput):  # its task was changed since
                trials.append(build(mapping, registry()))
        return cls(**fields | {"trials": trials})


class Folder:
    """The paths of a launch's folder, and its plan."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan, self.owner, self.stop = root / "plan.json", root / "owner.lock", root / "stop"
        self.claims, self.spools, self.weights = root / "claims", root / "spool", root / "weights"
        self.workers, self.logs = root / "workers", root / "logs"
        self.checkpoints = root.parent.parent / "checkpoints"

    @property
    def name(self) -> str:
        return self.root.name

    def create(self, work: Work) -> IO[str]:
        """Make the folder for this work; return the owner's lock, to be held until the launch has ended.

        It appears in one step, locked and with its plan.
        """
        draft = Folder(self.root.with_name(f".{self.name}"))
        for folder in (draft.claims, draft.spools, draft.weights, draft.logs, draft.workers):
            folder.mkdir(parents=True)
        self.checkpoints.mkdir(exist_ok=True)
        owner = draft.owner.open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
        replace_synced(draft.plan, work.to_json().encode())
        draft.root.rename(self.root)
        sync_folder(self.root.parent)
        return owner

    def remove(self, keep_as: Path | None = None) -> None:
        """Take the folder away in one step, and then apart; or keep it, elsewhere."""
        gone = keep_as or self.root.with_name(f".gone-{self.name}")
        gone.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.root.rename(gone)
            if keep_as is None:
                shutil.rmtree(gone, ignore_errors=True)

    def check_writable(self) -> None:
        """Write something and take it away again; raises `OSError` where the disk is full."""
        probe = self.root / "probe"
        probe.write_bytes(bytes(2**20))
        probe.unlink()

    def keep_logs(self) -> Path:
        """Move the logs to where they stay; return the folder."""
        kept = self.root.parent.parent / "logs" / self.name
        kept.parent.mkdir(exist_ok=True)
        self.logs.rename(kept)
        return kept

    def read_plan(self) -> Work:
        return Work.of_json(self.plan.read_text())

    def owner_is_gone(self) -> bool:
        return not self.owner.exists() or not is_locked(self.owner)

    def adopt(self) -> IO[str] | None:
        """The owner's lock of a launch that is no more, None where somebody has it or has removed the folder."""
        try:
            owner = self.owner.open("r+")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.close()
            return None
        return owner

    def live_workers(self) -> list[Path]:
        """The locks of the workers that live."""
        return [lock for lock in sorted(self.workers.glob("*.lock")) if is_locked(lock)]

    def kill_workers(self) -> None:
        """End the workers now that live on this machine; nothing is lost but the way since the last checkpoint."""
        for lock in self.live_workers():
            with contextlib.suppress(OSError, ValueError, KeyError):
                process = json.loads(lock.read_text())
                if process["host"] == socket.gethostname():
                    os.kill(process["pid"], signal.SIGKILL)

    def is_done(self) -> bool:
        """Whether all trials have ended."""
        ended = sum(claim.read_bytes().endswith(DONE) for claim in self.claims.iterdir())
        return ended == len(self.read_plan().trials)

    def trace(self) -> int:
        """A number that grows when a trial ends or an attempt fails: the bytes of the claims that nobody holds."""
        return sum(file.stat().st_size for file in self.claims.iterdir())


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock of a file that exists."""
    with contextlib.suppress(FileNotFoundError), file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def worker_lock(folder: Folder) -> Iterator[str]:
    """Within, this process counts as a worker of the launch; gives the worker's name, by which workers are in order."""
    name = f"{time.monotonic_ns():020d}-{os.getpid()}"
    draft, file = folder.workers / f".{name}", folder.workers / f"{name}.lock"
    with draft.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        lock.flush()
        draft.rename(file)  # locked before anybody looks
        try:
            yield name
        finally:
            file.unlink(missing_ok=True)


def new_folder(sweeps: Path) -> Folder:
    """A path for the folder of a new launch."""
    return Folder(sweeps / "launches" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}")
