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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, Any, NamedTuple

from rnnlab.checkpoints import is_intact, replace_synced, sync_file, sync_folder, write_tensors
from rnnlab.record import RUNNING, Record
from rnnlab.registry import registry
from rnnlab.trial import BadInput, Trial, build

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
        self.lengths: dict[str, int] = {}  # of their files when they were taken
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
        self.held[key], self.lengths[key], self.attempts[key] = claim, len(text), _attempts(text)
        return True

    def begin(self, keys: Sequence[str]) -> None:
        """Note that an attempt begins at these trials, in one stack with all that are held."""
        for key in keys:
            self.held[key].write(_line(Attempt(len(self.held), self.log, "")))

    def release(self, key: str) -> None:
        """Give up the claim of a trial that another attempt may take up as if this one had not been."""
        with self.held.pop(key) as claim:
            claim.truncate(self.lengths.pop(key))
        del self.attempts[key]

    def release_failed(self, error: str) -> None:
        """Give up all claims, as an error was raised in the stack."""
        attempt = Attempt(len(self.held), self.log, error)
        for key in list(self.held):
            self.held[key].truncate(self.lengths[key])
            self.held[key].write(_line(attempt))
            self.lengths[key] += len(_line(attempt))
            self.release(key)

    def release_done(self, key: str) -> None:
        """Give up the claim of a trial that has ended."""
        with self.held.pop(key) as claim:
            claim.write(DONE)
        del self.attempts[key], self.lengths[key]

    def close(self) -> None:
        """Give up all claims."""
        for key in list(self.held):
            self.release(key)


def _line(attempt: Attempt) -> bytes:
    return json.dumps(attempt).encode() + b"\n"


def _attempts(text: bytes) -> list[Attempt]:
    """The attempts in a claim's file; a line that a dying process left unfinished is none."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            found.append(Attempt(*json.loads(line)))
    return found


class SpoolWriter:
    """Appends the records of one worker."""

    def __init__(self, folder: Folder, worker: str, numerics: str) -> None:
        self.weights = folder.weights
        self.numerics = numerics
        self.unsynced: list[Path] = []  # files of parameters
        self.peak = folder.workers / f"{worker}.peak"
        self.file = (folder.spools / f"{worker}.jsonl").open("a")

    def append(self, record: Record) -> None:
        fields: dict[str, Any] = _fields(record) | {"weights": None, "course": {}}
        if record.weights:
            file = self.weights / record.key / ("final.safetensors" if record.ended else "initial.safetensors")
            file.parent.mkdir(exist_ok=True)
            described = {"key": record.key, "numerics": self.numerics, "course": json.dumps(record.course)}
            described |= {"step": str(record.step), "seconds": repr(record.measured.get("seconds", 0.0))}
            write_tensors(file, record.weights, described)
            self.unsynced.append(file)
            fields["weights"] = str(file.relative_to(self.weights))
        self._write(fields)

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self._write({"note": text})

    def note_unmeasured(self, failed: Mapping[tuple[int, str], int]) -> None:
        """How many trials that have ended could not be evaluated at which length, and why."""
        for (value, reason), count in failed.items():
            self._write({"unmeasured": [value, reason, count]})

    def note_peak(self, count: int) -> None:
        """The most memory that this process has held, in bytes."""
        self.peak.write_text(str(count))

    def sync(self) -> None:
        """Return when all that was appended, and the parameters with it, survive a loss of power."""
        for file in self.unsynced:
            sync_file(file)
        for folder in {file.parent for file in self.unsynced}:
            sync_folder(folder)
        self.unsynced.clear()
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
    """Reads the records of all workers, each once and in their order, and gathers what else they say."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.offsets: dict[Path, int] = {}
        self.notes: dict[str, None] = {}  # in their order, each once
        self.unmeasured: Counter[tuple[int, str]] = Counter()  # (length, why not) -> trials

    def new(self) -> Iterator[tuple[Record, Path | None]]:
        """The records since the last call, each with the file of its parameters."""
        for spool in sorted(self.folder.spools.glob("*.jsonl")):
            with spool.open("rb") as file:
                file.seek(self.offsets.get(spool, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # still being written, or left by a worker that was killed
                        break
                    yield from self._decode(line)
                    self.offsets[spool] = self.offsets.get(spool, 0) + len(line)  # after: it was dealt with

    def peaks(self) -> list[int]:
        """Bytes of memory that each worker has held at most, of those that have ended."""
        return [int(file.read_text() or 0) for file in self.folder.workers.glob("*.peak")]

    def _decode(self, line: bytes) -> Iterator[tuple[Record, Path | None]]:
        """The record in a line; none where a loss of power took it, or the parameters that belong to it."""
        try:
            fields = json.loads(line)
        except ValueError:
            return
        if "note" in fields:
            self.notes[fields["note"]] = None
            return
        if "unmeasured" in fields:
            value, reason, count = fields["unmeasured"]
            self.unmeasured[value, reason] += count
            return
        weights = fields.pop("weights")
        file = self.folder.weights / weights if weights else None
        if file is None or is_intact(file):
            yield Record(**fields), file
        elif fields["status"] == RUNNING:
            yield Record(**fields), None


def new_folder(sweeps: Path) -> Folder:
    """A path for the folder of a new launch."""
    return Folder(sweeps / "launches" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}")
