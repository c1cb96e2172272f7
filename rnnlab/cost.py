"""What a sweep costs before it is run: bytes of memory and of store, time, and how wide its stacks should be.

Memory is that of `memory.py`. Time comes from rates: seconds for one training step of one model of a stack, its share
of the evaluations included, as `calibrate.py` measures them. What is measured at the end of a trial comes on top, each
evaluation at the price of as many training steps as have its operations.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from rnnlab.disk import OFF, evaluated_bytes, store_bytes
from rnnlab.evaluation import Evaluation, possible
from rnnlab.lengths import at_value, needed_bytes
from rnnlab.memory import NUMBER, largest_tensor_bytes, parameter_rows, peak_bytes, update_bytes, width_of_step
from rnnlab.model import parameter_count
from rnnlab.sweep import by_shape
from rnnlab.trial import Trial, shape_key
from rnnlab.watch import DiagnosticsSettings

PROCESS_BYTES = 340 * 10**6  # a worker beside its tensors: 275 MB when loaded, and up to 60 that malloc holds back

# Models side by side share the cost of calling torch. Speed over the width is flat from 2 models (large shapes) or 32
# (small ones) on, until a bound below is passed: a third less at H=64 for tensors of 38 MiB, elsewhere from 200 MiB on;
# 30 % less at H=512, where parameters and buffers leave the cache (`benchmarks.widths`). The first bound stays below
# 32 MiB: larger blocks glibc takes from the system each time. That this is the reason was not shown.
LARGEST_TENSOR = 20 * 2**20  # bytes
LARGEST_UPDATE = 64 * 2**20  # bytes that an update passes over
WIDEST = 64  # wider was not measured; from 32 to 64 models the smallest shape still gains 5 %

# Beside training, measured with two workers on two cores
START_SECONDS = 5.0  # until the first stack trains: the workers and MLflow are loaded
RUN_SECONDS = 0.05  # of one core for each run: its weights are drawn, and it is written to the store by one process
MAKE_UP_SECONDS = 0.012  # for each run that is evaluated afterwards: its weights are read, what is found is written

Lacking = Sequence[tuple[Trial, Sequence[Evaluation]]]  # finished trials, and what is still to be measured of them


def stack_width(trial: Trial, waiting: int, workers: int, memory: int, limit: int | None = None) -> int:
    """How many trials of this shape should train in one stack, when `waiting` of them are to run.

    At most `limit`; so many that each worker has a part; as many as fit into its share of `memory` (bytes, of all
    workers); and as many as still make training faster. At least 1.
    """
    fast = min(LARGEST_TENSOR // largest_tensor_bytes(trial), LARGEST_UPDATE // update_bytes(trial, 1))
    widest = min(limit or WIDEST, WIDEST, math.ceil(waiting / workers), fast)
    share = memory // workers - PROCESS_BYTES
    return max(1, bisect.bisect_right(range(1, widest + 1), share, key=lambda width: peak_bytes(trial, width)))


@dataclass(frozen=True)
class Estimate:
    """What a sweep costs if every trial uses its whole budget; solved ones take less."""

    seconds: float | None  # None: not known
    memory: int  # bytes, of all workers at their peak
    store: int  # bytes

    def rows(self) -> list[tuple[str, str]]:
        """As (what, value) pairs, for a table."""
        return [
            ("time", "not known" if self.seconds is None else f"at most {duration(self.seconds)}"),
            ("memory", f"about {size(self.memory)}"),
            ("disk", f"at most {size(self.store)}"),
        ]


def estimate(
    trials: Sequence[Trial],
    rates: Mapping[str, float],
    workers: int,
    widths: Mapping[str, int],
    weights: bool,
    asked: Sequence[Evaluation] = (),
    diagnostics: DiagnosticsSettings = OFF,
) -> Estimate:
    """The cost of training `trials`.

    rates:   shape key -> seconds for a training step of one model of a stack; shapes without are interpolated
    widths:  shape key -> width of its stacks
    weights: whether the store keeps parameters
    asked:   what else is measured of each trial at its end
    diagnostics: of each trial while it trains; a few percent of the time, which are not in it
    """
    groups = by_shape(trials)
    known = interpolate(rates, trials)
    largest = max((_worker_bytes(group[0], widths[shape_key(group[0])], asked) for group in groups), default=0)
    return Estimate(
        seconds=_seconds(groups, known, workers, widths, asked) if known or not trials else None,
        memory=workers * (PROCESS_BYTES + largest) if trials else 0,
        store=sum(store_bytes(group[0], weights, asked, diagnostics) * len(group) for group in groups),
    )


def with_made_up(found: Estimate, lacking: Lacking, rates: Mapping[str, float]) -> Estimate:
    """The cost with that of evaluating finished trials, one after another in the launching process, at the end."""
    if not lacking:
        return found
    taken = made_up_seconds(lacking, rates)
    return replace(
        found,
        seconds=None if found.seconds is None or taken is None else found.seconds + taken,
        memory=max(found.memory, PROCESS_BYTES + max(_working_bytes(trial, asked) for trial, asked in lacking)),
        store=found.store + sum(evaluated_bytes(trial, asked) for trial, asked in lacking),
    )


def made_up_seconds(lacking: Lacking, rates: Mapping[str, float]) -> float | None:
    """The time for evaluating finished trials; None where a rate is not known."""
    if not {shape_key(trial) for trial, _ in lacking} <= rates.keys():
        return None
    return sum(rates[shape_key(trial)] * steps_worth(trial, asked) + MAKE_UP_SECONDS for trial, asked in lacking)


def steps_worth(trial: Trial, asked: Sequence[Evaluation]) -> float:
    """How many training steps of the trial take about as long as these evaluations.

    By the elements of the states. Of what looks at all pairs of steps, as a Transformer does, it is too little.
    """
    steps = sum(at_value(trial.task, value).length for value in _values(trial, asked))
    return steps * trial.train.eval_size / (trial.task.length * _sequences(trial))


def _values(trial: Trial, asked: Sequence[Evaluation]) -> list[int]:
    """The values of the task's dial at which networks are run for these evaluations."""
    own = getattr(trial.task, trial.task.dial)
    return [one if isinstance(one, int) else own for one in possible(trial, asked)]


def _worker_bytes(trial: Trial, width: int, asked: Sequence[Evaluation]) -> int:
    """The peak of the tensors of a worker: of a stack while it trains, or beside it an evaluation at its end."""
    held = width * parameter_rows(trial) * NUMBER * parameter_count(trial)
    evaluated = _working_bytes(trial, asked)
    return max(peak_bytes(trial, width), held + evaluated if evaluated else 0)


def _working_bytes(trial: Trial, asked: Sequence[Evaluation]) -> int:
    return max((needed_bytes(trial, value) for value in _values(trial, asked)), default=0)


def _seconds(
    groups: Sequence[Sequence[Trial]],
    rates: Mapping[str, float],
    workers: int,
    widths: Mapping[str, int],
    asked: Sequence[Evaluation],
) -> float:
    """When the last worker is done, each taking the next stack as soon as it is free; or the store's one writer."""
    free_at = [0.0] * workers
    for group in groups:
        key, steps = shape_key(group[0]), group[0].train.max_steps + steps_worth(group[0], asked)
        for start in range(0, len(group), widths[key]):
            models = min(widths[key], len(group) - start)
            heapq.heapreplace(free_at, free_at[0] + models * (steps * rates[key] + RUN_SECONDS))
    return START_SECONDS + max(*free_at, RUN_SECONDS * sum(map(len, groups)))


def interpolate(rates: Mapping[str, float], trials: Sequence[Trial]) -> dict[str, float]:
    """The rate of every shape of `trials`, from those that are known; empty where none of theirs is.

    The sum of what a step consists of, each part at a price of its own that is not negative: least squares of the
    relative error. Leaving out one of 17 measured shapes (T 9 to 120, H 32 to 128) it is missed by 3 % in the mean and
    by 9 % at most; with a line through log rate and log work by 13 % and 29 %, without elements and eigenvalues by 12 %
    and 32 %.
    """
    shapes_of = {shape_key(trial): trial for trial in trials}
    known = {key: rates[key] for key in shapes_of if key in rates}
    if not known:
        return {}
    consumed = np.array([_parts(shapes_of[key]) for key in known])
    scale = consumed.max(0)
    relative = consumed / scale / np.array(list(known.values()))[:, None]
    prices, _ = nnls(relative, np.ones(len(known)))
    guessed = {key: float(np.dot(_parts(trial) / scale, prices)) for key, trial in shapes_of.items()}
    return guessed | known


def _parts(trial: Trial) -> np.ndarray:
    """What a training step of one model consists of, each up to a constant, with its share of an evaluation.

    Multiplications in the recurrence, elements of the states, calls, and the eigenvalues of W_hh.
    """
    hidden = trial.model.hidden_size
    elements = trial.task.length * _sequences(trial) * hidden * width_of_step(trial)
    return np.array([elements * hidden, elements, 1, hidden**3 / trial.train.eval_every], dtype=float)


def _sequences(trial: Trial) -> float:
    """How many sequences a forward pass would have that takes as long as a training step with its share."""
    train = trial.train
    return 3 * train.batch_size + train.eval_size / train.eval_every  # backward costs twice what forward does


def duration(seconds: float) -> str:
    """A time as one would say it: "1 min 40 s"."""
    if seconds < 1:
        return "1 s"
    digits = 10 ** max(0, math.floor(math.log10(seconds)) - 1)  # two digits: it is an estimate
    if seconds <= 59:
        return f"{math.ceil(seconds / digits) * digits:.0f} s"
    minutes, rest = divmod(math.ceil(seconds / 10) * 10, 60)
    if minutes < 10:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    if hours < 10:
        return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count)
    return f"{math.ceil(seconds / 3600)} h"


def size(count: float) -> str:
    """Bytes in decimal units: "1.2 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
