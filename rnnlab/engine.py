"""Execute a plan: workers train, this process writes what they report to the store and shows it.

A launcher (`rnnlab.processes`) does nothing but keep workers at work on the launch's folder (`rnnlab.folder`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from filelock import FileLock

from rnnlab import provenance, watch
from rnnlab.collector import Collector, Outcome
from rnnlab.evaluation import NONE, EvalSettings
from rnnlab.folder import Folder, Work, new_folder
from rnnlab.forecast import Forecast, Resources, counted, resources
from rnnlab.lengths import refusals
from rnnlab.make_up import Lacking, lacking, make_up, rows
from rnnlab.processes import LAUNCHERS, Interrupts
from rnnlab.progress import DISPLAYS, Display, print_table, tell
from rnnlab.record import FAILED, UPDATE_RATIO
from rnnlab.recovery import abandoned, live, recover, tidy
from rnnlab.refusal import BadInput
from rnnlab.screen import plan_rows
from rnnlab.spec import param
from rnnlab.store import StoreSettings, place_of
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import describe
from rnnlab.store.writer import StoreFailure, Writer
from rnnlab.survey import MODES, Start, Survey
from rnnlab.trial import Trial
from rnnlab.watch import DiagnosticsSettings

OFF = DiagnosticsSettings()
WAIT, LONGEST_WAIT = 1.0, 15.0  # seconds between looks at the trials that another launch trains
MANY = 1000  # launches that come to their end while this one begins
INTERRUPTED = 128 + signal.SIGINT  # exit status, as a shell reports Ctrl-C


@dataclass(frozen=True)
class EngineSettings:
    """The group `engine` of the configuration: how trials are executed, which changes none of their numbers."""

    launcher: str = param("local", choices=tuple(LAUNCHERS))
    workers: int | None = param(None, low=1)
    stack_size: int | None = param(None, low=1)
    memory_gb: float | None = param(None, above=0)
    checkpoint_seconds: float = param(20.0, low=0)
    mode: str = param("resume", choices=MODES)
    dry_run: bool = param(False)
    progress: str = param("auto", choices=DISPLAYS)
    report: bool = param(True)


def run(
    trials: Sequence[Trial],
    experiment: str,
    store: StoreSettings,
    settings: EngineSettings,
    command: str,
    files: Mapping[str, str] | None = None,
    evaluation: EvalSettings = NONE,
    diagnostics: DiagnosticsSettings = OFF,
) -> Outcome:
    """Train what the store does not hold yet; what another launch trains at the moment is waited for.

    `files` (name -> text) are kept with the sweep's run;
    `evaluation` says what else is measured of trials at their end, and now of finished ones that lack it; `diagnostics`
    say how they are watched. Raises `BadInput` before anything is written or trained.
    """
    if problems := [*refusals(trials, evaluation.lengths), *watch.refusals(trials, diagnostics)]:
        raise BadInput(*problems)
    place = place_of(store)
    kind_of(place).check_usable(place)
    launch = _Launch(trials, experiment, store, settings, command, files or {}, evaluation, diagnostics)
    launch.resources(trials)
    if settings.dry_run or settings.mode == "read_only":
        return launch.look()
    try:
        launch.run()
    except OSError as error:
        raise StoreFailure(f"{place.sweeps}: could not be written ({error.strerror or error})") from error
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
        evaluation: EvalSettings,
        diagnostics: DiagnosticsSettings,
    ) -> None:
        self.evaluation, self.diagnostics = evaluation, diagnostics
        self.experiment, self.store, self.settings = experiment, store, settings
        self.command, self.files = command, files
        self.place = place_of(store)
        self.sweeps = self.place.sweeps
        self.survey = Survey(trials, self.place)
        self.outcome = Outcome()
        self.mode = settings.mode
        self.is_sweep = len(trials) > 1
        self.launcher = settings.launcher if self.is_sweep else "inline"  # a single trial puts no other at risk
        self.rounds = 0
        self.cut_off = False  # whether the folder is left to the next launch

    def look(self) -> Outcome:
        """Show the plan and its cost, and change nothing."""
        start = self.survey.start(self.mode)
        without = self._lacking(start)
        self._show(start, without, self._forecast(start, without))
        self.outcome.skipped = len(start.planned.finished)
        if self.mode == "read_only" and not self.settings.dry_run:
            self.outcome.missing = len(start.planned.trials) - len(start.planned.finished)
        return self.outcome

    def run(self) -> None:
        """Train what is to be trained, and wait for what other launches train: should they end early, it is left."""
        start = self._run_once()
        elsewhere = start.planned.elsewhere
        waits = 0
        while start.planned.elsewhere and not self.outcome.interrupted:
            if not waits and self.settings.progress != "quiet":
                tell(f"waiting for {counted(len(start.planned.elsewhere), 'trial')} of another launch")
            waits += 1
            time.sleep(min(WAIT * waits, LONGEST_WAIT))
            start = self.survey.start(self.mode)
            if start.planned.pending or abandoned(self.sweeps) or not start.planned.elsewhere:
                start = self._run_once()
        self.outcome.elsewhere = len(elsewhere - start.planned.elsewhere - self.outcome.trained.keys())

    def _run_once(self) -> Start:
        """Train what is to be trained now."""
        start, work, folder, owner = self._open()
        with owner:
            without = self._lacking(start)
            forecast = self._forecast(start, without) if self.is_sweep else None
            if not self.rounds:
                self.outcome.notes += self._undiagnosed(start)
                self.outcome.skipped, self.outcome.run_ids = len(start.planned.finished), dict(start.run_ids)
                self._show(start, without, forecast)
            self._write(start, without, work, folder, forecast)
            if not (start.planned.elsewhere or self.outcome.interrupted):
                self.survey.complete()
            self._close(folder)
        if forecast is not None and start.planned.pending:
            print_table("", forecast.against(self.outcome), self.settings.progress)
        self.rounds += 1
        self.mode = "resume" if self.mode == "force" else self.mode  # what others left is not forced
        return start

    def _open(self) -> tuple[Start, Work, Folder, IO[str]]:
        """Plan, and register what this launch will train, so that no other launch trains it."""
        self.sweeps.mkdir(parents=True, exist_ok=True)
        for _ in range(MANY):
            self.outcome.notes += recover(self.sweeps, self.store)
            with FileLock(self.place.lock):
                if abandoned(self.sweeps):
                    continue  # another launch came to its end just now
                tidy(self.sweeps)
                start = self.survey.start(self.mode)
                work = self._work(start)  # before anything is changed: it may be refused
                self.survey.prepare(start, self.mode)
                self.outcome.notes += start.notes()
                folder = new_folder(self.sweeps)
                return start, work, folder, folder.create(work)
        raise StoreFailure(f"{self.sweeps}: what earlier launches left cannot be removed")

    def resources(self, trials: Sequence[Trial]) -> Resources:
        """What these trials may use; raises `BadInput` where that is too little."""
        settings = self.settings
        workers = 1 if self.launcher == "inline" else settings.workers
        return resources(trials, workers, settings.memory_gb, settings.stack_size, self.evaluation.lengths)

    def _forecast(self, start: Start, without: Sequence[Lacking]) -> Forecast:
        given, weights = self.resources(start.planned.pending), self.store.weights == "both"
        made_up = [(one.trial, one.asked) for one in without]
        return Forecast(start, given, self.survey, weights, self.evaluation.asked, made_up, self.diagnostics)

    def _work(self, start: Start) -> Work:
        given = self.resources(start.planned.pending)
        return Work(
            trials=start.planned.pending,
            experiment=self.experiment,
            stack_size=self.settings.stack_size,
            workers=given.workers,
            memory=given.memory,
            checkpoint_seconds=self.settings.checkpoint_seconds,
            tags=provenance.tags(),
            continues={key: row["run_id"] for key, row in start.ends.items()},
            lengths=list(self.evaluation.lengths),
            by_lag=self.evaluation.by_lag,
            diagnostics=vars(self.diagnostics),
        )

    def _write(
        self, start: Start, without: Sequence[Lacking], work: Work, folder: Folder, forecast: Forecast | None
    ) -> None:
        """Let workers train what is pending, write what they report, and measure what finished trials lack."""
        at_work = {other.name for other in live(self.sweeps)}
        with Writer(self.store, self.experiment, provenance.tags(), folder.name, at_work) as writer:
            if self.is_sweep:
                files = {**provenance.files(), **self.files, "command.txt": f"{self.command}\n"}
                note = describe(plan_rows(start, forecast), self.command)
                writer.begin_sweep(start.planned.trials, start.planned.axes(), note, files)
            if start.planned.pending:
                self._execute(folder, work, len(start.planned.finished), writer)
            if not self.outcome.interrupted:
                self._make_up(without, writer)
            writer.complete = not (start.planned.elsewhere or self.outcome.interrupted)

    def _make_up(self, without: Sequence[Lacking], writer: Writer) -> None:
        try:
            self.outcome.notes += make_up(without, Reader(self.place), writer)
        except KeyboardInterrupt:
            self.outcome.signal = signal.SIGINT

    def _lacking(self, start: Start) -> list[Lacking]:
        """The finished trials without evaluations that are asked for."""
        if not self.evaluation.asked or not start.run_ids:
            return []
        return lacking(Reader(self.place), start.planned.trials, start.run_ids, self.evaluation.asked)

    def _undiagnosed(self, start: Start) -> list[str]:
        """What is told of trials that ended, perhaps with a smaller budget, without the diagnostics asked for."""
        before = [*start.run_ids.values(), *(row["run_id"] for row in start.ends.values())]
        if self.diagnostics.every is None or not before:
            return []
        has = Reader(self.place).metrics([UPDATE_RATIO])
        without = sum(not has.get(run_id) for run_id in before)
        told = f"diagnostics: {without} finished before without them; engine.mode=force trains all again"
        return [told] if without else []

    def _execute(self, folder: Folder, work: Work, done: int, writer: Writer) -> None:
        """Keep workers at work until all has ended or a person ends it."""
        outcome = self.outcome
        mode = self.settings.progress if self.is_sweep else "quiet"
        with (
            Display(mode, work.trials, done, self.experiment) as display,
            Interrupts(folder, display.tell, self.launcher == "inline") as interrupts,
        ):
            collector = Collector(folder, work.trials, work.continues, writer, display, outcome)
            try:
                with contextlib.closing(LAUNCHERS[self.launcher](folder, work.workers)) as at_work:
                    collector.collect_while(at_work)
            except KeyboardInterrupt:  # anywhere, even between two writes: the next launch sees what is whole
                outcome.signal = interrupts.received or signal.SIGINT
                self.cut_off = True
                return
            collector.collect()
            outcome.signal = interrupts.received
            if not outcome.interrupted:
                collector.give_up()

    def _close(self, folder: Folder) -> None:
        """Remove the folder of the launch; the logs stay where something failed."""
        if self.cut_off:
            return
        os.sync()  # the store is safe before the folder goes
        if self.outcome.statuses[FAILED]:
            self.outcome.kept_folder = folder.keep_logs()
        folder.remove()

    def _show(self, start: Start, without: Sequence[Lacking], forecast: Forecast | None) -> None:
        if self.is_sweep or self.settings.dry_run:
            trials, *rest = plan_rows(start, forecast)
            told = [trials, *rows(without, self.evaluation.asked), *rest, ("store", self.place.shown)]
            print_table(f"Sweep {self.experiment}", told, self.settings.progress)
