"""Evaluations that finished trials lack, made up from their stored final weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from rnnlab.checkpoints import Unusable
from rnnlab.evaluation import Evaluation, attempt, key_of, notes, possible, reason_of
from rnnlab.provenance import numerics
from rnnlab.record import BY_LAG_POINTS, EXHAUSTED, SOLVED, at_length
from rnnlab.store.reader import Reader
from rnnlab.store.runs import Row
from rnnlab.store.writer import Writer
from rnnlab.stored import weights_of
from rnnlab.trial import Trial, shape_key

AT_ONCE = 32  # models whose weights are held at a time
WITHOUT = {"eval.lengths": "without them", "eval.by_lag": "without it"}


class Lacking(NamedTuple):
    """A finished trial without some evaluations that are asked for."""

    trial: Trial
    run: Row
    step: int  # at which it ended
    asked: tuple[Evaluation, ...]


def lacking(
    reader: Reader, trials: Iterable[Trial], run_ids: Mapping[str, str], asked: Sequence[Evaluation]
) -> list[Lacking]:
    """Those of the trials that lack evaluations; `run_ids` maps the keys of finished ones to their runs.

    A diverged trial has no weights worth evaluating, and lacks nothing.
    """
    wanted = [(trial, possible(trial, asked)) for trial in trials if trial.key in run_ids]
    wanted = [(trial, told) for trial, told in wanted if told]
    if not wanted:  # the store need not be read
        return []
    runs = {row["run_id"]: row for row in reader.trials().to_dict("records")}
    measured = reader.metrics(["trained_steps", *(_metric(one) for one in asked)])
    found = []
    for trial, told in wanted:
        run = runs.get(run_ids[trial.key])
        if run is None or run["status"] not in (SOLVED, EXHAUSTED):
            continue
        has = measured[run["run_id"]]
        if missing := tuple(one for one in told if _metric(one) not in has):
            found.append(Lacking(trial, run, int(has["trained_steps"]), missing))
    return found


def _metric(one: Evaluation) -> str:
    """A metric that a run has if it was evaluated so."""
    return at_length(one, "loss") if isinstance(one, int) else BY_LAG_POINTS


class _Made:
    """What was made up, and what was not: trials, each with the key that asks for it and more."""

    def __init__(self) -> None:
        self.done = Counter[str]()
        self.others = Counter[tuple[str, str]]()  # other numerics that they were trained under
        self.without = Counter[tuple[str, str]]()  # what is wrong with the weights
        self.failed = Counter[tuple[Evaluation, str]]()

    def note(self, one: Lacking, row: Mapping[str, float]) -> None:
        """Take note of what was found of a trial."""
        for key in dict.fromkeys(key_of(asked) for asked in one.asked if _metric(asked) in row):
            self.done[key] += 1
            if isinstance(tag := one.run["numerics"], str) and tag != numerics():
                self.others[key, tag] += 1

    def notes(self) -> Iterator[str]:
        """What a person should know."""
        for key, count in self.done.items():
            yield f"{key}: {count} finished before {WITHOUT[key]}; evaluated now, from the stored weights"
        for (key, tag), count in self.others.items():
            under = f"under other numerics ({tag}), evaluated now under {numerics()}"
            yield f"{key}: {count} of them were trained {under}"
        yield from notes(self.failed)
        for (key, why), count in self.without.items():
            yield f"{key}: {count} finished {WITHOUT[key]}, and the weights {why}; engine.mode=force trains all again"


def make_up(found: Sequence[Lacking], reader: Reader, writer: Writer) -> Iterator[str]:
    """Evaluate and write what is lacking; yields what a person should know. Done again, it changes nothing."""
    made = _Made()
    for (_, asked), group in _groups(found).items():
        for start in range(0, len(group), AT_ONCE):
            loaded = _loaded(group[start : start + AT_ONCE], reader, made)
            if loaded:
                evaluated = attempt([one.trial for one, _ in loaded], [own for _, own in loaded], asked)
                made.failed.update(evaluated.failed)
                for (one, _), row in zip(loaded, evaluated.metrics, strict=True):
                    writer.supplement(one.run, row, one.step)
                    made.note(one, row)
    yield from made.notes()


def _loaded(group: Sequence[Lacking], reader: Reader, made: _Made) -> list[tuple[Lacking, dict[str, Tensor]]]:
    """Those whose weights can be had, with these."""
    found = []
    for one in group:
        try:
            found.append((one, weights_of(reader, one.run, one.trial)))
        except Unusable as error:
            made.without.update({(key_of(asked), str(error)) for asked in one.asked})
        except (MemoryError, RuntimeError) as error:  # torch says with the latter that there is no memory
            made.failed.update((asked, reason_of(error)) for asked in one.asked)
    return found


def _groups(found: Sequence[Lacking]) -> dict[tuple[str, tuple[Evaluation, ...]], list[Lacking]]:
    """What can be evaluated together."""
    groups: dict[tuple[str, tuple[Evaluation, ...]], list[Lacking]] = {}
    for one in found:
        groups.setdefault((shape_key(one.trial), one.asked), []).append(one)
    return groups


def rows(found: Sequence[Lacking], asked: Sequence[Evaluation]) -> list[tuple[str, str]]:
    """For the first screen, as (what, value) pairs: the other lengths, and how many finished trials lack what."""
    counts = Counter(key for one in found for key in {key_of(each) for each in one.asked})
    lengths = ", ".join(str(one) for one in asked if isinstance(one, int))
    told = [("eval.lengths", f"{lengths}; {counts['eval.lengths']} finished without")] if lengths else []
    return told + [("eval.by_lag", f"{counts['eval.by_lag']} finished without")] * bool(counts["eval.by_lag"])
