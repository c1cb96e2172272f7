"""Takes what workers report to the store, to the display and to the outcome of the launch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnnlab.evaluation import notes
from rnnlab.folder import Folder
from rnnlab.memory import training_bytes
from rnnlab.model import parameter_count
from rnnlab.progress import Display
from rnnlab.record import FAILED, Record
from rnnlab.spool import SpoolReader
from rnnlab.store.writer import HEARTBEAT_EVERY, Writer
from rnnlab.tasks import label
from rnnlab.trial import Trial
from rnnlab.watch import undiagnosed

FLUSH = 2.0  # seconds between batches of writes to the store, at least
FLUSH_SHARE = 0.01  # of the time, for batches between the beginnings and the ends of trials


@dataclass
class Outcome:
    """How a launch ended."""

    statuses: Counter[str] = field(default_factory=Counter)  # of the trials that ended now
    failures: dict[str, str] = field(default_factory=dict)  # trial key -> reason
    run_ids: dict[str, str] = field(default_factory=dict)  # trial key -> run, of the trials that ran now or before
    last: Record | None = None  # the last record that came
    notes: list[str] = field(default_factory=list)  # what a person should know
    trained: dict[str, int] = field(default_factory=dict)  # trial key -> steps trained now
    peaks: list[int] = field(default_factory=list)  # bytes of memory, of each worker that has ended
    skipped: int = 0  # trials that the store held already
    elsewhere: int = 0  # trials that another launch trained meanwhile
    missing: int = 0  # trials without a result that this launch was not to run
    signal: int | None = None  # that ended it early
    kept_folder: Path | None = None  # with the workers' logs, where something failed

    @property
    def interrupted(self) -> bool:
        return self.signal is not None

    @property
    def exit_status(self) -> int:
        if self.signal is not None:
            return 128 + self.signal  # as a shell reports it
        return 1 if self.statuses[FAILED] or self.missing else 0


class Collector:
    """Reads the spool of a launch's folder."""

    def __init__(
        self,
        folder: Folder,
        trials: Iterable[Trial],
        continues: Mapping[str, str],
        writer: Writer,
        display: Display,
        outcome: Outcome,
    ) -> None:
        self.folder, self.spool = folder, SpoolReader(folder)
        self.trials = {trial.key: trial for trial in trials}
        self.continues = continues
        self.given = list(outcome.notes)  # told already
        self.ended: set[str] = set()
        self.steps: dict[str, int] = {}  # trial key -> step of its last record, of those that run
        self.due: float | None = None  # when the next batch is written
        self.writer, self.display, self.outcome = writer, display, outcome

    def collect_while(self, at_work: Iterable[None]) -> None:
        """Collect whenever `at_work` yields, and write what was noted now and then."""
        for _ in at_work:
            self.collect()
            self.flush_if_due(time.monotonic())

    def flush_if_due(self, now: float) -> None:
        """Write what was noted; seldom where that takes long, as each batch costs by itself."""
        if self.due is None:
            self.due = now + FLUSH
        if now < self.due:
            return
        began = time.monotonic()
        self.writer.flush()
        self.due = now + min(max(FLUSH, (time.monotonic() - began) / FLUSH_SHARE), HEARTBEAT_EVERY)

    def collect(self) -> None:
        """Take note of all records that are new."""
        for record, weights in self.spool.new():
            self._note(record, weights)
        told = [*notes(self.spool.unmeasured), *undiagnosed(self.spool.undiagnosed)]
        self.outcome.notes = [*self.given, *self.spool.notes, *told]
        self.outcome.peaks = self.spool.peaks()
        self.display.refresh()

    def give_up(self) -> None:
        """Record trials that no worker could even begin as failed; raises `OSError` where the disk is at fault."""
        if not (lost := self.trials.keys() - self.ended):
            return
        self.folder.check_writable()
        reason = f"its worker process ended before the trial did; see {self.folder.logs}"
        for key in lost:
            self._note(Record(key, 0, FAILED, error=reason), None)

    def _note(self, record: Record, weights: Path | None) -> None:
        key, outcome = record.key, self.outcome
        if key in self.writer.written or key in self.ended:  # by this launch, before it was cut off
            self.ended.add(key)
            return
        if key not in self.trials:  # of a folder that is recovered: it cannot be built any more
            return
        if key not in self.writer.open:
            trial = self.trials[key]
            begun = self.writer.begin(trial, run_name(trial), derived(trial), self.continues.get(key, ""))
            outcome.run_ids[key] = begun
        self.writer.write(record, weights)
        outcome.last = record
        new = record.step - self.steps.get(key, record.step)
        outcome.trained[key] = outcome.trained.get(key, 0) + max(0, new)
        self.steps[key] = record.step
        if record.ended:
            del self.steps[key]
            self.ended.add(key)
            outcome.statuses[record.status] += 1
            if record.status == FAILED:
                outcome.failures[key] = record.error
        self.display.update(record)


def run_name(trial: Trial) -> str:
    """A readable name: "elman copy delay=40 orthogonal rho=1.0 seed=3"; no init where the cell reads none."""
    names = trial.flat()
    init = f" {names['init']} rho={trial.init.spectral_radius}" if trial.cell.reads_init else ""
    return f"{names['cell']} {names['task']} {label(trial.task)}{init} seed={trial.seed}"


def derived(trial: Trial) -> dict[str, float]:
    """What follows from a trial's fields and is stored beside them, as columns of the frame."""
    task = trial.task
    return {
        "distance": task.distance,
        "baseline": task.baseline,
        "parameters": parameter_count(trial),
        "train_bytes": training_bytes(trial, 1),
    }
