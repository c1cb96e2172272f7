"""Claims on the trials of a launch: who trains which, what came of earlier attempts, and which have ended.

A claim is a lock on the trial's file, which the system gives up with the process that holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

DEATHS_ALONE = 2  # of its worker, until a trial is to blame: the first may be an accident, such as a killed process
DONE = b'{"done": true}\n'  # ends the file of a trial that has ended


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


def died_alone(attempts: Sequence[Attempt]) -> bool:
    """Whether a worker died that had the trial alone."""
    return any(one.width == 1 and not one.error for one in attempts)


def narrower(attempts: Sequence[Attempt]) -> int:
    """The width of the next stack for a trial, half of the last one."""
    return math.ceil(attempts[-1].width / 2)


def blame(attempts: Sequence[Attempt]) -> Attempt | None:
    """The attempt that shows that a trial is to blame: an error alone, or its worker's deaths alone."""
    alone = [attempt for attempt in attempts if attempt.width == 1]
    raised = [attempt for attempt in alone if attempt.error]
    return raised[-1] if raised else alone[-1] if len(alone) >= DEATHS_ALONE else None


def explain(attempt: Attempt) -> str:
    """Why a trial failed: the error that was raised, or what is known of a worker's death."""
    if attempt.error:
        return attempt.error
    said = _last_line(Path(attempt.log)) if attempt.log else ""
    told = f"its last words: {said}" if said else "without a word: killed, perhaps for want of memory"
    return f"its worker process died {DEATHS_ALONE} times with this trial alone, {told}"


def _last_line(log: Path) -> str:
    """The last line of what a worker printed."""
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
    return ""


def _line(attempt: Attempt) -> bytes:
    return json.dumps(attempt).encode() + b"\n"


def _attempts(text: bytes) -> list[Attempt]:
    """The attempts in a claim's file; a line that a dying process left unfinished is none."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            found.append(Attempt(*json.loads(line)))
    return found
