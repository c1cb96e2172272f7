"""Stores in PostgreSQL and behind an MLflow server hold what a SQLite file holds, and fail in one line."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psycopg
import pytest
import servers
from builders import trial
from safetensors.torch import load_file, save_file
from stores import QUICK, command_line
from torch import zeros

from experiments import ui
from reports import build
from rnnlab.collector import derived, run_name
from rnnlab.record import BY_LAG_METRICS, DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED, Record
from rnnlab.refusal import BadInput
from rnnlab.store import (
    NOTE_TAG,
    POSTGRES,
    SERVER,
    VIEW_VERSION_TAG,
    StoreSettings,
    place_of,
    settings_of_uri,
    without_password,
)
from rnnlab.store.client import client_of
from rnnlab.store.experiment import refresh
from rnnlab.store.kinds import kind_of
from rnnlab.store.reader import Reader
from rnnlab.store.view import VERSION
from rnnlab.store.writer import StoreFailure, Writer

KINDS = (POSTGRES, SERVER)
CHECKOUT = Path(__file__).parents[1]
SWEEP = (*QUICK, "-m", "task.delay=3,5", "seed=0,1", "engine.workers=1", "engine.progress=quiet")
ADDING = (*QUICK, "-m", "task=adding", "task.length=6,8", "seed=0,1", "engine.workers=1", "engine.progress=quiet")
ACCIDENTS = ["run_id", "pid", "seconds"]  # columns of a frame that belong to the launch
NOBODY = "http://127.0.0.1:1"  # a port that nobody listens on


@pytest.fixture(params=KINDS)
def remote(request) -> StoreSettings:
    """A store of either kind."""
    return request.getfixturevalue(request.param)


def usable(settings):
    place = place_of(settings)
    kind_of(place).check_usable(place)


def words_of(settings):
    return (f"store={settings.kind}", f"store.uri={settings.uri}", f"store.folder={settings.folder}")


def contents(where, experiment):
    """All that a store holds of an experiment, but for accidents of the launch."""
    reader = Reader(where)
    frame = reader.frame(experiment)
    curves = [reader.curves(run_id) for run_id in frame["run_id"]]
    return frame.drop(columns=ACCIDENTS, errors="ignore"), [one[one["key"] != "seconds"] for one in curves]


def equal(found, expected):
    pd.testing.assert_frame_equal(found[0], expected[0])
    assert len(found[1]) == len(expected[1])
    for curve, other in zip(found[1], expected[1], strict=True):
        pd.testing.assert_frame_equal(curve, other)


def write_all(settings, folder):
    """Every outcome that a trial can have, in two experiments, one of them with a sweep."""
    trials = [trial(seed=seed, clip_threshold=None if seed else 1.0) for seed in range(5)]
    ends = [SOLVED, EXHAUSTED, DIVERGED, FAILED, RUNNING]
    weights = folder / "initial.safetensors"
    save_file({"W_hh": zeros(2, 2)}, weights)
    with Writer(settings, "first", {"rnnlab.numerics": "here"}) as writer:
        for one, end in zip(trials, ends, strict=True):
            writer.begin(one, run_name(one), derived(one))
            writer.write(Record(one.key, 0, RUNNING, {"eval/loss": 0.1 + 0.2, "eval/accuracy": 1 / 3}), weights)
            writer.write(Record(one.key, 2, RUNNING, {"eval/loss": 1e-300, "train/gradient_norm": float("nan")}))
            if end != RUNNING:
                last = {"eval/loss": float("nan" if end == DIVERGED else "0.25"), "trained_steps": 2500.0}
                writer.write(Record(one.key, 2500, end, last, error="boom" if end == FAILED else ""))
    with Writer(settings, "second", {}, "a launch") as writer:
        writer.begin_sweep(trials[:3], ["seed"], "a note", {"notes.txt": "more"})


def test_the_three_kinds_of_store_hold_the_same(store, postgres, server, tmp_path):
    stores = [StoreSettings(str(store)), postgres, server]
    for settings in stores:
        write_all(settings, tmp_path)
    places = [place_of(settings) for settings in stores]
    for experiment in ("first", "second"):
        expected = contents(places[0], experiment)
        assert len(expected[0]) == {"first": 5, "second": 3}[experiment]
        for place in places[1:]:
            equal(contents(place, experiment), expected)
    plans = [list(Reader(place).plans("second").values()) for place in places]
    assert plans[0] == plans[1] == plans[2]
    assert len(plans[0][0]) == 3
    readers = [Reader(place) for place in places]
    assert [reader.experiments() for reader in readers] == [["first", "second"]] * 3
    assert [set(reader.finished()) for reader in readers] == [set(plans[0][0])] * 3
    results = [[reader.result(run_id) for run_id in reader.finished().values()] for reader in readers]
    assert results[0] == results[1] == results[2]
    for reader in readers:
        rows = reader.trials().to_dict("records")
        expected = readers[0].params(readers[0].trials()["run_id"][0])
        assert expected.items() == reader.params(rows[0]["run_id"]).items()
        assert load_file(reader.artifact(rows[0], "weights/initial.safetensors"))["W_hh"].shape == (2, 2)
        assert not reader.artifact(rows[0], "weights/final.safetensors").exists()


def test_experiments_are_prepared_for_the_ui_in_every_kind_of_store(remote, tmp_path):
    """Also those of an earlier rnnlab, when they are looked at."""
    write_all(remote, tmp_path)
    place = place_of(remote)
    client_of(place).set_experiment_tag(Reader(place).experiment_ids()["first"], VIEW_VERSION_TAG, "1")
    refresh(Reader(place))
    with kind_of(place).rows(place) as rows:
        versions, notes = rows.experiment_tags(VIEW_VERSION_TAG), rows.experiment_tags(NOTE_TAG)
    assert {version.split()[0] for version in versions.values()} == {VERSION}
    assert set(versions) >= {"first", "second"}
    assert "**first**" in notes["first"]
    assert "a note" in notes["second"]


@pytest.mark.slow
def test_a_sweep_gives_the_same_in_every_kind_of_store(store, remote, monkeypatch, capsys):
    assert command_line(monkeypatch, *SWEEP, f"store.path={store}") == 0
    capsys.readouterr()
    assert command_line(monkeypatch, *SWEEP, *words_of(remote)) == 0
    assert capsys.readouterr() == ("adhoc: done; 4 exhausted\n", "")
    equal(contents(place_of(remote), "adhoc"), contents(store, "adhoc"))
    assert command_line(monkeypatch, *SWEEP, *words_of(remote)) == 0
    assert "nothing to train (4 were in the store already)" in capsys.readouterr().out
    assert len(Reader(place_of(remote)).trials()) == 4


@pytest.mark.slow
def test_evaluations_that_are_made_up_are_the_same_in_every_kind_of_store(store, remote, monkeypatch, capsys):
    for words in ([f"store.path={store}"], words_of(remote)):
        assert command_line(monkeypatch, *ADDING, "eval.by_lag=false", *words) == 0
        assert command_line(monkeypatch, *ADDING, "eval.lengths=[5,30]", *words) == 0
        said = capsys.readouterr().err
        assert "eval.lengths: 4 finished before without them; evaluated now" in said
        assert "eval.by_lag: 4 finished before without it; evaluated now" in said
    found = contents(place_of(remote), "adhoc")
    assert found[0]["at_length/30/loss"].notna().all()
    by_lag = Reader(place_of(remote)).courses("adhoc", BY_LAG_METRICS)
    assert by_lag.equals(Reader(store).courses("adhoc", BY_LAG_METRICS))
    assert set(by_lag["metric"]) == set(BY_LAG_METRICS)
    equal(found, contents(store, "adhoc"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_launches_at_once_work_also_in_a_database_without_tables(kind, request, tmp_path):
    if kind == POSTGRES:
        cluster = request.getfixturevalue("cluster")
        servers.execute(cluster, "CREATE DATABASE fresh")
        store = StoreSettings(kind=kind, uri=servers.address(cluster, "fresh"))
    else:
        store = request.getfixturevalue("server")
    command = [sys.executable, "-m", "experiments.train", *SWEEP]
    launches = [
        subprocess.Popen(
            [
                *command,
                f"init.input_scale={scale}",
                *words_of(replace(store, folder=str(tmp_path / f"machine {scale}"))),
            ],
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for scale in ("0.1", "0.2")
    ]
    said = [launch.communicate()[1] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], said
    frame = Reader(place_of(store)).frame("adhoc")
    assert list(frame["status"]) == [EXHAUSTED] * 8


def write_until_it_is_gone(settings, process):
    """Write a trial, whose store goes away before its end; return the failure and the seconds until it was told."""
    one = trial()
    with pytest.raises(StoreFailure) as failure, Writer(settings, "tests", {}) as writer:  # noqa: PT012
        writer.begin(one, "name", {})
        process.send_signal(signal.SIGINT)
        process.wait()
        began = time.monotonic()
        writer.write(Record(one.key, 2, EXHAUSTED, {"eval/loss": 0.5}))
    return str(failure.value), time.monotonic() - began


def test_a_database_that_goes_away_is_reported_in_one_line_and_soon(tmp_path):
    with servers.started_postgres() as (port, process):
        settings = StoreSettings(kind=POSTGRES, uri=servers.address(port, "postgres"), folder=str(tmp_path))
        said, seconds = write_until_it_is_gone(settings, process)
    assert said.startswith(f"store.uri={settings.uri}: could not be written (")
    assert "\n" not in said
    assert seconds < 20


@pytest.mark.slow
def test_a_server_on_a_database_works_and_when_it_goes_away_that_is_reported_in_one_line_and_soon(postgres, tmp_path):
    with servers.started_server(place_of(postgres)) as (uri, process):
        settings = StoreSettings(kind=SERVER, uri=uri, folder=str(tmp_path / "state"))
        said, seconds = write_until_it_is_gone(settings, process)
    assert said == f"store.uri={uri}: could not be written (Connection refused)"
    assert seconds < 20
    assert list(Reader(place_of(postgres)).frame("tests")["status"]) == [RUNNING]


REFUSED = {  # words -> what the one line must say
    ("store=postgres",): "store.uri=null: must be postgresql://USER@HOST/DATABASE for store=postgres",
    ("store=server",): "store.uri=null: must be http://HOST:PORT for store=server",
    ("store=postgres", "store.uri=mysql://u@h/d"): "store.uri=mysql://u@h/d: must be postgresql://USER@HOST/DATABASE",
    ("store=postgres", "store.uri=postgresql://u@h"): "store.uri=postgresql://u@h: must be postgresql://USER@HOST/DATA",
    ("store=server", "store.uri=postgresql://u:secret@h/d"): "store.uri=postgresql://u:***@h/d: must be http://HOST:PO",
    ("store=server", "store.uri=127.0.0.1:5000"): "store.uri=127.0.0.1:5000: must be http://HOST:PORT for store=server",
    ("store=server", "store.uri=http://h:x"): "store.uri=http://h:x: must be http://HOST:PORT for store=server",
    ("store=server", f"store.uri={NOBODY}"): f"store.uri={NOBODY}: cannot be read (Connection refused); must be an ",
    ("store=postgres", "store.uri=postgresql://u:secret@127.0.0.1:1/d"): "store.uri=postgresql://u:***@127.0.0.1:1/d: ",
    ("store.uri=postgresql://u:secret@h/d?a=b",): "store.uri=postgresql://u:***@h/d?a=b: the value cannot be read; ",
    ("store=postgres", 'store.uri="postgresql://u:secret@127.0.0.1:1/d?sslmode=disable"'): "store.uri=postgresql://u:*",
    ("store.uri=http://h",): "store.uri=http://h: is not of the store chosen here; must stand with store=postgres or ",
    ("store=server", "store.path=x"): "store.path=x: is not of the store chosen here; must stand with store=sqlite",
    ("store=nosuch",): "store=nosuch: must be one of postgres, server, sqlite",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_store_that_cannot_be_is_refused_in_one_line_before_anything_trains(words, monkeypatch, tmp_path, capsys):
    folder = [f"store.folder={tmp_path / 'new'}"] if words[0].startswith("store=") and "nosuch" not in words[0] else []
    began = time.monotonic()
    assert command_line(monkeypatch, *QUICK, *words, *folder) == 2
    assert time.monotonic() - began < 10
    said = capsys.readouterr().err
    assert said.startswith(REFUSED[words])
    assert said.count("\n") == 1
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_missing_driver_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert command_line(monkeypatch, *QUICK, "store=postgres", "store.uri=postgresql://u@h/d") == 2
    assert "must be installed: pip install 'rnnlab[postgres]'\n" in capsys.readouterr().err


def test_a_server_of_another_kind_is_refused(monkeypatch, tmp_path, capsys):
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", ui.HOST, "--directory", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as other:
        try:
            port = other.stdout.readline().split()[5]  # Serving HTTP on 127.0.0.1 port 12345 ...
            assert command_line(monkeypatch, *QUICK, "store=server", f"store.uri=http://{ui.HOST}:{port}") == 2
        finally:
            other.terminate()
    said = capsys.readouterr().err
    assert said.endswith("must be an MLflow tracking server that answers\n")
    assert said.count("\n") == 1


def test_a_database_that_cannot_be_used_is_refused(cluster, postgres, tmp_path):
    servers.execute(cluster, "CREATE DATABASE other")
    servers.execute(cluster, "CREATE TABLE recipes (name text)", "other")
    servers.execute(cluster, "CREATE ROLE reader LOGIN")
    name = postgres.uri.rpartition("/")[2]
    servers.execute(cluster, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    as_reader = postgres.uri.replace(f"{servers.ADMIN}@", "reader@")
    reasons = {servers.address(cluster, "other"): "a database of another program", as_reader: "is read-only for this"}
    for uri, reason in reasons.items():
        settings = StoreSettings(kind=POSTGRES, uri=uri, folder=str(tmp_path / "state"))
        with pytest.raises(BadInput, match=reason):
            usable(settings)
    assert Reader(place_of(settings_of_uri(as_reader))).experiments() == []  # reading is allowed


def test_reading_cannot_write_and_an_empty_database_is_an_empty_store(cluster):
    servers.execute(cluster, "CREATE DATABASE empty")
    place = place_of(settings_of_uri(servers.address(cluster, "empty")))
    reader = Reader(place)
    assert reader.experiments() == []
    assert reader.finished() == {}
    with reader.kind.rows(place) as rows, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        rows.connection.execute("CREATE TABLE recipes (name text)")


@pytest.mark.slow
def test_reports_and_links_come_from_a_server_as_from_a_file(server, monkeypatch, tmp_path, capsys):
    assert command_line(monkeypatch, *SWEEP, *words_of(server)) == 0
    out = tmp_path / "out"
    assert build.main([f"store.uri={server.uri}", f"out={out}"]) == 0
    assert f"reports.build adhoc store.uri={server.uri}" in (out / "adhoc" / "index.html").read_text()
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["experiments/ui.py", f"store.uri={server.uri}"])
    ui.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"The MLflow UI is at {server.uri}. The runs of each experiment:"
    assert second.split()[0] == "adhoc"
    assert second.split()[1].startswith(f"{server.uri}/#/experiments/")


def test_the_ui_takes_a_database_or_a_server_for_a_store():
    uri = "postgresql://u@h/d"
    assert ui.arguments([f"store.uri={uri}", "port=5100"]) == (place_of(settings_of_uri(uri)), 5100)
    for words, line in {
        ("store.uri=ftp://h",): "store.uri=ftp://h: must be postgresql://USER@HOST/DATABASE or http://HOST:PORT",
        ("store.uri=http://h", "store.path=x"): "store.path: is given beside store.uri; must be one of them",
    }.items():
        with pytest.raises(BadInput) as refused:
            ui.arguments(list(words))
        assert str(refused.value) == line


def test_a_password_is_never_shown(monkeypatch):
    uri = "postgresql://u:secret@h:5432/d?sslmode=require&password=secret"
    shown = "postgresql://u:***@h:5432/d?sslmode=require&password=***"
    assert without_password(f"python store.uri={uri} http://h:1/a@b") == f"python store.uri={shown} http://h:1/a@b"
    assert str(place_of(settings_of_uri(uri))) == f"store.uri={shown}"
