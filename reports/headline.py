"""The numbers of an experiment in a few sentences and one small table, for who reads nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from reports import headline_table, lines, words
from reports.combinations import Combinations, exact, number, percent, span
from reports.headline_table import LEVEL
from reports.missing import Missing
from rnnlab.analysis import ABOVE, BELOW, UNKNOWN, varying
from rnnlab.record import DIVERGED, FAILED, RESULTS, SOLVED

MOST_TASKS = 3  # with sentences of their own
MOST_NAMED = 4  # combinations in a sentence
EARLY = (
    "Not all trials have ended, and those that solve early end first: shares and horizons are too high until all have "
    "ended. Nothing is concluded here of tasks with unfinished trials."
)


@dataclass(frozen=True)
class Headline:
    """The answer: sentences, the first of them the most telling, and a table of texts, perhaps empty, with its note."""

    sentences: tuple[str, ...]
    table: pd.DataFrame
    note: str


def headline(frame: pd.DataFrame, missing: Missing) -> Headline:
    """Of all trials of an experiment."""
    found = Combinations(frame)
    told = [sentence(found, task) for task in found.tasks]
    open_yet = [EARLY] if found.points["unfinished"].any() else []
    sentences = [*open_yet, *filter(None, told[:MOST_TASKS]), *_account(frame, missing), *_lost(found)]
    return Headline(tuple(sentences), *headline_table.table(found))


def _account(frame: pd.DataFrame, missing: Missing) -> Iterator[str]:
    """How many trials were solved, and how many are missing; no share of them while some are not finished."""
    status = frame["status"]
    solved, counted = int((status == SOLVED).sum()), int(status.isin(RESULTS).sum())
    if counted > 1:
        over = status.isin((*RESULTS, FAILED)).all()
        share = f" ({percent(solved / counted)} %)" if over else " so far"
        yield f"{solved:,} of {counted:,} trials with a result were solved{share}."
    if missing.count:
        yield f"{missing.count:,} of {words.counted(f'{missing.trials:,}', 'trial')} have no result: {missing.told}."


def _lost(found: Combinations) -> Iterator[str]:
    """How many trials diverged, and the values of what varied to which that is confined."""
    frame = found.frame
    lost = frame[frame["status"] == DIVERGED]
    if lost.empty:
        return
    confined = []
    for field in varying(frame, [*found.rows, found.line]):
        values = lines.values(lost[field])
        if len(values) < min(len(lines.values(frame[field])), MOST_NAMED + 1):
            confined.append(words.listed((words.part(field, value) for value in values), "or"))
    where = f": all of them with {words.listed(confined)}" if confined else ""
    yield f"{len(lost):,} of {len(frame):,} trials diverged, which counts as not solved{where}."


def sentence(found: Combinations, task: str) -> str:
    """The best combination of a task, and the worst; empty where nothing is known of any, or some is not yet."""
    points = found.of_task(task)
    known = points.dropna(subset="rank")
    if known.empty or points["unfinished"].any():
        return ""
    name = words.task(task).capitalize()
    if len(points) == 1:
        return f"{name}: {_alone(found, task, known.iloc[0])}, within {found.budget(task)}."
    if not _comparable(found, known):
        return f"{name}: combinations were tested up to different distances, and their horizons cannot be ranked."
    named = dict(zip(points.index, found.names(points), strict=True))
    best, worst = (known[known["rank"] == edge] for edge in (known["rank"].max(), known["rank"].min()))
    most, least = ("longest horizon", "shortest") if found.by_horizon else ("largest share solved", "smallest")
    if len(best) == len(known) > 1:
        what = "horizon" if found.by_horizon else "share solved"
        return f"{name}: in all {len(known)} combinations the {what} is {_value(found, best)}."
    told = f"{name}: the {most} is {_edge(found, best, named)}"
    told += f"; the {least} {_edge(found, worst, named)}." if len(best) < len(known) else "."
    return " ".join([told, *_winner(found, points)])


def _comparable(found: Combinations, known: pd.DataFrame) -> bool:
    """Whether the horizons of a task have an order: one beyond 23 steps has none with one of 50."""
    if not found.by_horizon:
        return True
    above, below = (known[known["outside"] == side] for side in (ABOVE, BELOW))
    most = known["horizon"].fillna(below["nearest"])  # at most; missing where it is above
    least = known["horizon"].fillna(above["farthest"])
    return not (most.max() > above["farthest"].min() or least.min() < below["nearest"].max())


def _edge(found: Combinations, points: pd.DataFrame, named: dict[int, str]) -> str:
    """`46 steps, 95 % interval 30 to 63 (radius 1.2 · orthogonal)`."""
    which = words.listed(named[place] for place in points.index)
    many = f"{len(points)} of {len(named)} combinations"
    return f"{_value(found, points)} ({which if len(points) <= MOST_NAMED else many})"


def _winner(found: Combinations, points: pd.DataFrame) -> Iterator[str]:
    """Which value of the field of the lines is best, and which worst, by itself in more than half of several rows."""
    rows = [row for _, row in points.groupby(found.rows, dropna=False)]
    if len(rows) < 2:
        return
    told = []
    for edge, how in (("max", "does best"), ("min", "does worst")):
        several = [row for row in rows if row["rank"].notna().sum() > 1]
        found_there = [row.loc[row["rank"] == row["rank"].agg(edge), found.line] for row in several]
        alone = pd.concat([values for values in found_there if len(values) == 1] or [points[found.line].iloc[:0]])
        shared = pd.concat([values for values in found_there if len(values) > 1] or [alone.iloc[:0]])
        for value in lines.values(alone):
            count, ties = _times(alone, value), _times(shared, value)
            if 2 * count > len(rows):
                tied = f" (tied in {ties})" if ties else ""
                told.append(f"{words.part(found.line, value)} {how} in {_of(count, len(rows))}{tied}")
    if told:
        yield f"By the estimates, whose intervals may overlap, {words.listed(told)}."


def _of(count: int, rows: int) -> str:
    """`4 of 6 rows`."""
    return f"{count} of {rows} rows" if count < rows else "both rows" if rows == 2 else f"all {rows} rows"


def _value(found: Combinations, points: pd.DataFrame) -> str:
    """What equal combinations reach, with the interval where it is one alone."""
    point, alone = points.iloc[0], len(points) == 1
    if found.by_horizon:
        return _steps(points) + (f", {LEVEL} interval {span(point['low'], point['high'])}" if alone else "")
    bounds = f", {LEVEL} interval {percent(point['low'])} to {percent(point['high'])} %"
    return f"{percent(point['rate'])} %" + (bounds if alone and not found.pooled else "")


def _steps(points: pd.DataFrame) -> str:
    """Equal horizons in words; outside, the distance is told where it is the same for all."""
    point = points.iloc[0]
    if point["outside"] == BELOW:
        same = points["nearest"].nunique() == 1
        told = f"less than {exact(point['nearest'])} steps, the nearest distance tested"
        return told if same else "nearer than any distance tested"
    if point["outside"] == ABOVE:
        same = points["farthest"].nunique() == 1
        told = f"more than {exact(point['farthest'])} steps, the farthest distance tested"
        return told if same else "beyond all distances tested"
    return "unknown" if point["outside"] == UNKNOWN else f"{number(point['horizon'])} steps"


def _alone(found: Combinations, task: str, point: pd.Series) -> str:
    """What is known where there is one combination."""
    value = _value(found, pd.DataFrame([point]))
    if found.by_horizon:
        return f"half of the seeds solve it up to a distance of {value}"
    of_task = found.frame[found.frame["task"] == task]
    distances = words.listed(words.distinct(of_task["distance"].dropna()) or ["unknown"])
    if point["counted"] == 1:
        return f"the one trial with a result is {_how(of_task)}, at distance {distances}"
    return f"{int(point['solved'])} of {int(point['counted'])} trials are solved, {value}"


def _times(values: pd.Series, value: object) -> int:
    """How often a value is there; a missing one is a value."""
    return int((values.isna() if pd.isna(value) else values == value).sum())


def _how(trials: pd.DataFrame) -> str:
    return str(trials.loc[trials["status"].isin(RESULTS), "status"].iloc[0])
