"""A store in a PostgreSQL database; artifacts lie in a folder, which several machines have to share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rnnlab.refusal import BadInput
from rnnlab.store import Place, Unreachable, reason
from rnnlab.store.files import problem_of_folder
from rnnlab.store.rows import SqlRows, problem_of_tables

if TYPE_CHECKING:
    import psycopg

CONNECT_LIMIT = 10  # seconds
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = ANY (current_schemas(false))"
MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
MAY_WRITE = "SELECT has_table_privilege('runs', 'INSERT') AND has_table_privilege('runs', 'UPDATE')"
READ_ONLY = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'"
SCHEMA_LOCK = 7270617  # any number: whoever makes or migrates the tables holds the advisory lock of this number


def exists(place: Place) -> bool:
    return True


def check_usable(place: Place) -> None:
    with _connection(place) as connection:
        found = _tables(connection)
        if problem := problem_of_tables(found):
            raise BadInput(f"{place}: {problem}")
        allowed = connection.execute(MAY_WRITE if found else MAY_CREATE).fetchone()
        read_only = connection.execute(READ_ONLY).fetchone()
    if allowed != (True,) or read_only != (False,):
        raise BadInput(f"{place}: is read-only for this user; must be a store that can be written")
    if place.artifacts and (problem := problem_of_folder(place.artifacts)):
        raise BadInput(f"store.folder={place.artifacts.parent}: {problem}")


def check_readable(place: Place) -> None:
    with _connection(place) as connection:
        problem = problem_of_tables(_tables(connection))
    if problem:
        raise BadInput(f"{place}: {problem}")


@contextlib.contextmanager
def rows(place: Place) -> Iterator[SqlRows]:
    with _connection(place) as connection:
        yield SqlRows(connection, place, _tables(connection), "%s")


@contextlib.contextmanager
def preparing(place: Place) -> Iterator[None]:
    """Within, no other machine makes or migrates the tables; a first client beside another would fail."""
    with _connection(place) as connection:
        connection.autocommit = True  # or it would be idle in a transaction, for which servers may have a limit
        connection.execute("SELECT pg_advisory_lock(%s)", (SCHEMA_LOCK,))
        yield  # closing the connection gives the lock back


def wait(place: Place) -> None:
    """Nothing: the other side sees to it that writers take turns."""


def settle(place: Place) -> None:
    """Nothing to do: the database keeps its own journal."""


@contextlib.contextmanager
def _connection(place: Place) -> Iterator[psycopg.Connection[Any]]:
    """A connection that cannot write and sees the database as it is at its first query."""
    try:
        import psycopg  # late: few stores need it
    except ImportError as error:
        raise BadInput(f"{place}: the driver psycopg must be installed: pip install 'rnnlab[postgres]'") from error
    address = place.uri.replace("+psycopg", "", 1)
    try:
        with contextlib.closing(psycopg.connect(address, connect_timeout=CONNECT_LIMIT)) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield connection
    except psycopg.Error as error:
        raise Unreachable(f"{place}: cannot be read ({reason(error)}); must be a database that answers") from error


def _tables(connection: psycopg.Connection[Any]) -> set[str]:
    return {name for (name,) in connection.execute(TABLES).fetchall()}
