"""Sentences that the captions of figures share: how the data were made, and what became of every trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from reports import lines, words
from rnnlab.record import DIVERGED, FAILED, RESULTS
from rnnlab.trial import KINDS

PASSES = "train.passes_to_solve"
NEEDS = ("task", "cell", "init", "seed", "status", "model.hidden_size", "train.max_steps", PASSES)
OPEN_POINTS = "open, faded points miss some of theirs, crosses below zero have no result yet"


def protocols(frame: pd.DataFrame, by: Sequence[str], point: str = "point") -> list[str]:
    """A sentence for each task: how its trials were made. Trials that agree in `by` make one `point`."""
    return [_protocol(task, rows, by, point) for task, rows in frame.groupby("task")]


def _protocol(task: str, rows: pd.DataFrame, by: Sequence[str], point: str) -> str:
    def values(field: str) -> str:
        return words.listed(words.distinct(rows[field]), last="or")

    seeds = rows.groupby(list(by), dropna=False).size()
    least = f"{seeds.min()} to " if seeds.min() < seeds.max() else ""
    return (
        f"{words.task(task).capitalize()}: {least}{words.counted(seeds.max(), 'seed')} per {point}; solved means "
        f"{words.criterion(task)} in {words.counted(values(PASSES), 'evaluation')} in a row, within "
        f"{words.counted(values('train.max_steps'), 'training step')}; {values('cell')} cell, "
        f"{words.counted(values('model.hidden_size'), 'hidden unit')}."
    )


def account(
    frame: pd.DataFrame,
    drawn: str = OPEN_POINTS,
    diverged: str = "Counted as not solved",
    missing: str = "Not counted",
) -> Iterator[str]:
    """The trials that are not what one would expect of them; `drawn` says how the `missing` ones show."""
    lost, failed = int((frame["status"] == DIVERGED).sum()), int((frame["status"] == FAILED).sum())
    unfinished = len(frame) - int(frame["status"].isin(RESULTS).sum()) - failed
    if lost:
        yield f"{diverged}: {words.counted(lost, 'trial')} that diverged."
    if unfinished or failed:
        yield f"{missing}: {words.counted(unfinished, 'unfinished trial')}, {words.counted(failed, 'failed trial')};"
        yield f"{drawn}."


def sizes(frame: pd.DataFrame, line: str) -> Iterator[str]:
    """How many parameters the networks have, where each line is a network of its own."""
    if line not in ("cell", lines.NETWORK) or "parameters" not in frame:
        return
    of_each = frame.dropna(subset="parameters").groupby(line)["parameters"]
    if frame[line].nunique() > 1 and of_each.ngroups:
        found = [(name, of_each.get_group(name)) for name in lines.values(frame[line]) if name in of_each.groups]
        told = [f"{name} {_span(counts.min(), counts.max())}" for name, counts in found]
        yield f"Trained parameters: {words.listed(told)}."


def _span(least: float, most: float) -> str:
    return f"{least:,.0f}" if least == most else f"{least:,.0f} to {most:,.0f}"


def going_with(frame: pd.DataFrame, line: str, fields: Sequence[str]) -> Iterator[str]:
    """What else differs between the lines, beside the settings that a cell has to itself."""
    for field in [name for name in fields if name.split(".")[0] not in KINDS or name in KINDS]:
        pairs = frame[[line, field]].drop_duplicates().groupby(line)[field]
        told = [f"{name} {words.listed(words.distinct(found), last='or')}" for name, found in pairs]
        yield f"Each {line} has its own {words.plain(field)}: {words.listed(told)}."
