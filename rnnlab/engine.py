"""Execute a plan: workers train, this process writes what they report to the store and shows it.

A launcher (`rnnlab.processes`) does nothing but keep workers at work on the launch's folder (`rnnlab.spool`).
"""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
from filelock import FileLock

from rnnlab import provenance
from rnnlab.checkpoints import Checkpoints, Unusable, read
from rnnlab.collector import Collector, Outcome
from rnnlab.processes import LAUNCHERS, Interrupts, cores
from rnnlab.progress import MODES, Display, print_table
from rnnlab.record import FAILED
from rnnlab.recovery import abandoned, live, recover
from rnnlab.spool import Folder, Work, new_folder
from rnnlab.store import StoreSettings, check_usable, location, lock_of, runs, sweeps_of
from rnnlab.store.reader import RUN_COLUMNS, Reader
from rnnlab.store.view import describe
from rnnlab.store.writer import StoreFailure, Writer
from rnnlab.sweep import Plan, by_shape, plan
from rnnlab.train import continues
from rnnlab.trial import Trial, param, show

WAIT = 1.0  # seconds between looks at the trials that another launch trains
INTERRUPTED = 128 + signal.SIGINT  # exit status, as a shell reports Ctrl-C


@dataclass(frozen=True)
class EngineSettings:
    """The group `engine` of the configuration: how trials are executed, which changes none of their numbers."""

    launcher: str = param("local", choices=tuple(LAUNCHERS))
    workers: int | None = param(None, low=1)
    stack_size: int | None = param(16, low=1)
    memory_gb: float | None = param(None, above=0)
    checkpoint_seconds: float = param(20.0, low=0)
    mode: str = param("resume", choices=("resume", "force", "failed", "read_only"))
    dry_run: bool = param(False)
    progress: str = param("auto", choices=MODES)


@dataclass(frozen=True)
class Start:
    """What a launch begins with."""

    planned: Plan
    resumed: frozenset[str]  # keys of the trials that go on from a checkpoint
    continues: Mapping[str, str]  # trial key -> run of a smaller budget from whose end it goes on


def run(
    trials: Sequence[Trial],
    experiment: str,
    store: StoreSettings,
    settings: EngineSettings,
    command: str,
    files: Mapping[str, str] | None = None,
) -> Outcome:
    """Train what the store does not hold yet; what another launch trains at the moment is waited for.

    `files` (name -> text) are kept with the sweep's run. Raises `BadInput` before anything is written or trained.
    """
    path = location(store.path)
    check_usable(path)
    launch = _Launch(trials, experiment, store, settings, command, files or {})
    if settings.dry_run or settings.mode == "read_only":
        return launch.look()
    while launch.run_once():
        time.sleep(WAIT)
    return launch.outcome


class _Launch:
    """One command: planned, executed, and planned again while others train some of its trials."""

    def __init__(
        self,
        trials: Sequence[Trial],
        experiment: str,
        store: StoreSettings,
        settings: EngineSettings,
        command: str,
        files: Mapping[str, str],
    ) -> None:
        self.trials, self.experiment, self.store, self.settings = trials, experiment, store, settings
        self.command, self.files = command, files
        self.path = location(store.path)
        self.sweeps = sweeps_of(self.path)
        self.checkpoints = Checkpoints(self.sweeps / "checkpoints")
        self.outcome = Outcome()
        self.rounds = 0
        self.force = settings.mode == "force"  # all at first, later what others left

    def look(self) -> Outcome:
        """Show the plan and change nothing."""
        start = self._start()
        self._show(start)
        self.outcome.skipped = len(start.planned.finished)
        if self.settings.mode == "read_only" and not self.settings.dry_run:
            self.outcome.missing = len(start.planned.trials) - len(start.planned.finished)
        return self.outcome

    def run_once(self) -> bool:
        """Train what is to be trained now; return whether other launches have trials that are worth waiting for."""
        start, folder, owner = self._open()
        if not self.rounds:
            self._show(start)
            self._count_skipped(start)
        self.rounds += 1
        with owner, Writer(self.store, self.experiment, provenance.tags(), folder.name, self._live()) as writer:
            if len(self.trials) > 1:
                note = describe(self._describe(start), self.command)
                files = {**provenance.files(), **self.files, "command.txt": f"{self.command}\n"}
                writer.begin_sweep(start.planned.trials, start.planned.axes(), note, files)
            if start.planned.pending:
                self._execute(start, folder, writer)
            waiting = bool(start.planned.elsewhere) and not self.outcome.interrupted
            writer.complete = not (waiting or self.outcome.interrupted)
        self._close(folder)
        self.force = False
        return waiting

    def _count_skipped(self, start: Start) -> None:
        self.outcome.skipped = len(start.planned.finished)
        if start.planned.finished:
            finished = runs.finished(Reader(self.path).trials())
            self.outcome.run_ids = {key: finished[key] for key in start.planned.finished}

    def _live(self) -> set[str]:
        return {folder.name for folder in live(self.sweeps)}

    def _open(self) -> tuple[Start, Folder, IO[str]]:
        """Plan, and register what this launch will train, so that no other launch trains it."""
        self.sweeps.mkdir(parents=True, exist_ok=True)
        while True:
            recover(self.sweeps, self.store)
            with FileLock(lock_of(self.path)):
                if abandoned(self.sweeps):
                    continue  # another launch came to its end just now
                start = self._start()
                self._prepare(start)
                folder = new_folder(self.sweeps)
                return start, folder, folder.create(self._work(start))

    def _start(self) -> Start:
        """What there is to do, given what the store holds and what other launches are doing."""
        known = Reader(self.path).trials() if self.path.exists() else pd.DataFrame(columns=list(RUN_COLUMNS))
        others = {trial.key for folder in live(self.sweeps) for trial in folder.read_plan().trials}
        elsewhere = others | runs.busy(known, self._live())
        only = runs.failed(known) if self.settings.mode == "failed" else None
        planned = plan(self.trials, {} if self.force else runs.finished(known), elsewhere, only)
        if self.force:
            return Start(planned, frozenset(), {})
        left = self.checkpoints.keys()
        resumed = frozenset(trial.key for trial in planned.pending if trial.key in left and self._is_own(trial.key))
        return Start(planned, resumed, self._continued(planned, resumed, runs.exhausted(known)))

    def _is_own(self, key: str) -> bool:
        """Whether the checkpoint is that of an interrupted trial; one that cannot be read is left to the worker."""
        try:
            stored = self.checkpoints.load(key)
        except Unusable:
            return True
        return stored is not None and stored.key == key

    def _continued(
        self, planned: Plan, resumed: frozenset[str], ends: Mapping[str, Sequence[runs.Row]]
    ) -> dict[str, str]:
        """Trial key -> run with the largest budget below the trial's, whose end it can go on from."""
        found = {}
        for trial in planned.pending if ends else ():
            if trial.key not in resumed and (run := self._largest_end(trial, ends.get(trial.prefix_key, ()))):
                found[trial.key] = run
        return found

    def _largest_end(self, trial: Trial, ends: Iterable[runs.Row]) -> str | None:
        steps = {}
        for row in ends:
            with contextlib.suppress(Unusable):
                stored = read(self._end_of(row))
                if stored.numerics == provenance.numerics() and continues(trial, stored.checkpoint):
                    steps[row["run_id"]] = stored.checkpoint.course["step"]
        return max(steps, key=steps.__getitem__, default=None)

    def _end_of(self, row: runs.Row) -> Path:
        return Reader(self.path).artifact(row, "weights/final.safetensors")

    def _prepare(self, start: Start) -> None:
        """Put the checkpoints in place from which trials go on, and none where they start again."""
        self.checkpoints.folder.mkdir(exist_ok=True)
        if self.force:
            for trial in start.planned.pending:
                self.checkpoints.drop(trial.key)
        if start.continues:
            rows = Reader(self.path).trials().set_index("run_id", drop=False).to_dict("index")
            for key, run_id in start.continues.items():
                self.checkpoints.copy(key, self._end_of(rows[run_id]))

    def _work(self, start: Start) -> Work:
        return Work(
            trials=start.planned.pending,
            experiment=self.experiment,
            stack_size=self.settings.stack_size,
            workers=self._workers(start),
            memory=0,
            checkpoint_seconds=self.settings.checkpoint_seconds,
            tags=provenance.tags(),
            continues=start.continues,
        )

    def _workers(self, start: Start) -> int:
        if self.settings.launcher == "inline":
            return 1
        return max(1, min(self.settings.workers or cores(), len(start.planned.pending)))

    def _execute(self, start: Start, folder: Folder, writer: Writer) -> None:
        """Let workers train what is pending."""
        planned, outcome = start.planned, self.outcome
        launcher = "inline" if len(self.trials) == 1 else self.settings.launcher  # a single trial risks no other
        mode = self.settings.progress if len(self.trials) > 1 else "quiet"
        with (
            Display(mode, planned.pending, len(planned.finished), self.experiment) as display,
            Interrupts(folder, display.tell) as interrupts,
        ):
            collector = Collector(folder, planned.pending, start.continues, writer, display, outcome)
            try:
                with contextlib.closing(LAUNCHERS[launcher](folder, self._workers(start))) as at_work:
                    collector.collect_while(at_work)
            except KeyboardInterrupt:
                interrupts.received = interrupts.received or signal.SIGINT
            except OSError as error:
                raise StoreFailure(f"{folder.root}: could not be written ({error.strerror or error})") from error
            collector.collect()
            outcome.signal = interrupts.received
            if not outcome.interrupted:
                self._give_up(folder, collector)

    def _give_up(self, folder: Folder, collector: Collector) -> None:
        """Record trials that no worker could even begin as failed, unless the disk is at fault."""
        if collector.trials.keys() == collector.ended:
            return
        try:
            probe = folder.root / "probe"
            probe.write_bytes(bytes(2**20))
            probe.unlink()
        except OSError as error:
            raise StoreFailure(f"{folder.root}: could not be written ({error.strerror})") from error
        collector.note_lost(f"its worker process ended before the trial did; see {folder.logs}")

    def _close(self, folder: Folder) -> None:
        """Remove the folder of the launch, which stays only where something failed."""
        if self.outcome.statuses[FAILED]:
            self.outcome.kept_folder = _keep_logs(folder)
        shutil.rmtree(folder.root, ignore_errors=True)

    def _show(self, start: Start) -> None:
        if len(self.trials) > 1 or self.settings.dry_run:
            rows = [*self._describe(start), ("store", str(self.path))]
            print_table(f"Sweep {self.experiment}", rows, self.settings.progress)

    def _describe(self, start: Start) -> list[tuple[str, str]]:
        """What is planned, as (what, value) pairs."""
        planned = start.planned
        columns = [trial.flat() for trial in planned.trials]
        axes = {name: _by_size({column.get(name) for column in columns}) for name in planned.axes()}
        rows = [
            ("trials", f"{len(planned.trials)}: {_counts(start)}"),
            *((name, ", ".join(map(show, values))) for name, values in axes.items()),
        ]
        if planned.pending:
            shapes, workers = by_shape(planned.pending), self._workers(start)
            width = math.ceil(len(shapes[0]) / workers)
            widths = f"stacks of up to {min(self.settings.stack_size or width, width)}"
            rows.append(("execution", f"{_counted(len(shapes), 'shape')}, {widths}, {_counted(workers, 'worker')}"))
        return rows


def _counts(start: Start) -> str:
    """How many trials are in which state: "3 finished already, 5 to run"."""
    planned = start.planned
    states = {
        "finished already": len(planned.finished),
        "in another launch that is running": len(planned.elsewhere),
        "missing, not to run": len(planned.left_out),
        "to resume": len(start.resumed),
        "to go on from a smaller budget": len(start.continues),
    }
    to_run = len(planned.pending) - states["to resume"] - states["to go on from a smaller budget"]
    always = ("finished already",)
    told = [f"{count} {state}" for state, count in states.items() if count or state in always]
    return ", ".join([*told, f"{to_run} to run"])


def _keep_logs(folder: Folder) -> Path:
    """Move the logs of a launch to where they stay; return the folder."""
    kept = folder.root.parent.parent / "logs" / folder.name
    kept.parent.mkdir(exist_ok=True)
    folder.logs.rename(kept)
    return kept


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _by_size(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, then text, then what is missing."""
    return sorted(values, key=lambda v: (v is None, isinstance(v, str), v if isinstance(v, int | float) else 0, str(v)))
