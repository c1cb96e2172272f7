"""What sweeps planned, and where numbers come from, are told alike by every kind of store, also by an old one."""

import contextlib
import json
import sqlite3

import pandas as pd
import pytest
from builders import trial

from rnnlab.collector import derived, run_name
from rnnlab.record import EXHAUSTED, FAILED, RUNNING, SOLVED, Record
from rnnlab.store import LAUNCH_TAG, StoreSettings, place_of
from rnnlab.store.origins import question
from rnnlab.store.reader import Reader
from rnnlab.store.writer import Writer

PLANNED = [
    *(
        trial(delay=delay, clip_threshold=clip, seed=seed)
        for delay in (5, 9)
        for clip in (1.0, None)
        for seed in (0, 1)
    ),
    trial(task="adding", length=12),
    trial(cell="lstm", layers=2, bidirectional=True),
]
TAGS = {
    "rnnlab.git_commit": "c0ffee",
    "rnnlab.git_dirty": "true",
    "rnnlab.versions": "torch 2",
    "rnnlab.python": "3.11",
    "rnnlab.device": "cpu",
    "rnnlab.numerics": "here",
}
FIRST, SECOND = "20260102-030405-aaaaaaaa", "20260103-040506-bbbbbbbb"
SOURCE = "# @package _global_\n# How far back?\n# Twice a line.\ndefaults:\n# not this\n"


def sweep(settings, launch, begun, planned=PLANNED, tags=TAGS):
    """A launch that plans trials and ends some of them."""
    ends = [SOLVED, EXHAUSTED, FAILED, RUNNING]
    files = {"command.txt": f"train {launch}\n", "experiment.yaml": SOURCE}
    with Writer(settings, "tests", tags, launch) as writer:
        writer.begin_sweep(planned, ["seed"], "a note", files)
        for one, end in zip(begun, ends * len(begun), strict=False):
            writer.begin(one, run_name(one), derived(one))
            if end != RUNNING:
                writer.write(Record(one.key, 0, RUNNING, {"eval/loss": 0.5}))
                writer.write(
                    Record(one.key, 3, end, {"trained_steps": 3.0}, error="a line\nboom" if end == FAILED else "")
                )
        writer.complete = True


@pytest.fixture
def filled(store) -> Reader:
    sweep(StoreSettings(str(store)), FIRST, PLANNED)
    return Reader(store)


def plan_file(reader):
    (run,) = reader.sweeps().to_dict("records")
    return reader.artifact(run, "plan.json")


def test_planned_trials_have_the_columns_the_types_and_the_values_of_the_frame(filled):
    planned, frame = filled.planned("tests"), filled.frame("tests")
    assert {"key", "seed", "task", "distance", "train.clip_threshold", "task.length"} <= set(planned)
    assert len(planned) == len(PLANNED)
    pd.testing.assert_frame_equal(planned, frame[list(planned.columns)])
    fields = {name for one in PLANNED for name in one.flat()}
    assert fields | {"key", "distance"} == set(planned)


def test_what_was_planned_and_never_begun_is_there_too(store):
    sweep(StoreSettings(str(store)), FIRST, PLANNED[:2])
    reader = Reader(store)
    assert set(reader.planned("tests")["key"]) == {one.key for one in PLANNED}
    distances = dict(zip(*(reader.planned("tests")[name] for name in ("key", "distance")), strict=True))
    assert distances == {one.key: one.task.distance for one in PLANNED}


def test_planned_trials_are_those_of_all_sweeps_of_the_experiment(store):
    settings = StoreSettings(str(store))
    for launch, planned in ((FIRST, PLANNED[:4]), (SECOND, PLANNED[2:])):
        sweep(settings, launch, [], planned)
    assert list(Reader(store).planned("tests")["key"]) == sorted(one.key for one in PLANNED)


def test_in_a_plan_without_distances_they_are_those_of_runs_of_the_same_task(store):
    """As plans were before; the other delay and the other task have no run."""
    sweep(StoreSettings(str(store)), FIRST, PLANNED[:1])
    reader = Reader(store)
    file = plan_file(reader)
    content = json.loads(file.read_text())
    del content["distances"]
    for one in content["trials"]:  # nor this field, which tasks have got since
        one["task"].pop("inputs", None)
    file.write_text(json.dumps(content))
    planned = reader.planned("tests")
    known = planned[(planned["task"] == "copy") & (planned["task.delay"] == 5)]
    assert len(known) == 4
    assert known["distance"].eq(PLANNED[0].task.distance).all()
    assert planned.drop(known.index)["distance"].isna().sum() == len(PLANNED) - 4


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"keys": 3}', '{"keys": [3], "trials": []}', '{"trials": []}']
)
def test_a_plan_that_cannot_be_read_plans_nothing_and_is_told(filled, content):
    plan_file(filled).write_text(content)
    planned = filled.planned("tests")
    assert planned.empty
    assert {"key", "seed", "task", "distance"} <= set(planned)
    (row,) = filled.provenance("tests").sweeps.to_dict("records")
    assert row["planned"] != row["planned"]
    assert len(filled.frame("tests")) == len(PLANNED)


def test_without_a_sweep_nothing_was_planned(store):
    with Writer(StoreSettings(str(store)), "tests", {}) as writer:
        writer.begin(PLANNED[0], "name", derived(PLANNED[0]))
    planned = Reader(store).planned("tests")
    assert planned.empty
    assert {"key", "seed", "task", "distance"} <= set(planned)


def test_launches_are_told_in_their_order_with_their_commands_and_their_trials(store):
    settings = StoreSettings(str(store))
    sweep(settings, FIRST, PLANNED[:3])
    sweep(settings, SECOND, PLANNED[2:], PLANNED, TAGS | {"rnnlab.git_commit": "decade", "rnnlab.git_dirty": "false"})
    found = Reader(store).provenance("tests")
    assert found.launches["launch"].tolist() == [FIRST, SECOND]
    assert found.launches["started"].tolist() == ["2026-01-02 03:04", "2026-01-03 04:05"]
    assert found.launches["command"].tolist() == [f"train {FIRST}", f"train {SECOND}"]
    assert found.launches["commit"].tolist() == ["c0ffee", "decade"]
    counts = found.trials.groupby(["launch", "commit", "dirty"]).size().to_dict()
    assert counts == dict(
        zip(zip([FIRST, SECOND], ["c0ffee", "decade"], ["true", "false"], strict=True), [2, 8], strict=True)
    )
    assert found.launches["trials"].tolist() == [2, 8]
    assert found.question == "How far back? Twice a line."
    assert found.sweeps[["state", "planned"]].to_numpy().tolist() == [["FINISHED", len(PLANNED)]]
    assert list(found.trials["key"]) == list(Reader(store).frame("tests")["key"])
    assert set(found.errors.values()) == {"boom"}


def test_a_launch_whose_name_leads_elsewhere_is_not_followed(filled, store):
    (sweep_run,) = filled.sweeps().to_dict("records")
    outside = filled.artifact(sweep_run, "plan.json").parent / "command.txt"
    outside.write_text("a secret")
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE tags SET value = '..' WHERE key = ?", (LAUNCH_TAG,))
    assert filled.provenance("tests").launches["command"].tolist() == [""]


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (SOURCE, "How far back? Twice a line."),
        ("train: {}\n# later\n", ""),
        ("# only a comment", "only a comment"),
        ("", ""),
    ],
)
def test_the_question_is_the_comment_at_the_beginning(source, asked):
    assert question(source) == asked


def test_all_kinds_of_store_tell_the_same(store, postgres, server):
    found = []
    for settings in (StoreSettings(str(store)), postgres, server):
        sweep(settings, FIRST, PLANNED[:5])
        reader = Reader(place_of(settings))
        courses = reader.courses("tests", ["trained_steps", "eval/loss", "nothing"])
        found.append((reader.planned("tests"), courses, reader.provenance("tests")))
    (planned, courses, origin), *others = found
    assert len(planned) == len(PLANNED)
    assert courses.groupby("metric").size().to_dict() == {"trained_steps": 4, "eval/loss": 4}
    for other_planned, other_courses, other in others:
        pd.testing.assert_frame_equal(other_planned, planned)
        pd.testing.assert_frame_equal(other_courses, courses)
        for name in ("launches", "trials"):
            pd.testing.assert_frame_equal(getattr(other, name), getattr(origin, name))
        pd.testing.assert_frame_equal(other.sweeps.drop(columns="run_id"), origin.sweeps.drop(columns="run_id"))
        assert (other.question, other.errors) == (origin.question, origin.errors)
