"""The spools of a launch: what its workers report, one file for each worker, on the way to the one that reads them all.

A record is a JSON object in a line, only ever appended; the parameters that belong to it lie in a file of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnlab.checkpoints import is_intact, sync_file, sync_folder, write_tensors
from rnnlab.evaluation import Evaluation
from rnnlab.folder import Folder
from rnnlab.record import RUNNING, Record


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

    def note_unmeasured(self, failed: Mapping[tuple[Evaluation, str], int]) -> None:
        """How many trials that have ended lack which evaluation, and why."""
        for (one, reason), count in failed.items():
            self._write({"unmeasured": [one, reason, count]})

    def note_undiagnosed(self, failed: Mapping[str, int]) -> None:
        """How many networks could not be diagnosed, and why."""
        for reason, count in failed.items():
            self._write({"undiagnosed": [reason, count]})

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
        self.unmeasured: Counter[tuple[Evaluation, str]] = Counter()  # (evaluation, why not) -> trials
        self.undiagnosed: Counter[str] = Counter()  # why not -> times

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
            one, reason, count = fields["unmeasured"]
            self.unmeasured[one, reason] += count
            return
        if "undiagnosed" in fields:
            reason, count = fields["undiagnosed"]
            self.undiagnosed[reason] += count
            return
        weights = fields.pop("weights")
        file = self.folder.weights / weights if weights else None
        if file is None or is_intact(file):
            yield Record(**fields), file
        elif fields["status"] == RUNNING:
            yield Record(**fields), None
