"""Sentences that the captions of figures share: how the data were made, and what became of every trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from reports import lines, words
from rnnlab.record import DIVERGED, FAILED, RESULTS
from rnnlab.trial import KINDS

PASSES = "train.passes_to_solve"
NEEDS = ("task", "cell", "init", "seed", "status", "model.hidden_size", "train.max_steps", PASSES)
OPEN_POINTS = "open, faded points miss some of theirs, crosses below zero have no result yet"
TOO_HIGH = "shares solved and horizons are too high"
MOST_NAMED = 4  # lines or cells, in a sentence
OF_EARLY = "trained networks are mostly of those"


def protocols(frame: pd.DataFrame, by: Sequence[str], point: str = "point") -> list[str]:
    """A sentence for each task: how its trials were made. Trials that agree in `by` make one `point`.

    Where several tasks have the same networks, these have a sentence of their own.
    """
    of_tasks = [(_protocol(task, rows, by, point), _networks(rows)) for task, rows in frame.groupby("task")]
    shared = {networks for _, networks in of_tasks}
    if len(of_tasks) > 1 and len(shared) == 1:
        return [*(f"{told}." for told, _ in of_tasks), f"In all tasks: {shared.pop()}."]
    return [f"{told}; {networks}." for told, networks in of_tasks]


def _values(column: pd.Series) -> str:
    return words.listed(words.distinct(column), last="or")


def _networks(rows: pd.DataFrame) -> str:
    """Cells, where they are few, and sizes."""
    count = rows["cell"].nunique()
    cells = f"{_values(rows['cell'])} cell" if count <= MOST_NAMED else f"{count} kinds of cells"
    return f"{cells}, {words.counted(_values(rows['model.hidden_size']), 'hidden unit')}"


def _protocol(task: str, rows: pd.DataFrame, by: Sequence[str], point: str) -> str:
    seeds = rows.groupby(list(by), dropna=False).size()
    least = f"{seeds.min()} to " if seeds.min() < seeds.max() else ""
    return (
        f"{words.task(task).capitalize()}: {least}{words.counted(seeds.max(), 'seed')} per {point}; solved means "
        f"{words.criterion(task)} in {words.counted(_values(rows[PASSES]), 'evaluation')} in a row, "
        f"within {words.counted(_values(rows['train.max_steps']), 'training step')}"
    )


def when_solved(frame: pd.DataFrame) -> str:
    """Where a trial that is solved ends: not where it was counted solved first."""
    passes = words.distinct(frame[PASSES])
    if passes == ["1"]:
        return "at the evaluation that counts as solved"
    return f"at the last of the {words.listed(passes, last='or')} evaluations that count as solved"


def account(
    frame: pd.DataFrame,
    drawn: str = OPEN_POINTS,
    diverged: str = "Counted as not solved",
    missing: str = "Not counted",
    early: str = TOO_HIGH,
) -> Iterator[str]:
    """The trials that are not what one would expect of them; `drawn` says how the `missing` ones show, and `early` what
    is wrong with the numbers as long as those have ended that solve early, and others have not: "" if nothing is.
    """
    lost, failed = (int((frame["status"] == ending).sum()) for ending in (DIVERGED, FAILED))
    still = running(frame)
    if lost:
        yield f"{diverged}: {words.counted(lost, 'trial')} that diverged."
    if still or failed:
        yield f"{missing}: {words.counted(still, 'unfinished trial')}, {words.counted(failed, 'failed trial')};"
        yield f"{drawn}."
    if still and early:
        yield f"Trials that solve early end first: until all have ended, {early}."


def running(frame: pd.DataFrame) -> int:
    """How many trials are unfinished."""
    return len(frame) - int(frame["status"].isin((*RESULTS, FAILED)).sum())


def findings(frame: pd.DataFrame, sentences: Iterable[str]) -> list[str]:
    """What was found, in sentences; nothing while trials run: those that have a result are mostly those that solve."""
    return [] if running(frame) else [*filter(None, sentences)]


def in_panels(found: Sequence[tuple[str, int, int]]) -> str:
    """In how many panels something holds: of the lines with which it does in the fewest, and in the most.

    `found` has for each line its name, in how many panels it holds, and how many there are. A line alone has no name.
    """
    lowest, highest = (end(count / panels for _, count, panels in found) for end in (min, max))
    ends = [_panels([one for one in found if one[1] / one[2] == end], len(found)) for end in (lowest, highest)]
    return f"in {ends[0]}" if lowest == highest else f"in {ends[0]} to {ends[1].replace(' panels', '')}"


def _panels(alike: Sequence[tuple[str, int, int]], of: int) -> str:
    """`2 of 30 panels with radius 1`; the lines are counted where they are many."""
    names, (_, count, panels) = [name for name, _, _ in alike], alike[0]
    told = f"{count or 'none'} of {words.counted(panels, 'panel')}"
    if len(names) == of:
        return told + " with each line" * (of > 1)
    return f"{told} with {words.listed(names, 'or') if len(names) <= MOST_NAMED else f'{len(names)} of {of} lines'}"


def sizes(frame: pd.DataFrame, line: str) -> Iterator[str]:
    """How many parameters the networks have, where each line is a network of its own."""
    if line not in ("cell", lines.NETWORK) or "parameters" not in frame:
        return
    of_each = frame.dropna(subset="parameters").groupby(line)["parameters"]
    if frame[line].nunique() > 1 and of_each.ngroups:
        found = [(name, of_each.get_group(name)) for name in lines.values(frame[line]) if name in of_each.groups]
        told = [f"{name} {span(counts.min(), counts.max())}" for name, counts in found]
        yield f"Trained parameters: {words.listed(told)}."


def span(least: float, most: float) -> str:
    """`1,200`, or `60 to 1,200`."""
    return f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"


def going_with(frame: pd.DataFrame, line: str, fields: Sequence[str]) -> Iterator[str]:
    """What else differs between the lines, beside the settings that a cell has to itself."""
    for field in [name for name in fields if name.split(".")[0] not in KINDS or name in KINDS]:
        pairs = frame[[line, field]].drop_duplicates().groupby(line)[field]
        told = [f"{name} {words.listed(words.distinct(found), last='or')}" for name, found in pairs]
        yield f"Each {line} has its own {words.plain(field)}: {words.listed(told)}."
