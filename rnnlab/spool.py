"""The folder of a running sweep: what is to do, who does it, and what came out. Processes share nothing else.

plan.json          the trials to train, written once
owner.lock         locked by the launching process while it lives
stop               exists when workers shall end at the next chunk border
claims/KEY         locked by the worker that trains the trial; says "done" once the trial has ended
spool/WORKER.jsonl records, one JSON object a line, only ever appended
weights/           parameters that belong to records (safetensors)
logs/              what the workers print
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from safetensors.torch import save_file

from rnnlab.record import Record
from rnnlab.registry import registry
from rnnlab.trial import Trial, build

DONE = "done"


class Folder:
    """The paths of a sweep's folder, and its plan."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan, self.owner, self.stop = root / "plan.json", root / "owner.lock", root / "stop"
        self.claims, self.spools, self.weights = root / "claims", root / "spool", root / "weights"
        self.logs = root / "logs"

    def create(self, trials: Sequence[Trial], stack_size: int, workers: int) -> IO[str]:
        """Make the folder for these trials; return the owner's lock, to be held until the sweep has ended."""
        for folder in (self.claims, self.spools, self.weights, self.logs):
            folder.mkdir(parents=True)
        owner = self.owner.open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
        plan = {"trials": [trial.mapping() for trial in trials], "stack_size": stack_size, "workers": workers}
        self.plan.write_text(json.dumps(plan))
        return owner

    def read_plan(self) -> tuple[list[Trial], int, int]:
        """(trials, largest stack, number of workers)"""
        plan = json.loads(self.plan.read_text())
        return [build(mapping, registry()) for mapping in plan["trials"]], plan["stack_size"], plan["workers"]

    def owner_is_gone(self) -> bool:
        with self.owner.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


class Claims:
    """The trials that this process has claimed. A claim ends with the trial or with the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, IO[str]] = {}

    def take(self, key: str) -> bool:
        """Claim a trial, unless another process has it or it is done."""
        claim = (self.folder / key).open("a+")
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            return False
        claim.seek(0)
        if claim.read() == DONE:
            claim.close()
            return False
        self.held[key] = claim
        return True

    def release_done(self, key: str) -> None:
        """Give up the claim of a trial that has ended."""
        with self.held.pop(key) as claim:
            claim.write(DONE)

    def close(self) -> None:
        """Give up all claims."""
        for claim in self.held.values():
            claim.close()
        self.held.clear()


class SpoolWriter:
    """Appends the records of one worker."""

    def __init__(self, folder: Folder, worker: str) -> None:
        self.weights = folder.weights
        self.file = (folder.spools / f"{worker}.jsonl").open("a")

    def append(self, record: Record) -> None:
        fields: dict[str, Any] = {**vars(record), "metrics": dict(record.metrics), "weights": None, "course": {}}
        if record.weights:
            file = self.weights / record.key / ("final.safetensors" if record.ended else "initial.safetensors")
            file.parent.mkdir(exist_ok=True)
            described = {"key": record.key, "step": str(record.step), "course": json.dumps(record.course)}
            save_file({name: tensor.contiguous() for name, tensor in record.weights.items()}, file, described)
            fields["weights"] = str(file.relative_to(self.weights))
        self.file.write(json.dumps(fields) + "\n")
        self.file.flush()

    def close(self) -> None:
        self.file.close()


class SpoolReader:
    """Reads the records of all workers, each once."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.offsets: dict[Path, int] = {}

    def new(self) -> Iterator[tuple[Record, Path | None]]:
        """The records since the last call, each with the file of its parameters."""
        for spool in sorted(self.folder.spools.glob("*.jsonl")):
            with spool.open("rb") as file:
                file.seek(self.offsets.get(spool, 0))
                for line in file:
                    if not line.endswith(b"\n"):  # still being written
                        break
                    yield self._decode(json.loads(line))
                    self.offsets[spool] = self.offsets.get(spool, 0) + len(line)  # after: it was dealt with

    def _decode(self, fields: dict[str, Any]) -> tuple[Record, Path | None]:
        weights = fields.pop("weights")
        return Record(**fields), self.folder.weights / weights if weights else None


def process_name() -> str:
    return f"worker-{os.getpid()}"
