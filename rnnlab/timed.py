"""A watch, and the time that it takes: no part of a trial's training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from rnnlab.record import Observation
from rnnlab.trial import Trial
from rnnlab.watch import Watch


class TimedWatch:
    """Observes as `watch` does."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.seconds = 0.0
        self.due = watch.due

    def observe(
        self, trials: Sequence[Trial], parameters: Mapping[str, Tensor], steps: Sequence[int], ended: Sequence[bool]
    ) -> list[Observation]:
        began = time.monotonic()
        found = self.watch.observe(trials, parameters, steps, ended)
        self.seconds += time.monotonic() - began
        return found

    def taken(self) -> float:
        """Seconds since this was asked last."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds
