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
import signal
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, Any, NamedTuple

from rnnlab.checkpoints import write_tensors
from rnnlab.record import Record
from rnnlab.registry import registry
from rnnlab.trial import Trial, build

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

    def to_json(self) -> str:
        return json.dumps({"version": VERSION} | vars(self) | {"trials": [trial.mapping() for trial in self.trials]})

    @classmethod
    def of_json(cls, text: str) -> Work:
        fields = json.loads(text)
        if fields.pop("version", None) != VERSION:
            raise ValueError("the plan of a launch by another version of rnnlab")
        return cls(**fields | {"trials": [build(mapping, registry()) for mapping in fields["trials"]]})


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
        draft.plan.write_text(work.to_json())
        draft.root.rename(self.root)
        return owner

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
        """A number that grows whenever a worker gets anywhere: the bytes of claims and records."""
        return sum(file.stat().st_size for folder in (self.claims, self.spools) for file in folder.iterdir())


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
    """Within, this process counts as a worker of the launch; gives the worker's name."""
    name = f"worker-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    file = folder.workers / f"{name}.lock"
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        lock.flush()
        try:
            yield name
        finally:
            file.unlink(missing_ok=True)


DONE = b'{"done": true}\n'


class Attempt(NamedTuple):
    """An attempt at a trial that came to nothing: its worker died, or an error was raised."""

    width: int  # trials in the stack
    log: str  # what the worker printed
    error: str  # the traceback, empty where the worker died


class Claims:
    """The trials that this process has claimed. A claim ends with the trial or with the process.

    A claim's file has a line for each attempt. An attempt that ends well leaves none, so that what stands in a file
    that nobody has locked are the attempts at which a worker died, or met an error.
    """

    def __init__(self, folder: Path, log: str = "") -> None:
        self.folder = folder
        self.log = log
        self.held: dict[str, FileIO] = {}
        self.attempts: dict[str, list[Attempt]] = {}  # trial key -> earlier attempts, of the trials that are held

    def take(self, key: str) -> bool:
        """Claim a trial, unless another process has it or it is done."""
        claim = (self.folder / key).open("a+b", buffering=0)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            return False
        claim.seek(0)
        text = claim.read()
        if text.endswith(DONE):
            claim.close()
            return False
        self.held[key], self.attempts[key] = claim, _attempts(text)
        return True

    def begin(self, keys: Sequence[str]) -> None:
        """Note that an attempt begins at these trials, in one stack with all that are held."""
        for key in keys:
            self.held[key].write(_line(Attempt(len(self.held), self.log, "")))

    def release(self, key: str) -> None:
        """Give up the claim of a trial that another attempt may take up as if this one had not been."""
        claim = self.held.pop(key)
        with claim, contextlib.suppress(OSError):  # a full disk refuses to write, and is no attempt's fault
            claim.truncate(0)
            claim.writelines(_line(attempt) for attempt in self.attempts.pop(key))

    def release_failed(self, error: str) -> None:
        """Give up all claims, as an error was raised in the stack."""
        attempt = Attempt(len(self.held), self.log, error)
        for key in list(self.held):
            self.attempts[key].append(attempt)
            self.release(key)

    def release_done(self, key: str) -> None:
        """Give up the claim of a trial that has ended."""
        with self.held.pop(key) as claim:
            claim.write(DONE)
        del self.attempts[key]

    def close(self) -> None:
        """Give up all claims."""
        for key in list(self.held):
            self.release(key)


def _line(attempt: Attempt) -> bytes:
    return json.dumps(attempt).encode() + b"\n"


def _attempts(text: bytes) -> list[Attempt]:
    """The attempts in a claim's file; a line that a dying process left unfinished is none."""
    lines = text.split(b"\n")[:-1]
    return [Attempt(*json.loads(line)) for line in lines]


class SpoolWriter:
    """Appends the records of one worker."""

    def __init__(self, folder: Folder, worker: str, numerics: str) -> None:
        self.weights = folder.weights
        self.numerics = numerics
        self.file = (folder.spools / f"{worker}.jsonl").open("a")

    def append(self, record: Record) -> None:
        fields: dict[str, Any] = _fields(record) | {"weights": None, "course": {}}
        if record.weights:
            file = self.weights / record.key / ("final.safetensors" if record.ended else "initial.safetensors")
            file.parent.mkdir(exist_ok=True)
            described = {"key": record.key, "numerics": self.numerics, "course": json.dumps(record.course)}
            write_tensors(file, record.weights, described | {"step": str(record.step)})
            fields["weights"] = str(file.relative_to(self.weights))
        self._write(fields)

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._write({"note": text})

    def note_peak(self, count: int) -> None:
        """The most memory that this process has held, in bytes."""
        self._write({"peak": count})

    def sync(self) -> None:
        """Return when all that was appended survives a loss of power."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of a full disk, reported when the line was written
            self.file.close()

    def _write(self, fields: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(fields) + "\n")
        self.file.flush()


def _fields(record: Record) -> dict[str, Any]:
    """The fields of a record as plain mappings; its tensors are not copied."""
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(record).items()}


class SpoolReader:
    """Reads the records of all workers, each once, and gathers what else they say."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.offsets: dict[Path, int] = {}
        self.notes: dict[str, None] = {}  # in their order, each once
        self.peaks: list[int] = []  # bytes, of each worker that has ended

    def new(self) -> Iterator[tuple[Record, Path | None]]:
        """The records since the last call, each with the file of its parameters."""
        for spool in sorted(self.folder.spools.glob("*.jsonl")):
            with spool.open("rb") as file:
                file.seek(self.offsets.get(spool, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # still being written, or left by a worker that was killed
                        break
                    yield from self._decode(json.loads(line))
                    self.offsets[spool] = self.offsets.get(spool, 0) + len(line)  # after: it was dealt with

    def _decode(self, fields: dict[str, Any]) -> Iterator[tuple[Record, Path | None]]:
        if "note" in fields:
            self.notes[fields["note"]] = None
            return
        if "peak" in fields:
            self.peaks.append(fields["peak"])
            return
        weights = fields.pop("weights")
        yield Record(**fields), self.folder.weights / weights if weights else None


def new_folder(sweeps: Path) -> Folder:
    """A path for the folder of a new launch."""
    return Folder(sweeps / "launches" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}")
