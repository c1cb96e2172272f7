"""A worker: claims trials of a launch's folder, trains them as stacks and appends their records to its spool.

Where a worker dies or an error is raised, the trials of that stack are tried again, in stacks of half the width, until
the culprit stands alone. It is recorded as failed; its mates never notice.
"""

from __future__ import annotations

import contextlib
import faulthandler
import resource
import signal
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from rnnlab import provenance
from rnnlab.checkpoints import Checkpoints, Unusable
from rnnlab.claims import Claims, blame, died_alone, explain, narrower
from rnnlab.cost import stack_width
from rnnlab.evaluation import evaluated
from rnnlab.folder import Folder, Work, worker_lock
from rnnlab.record import FAILED, Checkpoint, Record
from rnnlab.spool import SpoolWriter
from rnnlab.sweep import by_shape
from rnnlab.timed import TimedWatch
from rnnlab.train import Refill, Stack, chunks, continues
from rnnlab.trial import Trial, shape_key
from rnnlab.watch import DiagnosticsSettings, Watch

KILOBYTE = 1024 if sys.platform != "darwin" else 1  # in which the system counts memory
DIED_BEFORE = "its worker process died with it alone"  # why a trial is not diagnosed


def main(root: str) -> None:
    """Work in a process of its own, until nothing is left or the launching process wants or is no more.

    Ctrl-C reaches every process of a terminal: it is the launching one that decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()  # a crash in native code tells where
    folder = Folder(Path(root))
    if not is_wanted(folder):
        return
    with contextlib.closing(work(folder)) as at_work:
        for _ in at_work:
            if not is_wanted(folder):
                return


def is_wanted(folder: Folder) -> bool:
    """Whether the launching process lives and wants its workers to go on."""
    return not folder.stop.exists() and not folder.owner_is_gone()


def work(folder: Folder) -> Generator[None]:
    """Train what can be claimed; yields at every chunk border, when records have been appended.

    Closed there, it takes down where its trials stand.
    """
    plan = folder.read_plan()
    with (
        worker_lock(folder) as name,
        contextlib.closing(SpoolWriter(folder, name, provenance.numerics())) as spool,
        contextlib.closing(Claims(folder.claims, _log_of_this_process())) as claims,
    ):
        if not is_wanted(folder):  # a launch that recovers this folder asks for that before it looks for workers
            return
        try:
            yield from _Worker(plan, spool, claims, Checkpoints(folder.checkpoints)).work()
        finally:
            with contextlib.suppress(OSError):
                spool.note_peak(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE)


class _Worker:
    """What a worker keeps while it works."""

    def __init__(self, plan: Work, spool: SpoolWriter, claims: Claims, checkpoints: Checkpoints) -> None:
        self.plan, self.spool, self.claims, self.checkpoints = plan, spool, claims, checkpoints
        self.numerics = spool.numerics
        self.seconds: dict[str, float] = {}  # trial key -> of training, of the trials in the stack
        self.saved = time.monotonic()  # when checkpoints were last written
        self.trials = {trial.key: trial for trial in plan.trials}

    def work(self) -> Iterator[None]:
        for group in by_shape(self.plan.trials):
            waiting, width = iter(group), self._width(group)
            while stack := self._claim(waiting, width):
                yield from self._train(stack, partial(self._claim, waiting))
        while stack := self._claim_again():
            yield from self._train(stack, lambda free: ())

    def _width(self, trials: Sequence[Trial]) -> int:
        """How many of the trials, of one shape, train in one stack."""
        return stack_width(trials[0], len(trials), self.plan.workers, self.plan.memory, self.plan.stack_size)

    def _claim(self, waiting: Iterator[Trial], count: int) -> list[Trial]:
        """Up to `count` trials of those waiting that no other worker has and that never did harm."""
        taken: list[Trial] = []
        while len(taken) < count and (trial := next(waiting, None)) is not None:
            if not self.claims.take(trial.key):
                continue
            if self.claims.attempts[trial.key]:
                self.claims.release(trial.key)
            else:
                taken.append(trial)
        self._begin(taken)
        return taken

    def _begin(self, trials: Sequence[Trial]) -> None:
        self.claims.begin([trial.key for trial in trials])
        self.seconds |= {trial.key: 0.0 for trial in trials}

    def _claim_again(self) -> list[Trial]:
        """The next stack of trials whose worker died or in whose stack an error was raised: a smaller one."""
        taken: list[Trial] = []
        wanted: tuple[str, int] | None = None  # (shape, width) of this stack
        for trial in self.plan.trials:
            if not self.claims.take(trial.key):
                continue
            attempts = self.claims.attempts[trial.key]
            if reason := blame(attempts):
                self._end(Record(trial.key, 0, FAILED, error=explain(reason)))
                continue
            found = (shape_key(trial), narrower(attempts) if attempts else self._width([trial]))
            wanted = wanted or found
            if found == wanted and len(taken) < wanted[1]:
                taken.append(trial)
            else:
                self.claims.release(trial.key)
        self._begin(taken)
        return taken

    def _train(self, trials: Sequence[Trial], refill: Refill) -> Iterator[None]:
        """Train a stack to its end; an error ends the attempt at all trials that are in it."""
        try:
            watch = self._watch()
            stack = Stack(trials, self._resume, watch)
            training = chunks(stack, refill)
            while True:
                live, began = list(self.claims.held), time.monotonic()
                records = next(training, None)
                if records is None:
                    return
                self._share(live, time.monotonic() - began - (watch.taken() if watch else 0.0))
                self._note_undiagnosed(watch)
                yield from self._report(self._evaluated(records), stack)
        except _DiskError as error:
            raise error.__cause__ or error from None
        except Exception:  # noqa: BLE001 - whatever it was, it is reported with the trial that raises it alone
            self.claims.release_failed(traceback.format_exc())

    def _watch(self) -> TimedWatch | None:
        """What diagnoses the trials that are held; nothing where it may have cost one of them its worker."""
        settings = DiagnosticsSettings(**self.plan.diagnostics)
        if settings.every is None:
            return None
        risky = [key for key in self.claims.held if died_alone(self.claims.attempts[key])]
        if risky:
            with _disk_errors():
                self.spool.note_undiagnosed({DIED_BEFORE: len(risky)})
            return None
        return TimedWatch(Watch(settings))

    def _note_undiagnosed(self, watch: TimedWatch | None) -> None:
        if watch is not None and watch.watch.failed:
            with _disk_errors():
                self.spool.note_undiagnosed(watch.watch.failed)
            watch.watch.failed.clear()

    def _evaluated(self, records: Sequence[Record]) -> list[Record]:
        """The records, with what else is measured of trials that have ended.

        No trial is to fail by it: one whose worker died with it alone is not evaluated again.
        """
        risky = {record.key for record in records if died_alone(self.claims.attempts[record.key])}
        found, failed = evaluated(records, self.trials, self.plan.evaluations, risky)
        with _disk_errors():
            self.spool.note_unmeasured(failed)
        return found

    def _share(self, live: Sequence[str], seconds: float) -> None:
        """Charge the trials that were in the stack with the time that passed."""
        for key in live:
            self.seconds[key] += seconds / len(live)

    def _report(self, records: Sequence[Record], stack: Stack) -> Iterator[None]:
        """Append records, write checkpoints where they are due, and give others a turn."""
        with _disk_errors():
            for record in records:
                self._append(record)
            if time.monotonic() - self.saved >= self.plan.checkpoint_seconds:
                self._save(stack)
        try:
            yield
        except GeneratorExit:
            with _disk_errors():
                self._save(stack)
            raise

    def _append(self, record: Record) -> None:
        if record.ended:
            self._end(record)
        else:
            self.spool.append(record)

    def _end(self, record: Record) -> None:
        """Append the last record of a trial and let go of it."""
        measured = {"seconds": self.seconds.pop(record.key, 0.0)}
        self.spool.append(Record(**vars(record) | {"measured": measured}))
        if self.checkpoints.path(record.key).exists():
            self.spool.sync()
            self.checkpoints.drop(record.key)
        self.claims.release_done(record.key)

    def _save(self, stack: Stack) -> None:
        """Take down where the trials of a stack stand; their records so far are safe first."""
        self.spool.sync()
        self.checkpoints.save(stack.checkpoints(), self.numerics, self.seconds)
        self.saved = time.monotonic()

    def _resume(self, trial: Trial) -> Checkpoint | None:
        """Where the trial stands; a checkpoint that cannot be used is dropped, with a note."""
        try:
            with _disk_errors():
                stored = self.checkpoints.load(trial.key)
            if stored is None:
                return None
            if stored.numerics != self.numerics:
                raise Unusable(f"was computed under other numerics ({stored.numerics})")
            if not continues(trial, stored.checkpoint):
                raise Unusable("does not fit the trial")
        except Unusable as error:
            with _disk_errors():
                self.spool.note(f"the checkpoint of trial {trial.key[:12]} {error}: the trial starts again")
                self.checkpoints.drop(trial.key)
            return None
        self.seconds[trial.key] = stored.seconds
        return stored.checkpoint


class _DiskError(Exception):
    """The folder could not be written: no fault of a trial."""


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError from error


def _log_of_this_process() -> str:
    """The file to which this process prints its errors, where it is one."""
    with contextlib.suppress(OSError):
        target = Path("/proc/self/fd/2").readlink()
        return str(target) if target.is_file() else ""
    return ""
