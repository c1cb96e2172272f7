"""Evaluations at other lengths that finished trials lack, made up from their stored final weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from rnnlab.checkpoints import Unusable
from rnnlab.lengths import attempt, notes, reason_of
from rnnlab.provenance import numerics
from rnnlab.record import EXHAUSTED, SOLVED, at_length
from rnnlab.store.reader import Reader
from rnnlab.store.runs import Row
from rnnlab.store.writer import Writer
from rnnlab.stored import weights_of
from rnnlab.trial import Trial, shape_key

AT_ONCE = 32  # models whose weights are held at a time


class Lacking(NamedTuple):
    """A finished trial without some evaluations that are asked for."""

    trial: Trial
    run: Row
    step: int  # at which it ended
    lengths: tuple[int, ...]


def lacking(
    reader: Reader, trials: Iterable[Trial], run_ids: Mapping[str, str], lengths: Sequence[int]
) -> list[Lacking]:
    """Those of the trials that lack evaluations; `run_ids` maps the keys of finished ones to their runs.

    A diverged trial has no weights worth evaluating, and lacks nothing.
    """
    runs = {row["run_id"]: row for row in reader.trials().to_dict("records")}
    measured = reader.metrics(["trained_steps", *(at_length(value, "loss") for value in lengths)])
    found = []
    for trial in trials:
        run = runs.get(run_ids.get(trial.key))
        if run is None or run["status"] not in (SOLVED, EXHAUSTED):
            continue
        has = measured[run["run_id"]]
        if missing := tuple(value for value in lengths if at_length(value, "loss") not in has):
            found.append(Lacking(trial, run, int(has["trained_steps"]), missing))
    return found


def make_up(found: Sequence[Lacking], reader: Reader, writer: Writer) -> Iterator[str]:
    """Evaluate and write what is lacking; yields what a person should know. Done again, it changes nothing."""
    here, done, without, others = numerics(), 0, Counter[str](), Counter[str]()
    failed: Counter[tuple[int, str]] = Counter()
    for (_, lengths), group in _groups(found).items():
        for start in range(0, len(group), AT_ONCE):
            loaded: list[tuple[Lacking, dict[str, Tensor]]] = []
            for one in group[start : start + AT_ONCE]:
                try:
                    loaded.append((one, weights_of(reader, one.run, one.trial)))
                except Unusable as error:
                    without[str(error)] += 1
                except (MemoryError, RuntimeError) as error:  # torch says with the latter that there is no memory
                    failed.update((value, reason_of(error)) for value in lengths)
            if loaded:
                evaluated = attempt([one.trial for one, _ in loaded], [own for _, own in loaded], lengths)
                failed.update(evaluated.failed)
                for (one, _), row in zip(loaded, evaluated.metrics, strict=True):
                    writer.supplement(one.run, row, one.step)
                    done += bool(row)
                    others[one.run["numerics"]] += bool(row)
    if done:
        yield f"eval.lengths: {done} finished before without them; evaluated now, from the stored weights"
    for tag, count in others.items():
        if count and isinstance(tag, str) and tag != here:
            yield f"eval.lengths: {count} of them were trained under other numerics ({tag}), evaluated now under {here}"
    yield from notes(failed)
    for why, count in without.items():
        yield f"eval.lengths: {count} finished without them, and the weights {why}; engine.mode=force trains all again"


def _groups(found: Sequence[Lacking]) -> dict[tuple[str, tuple[int, ...]], list[Lacking]]:
    """What can be evaluated together."""
    groups: dict[tuple[str, tuple[int, ...]], list[Lacking]] = {}
    for one in found:
        groups.setdefault((shape_key(one.trial), one.lengths), []).append(one)
    return groups
