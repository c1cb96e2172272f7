"""The store: what is written is what is read, and writing twice changes nothing."""

import contextlib
import dataclasses
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from builders import trial
from safetensors.torch import load_file, save_file
from torch import zeros

from rnnlab.collector import derived, run_name
from rnnlab.frame import ADDED_TO_MEMBERS
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED, Record
from rnnlab.refusal import BadInput, show
from rnnlab.registry import registry
from rnnlab.store import (
    HOST_TAG,
    KEY_TAG,
    KIND_TAG,
    PID_TAG,
    STATUS_TAG,
    StoreSettings,
    runs,
    sqlite_place,
)
from rnnlab.store.reader import Reader
from rnnlab.store.view import VIEW_TAG
from rnnlab.store.writer import StoreFailure, Writer
from rnnlab.trial import KINDS

VIEW_OF_TESTS = """SELECT value FROM experiment_tags JOIN experiments USING (experiment_id)
                   WHERE experiments.name = 'tests' AND key = ?"""


def course(one, status=SOLVED, last=40):
    yield Record(one.key, 0, RUNNING, {"eval/loss": 0.7, "eval/accuracy": 0.5})
    yield Record(one.key, 20, RUNNING, {"train/loss": 0.5, "eval/loss": 0.4, "eval/accuracy": 0.9})
    found = {"steps_to_solve": 20.0} if status == SOLVED else {}
    yield Record(one.key, last, status, {"eval/loss": 0.1, "eval/accuracy": 1.0, "trained_steps": float(last), **found})


def write(store, records, trials, experiment="tests", weights="both"):
    with Writer(StoreSettings(str(store), weights), experiment, {"rnnlab.numerics": "here"}) as writer:
        for one in trials:
            writer.begin(one, run_name(one), derived(one))
        for record in records:
            writer.write(record)


def test_a_frame_has_every_field_of_a_trial_as_it_was(store):
    one = trial(delay=7, spectral_radius=0.8, clip_threshold=None, learning_rate=1e-3, seed=3)
    write(store, course(one), [one])
    row = Reader(store).frame("tests").iloc[0]
    for name, value in one.flat().items():
        stored = show(value) if isinstance(value, bool) else value
        assert row[name] == stored or (value is None and row[name] != row[name]), name
    assert row["key"] == one.key
    assert row["status"] == SOLVED
    assert row["run_name"] == "elman copy delay=7 gaussian rho=0.8 seed=3"
    assert (row["distance"], row["baseline"], row["parameters"]) == (
        10,
        one.task.baseline,
        64 * 4 + 64 * 64 + 64 + 3 * 64 + 3,
    )
    assert (row["eval/loss"], row["steps_to_solve"], row["trained_steps"]) == (0.1, 20, 40)
    assert row["numerics"] == "here"


def test_runs_from_before_a_field_of_their_task_was_added_have_the_value_that_it_means(store):
    other = trial(task="reverse")
    old, new = ([trial(task="adding", length=at), trial(task="copy", delay=at)] for at in (5, 6))
    write(store, [], [other, *old, *new])
    keys = ", ".join(repr(one.key) for one in old)
    runs_of_old = f"SELECT run_uuid FROM tags WHERE key = '{KEY_TAG}' AND value IN ({keys})"
    added = "'task.markers', 'task.target', 'task.lengths', 'task.inputs'"
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(f"DELETE FROM params WHERE key IN ({added}) AND run_uuid IN ({runs_of_old})")
    frame = Reader(store).frame("tests").set_index("key")
    adding = {"task.markers": "halves", "task.target": "sum", "task.lengths": "equal"}
    for one, fields in zip((*old, *new), (adding, {"task.inputs": "one-hot"}) * 2, strict=True):
        assert fields.items() <= one.flat().items()
        assert frame.loc[one.key, [*adding, "task.inputs"]].dropna().to_dict() == fields
    assert frame.loc[other.key, [*adding, "task.inputs"]].isna().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_repeats_what_members_declare_of_fields_that_were_added_later(kind):
    for name, spec in registry()[kind].items():
        declared = {field.name: field.metadata["absent"] for field in dataclasses.fields(spec)}
        added = {
            field: str(value).lower() if isinstance(value, bool) else value
            for field, value in declared.items()
            if value is not dataclasses.MISSING and value is not None  # a missing entry means null anyway
        }
        assert ADDED_TO_MEMBERS.get((kind, name), {}) == added, f"frame.ADDED_TO_MEMBERS of {kind} {name}: {added}"
    assert {name for of, name in ADDED_TO_MEMBERS if of == kind} <= registry()[kind].keys()


def test_curves_are_read_back_point_by_point(store):
    one = trial()
    write(store, course(one, DIVERGED), [one])
    run_id = Reader(store).frame("tests")["run_id"][0]
    curve = Reader(store).curves(run_id)
    accuracy = curve[curve["key"] == "eval/accuracy"]
    assert list(zip(accuracy["step"], accuracy["value"], strict=True)) == [(0, 0.5), (20, 0.9), (40, 1.0)]


def test_writing_a_course_again_after_an_interruption_changes_nothing(store):
    one, other = trial(seed=0), trial(seed=1)
    whole = list(course(one))
    write(store, whole[:2], [one])
    interrupted = Reader(store).frame("tests")
    assert interrupted["status"][0] == RUNNING
    assert list(Reader(store).trials()["mlflow_status"]) == ["KILLED"]
    write(store, [*whole, *course(other)], [one, other])
    frame = Reader(store).frame("tests").set_index("seed")
    assert frame.loc[0, "run_id"] == interrupted["run_id"][0]
    curves = [Reader(store).curves(run_id).drop_duplicates() for run_id in frame["run_id"]]
    assert curves[0].equals(curves[1])
    assert [len(Reader(store).curves(run_id)) for run_id in frame["run_id"]] == [len(curves[0])] * 2
    assert frame.loc[0, "status"] == frame.loc[1, "status"] == SOLVED


def test_a_run_whose_fields_were_never_written_gets_them_when_it_is_taken_over(store):
    one = trial(delay=9)
    with Writer(StoreSettings(str(store)), "tests", {}) as writer:
        log_batch = writer.client.log_batch
        writer.client.log_batch = lambda *_, **__: None  # killed between two writes
        writer.begin(one, "name", {})
        writer.client.log_batch = log_batch
    write(store, course(one), [one])
    frame = Reader(store).frame("tests")
    assert (len(frame), frame["task.delay"][0], frame["status"][0]) == (1, 9, SOLVED)


def test_the_same_plan_again_goes_on_in_the_same_run(store):
    one, other = trial(seed=0), trial(seed=1)
    for done in (False, True):
        with Writer(StoreSettings(str(store)), "tests", {}) as writer:
            writer.begin_sweep([one, other], ["seed"], "a note")
            writer.complete = done
        (run_id,) = Reader(store).plans("tests")
        with sqlite3.connect(store) as connection:
            (status,) = connection.execute("SELECT status FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
        connection.close()
        assert status == ("FINISHED" if done else "KILLED")


def test_the_plan_of_a_sweep_is_found_where_the_store_was_moved(store, tmp_path):
    one, other = trial(seed=0), trial(seed=1)
    with Writer(StoreSettings(str(store)), "tests", {}) as writer:
        writer.begin_sweep([one, other], ["seed"], "a note")
    write(store, course(one), [one], "elsewhere")
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in (store, sqlite_place(store).artifacts):
        file.rename(moved / file.name)
    assert list(Reader(moved / store.name).frame("tests")["key"]) == [one.key]


def test_looking_at_a_store_leaves_the_locks_of_this_process_in_place(store):
    """Closing any file handle on a database drops the POSIX locks of the whole process on it; SQLite knows, we must."""
    attempt = f"import sqlite3; sqlite3.connect({str(store)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # in which the lock of a writer is on the database itself
        connection.execute("BEGIN IMMEDIATE")
        Reader(store).experiments()
        other = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True)
    assert "database is locked" in other.stderr


def test_a_launch_that_comes_and_goes_does_not_disturb_another(store):
    one, other = trial(seed=0), trial(seed=1)
    with Writer(StoreSettings(str(store)), "tests", {}) as writer:
        writer.begin(one, "name", {})
        code = f"""
from rnnlab.store import StoreSettings
from rnnlab.store.writer import StoreFailure, Writer
with Writer(StoreSettings({str(store)!r}), "another", dict()):
    pass
"""
        subprocess.run([sys.executable, "-c", code], check=True)
        for record in course(one):
            writer.write(record)
    write(store, course(other), [other])
    with contextlib.closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert list(Reader(store).frame("tests")["status"]) == [SOLVED, SOLVED]


def test_an_experiment_without_a_sweep_has_a_view_too(store):
    write(store, [], [])
    with contextlib.closing(sqlite3.connect(store)) as connection:
        assert len(connection.execute(VIEW_OF_TESTS, (VIEW_TAG,)).fetchall()) == 1


RUNNING_RUN = {"launch": "a", "host": socket.gethostname(), "pid": "1"}  # pid 1 lives


@pytest.mark.parametrize(
    ("change", "lives"),
    [
        ({"launch": "at work", "heartbeat": None}, True),
        ({}, True),
        ({"pid": str(2**22 + 1)}, False),
        ({"pid": None}, False),
        ({"heartbeat": "1"}, False),
        ({"heartbeat": None}, False),
        ({"host": "elsewhere", "pid": str(2**22 + 1)}, True),
        ({"host": "elsewhere", "heartbeat": "1"}, False),
        ({"pid": str(os.getpid())}, False),
    ],
)
def test_the_owner_of_a_run_lives_if_its_launch_is_at_work_or_gave_a_sign_of_life(change, lives):
    now = {"heartbeat": str(time.time())}  # when the test runs, which may be minutes after this file was read
    assert runs.owner_lives(RUNNING_RUN | now | change, {"at work"}) == lives


def test_a_run_whose_owner_is_gone_is_shown_as_ended_by_the_next_writer(store):
    one, other = trial(seed=0), trial(seed=1)
    for each in (one, other):
        write(store, list(course(each))[: 1 if each is one else 3], [each])
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE runs SET status = 'RUNNING'")
        connection.execute("UPDATE tags SET value = ? WHERE key = ?", (str(2**22 + 1), PID_TAG))
    write(store, [], [])
    assert Reader(store).trials().set_index("key")["mlflow_status"].to_dict() == {
        one.key: "KILLED",
        other.key: "FINISHED",
    }


def test_of_two_results_the_older_is_marked_as_superseded(store):
    one = trial()
    for _ in range(2):
        write(store, course(one), [one])
    first, second = Reader(store).trials().to_dict("records")
    assert first["superseded"] == second["run_id"]
    assert second["superseded"] is None or second["superseded"] != second["superseded"]
    assert list(Reader(store).frame("tests")["run_id"]) == [second["run_id"]]


def test_the_points_of_a_run_under_other_numerics_are_not_mixed_with_new_ones(store):
    one = trial()
    write(store, list(course(one))[:2], [one])
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE tags SET value = 'another machine' WHERE key = 'rnnlab.numerics'")
    write(store, course(one), [one])
    assert len(Reader(store).trials()) == 2
    assert list(Reader(store).frame("tests")["numerics"]) == ["here"]


def test_of_several_runs_of_a_trial_the_newest_finished_one_counts(store):
    one = trial()
    write(store, course(one, EXHAUSTED), [one])
    write(store, course(one, SOLVED), [one])
    write(store, [Record(one.key, 0, FAILED, error="boom")], [one])
    frame = Reader(store).frame("tests")
    assert list(frame["status"]) == [SOLVED]
    assert Reader(store).finished() == {one.key: frame["run_id"][0]}


def test_a_failed_trial_is_in_the_frame_with_its_reason_and_not_finished(store):
    one = trial()
    write(store, [Record(one.key, 0, FAILED, error="Traceback: boom")], [one])
    reader = Reader(store)
    frame = reader.frame("tests")
    assert list(frame["status"]) == [FAILED]
    assert reader.finished() == {}
    assert reader.tags(frame["run_id"][0])["rnnlab.error"] == "Traceback: boom"


def test_a_trial_belongs_to_every_sweep_that_planned_it(store):
    one, other = trial(seed=0), trial(seed=1)
    write(store, course(one), [one], "first")
    with Writer(StoreSettings(str(store)), "second", {}) as writer:
        writer.begin_sweep([one, other], ["seed"], "a note")
    write(store, course(other), [other], "second")
    reader = Reader(store)
    assert reader.experiments() == ["first", "second"]
    assert set(reader.frame("second")["key"]) == {one.key, other.key}
    assert set(reader.frame("first")["key"]) == {one.key}
    assert set(reader.frame("second")["experiment"]) == {"second"}


@pytest.mark.parametrize("weights", ["both", "none"])
def test_parameters_are_kept_as_artifacts_or_not_as_asked(store, tmp_path, weights):
    one = trial()
    file = tmp_path / "initial.safetensors"
    save_file({"W_hh": zeros(2, 2)}, file)
    with Writer(StoreSettings(str(store), weights), "tests", {}) as writer:
        run_id = writer.begin(one, "name", {})
        writer.write(next(course(one)), file)
    kept = sqlite_place(store).artifacts / "tests" / run_id / "artifacts" / "weights" / "initial.safetensors"
    assert kept.exists() == (weights == "both")
    if kept.exists():
        assert load_file(kept)["W_hh"].shape == (2, 2)


def test_runs_are_flat_named_and_tagged_and_the_view_is_prepared(store):
    one = trial()
    with Writer(StoreSettings(str(store)), "tests", {"rnnlab.git_commit": "abc"}) as writer:
        writer.begin_sweep([one, trial(delay=7)], ["task.delay"], "a note")
        writer.begin(one, "a name", {})
        for record in course(one):
            writer.write(record)
        writer.complete = True
    tags = Reader(store).tags(Reader(store).frame("tests")["run_id"][0])
    assert {KIND_TAG, KEY_TAG, STATUS_TAG, HOST_TAG, PID_TAG, "rnnlab.git_commit"} <= set(tags)
    assert tags["mlflow.runName"] == "a name"
    assert "mlflow.parentRunId" not in tags
    with sqlite3.connect(store) as connection:
        (view,) = connection.execute(VIEW_OF_TESTS, (VIEW_TAG,)).fetchone()
        statuses = connection.execute("SELECT status FROM runs").fetchall()
    connection.close()
    assert json.loads(view)["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "distance"}]
    assert set(statuses) == {("FINISHED",)}


def test_a_metric_that_is_not_a_number_is_missing_in_the_frame(store):
    one = trial()
    write(store, [Record(one.key, 3, DIVERGED, {"eval/loss": float("nan"), "solved": 0.0})], [one])
    row = Reader(store).frame("tests").iloc[0]
    assert row["status"] == DIVERGED
    assert row["eval/loss"] != row["eval/loss"]


def test_reading_works_from_a_store_that_cannot_be_written_and_leaves_nothing_beside_it(store):
    one = trial()
    write(store, course(one), [one])
    before = sorted(file.name for file in store.parent.iterdir())
    store.chmod(0o444)
    assert len(Reader(store).frame("tests")) == 1
    assert sorted(file.name for file in store.parent.iterdir()) == before


def test_reading_where_there_is_no_store_says_what_to_do(tmp_path):
    with pytest.raises(BadInput, match=r"no store there; run a sweep first, for example: make demo"):
        Reader(tmp_path / "none.db")


def test_a_path_with_spaces_and_odd_letters_works(schema, tmp_path):
    store = tmp_path / "my runs" / "ö store.db"
    one = trial()
    write(store, course(one), [one])
    assert list(Reader(store).frame("tests")["status"]) == [SOLVED]


def test_an_unknown_status_is_refused_when_read(store):
    one = trial()
    write(store, course(one), [one])
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE tags SET value = 'dreaming' WHERE key = ?", (STATUS_TAG,))
    connection.close()
    with pytest.raises(BadInput, match="unknown status dreaming"):
        Reader(store).frame("tests")


def test_a_locked_database_is_waited_for(store):
    one = trial()
    connection = sqlite3.connect(store, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    free = threading.Timer(0.5, lambda: (connection.rollback(), connection.close()))
    free.start()
    write(store, course(one), [one])
    free.join()
    assert list(Reader(store).frame("tests")["status"]) == [SOLVED]


def test_a_database_that_stays_locked_is_a_failure_in_one_line(store, monkeypatch):
    monkeypatch.setattr("rnnlab.store.sqlite.LOCK_TIMEOUT", 0.1)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailure, match=r"^store\.path=.*: could not be written \(database is locked\)$"):
            write(store, [], [])
