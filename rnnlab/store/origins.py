"""Where the numbers of an experiment come from: its launches, and the code and the machine behind every trial."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from rnnlab.store import ERROR_TAG, HOST_TAG, LAUNCH_TAG, NUMERICS_TAG, SWEEP
from rnnlab.store.plans import plans
from rnnlab.store.rows import Rows, wide
from rnnlab.store.runs import Row

ORIGIN_TAGS = {  # column -> tag of a run, as `rnnlab.provenance.tags` makes them
    "launch": LAUNCH_TAG,
    "commit": "rnnlab.git_commit",
    "dirty": "rnnlab.git_dirty",  # "true" where code was not in the commit
    "versions": "rnnlab.versions",
    "python": "rnnlab.python",
    "host": HOST_TAG,
    "device": "rnnlab.device",
    "numerics": NUMERICS_TAG,
}
ORIGIN = ("key", *ORIGIN_TAGS)  # columns of the trials
LAUNCH = (*ORIGIN_TAGS, "started", "command", "trials")  # columns of the launches
SWEEPS = ("run_id", "state", "planned")  # columns of the sweeps
COMMAND_FILE, SOURCE_FILE = "command.txt", "experiment.yaml"  # what a sweep's run keeps of each launch
STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d-")  # begins the name of a launch: its machine's clock


@dataclass(frozen=True)
class Provenance:
    """What the store knows of the origin of an experiment's trials.

    question   what its configuration file says it asks, in one paragraph; "" where the store does not know
    launches   a row per launch that planned or trained some of the trials, in their order: LAUNCH. `trials` counts
               those whose runs it was the last to write; `started` and `command` are texts, "" where not known
    sweeps     a row per sweep, in their order: SWEEPS; `state` is MLflow's, `planned` missing where no plan can be read
    trials     a row per trial, sorted by key: ORIGIN, missing where a run does not say it
    errors     key of a trial -> the last line of what made it fail
    """

    question: str
    launches: pd.DataFrame
    sweeps: pd.DataFrame
    trials: pd.DataFrame
    errors: Mapping[str, str]


def provenance(rows: Rows, experiment: str, chosen: pd.DataFrame) -> Provenance:
    """Of the runs `chosen` for an experiment: rows of `Rows.runs`."""
    found = plans(rows, experiment)
    sweeps = rows.runs(SWEEP)
    sweeps = sweeps[sweeps["run_id"].isin(found)]
    wanted = {**ORIGIN_TAGS, "error": ERROR_TAG}
    tags = wide(rows.tags_named(list(wanted.values()))).reindex(columns=list(wanted.values()))
    tags = tags.set_axis(list(wanted), axis="columns").astype("str")
    described = [runs[["run_id", "key", "started"]].join(tags, on="run_id") for runs in (sweeps, chosen)]
    launches = pd.DataFrame(_launches(*described), columns=list(LAUNCH))
    kept = [_kept(rows, sweeps, str(launch)) for launch in launches["launch"]]
    launches["command"] = [files.get(COMMAND_FILE, "").strip() for files in kept]
    sources = [question(files[SOURCE_FILE]) for files in kept if SOURCE_FILE in files]
    planned = sweeps["run_id"].map({run: len(plan.keys) or None for run, plan in found.items()})
    states = pd.DataFrame(
        {"run_id": sweeps["run_id"], "state": sweeps["mlflow_status"], "planned": planned.astype("float64")}
    )
    trials = described[1].sort_values("key", ignore_index=True)
    failed = trials.dropna(subset="error")
    errors = {key: _last_line(error) for key, error in zip(failed["key"], failed["error"], strict=True)}
    return Provenance((sources or [""])[-1], launches, states.reset_index(drop=True), trials[list(ORIGIN)], errors)


def _launches(sweeps: pd.DataFrame, trials: pd.DataFrame) -> list[dict[str, Any]]:
    """A row of LAUNCH for each launch, without its command; ordered by when it began."""
    counts = trials["launch"].value_counts()
    runs = pd.concat([trials, sweeps]).dropna(subset="launch").sort_values(["launch", "started", "run_id"])
    found = []
    for launch, rows in runs.groupby("launch"):
        first = rows.iloc[0]
        known = {name: first[name] for name in ORIGIN_TAGS}
        found.append({**known, "started": _when(str(launch), first["started"]), "trials": int(counts.get(launch, 0))})
    return found


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


def _when(launch: str, started: float) -> str:
    """When a launch began: by its name, else when the first of its runs did."""
    if stamp := STAMP.match(launch):
        return "{}-{}-{} {}:{}".format(*stamp.groups())
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return f"{datetime.fromtimestamp(started / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return ""


def _kept(rows: Rows, sweeps: pd.DataFrame, launch: str) -> Mapping[str, str]:
    """The texts that one of the sweeps keeps of a launch, by name."""
    for run in sweeps.to_dict("records") if re.fullmatch(r"[\w-]+", launch) else ():
        found = {name: _text(rows, run, f"launches/{launch}/{name}") for name in (COMMAND_FILE, SOURCE_FILE)}
        if any(found.values()):
            return {name: text for name, text in found.items() if text}
    return {}


def _text(rows: Rows, run: Row, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, ValueError):
        return rows.artifact(run, name, Path(folder)).read_text(encoding="utf-8")
    return ""


def question(source: str) -> str:
    """The comment at the beginning of an experiment's file, as one paragraph."""
    lines = [line for line in source.splitlines() if line.strip() and not line.startswith("# @package")]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# ").strip())
    return " ".join(comment)
