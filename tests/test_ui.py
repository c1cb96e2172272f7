"""The second act: the MLflow UI over the store."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from builders import trial

from experiments import ui
from rnnlab.engine import EngineSettings, run
from rnnlab.refusal import BadInput
from rnnlab.store import StoreSettings, sqlite_place

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["port=abc"], "port=abc: must be an integer >= 1 and <= 65535"),
        (["port=70000"], "port=70000: must be an integer >= 1 and <= 65535"),
        (["prot=1"], "prot=1: unknown key; did you mean port? allowed: store.path, store.uri, port"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, line):
    with pytest.raises(BadInput) as refused:
        ui.arguments(words)
    assert str(refused.value) == line


def test_a_port_in_use_is_passed_over():
    first = ui.free_port(5100)
    with ui.socket.socket() as taken:
        taken.bind((ui.HOST, first))
        taken.listen()
        assert ui.free_port(first) > first


def test_the_command_serves_the_store_on_this_machine_and_links_its_runs(store):
    small = trial(max_steps=2, eval_size=2, hidden_size=4)
    run([small], "tests", StoreSettings(str(store)), EngineSettings(progress="quiet"), "")
    command = [sys.executable, "-m", "experiments.ui", f"store.path={store}", "port=5200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            where, runs = server.stdout.readline(), server.stdout.readline()
            base = where.split()[5]
            assert base.startswith("http://127.0.0.1:52")
            name, link = runs.split()
            assert (name, link.split("/#/")[0]) == ("tests", base)
            number = link.split("/experiments/")[1].split("/")[0]
            with urllib.request.urlopen(f"{base}/api/2.0/mlflow/experiments/get?experiment_id={number}") as answer:  # noqa: S310
                assert b'"name": "tests"' in answer.read()
        finally:
            server.terminate()
    assert server.returncode == 0


def command(store, port=5300) -> dict:
    """What starts the UI for a store, as arguments of `Popen`."""
    words = [sys.executable, "-m", "experiments.ui", f"store.path={store}", f"port={port}"]
    return {"args": words, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}


def test_a_missing_store_is_told_in_one_line(tmp_path):
    ended = subprocess.run(**command(tmp_path / "none.db"), check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"store.path={tmp_path}/none.db: no store there; run a sweep first, for example: make demo\n"


def test_a_store_that_mlflow_may_not_write_to_is_told_in_words_of_our_own(store, monkeypatch):
    """In the place of its last words, which lead to a page about databases."""
    monkeypatch.setattr(ui.sys, "executable", "false")
    with pytest.raises(BadInput, match="the MLflow server did not start"):
        ui.start(sqlite_place(store), 5400)
    store.chmod(0o444)
    with pytest.raises(BadInput) as refused:
        ui.start(sqlite_place(store), 5400)
    assert str(refused.value) == f"store.path={store}: the file is read-only; must be a store that can be written"


@pytest.mark.slow
def test_an_empty_store_is_served_with_a_line_that_says_what_to_do(store):
    with subprocess.Popen(**command(store)) as server:
        try:
            assert server.stdout.readline().startswith("The MLflow UI is at http://127.0.0.1:53")
            assert server.stdout.readline() == "  none yet: run a sweep first, for example: make demo\n"
        finally:
            server.terminate()
    assert server.returncode == 0


@pytest.mark.slow
def test_a_store_of_a_newer_mlflow_is_refused_in_one_line_and_not_changed(store):
    small = trial(max_steps=2, eval_size=2, hidden_size=4)
    run([small], "tests", StoreSettings(str(store)), EngineSettings(progress="quiet"), "")
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'aaaaaaaaaaaa'")
        connection.execute("DELETE FROM experiment_tags")
    ended = subprocess.run(**command(store), timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"store.path={store}: ")
    assert "aaaaaaaaaaaa" in line
    with contextlib.closing(sqlite3.connect(store)) as connection:
        assert connection.execute("SELECT count(*) FROM experiment_tags").fetchone() == (0,)


@pytest.mark.slow
def test_a_server_that_dies_is_told_in_one_line(store):
    with subprocess.Popen(**command(store)) as ui_process:
        try:
            ui_process.stdout.readline()
            children = Path(f"/proc/{ui_process.pid}/task/{ui_process.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGTERM)  # it ends its own children, as it could not if it were killed
            (line,) = ui_process.stderr.read().splitlines()
        finally:
            ui_process.terminate()
    assert line.startswith(f"store.path={store}: the MLflow server ended by itself with status ")
    assert ui_process.returncode == 1
