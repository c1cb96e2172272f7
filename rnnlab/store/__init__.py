"""Where runs live: one SQLite file that MLflow writes and reads, and a folder of artifacts beside it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rnnlab.trial import BadInput, param

DEFAULT_PATH = Path(__file__).parents[2] / "runs" / "rnnlab.db"
LOCK_TIMEOUT = 20.0  # seconds to wait for another process that is writing

# Tags and descriptions of runs. The names without prefix are those that the MLflow UI shows well.
KIND_TAG, KEY_TAG, STATUS_TAG, NUMERICS_TAG = "rnnlab.kind", "rnnlab.key", "status", "rnnlab.numerics"
HOST_TAG, PID_TAG, ATTEMPT_TAG = "rnnlab.host", "rnnlab.pid", "rnnlab.attempt"
LAUNCH_TAG, HEARTBEAT_TAG = "rnnlab.launch", "rnnlab.heartbeat"  # who writes the run, and when last (seconds of 1970)
PREFIX_TAG = "rnnlab.prefix_key"  # equal for trials that differ in their budget alone
SUPERSEDED_TAG = "superseded"  # by the run that it names, a newer one of the same trial
ERROR_TAG = "rnnlab.error"
TRIAL, SWEEP = "trial", "sweep"  # values of KIND_TAG
PLAN_FILE = "plan.json"  # artifact of a sweep's run: its trials and their keys
NOTHING = "null"  # how a missing value is written in a param


@dataclass(frozen=True)
class StoreSettings:
    """The group `store` of the configuration."""

    path: str = param(str(DEFAULT_PATH))
    weights: str = param("both", choices=("both", "none"))  # which parameters of a run are kept as artifacts


def location(text: str) -> Path:
    """The store that a user means by `store.path=TEXT`."""
    unusable = sorted(set(text) & set("?#%"))  # they mean something else in the address of a database
    if unusable or not text.strip():
        raise BadInput(f"store.path={text}: must be the path of a file, without {' '.join(unusable or '?#%')}")
    return Path(text).expanduser()


def artifacts_of(path: Path) -> Path:
    """The folder of the runs' artifacts."""
    return path.with_name(path.name + ".artifacts")


def lock_of(path: Path) -> Path:
    """The file whose lock a process holds while it writes to the store."""
    return path.with_name(path.name + ".lock")


def sweeps_of(path: Path) -> Path:
    """The folder in which sweeps keep their state while they run."""
    return path.with_name(path.name + ".sweeps")


def address(path: Path) -> str:
    """The store's tracking URI."""
    return f"sqlite:///{path.absolute()}"


def check_usable(path: Path) -> None:
    """Raise `BadInput` unless a store can be written at `path`; change nothing."""
    problem = _problem_of_file(path) if path.exists() else _problem_of_folder(path.absolute().parent)
    if problem:
        raise BadInput(f"store.path={path}: {problem}")


def check_readable(path: Path) -> None:
    """Raise `BadInput` unless a store can be read at `path`; change nothing."""
    if not path.exists():
        raise BadInput(f"store.path={path}: no store there; run a sweep first, for example: make demo")
    problem = _problem_of_format(path)
    if problem:
        raise BadInput(f"store.path={path}: {problem}")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that cannot create the file; mode "ro" or "rw".

    SQLite would make two files beside a store in WAL mode even to read it, but for one that cannot change.
    """
    journal = path.with_name(path.name + "-wal")
    settled = not journal.exists() or journal.stat().st_size == 0
    unchanging = "&immutable=1" if mode == "ro" and settled and _read_only(path) else ""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}{unchanging}", uri=True, timeout=LOCK_TIMEOUT
    )


def _problem_of_folder(folder: Path) -> str:
    """Why a store cannot be created in `folder`, which need not exist yet."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        return f"{existing} is not a folder; must be a file that can be created"
    if _read_only(existing):
        return f"the folder {existing} is read-only; must be a path that can be written"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return f"cannot create a file in {existing} ({error.strerror}); must be a path that can be written"


def _problem_of_file(path: Path) -> str:
    format_problem = _problem_of_format(path)
    if format_problem:
        return format_problem
    if _read_only(path):
        return "the file is read-only; must be a store that can be written"
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        return f"cannot be written ({error}); must be a store that can be written"
    return _problem_of_folder(path.absolute().parent)  # SQLite keeps its journal beside the file


def _problem_of_format(path: Path) -> str:
    """Why the file at `path` is not a store.

    Only SQLite may open it: the system drops all locks that a process has on a file when the process closes
    the file anywhere, also those of a connection in use; the database would then be damaged by the next writer.
    """
    if not path.is_file():
        return "not a file; must be a SQLite database, or a path where one can be created"
    if path.stat().st_size == 0:  # perhaps another process is about to fill it
        return "" if lock_of(path).exists() else "an empty file; must be a SQLite database, or a new path"
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            return "not a SQLite database; must be one, or a path where one can be created"
        return f"cannot be read ({error}); must be a SQLite database"
    if tables and not {"alembic_version", "experiments", "runs"} <= tables:
        return "a database of another program; must be one that MLflow made"
    return ""


def _read_only(path: Path) -> bool:
    """Whether the path is marked so, also for a superuser, whom the mark would not stop."""
    return not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK)
