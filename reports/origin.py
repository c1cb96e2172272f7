"""Where the numbers of a page come from, in words: code, machines, packages, and the launches with their commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from reports import words
from rnnlab.store.origins import Provenance

STATES = {  # of the run of a sweep, as MLflow tells it
    "FINISHED": "complete",
    "KILLED": "interrupted: the same command goes on",
    "FAILED": "ended by an error",
    "RUNNING": "still at work, or was cut off",
    "SCHEDULED": "still at work, or was cut off",
}
UNKNOWN = "unknown"
NUMERICS = ("", "device", "kernel", "processor", "instructions")  # the parts of the tag; the first says what it is
COLUMNS = {  # of the launches: what stands above, column of the provenance
    "began": "started",
    "trials": "trials",
    "machine": "host",
    "device": "device",
    "commit": "commit",
    "Python": "python",
    "packages": "versions",
    "command": "command",
}


@dataclass(frozen=True)
class Origin:
    """What a page says of the origin of its numbers."""

    question: str
    warnings: list[str]
    sweeps: list[str]  # a sentence each
    counts: dict[str, list[tuple[str, str]]]  # what -> (value, how many trials)
    launches: pd.DataFrame  # texts
    commands: list[str]  # that trained, in their order


def origin(found: Provenance, unreadable: int = 0) -> Origin:
    """`unreadable` runs of trials say nothing of their settings, and are left out."""
    trials = found.trials
    commits = trials["commit"].fillna(UNKNOWN) + trials["dirty"].eq("true").map({True: ", changed since", False: ""})
    counts = {
        "commit": _counts(commits),
        "numerics": _counts(trials["numerics"].fillna(UNKNOWN).map(labelled)),
        "machine": _counts(trials["host"].fillna(UNKNOWN)),
        "device": _counts(trials["device"].fillna(UNKNOWN)),
    }
    launches = (
        found.launches.reindex(columns=list(COLUMNS.values())).set_axis(list(COLUMNS), axis="columns").astype("str")
    )
    launches["commit"] = launches["commit"].str.slice(0, 12) + found.launches["dirty"].eq("true").map(
        {True: "+", False: ""}
    )
    return Origin(
        question=found.question,
        warnings=[*_warnings(counts, unreadable)],
        sweeps=[_sweep(*row) for row in found.sweeps[["planned", "state"]].itertuples(index=False)],
        counts=counts,
        launches=launches.fillna(UNKNOWN),
        commands=list(dict.fromkeys(command for command in found.launches["command"] if command)),
    )


def labelled(numerics: str) -> str:
    """The parts of the tag, each with what it is; as it is where it has other parts."""
    parts = numerics.split(", ")
    if len(parts) != len(NUMERICS):
        return numerics
    return ", ".join(f"{what} {part}".strip() for what, part in zip(NUMERICS, parts, strict=True))


def _counts(column: pd.Series) -> list[tuple[str, str]]:
    found = column.value_counts().sort_index()
    return [(str(value), words.counted(f"{count:,}", "trial")) for value, count in found.items()]


def _warnings(counts: dict[str, list[tuple[str, str]]], unreadable: int) -> Iterator[str]:
    if len(counts["numerics"]) > 1:
        yield (
            f"The trials were computed in {len(counts['numerics'])} different ways (version of torch, device, kernel, "
            "instruction set); only within one of them are numbers equal to the bit."
        )
    if len(counts["commit"]) > 1:
        yield f"The trials come from {len(counts['commit'])} states of the code."
    if unreadable:
        told = words.counted(unreadable, "run")
        yield f"{told} without settings (cut off before they were written, or not rnnlab's) left out."


def _sweep(planned: float, state: str) -> str:
    size = "whose plan cannot be read" if pd.isna(planned) else f"of {words.counted(f'{planned:,.0f}', 'trial')}"
    return f"A sweep {size}: {STATES.get(state, UNKNOWN)}."
