"""A PostgreSQL and an MLflow server of the tests' own: on this machine, on free ports, ended with the tests."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import ui
from rnnlab.store import POSTGRES, SERVER, Place, StoreSettings, sqlite_place
from rnnlab.store.writer import Writer

LIMIT = 60  # seconds until a server must answer
ADMIN = "rnnlab"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((ui.HOST, 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def cluster() -> Iterator[int]:
    """The port of a PostgreSQL that asks for no password."""
    with started_postgres() as (port, _):
        yield port


@contextlib.contextmanager
def started_postgres() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """(port, process) of a new PostgreSQL; its folder is gone afterwards."""
    programs, user = _programs(), _unprivileged()  # to whom pytest's own temporary folders are closed
    with tempfile.TemporaryDirectory(prefix="rnnlab-postgres-", ignore_cleanup_errors=True) as folder:
        if user:
            shutil.chown(folder, **user)
        data, port = Path(folder) / "data", free_port()
        settings = [f"listen_addresses={ui.HOST}", f"port={port}", "unix_socket_directories=", "fsync=off"]
        common = {"cwd": folder, "stdout": subprocess.DEVNULL, "extra_groups": [] if user else None, **user}
        words = ["-D", data, "-U", ADMIN, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([programs / "initdb", *words], check=True, stderr=subprocess.PIPE, **common)
        with (Path(folder) / "log").open("wb") as log:
            command = [programs / "postgres", "-D", data, *(word for each in settings for word in ("-c", each))]
            server = subprocess.Popen(command, stderr=log, **common)
        try:
            _wait_until_it_answers(server, port, Path(folder) / "log")
            yield port, server
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: its files are not needed any more
            server.wait()


def _programs() -> Path:
    """The folder of PostgreSQL's programs, of the newest version; without it tests are skipped, or fail in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    in_path = shutil.which("initdb")
    if found or in_path:
        return found[-1].parent if found else Path(in_path).resolve().parent
    missing = "PostgreSQL is not installed: its initdb is neither in /usr/lib/postgresql/*/bin nor in PATH"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def _unprivileged() -> dict[str, str]:
    """Who runs PostgreSQL, which refuses root; nothing where these tests do not run as root."""
    if os.getuid() != 0:
        return {}
    known = {user.pw_name for user in pwd.getpwall()}
    name = "postgres" if "postgres" in known else "nobody"
    group = pwd.getpwnam(name).pw_gid
    return {"user": name, "group": group}


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + LIMIT
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(address(port, "postgres")).close()
            return
        time.sleep(0.05)
    pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")


def address(port: int, database: str) -> str:
    return f"postgresql://{ADMIN}@{ui.HOST}:{port}/{database}"


def execute(port: int, command: str, database: str = "postgres") -> None:
    """Run an SQL command that is a transaction of its own."""
    import psycopg

    with contextlib.closing(psycopg.connect(address(port, database), autocommit=True)) as connection:
        connection.execute(command)


@pytest.fixture(scope="session")
def tables(cluster, tmp_path_factory) -> str:
    """A database with MLflow's tables and no runs, to copy; nobody is connected to it."""
    execute(cluster, "CREATE DATABASE tables")
    folder = tmp_path_factory.mktemp("tables")
    with Writer(StoreSettings(kind=POSTGRES, uri=address(cluster, "tables"), folder=str(folder)), "unused", {}):
        pass
    execute(cluster, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tables'")
    return "tables"


@pytest.fixture
def postgres(cluster, tables, tmp_path) -> StoreSettings:
    """An empty store of one's own in PostgreSQL."""
    name = f"store{time.monotonic_ns()}"
    execute(cluster, f"CREATE DATABASE {name} TEMPLATE {tables}")
    return StoreSettings(kind=POSTGRES, uri=address(cluster, name), folder=str(tmp_path / "postgres"))


@pytest.fixture(scope="session")
def running_server(schema, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """(URI, database) of an MLflow server for all tests."""
    database = Path(shutil.copy(schema, tmp_path_factory.mktemp("server") / "server.db"))
    with started_server(sqlite_place(database)) as (uri, _):
        yield uri, database


@pytest.fixture
def server(schema, running_server, tmp_path) -> StoreSettings:
    """A store behind an MLflow server, emptied of what other tests left."""
    uri, database = running_server
    with contextlib.closing(sqlite3.connect(schema)) as empty, contextlib.closing(sqlite3.connect(database)) as used:
        empty.backup(used)
    return StoreSettings(kind=SERVER, uri=uri, folder=str(tmp_path / "server"))


@contextlib.contextmanager
def started_server(store: Place) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """(URI, process) of a new MLflow server on a store."""
    port = free_port()
    process = ui.start(store, port)
    try:
        yield f"http://{ui.HOST}:{port}", process
    finally:
        process.terminate()
        process.wait()
