"""Which trials of an experiment have no result, by their settings: planned and never begun, unfinished, failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reports import panels, words
from rnnlab.analysis import varying
from rnnlab.record import FAILED, RESULTS
from rnnlab.trial import KINDS, SECTIONS

MOST_LISTED = 25  # of each kind, by name
KINDS_OF_MISSING = {
    "never begun": "planned by a sweep; the store has no run of them",
    "unfinished": "still running, or cut off before their end",
    "failed": "crashed: missing data, not counted as a result",
}
OWNED = (*KINDS, *(f"{kind}." for kind in KINDS), "seed")  # begin the fields that some trials do not have


@dataclass(frozen=True)
class Kind:
    """Trials without a result for the same reason: how many, and the first of them in words."""

    name: str
    meaning: str
    count: int
    listed: list[str]


@dataclass(frozen=True)
class Missing:
    """The trials without a result, of all `trials`: those that sweeps planned, and those that ran besides."""

    trials: int
    kinds: list[Kind]

    @property
    def count(self) -> int:
        return sum(kind.count for kind in self.kinds)

    @property
    def told(self) -> str:
        """`3 never begun and 2 failed`."""
        return words.listed(f"{kind.count:,} {kind.name}" for kind in self.kinds)


def missing(frame: pd.DataFrame, planned: pd.DataFrame, errors: Mapping[str, str]) -> Missing:
    """Of the trials in the frame, and those that sweeps planned; `errors` has the reasons of failures, by key."""
    never = planned[~planned["key"].isin(frame["key"])]
    status = frame["status"]
    sets = (never, frame[~status.isin((*RESULTS, FAILED))], frame[status == FAILED])
    everything = pd.concat([frame[fields(frame)], never[fields(never)]])
    told = varying(everything, list(everything))
    kinds = [
        Kind(name, meaning, len(rows), _names(rows, told, errors))
        for (name, meaning), rows in zip(KINDS_OF_MISSING.items(), sets, strict=True)
        if len(rows)
    ]
    return Missing(len(frame) + len(never), kinds)


def fields(frame: pd.DataFrame) -> list[str]:
    """The fields that tell trials apart, in the order of the sections, the seed last."""
    return [*sorted(panels.trial_fields(frame), key=lambda field: SECTIONS.index(field.split(".")[0])), "seed"]


def _names(rows: pd.DataFrame, told: list[str], errors: Mapping[str, str]) -> list[str]:
    """The first of the trials by the fields `told`, in the order of their values."""
    known = [field for field in told if field in rows]
    first = (rows.sort_values(known, kind="stable") if known else rows).head(MOST_LISTED)
    named = zip(first["key"], first[known].to_dict("records"), strict=True)
    return [_name(values) + (f": {errors[key]}" if errors.get(key) else "") for key, values in named]


def _name(values: Mapping[str, object]) -> str:
    """`copy memory · delay 60 · radius 1.2 · seed 3`."""
    own = {field: value for field, value in values.items() if pd.notna(value) or not field.startswith(OWNED)}
    return " · ".join(words.part(field, value) for field, value in own.items()) or "the only trial"
