"""What the runs in a store say about trials: which are finished, which can go on, whose owner is gone.

All functions take the frame of `Reader.trials` (or `sweeps`), oldest run first.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from rnnlab.record import EXHAUSTED, FAILED, RESULTS, RUNNING

Row = Mapping[Any, Any]  # column -> value
HEARTBEAT_LIMIT = 120.0  # seconds without a sign of life, until a launch on another machine counts as gone


def finished(runs: pd.DataFrame) -> dict[str, str]:
    """Trial key -> id of the newest run that finished it."""
    done = runs[runs["status"].isin(RESULTS)]
    return dict(zip(done["key"], done["run_id"], strict=True))


def failed(runs: pd.DataFrame) -> set[str]:
    """The keys of trials whose newest run failed and that no run finished."""
    newest = runs.drop_duplicates("key", keep="last")
    return set(newest.loc[newest["status"] == FAILED, "key"]) - set(finished(runs))


def unended(runs: pd.DataFrame, numerics: str | None) -> dict[str, Row]:
    """Trial key -> the newest run (column -> value) without a result, of those under these numerics.

    The points of runs under others are not those of this machine.
    """
    left = runs[runs["status"].isin((RUNNING, FAILED)) & (runs["numerics"].isna() | (runs["numerics"] == numerics))]
    left = left.drop_duplicates("key", keep="last").astype(object)
    return {row["key"]: row for row in left.where(left.notna(), None).to_dict("records")}


def busy(runs: pd.DataFrame, live: Collection[str]) -> set[str]:
    """The keys of trials that some launch is training now; `live` names those of this machine."""
    running = runs[(runs["mlflow_status"] == "RUNNING") & (runs["status"] == RUNNING)]
    return {row["key"] for row in running.to_dict("records") if owner_lives(row, live)}


def orphans(runs: pd.DataFrame, live: Collection[str]) -> list[tuple[str, str]]:
    """The runs whose owner was cut off before MLflow showed how they ended: (run, what it should show)."""
    shown = {RUNNING: "KILLED"} | dict.fromkeys(RESULTS, "FINISHED") | {FAILED: "FAILED"}
    wanted = runs["status"].map(shown).fillna("KILLED")  # a sweep has no status of its own
    wrong = (runs["mlflow_status"] == "RUNNING") | (runs["status"].isin(RESULTS) & (runs["mlflow_status"] != wanted))
    rows = zip(runs[wrong].to_dict("records"), wanted[wrong], strict=True)
    return [(row["run_id"], status) for row, status in rows if not owner_lives(row, live)]


def replaced(runs: pd.DataFrame) -> dict[str, str]:
    """Finished runs that a newer finished one of the same trial replaces, not yet marked so -> that newer one."""
    newest = finished(runs)
    done = runs[runs["status"].isin(RESULTS) & runs["superseded"].isna()]
    pairs = zip(done["run_id"], done["key"].map(newest), strict=True)
    return {run_id: newer for run_id, newer in pairs if run_id != newer}


def exhausted(runs: pd.DataFrame) -> dict[str, list[Row]]:
    """Prefix key -> the newest exhausted runs, one for each budget."""
    ends = runs[(runs["status"] == EXHAUSTED) & runs["prefix"].notna()].drop_duplicates("key", keep="last")
    found: dict[str, list[Row]] = {}
    for row in ends.to_dict("records"):
        found.setdefault(row["prefix"], []).append(row)
    return found


def owner_lives(row: Row, live: Collection[str]) -> bool:
    """Whether the launch that writes a running run is still at work."""
    if row["launch"] in live:
        return True
    beat = pd.to_numeric(row["heartbeat"], errors="coerce")
    if pd.isna(beat) or abs(time.time() - beat) > HEARTBEAT_LIMIT:
        return False
    return row["host"] != socket.gethostname() or _process_lives(row["pid"])


def _process_lives(pid: Any) -> bool:
    """Whether another process of this machine has the number `pid`."""
    try:
        os.kill(int(pid), 0)
    except (TypeError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()
