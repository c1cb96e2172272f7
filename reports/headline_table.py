"""The table of the headline: how far each combination of settings gets, as texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from reports import lines, words
from reports.combinations import Combinations, exact, names, number, percent
from rnnlab.analysis import ABOVE, BELOW, CONFIDENCE, INTERVAL
from rnnlab.record import FAILED

MOST_ROWS, MOST_COLUMNS = 12, 8
WELL = 5  # columns that fit beside each other; more of them stand below each other, if the rows are fewer
LEVEL = f"{100 * CONFIDENCE:g} %"
HORIZON_CELLS = (
    "Horizon: the distance, in steps, at which half of the seeds solve the task within {budget}. "
    f"In brackets its {LEVEL} interval, where the data give one; < and >: nearer or farther than any distance tested."
)
RATE_CELLS = f"Share of seeds that solve the task within {{budget}}, in brackets its {INTERVAL} {LEVEL} interval."
OPEN_CELLS = "Where trials are unfinished, how many have ended; numbers follow when all have."
POOLED_CELLS = "Share of trials solved within {budget}, over the distances tested, each counted alike."


def table(found: Combinations) -> tuple[pd.DataFrame, str]:
    """A row for each of the rows, a column for each value of the field of the lines, and what the entries are.

    The other way round where that is narrower. Empty where there is one combination, or too many columns; of too many
    rows the best.
    """
    columns = lines.values(found.points[found.line])
    groups = [rows for _, rows in found.points.groupby(found.rows, dropna=False)]
    turned = len(columns) > max(WELL, len(groups))
    if len(found.points) < 2 or len(columns) > (MOST_ROWS if turned else MOST_COLUMNS):
        return pd.DataFrame(), ""
    shown = _best(groups)
    titles = _titles(pd.DataFrame([rows.iloc[0][found.rows] for rows in shown]))
    entries = [_row(found, rows, columns) for rows in shown]
    whole = pd.DataFrame(entries, titles, [words.part(found.line, value) for value in columns])
    upright = whole.T if turned else whole
    return upright.reset_index(names=""), " ".join(_note(found, len(shown), len(groups)))


def _note(found: Combinations, shown: int, rows: int) -> Iterator[str]:
    """What the entries of the table are, which has so many of the rows."""
    known = found.points["rank"].notna().any()
    if known:
        cells = HORIZON_CELLS if found.by_horizon else (POOLED_CELLS if found.pooled else RATE_CELLS)
        yield cells.format(budget=found.budget())
    if found.points["unfinished"].any():
        yield OPEN_CELLS
    if shown < rows:
        yield f"The {shown} {'best' if known else 'first'} of {rows} rows."


def _best(groups: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """As many as a table holds, in their order: those with the largest entries."""
    largest = pd.Series([rows["rank"].max() for rows in groups]).sort_values(ascending=False, kind="stable")
    return [groups[place] for place in sorted(largest.index[:MOST_ROWS])]


def _titles(settings: pd.DataFrame) -> list[str]:
    """The task of each row, where there are several, and what tells it apart from others of the task."""
    named: dict[int, str] = {}
    tasks = settings["task"].nunique()
    for task, rows in settings.reset_index(drop=True).groupby("task"):
        parts = ([words.task(str(task))] * (tasks > 1 or len(rows) == 1) + [name] for name in names(rows))
        named |= dict(zip(rows.index, (" · ".join(filter(None, part)) for part in parts), strict=True))
    return [named[place] for place in range(len(settings))]


def _row(found: Combinations, rows: pd.DataFrame, columns: Sequence[object]) -> list[str]:
    ranks = lines.ranks(rows[found.line], columns)
    entries = {rank: _entry(found, point) for rank, (_, point) in zip(ranks, rows.iterrows(), strict=True)}
    return [entries.get(rank, "") for rank in range(len(columns))]


def _entry(found: Combinations, point: pd.Series) -> str:
    if point["unfinished"]:
        return f"{point['counted']} of {point[['counted', 'unfinished', FAILED]].sum()} ended"
    if not point["counted"]:
        return "–"
    return _horizon(point) if found.by_horizon else _share(point, not found.pooled)


def _share(point: pd.Series, interval: bool) -> str:
    bounds = f" ({percent(point['low'])}–{percent(point['high'])})" if interval else ""
    return f"{percent(point['rate'])} %{bounds}"


def _horizon(point: pd.Series) -> str:
    edges = {BELOW: f"< {exact(point['nearest'])}", ABOVE: f"> {exact(point['farthest'])}"}
    value = edges.get(point["outside"], number(point["horizon"]))
    low, high = point["low"], point["high"]
    if low > 0 and high < math.inf:
        return f"{value} ({number(low)}–{number(high)})"
    if low > 0:
        return f"{value} (≥ {number(low)})"
    return f"{value} (≤ {number(high)})" if high < math.inf else value
