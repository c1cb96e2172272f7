"""The plan of a sweep: its trials, minus those that are done, in stacks of one shape."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnnlab.trial import Trial, shape_key


@dataclass(frozen=True)
class Plan:
    """What a launch has to do: distinct trials, and those of them that are not for it, by key."""

    trials: tuple[Trial, ...]
    finished: frozenset[str]  # the store holds their results
    elsewhere: frozenset[str] = frozenset()  # another launch trains them now
    left_out: frozenset[str] = frozenset()  # without a result, but not asked for

    @cached_property
    def pending(self) -> list[Trial]:
        others = self.finished | self.elsewhere | self.left_out
        return [trial for trial in self.trials if trial.key not in others]

    def axes(self) -> list[str]:
        """The dotted fields in which the trials differ, in the order of a trial's fields."""
        return list(self.varied)

    @cached_property
    def varied(self) -> dict[str, list[Any]]:
        """The axes, and the values that the trials have there; None where a trial lacks the field."""
        columns = [trial.flat() for trial in self.trials]
        names = dict.fromkeys(name for column in columns for name in column)
        values = {name: list({repr(v): v for v in (column.get(name) for column in columns)}.values()) for name in names}
        return {name: found for name, found in values.items() if len(found) > 1}


def plan(
    trials: Sequence[Trial],
    finished: Collection[str] = frozenset(),
    elsewhere: Collection[str] = frozenset(),
    only: Collection[str] | None = None,
) -> Plan:
    """The plan for these trials; equal ones collapse, the first of them stays.

    `only` names those to run, of the trials that are not finished; None: all.
    """
    distinct = {trial.key: trial for trial in trials}
    keys = frozenset(distinct)
    done, taken = keys & frozenset(finished), keys & frozenset(elsewhere)
    left_out = keys - done - taken - frozenset(only) if only is not None else frozenset()
    return Plan(tuple(distinct.values()), done, taken - done, left_out)


def by_shape(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials in groups that can train in one stack; the group of the longest trials comes first.

    Within a group the order is kept. Longest first, because what starts last should end soon.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(shape_key(trial), []).append(trial)
    return sorted(groups.values(), key=lambda group: -work(group[0]))


def work(trial: Trial) -> int:
    """Multiplications in the recurrence over the whole budget, up to a constant: T B H^2 steps."""
    return trial.task.length * trial.train.batch_size * trial.model.hidden_size**2 * trial.train.max_steps
