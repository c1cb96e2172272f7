"""The trials of an experiment by what varies but the seed and the distance: how far each combination of it gets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from reports import lines, panels, words
from reports.figures.horizon import LEAST_DISTANCES, ranked_horizon
from reports.missing import OWNED
from rnnlab.analysis import horizon, success_rate, varying

WHOLE_FROM = 9.95  # steps: from here on without decimals


class Combinations:
    """One field, `line`, makes the columns of a table; those of the other fields, `rows`, its rows.

    points      a row for each combination: as of `analysis.horizon`, or of `success_rate` where distances are few;
                `rank` orders those of a task by the digits that are told, and is missing where nothing is known, or
                not yet: trials that solve early end first, so that what has ended is better than what will have
    by_horizon  which of the two
    pooled      whether shares are over several distances; they have no interval, as seeds meet again at each
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame, self.line = frame, lines.field(frame)
        drawn = (self.line, *lines.companions(frame, self.line))
        blanked, self.rows = panels.separated(frame, drawn=drawn)
        by = [*self.rows, self.line]
        self.by_horizon = bool(frame.groupby("task")["distance"].nunique().min() >= LEAST_DISTANCES)
        self.points = horizon(blanked, by) if self.by_horizon else success_rate(blanked, by)
        ranks = ranked_horizon(self.points).map(_digits) if self.by_horizon else self.points["rate"].round(2)
        self.points["rank"] = ranks.mask(self.points["unfinished"] > 0)
        self.pooled = not self.by_horizon and _several(blanked, by)
        if self.pooled:
            self.points[["low", "high"]] = math.nan
        self.tasks = [str(task) for task in self.points["task"].unique()]

    def of_task(self, task: str) -> pd.DataFrame:
        return self.points[self.points["task"] == task]

    def names(self, points: pd.DataFrame) -> list[str]:
        """Each of these combinations of one task, by what tells it apart among them."""
        return names(points[[*self.rows, self.line]])

    def budget(self, task: str | None = None) -> str:
        """`600 training steps`: those of one task, or of all: `400 (copy memory) or 600 (adding problem)`."""
        rows = self.frame.dropna(subset="train.max_steps")
        told = {
            str(name): words.listed(words.distinct(steps), "or")
            for name, steps in rows.groupby("task")["train.max_steps"]
        }
        if task is not None or len({*told.values()}) < 2:
            return words.counted(told.get(task or next(iter(told), ""), "?"), "training step")
        return words.listed((f"{steps} ({words.task(name)})" for name, steps in told.items()), "or") + " training steps"


def names(settings: pd.DataFrame) -> list[str]:
    """Each row of fields by what tells it apart: `radius 1.2 · orthogonal`.

    A field that only some cells or inits have is left out for the others.
    """
    told = varying(settings, settings.columns)
    rows = settings[told].to_dict("records")
    own = [
        {field: value for field, value in row.items() if pd.notna(value) or not field.startswith(OWNED)} for row in rows
    ]
    return [" · ".join(words.part(field, value) for field, value in row.items()) for row in own]


def _several(frame: pd.DataFrame, by: Sequence[str]) -> bool:
    """Whether a combination was tested at more than one distance."""
    return bool((frame.groupby(list(by), dropna=False)["distance"].nunique() > 1).any())


def span(low: float, high: float) -> str:
    """An interval in words, perhaps open."""
    if low > 0 and high < math.inf:
        return f"{number(low)} to {number(high)}"
    if low > 0:
        return f"from {number(low)} on"
    return f"up to {number(high)}" if high < math.inf else "open on both sides"


def number(steps: float) -> str:
    """Steps: whole from ten on."""
    return f"{steps:,.{_decimals(steps)}f}"


def _digits(steps: float) -> float:
    """A horizon as `number` tells it."""
    return round(steps, _decimals(steps)) if math.isfinite(steps) else steps


def _decimals(steps: float) -> int:
    return 1 if steps < WHOLE_FROM else 0


def exact(distance: float) -> str:
    """One of the distances tested, exactly."""
    return f"{distance:,.6g}"


def percent(share: float) -> str:
    return f"{100 * share:.0f}"
