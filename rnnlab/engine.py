"""Execute a plan: workers train, this process writes what they report to the store and shows it.

A launcher does nothing but start workers: a worker needs the sweep's folder (`rnnlab.spool`) and nothing else.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit

from rnnlab import provenance, worker
from rnnlab.model import parameter_count
from rnnlab.progress import MODES, Display, print_table
from rnnlab.record import FAILED, Record
from rnnlab.spool import Folder, SpoolReader
from rnnlab.store import Place, StoreSettings, place_of
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import describe
from rnnlab.store.writer import Writer
from rnnlab.sweep import Plan, by_shape, plan
from rnnlab.trial import Trial, param, show

POLL = 0.1  # seconds between looks at the spools
FLUSH = 2.0  # seconds between batches of writes to the store
INTERRUPTED = 130  # exit status, as a shell reports Ctrl-C
NO_LIMIT = 60 * 24 * 365  # minutes: submitit wants a limit
# One thread each, or workers take each other's cores. And large blocks stay with the process, in huge pages: at each
# training step glibc would give them back and ask for them again, at 5000 page faults a step (30 % of the time).
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


@dataclass(frozen=True)
class EngineSettings:
    """The group `engine` of the configuration: how trials are executed, which changes none of their numbers."""

    workers: int | None = param(None, low=1)
    stack_size: int = param(16, low=1)
    mode: str = param("resume", choices=("resume", "force"))
    progress: str = param("auto", choices=MODES)


@dataclass
class Outcome:
    """How a launch ended."""

    statuses: Counter[str] = field(default_factory=Counter)  # of the trials that ran now
    run_ids: dict[str, str] = field(default_factory=dict)  # trial key -> run, of all trials of the plan that ran
    last: dict[str, Record] = field(default_factory=dict)  # trial key -> its last record
    skipped: int = 0  # trials that the store held already
    interrupted: bool = False
    kept_folder: Path | None = None  # with the workers' logs, where something failed

    @property
    def exit_status(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        return 1 if self.statuses[FAILED] else 0


def run(
    trials: Sequence[Trial], experiment: str, store: StoreSettings, settings: EngineSettings, command: str
) -> Outcome:
    """Train what the store does not hold yet. Raises `BadInput` before anything is written or trained."""
    place = place_of(store)
    kind_of(place).check_usable(place)
    finished = Reader(place).finished() if settings.mode == "resume" and kind_of(place).exists(place) else {}
    planned = plan(trials, finished)
    workers = _workers(settings, len(planned.pending))
    is_sweep = len(planned.trials) > 1
    described = _describe(planned, workers, settings.stack_size)
    if is_sweep:
        print_table(f"Sweep {experiment}", [*described, ("store", place.shown)], settings.progress)
    outcome = Outcome(skipped=len(planned.finished), run_ids={key: finished[key] for key in planned.finished})
    with Writer(store, experiment, provenance.tags()) as writer:
        if is_sweep:
            writer.begin_sweep(planned.trials, planned.axes(), describe(described, command))
        if planned.pending:
            _execute(planned, workers, writer, place, settings, experiment, outcome)
        writer.complete = not outcome.interrupted
    return outcome


def _describe(planned: Plan, workers: int, stack_size: int) -> list[tuple[str, str]]:
    """What is planned, as (what, value) pairs."""
    columns = [trial.flat() for trial in planned.trials]
    axes = {name: _by_size({column.get(name) for column in columns}) for name in planned.axes()}
    shapes = by_shape(planned.pending)
    rows = [
        ("trials", f"{len(planned.trials)}: {len(planned.finished)} finished already, {len(planned.pending)} to run"),
        *((name, ", ".join(map(show, values))) for name, values in axes.items()),
    ]
    if planned.pending:
        widths = f"stacks of up to {min(stack_size, math.ceil(len(shapes[0]) / workers))}"
        rows.append(("execution", f"{_counted(len(shapes), 'shape')}, {widths}, {_counted(workers, 'worker')}"))
    return rows


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _by_size(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, then text, then what is missing."""
    return sorted(values, key=lambda v: (v is None, isinstance(v, str), v if isinstance(v, int | float) else 0, str(v)))


def _workers(settings: EngineSettings, pending: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(settings.workers or cores, pending))


def _execute(
    planned: Plan, workers: int, writer: Writer, place: Place, settings: EngineSettings, title: str, outcome: Outcome
) -> None:
    """Train what is pending in a folder of its own, which stays only where something failed."""
    with writer.lock:
        folder = _new_folder(place.sweeps)
        owner = folder.create(planned.pending, settings.stack_size, workers)
    mode = settings.progress if len(planned.trials) > 1 else "quiet"
    with (
        owner,
        Display(mode, len(planned.trials), len(planned.finished), title) as display,
    ):
        collector = _Collector(folder, planned.pending, writer, display, outcome)
        try:
            with contextlib.closing(worker.work(folder) if workers == 1 else _processes(folder, workers)) as at_work:
                collector.collect_while(at_work)
        except KeyboardInterrupt:
            outcome.interrupted = True
        collector.collect()
        if not outcome.interrupted:
            collector.note_lost(f"its worker process ended before the trial did; see {folder.logs}")
    if outcome.statuses[FAILED]:
        outcome.kept_folder = folder.root
    else:
        shutil.rmtree(folder.root, ignore_errors=True)  # after a second Ctrl-C a worker may still be writing


def _new_folder(sweeps: Path) -> Folder:
    """A new folder in `sweeps`; those of launches that are no more are removed."""
    sweeps.mkdir(parents=True, exist_ok=True)
    for old in map(Folder, sweeps.iterdir()):
        if old.owner.exists() and old.owner_is_gone():
            shutil.rmtree(old.root, ignore_errors=True)
    return Folder(Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=sweeps)))


class _Collector:
    """Takes what the workers report to the store, to the display and to the outcome of the launch."""

    def __init__(
        self, folder: Folder, trials: Sequence[Trial], writer: Writer, display: Display, outcome: Outcome
    ) -> None:
        self.spool = SpoolReader(folder)
        self.trials = {trial.key: trial for trial in trials}
        self.writer, self.display, self.outcome = writer, display, outcome

    def collect_while(self, at_work: Iterable[None]) -> None:
        """Collect whenever `at_work` yields, and write what was noted every `FLUSH` seconds."""
        flushed = time.monotonic()
        for _ in at_work:
            self.collect()
            if time.monotonic() - flushed > FLUSH:
                self.writer.flush()
                flushed = time.monotonic()

    def collect(self) -> None:
        """Take note of all records that are new."""
        for record, weights in self.spool.new():
            self._note(record, weights)
        self.display.refresh()

    def note_lost(self, reason: str) -> None:
        """Record the trials without an end as failed."""
        for key in self.trials:
            if key not in self.outcome.last or not self.outcome.last[key].ended:
                self._note(Record(key, 0, FAILED, error=reason), None)

    def _note(self, record: Record, weights: Path | None) -> None:
        outcome = self.outcome
        if record.key not in outcome.run_ids:
            trial = self.trials[record.key]
            outcome.run_ids[record.key] = self.writer.begin(trial, run_name(trial), derived(trial))
        self.writer.write(record, weights)
        outcome.last[record.key] = record
        if record.ended:
            outcome.statuses[record.status] += 1
        self.display.update(record)


def run_name(trial: Trial) -> str:
    """A readable name: "elman copy delay=40 orthogonal rho=1.0 seed=3"."""
    names = trial.flat()
    radius = trial.init.spectral_radius
    return f"{names['cell']} {names['task']} {trial.task.label} {names['init']} rho={radius} seed={trial.seed}"


def derived(trial: Trial) -> dict[str, float]:
    """What follows from a trial's fields and is stored beside them, as columns of the frame."""
    task = trial.task
    return {"distance": task.distance, "baseline": task.baseline, "parameters": parameter_count(trial)}


def _processes(folder: Folder, workers: int) -> Generator[None]:
    """Start worker processes and wait until they have ended; on Ctrl-C they end at the next chunk border.

    submitit starts them, as it would on a cluster.
    """
    executor = submitit.AutoExecutor(folder=folder.logs, cluster="local")
    executor.update_parameters(timeout_min=NO_LIMIT)
    with worker_environment(), _interrupts_ignored():
        jobs = [executor.submit(worker.main, str(folder.root)) for _ in range(workers)]
    try:
        while not all(job.done() for job in jobs):
            time.sleep(POLL)
            yield
    except (KeyboardInterrupt, GeneratorExit):
        folder.stop.touch()
        while not all(job.done() for job in jobs):
            time.sleep(POLL)
        raise


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Processes started within have the environment of a worker; what the user has set stays."""
    added = {name: value for name, value in WORKER_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
