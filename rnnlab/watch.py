"""Diagnostics of networks while they train: when they are due, and what is done where they cannot be computed.

They are observations: no training number and no trial's key depends on them.

Shapes: M models, T time, B sequences, H hidden units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from rnnlab.diagnostics.observation import SEQUENCES, observe, observe_whole, theory
from rnnlab.draws import held_out
from rnnlab.evaluation import reason_of
from rnnlab.memory import width_of_step
from rnnlab.record import Observation
from rnnlab.spec import name_of, param
from rnnlab.trial import Trial

AUTO = "auto"
BETWEEN = 10  # points between the beginning and the end of a budget, where they are chosen here
# At most so many numbers (models x time x sequences x what a step is fed with) at once: a worker is to need no more
# memory for them than for training
ELEMENTS = 2**20
MOMENTS = 96  # rows of H numbers that the memory capacity holds beside H x H, in the same units
SHOWN = 10**6  # states of a sequence that are kept of one network, at most


@dataclass(frozen=True)
class DiagnosticsSettings:
    """The section `diagnostics` of the configuration: what is observed of networks while they train."""

    every: int | str | None = param(None, low=1, words=(AUTO,))
    states: bool = param(False)
    capacity: bool = param(False)


def refusals(trials: Sequence[Trial], settings: DiagnosticsSettings) -> list[str]:
    """A line for each reason why the trials cannot be diagnosed."""
    if settings.every is None:
        idle = [name for name in ("states", "capacity") if getattr(settings, name)]
        return [f"diagnostics.{name}=true: has no effect without diagnostics.every; must be false" for name in idle]
    cells = {name_of(trial.cell) for trial in trials if hasattr(trial.cell, "module")}
    found = [
        f"diagnostics.every={settings.every}: cell={name} has no states that could be looked at; must be null, "
        "or the sweep without that cell"
        for name in sorted(cells)
    ]
    most = max((trial.task.length * trial.model.hidden_size * trial.model.layers for trial in trials), default=0)
    if settings.states and most > SHOWN:
        told = f"{most:,} states of a sequence, at most {SHOWN:,} are kept"
        found.append(f"diagnostics.states=true: {told}; must be false")
    return found


class When(Enum):
    """What part of training a network is observed at, which says how much is observed."""

    BEGINNING = "beginning"
    BETWEEN = "between"
    END = "end"


class Watch:
    """Diagnoses the networks of a stack where that is due; `failed` counts trials by why that was not possible."""

    def __init__(self, settings: DiagnosticsSettings) -> None:
        self.settings = settings
        self.failed: Counter[str] = Counter()

    def due(self, trial: Trial, step: int) -> bool:
        """Whether a trial that goes on is diagnosed at the evaluation after so many steps.

        At the beginning, then at the first evaluation at or after each multiple of `every`; or at those nearest to
        BETWEEN points that divide the budget evenly.
        """
        every, evaluated = self.settings.every, trial.train.eval_every
        if step == 0:
            return True
        if isinstance(every, int):
            return step // every > (step - evaluated) // every
        budget = trial.train.max_steps
        return step in {round(k * budget / (BETWEEN + 1) / evaluated) * evaluated for k in range(1, BETWEEN + 1)}

    def observe(
        self, trials: Sequence[Trial], parameters: Mapping[str, Tensor], steps: Sequence[int], ended: Sequence[bool]
    ) -> list[Observation]:
        """What is observed of trials of one shape, with stacked parameters, after so many steps of training."""
        found = [Observation({}) for _ in trials]
        when = [_when(step, end) for step, end in zip(steps, ended, strict=True)]
        at_once = max(1, ELEMENTS // _numbers(trials[0], self.settings.capacity))
        for kind in When:
            places = [place for place, one in enumerate(when) if one is kind]
            for first in range(0, len(places), at_once):
                group = places[first : first + at_once]
                own = {name: values[group] for name, values in parameters.items()}
                observed = self._tried([trials[place] for place in group], own, kind)
                for place, one in zip(group, observed, strict=True):
                    found[place] = one
        return found

    def _tried(self, trials: Sequence[Trial], parameters: Mapping[str, Tensor], when: When) -> list[Observation]:
        """What is observed; whatever goes wrong is counted, and no trial fails by it."""
        try:
            return self._observed(trials, parameters, when)
        except Exception as error:  # noqa: BLE001 - see above
            reason = reason_of(error)
        if len(trials) == 1:
            self.failed[reason] += 1
            return [Observation({})]
        alone = [
            {name: values[place : place + 1] for name, values in parameters.items()} for place in range(len(trials))
        ]
        return [self._tried([trial], own, when)[0] for trial, own in zip(trials, alone, strict=True)]

    def _observed(self, trials: Sequence[Trial], parameters: Mapping[str, Tensor], when: When) -> list[Observation]:
        trial, batch = trials[0], held_out(trials[0].task, [one.seed for one in trials], SEQUENCES)
        if when is When.BETWEEN:
            return observe(trial, parameters, batch)
        found = observe_whole(trial, parameters, batch, self.settings.states, self.settings.capacity)
        if when is When.END:
            return found
        told = theory(trial, parameters, batch)
        return [one._replace(metrics={**one.metrics, **more}) for one, more in zip(found, told, strict=True)]


def undiagnosed(failed: Counter[str]) -> list[str]:
    """A line for what could not be diagnosed, with the most frequent reason."""
    if not failed:
        return []
    return [f"diagnostics: left out {failed.total()} times ({failed.most_common(1)[0][0]}); training is not affected"]


def _when(step: int, ended: bool) -> When:
    return When.BEGINNING if step == 0 else When.END if ended else When.BETWEEN


def _numbers(trial: Trial, capacity: bool) -> int:
    """For one network, in the units of `ELEMENTS`."""
    hidden = trial.model.hidden_size
    steps = int(trial.task.length * SEQUENCES * hidden * width_of_step(trial))
    return max(steps, hidden * (hidden + MOMENTS)) if capacity else steps
