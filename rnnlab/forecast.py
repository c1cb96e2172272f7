"""What a launch will cost, told before it trains, and how far off that was, told at its end."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnlab.calibrate import side_by_side
from rnnlab.collector import Outcome
from rnnlab.cost import (
    OFF,
    PROCESS_BYTES,
    Estimate,
    Lacking,
    duration,
    estimate,
    interpolate,
    made_up_seconds,
    size,
    stack_width,
    steps_worth,
    with_made_up,
)
from rnnlab.evaluation import Evaluation
from rnnlab.lengths import needed_bytes
from rnnlab.memory import peak_bytes
from rnnlab.model import parameter_count
from rnnlab.processes import cores, free_memory, worker_environment
from rnnlab.refusal import BadInput
from rnnlab.store import Place
from rnnlab.survey import Start, Survey
from rnnlab.sweep import by_shape, work
from rnnlab.trial import Trial, shape_key
from rnnlab.watch import DiagnosticsSettings

FREE_SHARE = 0.8  # of the memory that is free, for the workers
SLOWEST = 1e9  # multiplications of a recurrence that a worker does in a second, in the smallest networks
SHORT = 20.0  # seconds at that speed: what is shorter is not worth a calibration


@dataclass(frozen=True)
class Resources:
    """What a launch may use, and how it divides it."""

    workers: int
    memory: int  # bytes, for all workers
    widths: Mapping[str, int]  # shape key -> trials in a stack


def resources(
    trials: Iterable[Trial],
    workers: int | None,
    memory_gb: float | None,
    stack_size: int | None,
    lengths: Sequence[int] = (),
) -> Resources:
    """Workers and stacks for these trials: a core for each worker, as long as the memory lasts.

    Raises `BadInput` where the memory that was allowed does not suffice for one worker with one trial, or with the
    evaluation of one at these lengths.
    """
    groups = by_shape(list(trials))
    count = max(1, min(workers or cores(), sum(map(len, groups))))
    memory = int(memory_gb * 1e9) if memory_gb else int(free_memory() * FREE_SHARE)
    needed = PROCESS_BYTES + max((_needed(group[0], memory) for group in groups), default=0)
    if groups and needed > memory:
        given = f"{memory_gb:g}" if memory_gb else f"null ({memory / 1e9:.2g} that are free)"
        raise BadInput(f"engine.memory_gb={given}: must be >= {needed / 1e9:.2g}, for one trial of this sweep")
    evaluated = {value: PROCESS_BYTES + _most_at(groups, value) for value in lengths}
    if large := {value: count for value, count in evaluated.items() if count > memory}:
        raise BadInput(*(_too_long(value, count) for value, count in large.items()))
    count = max(1, min(count, memory // max(needed, *evaluated.values(), 0)))
    widths = {shape_key(g[0]): stack_width(g[0], len(g), count, memory, stack_size) for g in groups}
    return Resources(count, memory, widths)


def _most_at(groups: Sequence[Sequence[Trial]], value: int) -> int:
    return max((needed_bytes(group[0], value) for group in groups), default=0)


def _too_long(value: int, count: int) -> str:
    about = f"{count / 1e9:,.1f}"
    return f"eval.lengths={value}: needs about {about} GB for the evaluation of one trial; must be smaller"


def _needed(trial: Trial, memory: int) -> int:
    """The memory that one trial needs; where its states alone do not fit, those: nothing of that size is tried."""
    states = 4 * (trial.task.length * trial.train.batch_size + trial.model.hidden_size) * trial.model.hidden_size
    return states if states > memory else peak_bytes(trial, 1)


class Forecast:
    """The cost of what a launch has to do, from earlier runs on this machine or from a short calibration.

    asked: what else is measured of pending trials
    lacking: finished trials, and what is measured of them now
    diagnostics: of pending trials
    """

    def __init__(
        self,
        start: Start,
        given: Resources,
        survey: Survey,
        weights: bool,
        asked: Sequence[Evaluation] = (),
        lacking: Lacking = (),
        diagnostics: DiagnosticsSettings = OFF,
    ) -> None:
        self.pending, self.asked, self.lacking = start.planned.pending, asked, lacking
        self.given = given
        self.place = survey.place
        self.known = [*self.pending, *(trial for trial, _ in lacking)]  # whose rates are to be known
        rates, self.source = self._rates(survey)
        self.rates = interpolate(rates, self.known)
        trained = estimate(self.pending, self.rates, given.workers, given.widths, weights, asked, diagnostics)
        self.estimate: Estimate = with_made_up(trained, lacking, self.rates)
        self.began, self.held = time.monotonic(), stored_bytes(survey.place)

    def _rates(self, survey: Survey) -> tuple[dict[str, float], str]:
        """Seconds for a training step by shape, and where they are from."""
        shapes = {shape_key(trial) for trial in self.known}
        known = {key: rate for key, rate in survey.rates(socket.gethostname()).items() if key in shapes}
        if known.keys() == shapes:
            return known, "from earlier runs"
        if self._work() / SLOWEST < SHORT:
            return known, "too little to calibrate"
        widths = {**dict.fromkeys(shapes, 1), **self.given.widths}
        with worker_environment():
            measured = side_by_side(self.known, widths, self.given.workers)
        return measured | known, "calibrated on this machine"

    def _work(self) -> float:
        """Multiplications of a recurrence that one worker, or this process, has to do."""
        steps = {trial.key: trial.train.max_steps + steps_worth(trial, self.asked) for trial in self.pending}
        trained = sum(work(trial) / trial.train.max_steps * steps[trial.key] for trial in self.pending)
        made_up = (work(trial) / trial.train.max_steps * steps_worth(trial, own) for trial, own in self.lacking)
        return trained / self.given.workers + sum(made_up)

    def rows(self) -> list[tuple[str, str]]:
        """(what, value) pairs for the first screen."""
        groups = by_shape(self.pending)
        told = dict(self.estimate.rows())
        time_told = f"{told['time']}, {self.source}" if self.estimate.seconds is not None else self.source
        cost = list((told | {"time": time_told}).items())
        if not groups:
            return cost if self.lacking else []
        widths = sorted(self.given.widths.values())
        stacks = f"stacks of {widths[0]}" + (f" to {widths[-1]}" if widths[-1] > widths[0] else "")
        execution = f"{counted(len(groups), 'shape')}, {stacks}, {counted(self.given.workers, 'worker')}"
        sizes = sorted(parameter_count(group[0]) for group in groups)
        parameters = f"{sizes[0]:,}" + (f" to {sizes[-1]:,}" if sizes[-1] > sizes[0] else "")
        return [("parameters", parameters), ("execution", execution), *cost]

    def against(self, outcome: Outcome) -> list[tuple[str, str]]:
        """(what, estimated against actual) pairs for the end."""
        taken = time.monotonic() - self.began
        used = self._share(outcome)
        rows = []
        if self.estimate.seconds is not None and used > 0:
            made_up = made_up_seconds(self.lacking, self.rates) or 0.0
            expected = (self.estimate.seconds - made_up) * self._share(outcome, self.asked) + made_up
            rows.append(("time", f"{_pair(duration(expected), duration(taken))}{_error(expected, taken)}"))
            rows.append(("budget", f"{used:.0%} of the steps were needed"))
        if outcome.peaks:
            actual = sum(sorted(outcome.peaks)[-self.given.workers :])
            rows.append(
                ("memory", _pair(size(self.estimate.memory), size(actual)) + _error(self.estimate.memory, actual))
            )
        if (grown := stored_bytes(self.place) - self.held) > 0 and used > 0:
            rows.append(("disk", _pair(f"at most {size(self.estimate.store)}", size(grown))))
        return rows

    def _share(self, outcome: Outcome, asked: Sequence[Evaluation] = ()) -> float:
        """The part of the whole budget's work that was done, with what else is measured or without."""
        done = budget = 0.0
        for trial in self.pending:
            rate, more = self.rates.get(shape_key(trial), 0.0), steps_worth(trial, asked)
            budget += rate * (trial.train.max_steps + more)
            done += rate * (outcome.trained[trial.key] + more) if trial.key in outcome.trained else 0.0
        return done / budget if budget else 0.0


def stored_bytes(place: Place) -> int:
    """What a store on this machine takes: database and artifacts. 0 where it lies elsewhere."""
    if place.path is None or place.artifacts is None:
        return 0
    journal = place.path.with_name(f"{place.path.name}-wal")
    files = [place.path, journal, *place.artifacts.rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _pair(expected: str, actual: str) -> str:
    return f"estimated {expected}, was {actual}"


def _error(expected: float, actual: float) -> str:
    return f" ({expected / actual - 1:+.0%})" if actual > 0 else ""
