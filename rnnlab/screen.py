"""The first screen of a launch: what is planned, as (what, value) pairs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rnnlab.forecast import Forecast
from rnnlab.refusal import show
from rnnlab.survey import Start


def plan_rows(start: Start, forecast: Forecast | None) -> list[tuple[str, str]]:
    """The trials, the axes along which they vary, and what they will cost."""
    columns = [trial.flat() for trial in start.planned.trials]
    axes = {name: _by_size({column.get(name) for column in columns}) for name in start.planned.axes()}
    named = [(name, ", ".join(map(show, values))) for name, values in axes.items()]
    return [("trials", start.counts()), *named, *(forecast.rows() if forecast else [])]


def _by_size(values: Iterable[Any]) -> list[Any]:
    """Numbers by size, then text, then what is missing."""
    return sorted(values, key=lambda v: (v is None, isinstance(v, str), v if isinstance(v, int | float) else 0, str(v)))
