"""What else is measured of a trial that has ended: its final weights at other lengths, and its error by lag.

No training number depends on it, and no trial fails by it: what cannot be evaluated is left out, and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, TypeAlias

from torch import Tensor

from rnnlab.by_lag import at_lags, bins_of
from rnnlab.lengths import at_lengths
from rnnlab.record import EXHAUSTED, SOLVED, Record
from rnnlab.spec import param
from rnnlab.trial import Trial

LAGS: Final = "by_lag"  # the evaluation by the distance of each output
DIED = "its worker process died; the next launch tries it again"  # why a trial is not evaluated

Evaluation: TypeAlias = int | Literal["by_lag"]  # at a value of the task's dial, or `LAGS`


@dataclass(frozen=True)
class EvalSettings:
    """The section `eval` of the configuration."""

    lengths: tuple[int, ...] = param((), low=0)  # values of the task's dial
    by_lag: bool = param(True)

    @property
    def asked(self) -> tuple[Evaluation, ...]:
        """Each evaluation once."""
        return (*dict.fromkeys(self.lengths), *((LAGS,) if self.by_lag else ()))


NONE = EvalSettings(by_lag=False)


def possible(trial: Trial, asked: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
    """Those that tell something of the trial: where all outputs have one distance, the error by lag does not."""
    return tuple(one for one in asked if one != LAGS or bins_of(trial.task, trial.train.eval_size) is not None)


class Evaluated(NamedTuple):
    """What came of evaluating trials: the metrics of each, and how many lack which evaluation for which reason."""

    metrics: list[dict[str, float]]
    failed: Counter[tuple[Evaluation, str]]


def attempt(trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]], asked: Sequence[Evaluation]) -> Evaluated:
    """What is asked of trials of one shape, with these weights; an evaluation that raises is left out."""
    found = Evaluated([{} for _ in trials], Counter())
    for one in asked:
        rows, reason = _tried(trials, weights, one)
        if reason and len(trials) > 1:  # now that what the failure held in memory is free
            alone = [attempt([trial], [own], [one]) for trial, own in zip(trials, weights, strict=True)]
            rows = [metrics for each in alone for metrics in each.metrics]
            found.failed.update(sum((each.failed for each in alone), Counter()))
        elif reason:
            found.failed[one, reason] += 1
        for metrics, row in zip(found.metrics, rows, strict=True):
            metrics |= row
    return found


def _tried(
    trials: Sequence[Trial], weights: Sequence[Mapping[str, Tensor]], one: Evaluation
) -> tuple[list[dict[str, float]], str]:
    """What an evaluation finds, or nothing for each trial and why."""
    try:
        return at_lengths(trials, weights, [one]) if isinstance(one, int) else at_lags(trials, weights), ""
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told, and no trial fails by it
        return [{} for _ in trials], reason_of(error)


def reason_of(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")


def evaluated(
    records: Sequence[Record], trials: Mapping[str, Trial], asked: Sequence[Evaluation], risky: Collection[str]
) -> tuple[list[Record], Counter[tuple[Evaluation, str]]]:
    """The records, with what is asked of `trials` (by key) that have ended with weights of use; and what is left out.

    Those with the keys `risky` are not evaluated.
    """
    failed: Counter[tuple[Evaluation, str]] = Counter()
    ended = [record for record in records if record.status in (SOLVED, EXHAUSTED)] if asked else []
    for record in ended:
        if record.key in risky:
            failed.update((one, DIED) for one in possible(trials[record.key], asked))
    ended = [record for record in ended if record.key not in risky]
    if not ended:
        return list(records), failed
    found = attempt([trials[record.key] for record in ended], [record.weights for record in ended], asked)
    more = {record.key: metrics for record, metrics in zip(ended, found.metrics, strict=True)}
    rows = [replace(record, metrics={**record.metrics, **more.get(record.key, {})}) for record in records]
    return rows, failed + found.failed


def notes(failed: Mapping[tuple[Evaluation, str], int]) -> list[str]:
    """A line for each evaluation that was left out, with the most frequent reason."""
    reasons: dict[Evaluation, Counter[str]] = {}
    for (one, reason), count in failed.items():
        reasons.setdefault(one, Counter())[reason] += count
    return [
        f"{named(one)}: could not be evaluated, trials without it: {of.total()} ({of.most_common(1)[0][0]})"
        for one, of in sorted(reasons.items(), key=lambda item: (isinstance(item[0], int), item[0]))
    ]


def named(one: Evaluation) -> str:
    """An evaluation as it is asked for: `eval.lengths=40`."""
    return f"{key_of(one)}={one}" if isinstance(one, int) else key_of(one)


def key_of(one: Evaluation) -> str:
    """The key of the configuration that asks for an evaluation."""
    return "eval.lengths" if isinstance(one, int) else "eval.by_lag"
