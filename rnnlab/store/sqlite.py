"""A store in one SQLite file, in WAL mode so that the UI can read while a sweep writes."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from rnnlab.refusal import BadInput
from rnnlab.store import LOCK_TIMEOUT, Place, Unreachable
from rnnlab.store.files import problem_of_folder, read_only
from rnnlab.store.rows import SqlRows, problem_of_tables

PRIMARY = 0xFF  # of an extended error code of SQLite: the bits of the code that it extends
TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"


def exists(place: Place) -> bool:
    return _file(place).exists()


def check_usable(place: Place) -> None:
    path = _file(place)
    problem = _problem_of_file(place) if path.exists() else problem_of_folder(path.absolute().parent)
    if problem:
        raise BadInput(f"{place}: {problem}")


def check_readable(place: Place) -> None:
    if not _file(place).exists():
        raise BadInput(f"{place}: no store there; run a sweep first, for example: make demo")
    problem = _problem_of_format(place, "must be a store that a sweep has written")
    if problem:
        raise BadInput(f"{place}: {problem}")


@contextlib.contextmanager
def rows(place: Place) -> Iterator[SqlRows]:
    try:
        with contextlib.closing(connect(_file(place), "ro")) as connection:
            yield SqlRows(connection, place, {name for (name,) in connection.execute(TABLES)})
    except sqlite3.Error as error:
        raise Unreachable(f"{place}: {_unreadable(error)}") from error


@contextlib.contextmanager
def preparing(place: Place) -> Iterator[None]:
    _sync_seldom()
    yield
    try:
        with contextlib.closing(connect(_file(place), "rw")) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise BadInput(f"{place}: MLflow cannot use it ({error})") from error


@functools.cache
def _sync_seldom() -> None:
    """Let SQLite sync its journal when it is full and not at each of the eight commits of a trial.

    After a loss of power the last commits may be missing, never a part of one; the records that they came from are
    in the folder of the launch until the whole disk has been synced (`engine`).
    """
    from sqlalchemy import event  # late, as MLflow is
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def relax(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=NORMAL")


def wait(place: Place) -> None:
    """Return when nobody keeps others from writing; raises `sqlite3.Error` where that takes too long.

    MLflow itself gives up after 20 seconds.
    """
    if _file(place).exists():
        with contextlib.closing(connect(_file(place), "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()


def settle(place: Place) -> None:
    """Make the store one file again, if nobody minds."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(_file(place), "rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that cannot create the file; mode "ro" or "rw".

    SQLite would make two files beside a store in WAL mode even to read it, but for one that cannot change.
    """
    journal = path.with_name(path.name + "-wal")
    settled = not journal.exists() or journal.stat().st_size == 0
    unchanging = "&immutable=1" if mode == "ro" and settled and read_only(path) else ""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}{unchanging}", uri=True, timeout=LOCK_TIMEOUT
    )


def _file(place: Place) -> Path:
    assert place.path is not None, place  # noqa: S101 - a place of this kind has one
    return place.path


def _problem_of_file(place: Place) -> str:
    path = _file(place)
    format_problem = _problem_of_format(place, "must be a SQLite database, or a path where one can be created")
    if format_problem:
        return format_problem
    if read_only(path):
        return "the file is read-only; must be a store that can be written"
    try:
        with contextlib.closing(connect(path, "rw")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        return f"cannot be written ({error}); must be a store that can be written"
    return problem_of_folder(path.absolute().parent)  # SQLite keeps its journal beside the file


def _unreadable(error: sqlite3.Error) -> str:
    """What is wrong with a store that looked like one, and what would be right."""
    damaged = getattr(error, "sqlite_errorcode", 0) & PRIMARY == sqlite3.SQLITE_CORRUPT
    wanted = "a database that is not damaged, such as a copy" if damaged else "a database of this version of MLflow"
    return f"cannot be read ({error}); must be {wanted}"


def _problem_of_format(place: Place, wanted: str) -> str:
    """Why the file is not a store, and what is `wanted`.

    Only SQLite may open it: the system drops all locks that a process has on a file when the process closes
    the file anywhere, also those of a connection in use; the database would then be damaged by the next writer.
    """
    path = _file(place)
    if not path.is_file():
        return f"not a file; {wanted}"
    if path.stat().st_size == 0:  # perhaps another process is about to fill it
        return "" if place.lock.exists() else f"an empty file; {wanted}"
    try:
        with contextlib.closing(connect(path, "ro")) as connection:
            tables = {name for (name,) in connection.execute(TABLES)}
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            return f"not a SQLite database; {wanted}"
        return _unreadable(error)
    return problem_of_tables(tables)
