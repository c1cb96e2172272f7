"""What there is to do for a launch, given what the store holds, what was interrupted, and what others are doing."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rnnlab import provenance
from rnnlab.checkpoints import Checkpoints, Unusable, read, replace_synced
from rnnlab.recovery import live
from rnnlab.store import Place, runs
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.rows import RUN_COLUMNS
from rnnlab.stored import FINAL
from rnnlab.sweep import Plan, plan
from rnnlab.train import continues
from rnnlab.trial import Trial

MODES = ("resume", "force", "failed", "read_only")


@dataclass(frozen=True)
class Start:
    """What a launch begins with."""

    planned: Plan
    run_ids: Mapping[str, str]  # trial key -> run, of the trials that are finished
    resumed: frozenset[str] = frozenset()  # keys of the trials that go on from a checkpoint
    ends: Mapping[str, runs.Row] = field(default_factory=dict)  # trial key -> run of a smaller budget that it goes on
    dropped: Mapping[str, str] = field(default_factory=dict)  # trial key -> why its checkpoint is of no use

    def notes(self) -> list[str]:
        """What a person should know."""
        told = {key: why for key, why in self.dropped.items() if key not in self.ends}
        return [f"the checkpoint of trial {key[:12]} {why}: the trial starts again" for key, why in told.items()]

    def counts(self) -> str:
        """How many trials are in which state: "8: 3 finished already, 5 to run"."""
        planned = self.planned
        states = {
            "finished already": len(planned.finished),
            "in another launch that is running": len(planned.elsewhere),
            "missing, not to run": len(planned.left_out),
            "to resume": len(self.resumed),
            "to go on from a smaller budget": len(self.ends),
        }
        fresh = len(planned.pending) - len(self.resumed) - len(self.ends)
        always = "finished already"
        told = [f"{count} {state}" for state, count in states.items() if count or state == always]
        return f"{len(planned.trials)}: " + ", ".join([*told, f"{fresh} to run"])


class Survey:
    """Looks at a store and at the launches on it; `prepare` alone changes anything, and only checkpoints."""

    def __init__(self, trials: Sequence[Trial], place: Place) -> None:
        self.trials, self.place = trials, place
        self.checkpoints = Checkpoints(place.sweeps / "checkpoints")

    def start(self, mode: str) -> Start:
        """What there is to do in this mode."""
        known = self._known()
        forced = self._forced_since() if mode == "force" else None
        anew = mode == "force" and forced is None
        finished = {} if anew else runs.finished(known if forced is None else known[known["started"] >= forced])
        only = runs.failed(known) if mode == "failed" else None
        planned = plan(self.trials, finished, self._elsewhere(known), only)
        run_ids = {key: finished[key] for key in planned.finished}
        if anew:
            return Start(planned, run_ids)
        left = self.checkpoints.keys()
        begun = runs.unended(known, provenance.numerics())
        found = {t.key: self._problem(t, begun.get(t.key)) for t in planned.pending if t.key in left}
        resumed = frozenset(key for key, problem in found.items() if not problem)
        fresh = [trial for trial in planned.pending if trial.key not in resumed]
        ends = dict(self._continued(fresh, runs.exhausted(known))) if mode != "force" else {}
        return Start(planned, run_ids, resumed, ends, {key: why for key, why in found.items() if why})

    def prepare(self, start: Start, mode: str) -> None:
        """Put the checkpoints in place from which trials go on, and none where they start again."""
        self.checkpoints.folder.mkdir(exist_ok=True)
        unused: Iterable[str] = start.dropped
        if mode == "force" and self._forced_since() is None:
            unused = [trial.key for trial in start.planned.pending]
            replace_synced(self._force, str(time.time_ns() // 10**6).encode())
        for key in (*unused, *(start.planned.finished & self.checkpoints.keys())):
            self.checkpoints.drop(key)
        for key, row in start.ends.items():
            self.checkpoints.copy(key, Reader(self.place).artifact(row, FINAL))

    def complete(self) -> None:
        """Note that all was done: if it was forced, the next `force` trains all again."""
        self._force.unlink(missing_ok=True)

    def _forced_since(self) -> int | None:
        """When the forced sweep of these trials began that has not been completed yet, in milliseconds since 1970."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self._force.read_text())
        return None

    @property
    def _force(self) -> Path:
        """Exists while a forced sweep of these trials is not complete, so that the same command goes on with it."""
        keys = "".join(sorted({trial.key for trial in self.trials}))
        return self.checkpoints.folder / f"{hashlib.sha256(keys.encode()).hexdigest()}.forced"

    def rates(self, host: str) -> dict[str, float]:
        """Seconds for a training step by shape, from earlier runs on a machine."""
        return Reader(self.place).rates(host) if kind_of(self.place).exists(self.place) else {}

    def _known(self) -> pd.DataFrame:
        there = kind_of(self.place).exists(self.place)
        return Reader(self.place).trials() if there else pd.DataFrame(columns=list(RUN_COLUMNS))

    def _elsewhere(self, known: pd.DataFrame) -> set[str]:
        """The keys of trials that other launches train now."""
        folders = live(self.place.sweeps)
        planned: set[str] = set()
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                planned |= {trial.key for trial in folder.read_plan().trials}
        return planned | runs.busy(known, {folder.name for folder in folders})

    def _problem(self, trial: Trial, begun: runs.Row | None) -> str:
        """Why the trial cannot go on from its checkpoint; "" where it can.

        The store must hold its curve up to there, or the curve would have a hole: a checkpoint outlives a run that
        somebody deletes, and records that a loss of power took.
        """
        try:
            stored = self.checkpoints.load(trial.key)
        except Unusable as error:
            return str(error)
        if stored is None or stored.key != trial.key:
            return "is that of a smaller budget"
        if stored.numerics != provenance.numerics():
            return f"was computed under other numerics ({stored.numerics})"
        if not continues(trial, stored.checkpoint):
            return "does not fit the trial"
        return (
            ""
            if begun and self._covers(begun, trial, stored.checkpoint.course["step"])
            else "has no curve in the store"
        )

    def _covers(self, run: runs.Row, trial: Trial, step: int) -> bool:
        """Whether a run has every evaluation up to a step."""
        points = Reader(self.place).curves(run["run_id"])
        evaluated = set(points.loc[points["key"] == "eval/loss", "step"])
        return evaluated.issuperset(range(0, step + 1, trial.train.eval_every))

    def _continued(
        self, trials: Iterable[Trial], ends: Mapping[str, Sequence[runs.Row]]
    ) -> Iterator[tuple[str, runs.Row]]:
        """(trial key, the exhausted run with the largest budget below the trial's), of those that have one."""
        for trial in trials if ends else ():
            usable = {self._step_of_end(trial, row): row for row in ends.get(trial.prefix_key, ())}
            if (step := max(usable, default=0)) > 0:
                yield trial.key, usable[step]

    def _step_of_end(self, trial: Trial, row: runs.Row) -> int:
        """The step from whose end the trial can go on; 0 where it cannot."""
        with contextlib.suppress(Unusable):
            stored = read(Reader(self.place).artifact(row, FINAL))
            if stored.numerics == provenance.numerics() and continues(trial, stored.checkpoint):
                return int(stored.checkpoint.course["step"])
        return 0
