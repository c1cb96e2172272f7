"""A worker: claims trials of a sweep's folder, trains them as stacks and appends their records to its spool."""

from __future__ import annotations

import contextlib
import math
import signal
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from rnnlab.record import FAILED, Record
from rnnlab.spool import Claims, Folder, SpoolWriter, process_name
from rnnlab.sweep import by_shape
from rnnlab.train import fit
from rnnlab.trial import Trial


def main(root: str) -> None:
    """Work in a process of its own, until nothing is left or the launching process wants or is no more.

    Ctrl-C reaches every process of a terminal: it is the launching one that decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = Folder(Path(root))
    for _ in work(folder):
        if folder.stop.exists() or folder.owner_is_gone():
            return


def work(folder: Folder) -> Generator[None]:
    """Train what can be claimed; yields whenever records were appended, at a chunk border."""
    trials, stack_size, workers = folder.read_plan()
    claims = Claims(folder.claims)
    with contextlib.closing(SpoolWriter(folder, process_name())) as spool, contextlib.closing(claims):
        for group in by_shape(trials):
            width = min(stack_size, math.ceil(len(group) / workers))  # so that every worker has a part of it
            waiting = iter(group)
            while stack := _claim(claims, waiting, width):
                for record in _fit(claims, stack, waiting):
                    spool.append(record)
                    if record.ended:
                        claims.release_done(record.key)
                    yield


def _claim(claims: Claims, waiting: Iterator[Trial], count: int) -> list[Trial]:
    """Up to `count` trials of those waiting that no other worker has."""
    taken: list[Trial] = []
    while len(taken) < count and (trial := next(waiting, None)) is not None:
        if claims.take(trial.key):
            taken.append(trial)
    return taken


def _fit(claims: Claims, stack: Sequence[Trial], waiting: Iterator[Trial]) -> Iterator[Record]:
    """`fit`, with waiting trials joining; an error in it ends the trials that were in the stack as failed."""
    live = {trial.key for trial in stack}

    def refill(free: int) -> list[Trial]:
        joining = _claim(claims, waiting, free)
        live.update(trial.key for trial in joining)
        return joining

    try:
        for record in fit(stack, refill):
            if record.ended:
                live.discard(record.key)
            yield record
    except Exception:  # noqa: BLE001 - whatever it was, it is reported with the trials that it cost
        error = traceback.format_exc()
        yield from [Record(key, 0, FAILED, error=error) for key in sorted(live)]
