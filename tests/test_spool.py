"""The folder of a launch: claims, spools and the plan, as processes share them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from builders import trial

from rnnlab import worker
from rnnlab.record import RUNNING, SOLVED, Record
from rnnlab.spool import Attempt, Claims, SpoolReader, SpoolWriter, Work, is_locked, new_folder, worker_lock

SMALL = {"max_steps": 6, "eval_every": 3, "eval_size": 8, "batch_size": 4, "hidden_size": 8}


def work(*trials, **fields):
    return Work(
        **{
            "trials": list(trials),
            "experiment": "tests",
            "stack_size": 4,
            "workers": 1,
            "memory": 0,
            "checkpoint_seconds": 20,
            "tags": {},
        }
        | fields
    )


@pytest.fixture
def folder(tmp_path):
    return new_folder(tmp_path / "sweeps")


@pytest.fixture
def claims(tmp_path):
    with contextlib.closing(Claims(tmp_path, "log")) as held:
        yield held


def test_a_claim_holds_for_one_process_and_ends_with_the_trial(tmp_path):
    mine, yours = Claims(tmp_path), Claims(tmp_path)
    assert mine.take("a")
    assert not yours.take("a")
    mine.close()
    assert yours.take("a")
    yours.release_done("a")
    assert not mine.take("a")
    assert not yours.take("a")


def test_an_attempt_that_ends_well_leaves_no_trace_and_one_whose_process_dies_does(claims, tmp_path):
    for key in "ab":
        claims.take(key)
    claims.begin("ab")
    claims.release("b")
    code = f"""
import os
from pathlib import Path
from rnnlab.spool import Claims
claims = Claims(Path({str(tmp_path)!r}), "its log")
claims.take("b"), claims.take("c")
claims.begin(["b", "c"])
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert claims.take("b")
    assert claims.attempts == {"a": [], "b": [Attempt(2, "its log", "")]}
    claims.release("b")
    assert claims.take("b")
    assert claims.attempts["b"] == [Attempt(2, "its log", "")], "it stays after an attempt that ended well"


def test_an_error_is_noted_with_the_width_of_the_stack(claims):
    for key in "abc":
        claims.take(key)
    claims.begin("abc")
    claims.release_failed("an error")
    assert claims.held == {}
    assert claims.take("c")
    assert claims.attempts["c"] == [Attempt(3, "log", "an error")]


@pytest.mark.parametrize(
    ("attempts", "width", "to_blame"),
    [
        ([Attempt(16, "", "")], 8, False),
        ([Attempt(16, "", ""), Attempt(3, "", "")], 2, False),
        ([Attempt(2, "", "error")], 1, False),
        ([Attempt(1, "", "")], 1, False),
        ([Attempt(1, "", ""), Attempt(1, "", "")], 1, True),
        ([Attempt(1, "", "error")], 1, True),
        ([Attempt(1, "", ""), Attempt(2, "", "error")], 1, False),
    ],
)
def test_stacks_halve_until_the_culprit_stands_alone(attempts, width, to_blame):
    assert worker.narrower(attempts) == width
    assert (worker.blame(attempts) is not None) == to_blame


def test_a_spool_gives_each_record_once_and_waits_for_whole_lines(folder):
    folder.create(work(trial())).close()
    writer, reader = SpoolWriter(folder, "w", "here"), SpoolReader(folder)
    first = Record("k", 0, RUNNING, {"eval/loss": 0.1, "x": float("inf")}, {"W": torch.arange(3.0)})
    writer.append(first)
    writer.note("a note")
    ((record, weights),) = reader.new()
    assert (record, weights.name) == (replace(first, weights={}), "initial.safetensors")
    assert list(reader.notes) == ["a note"]
    writer.file.write('{"key": "k", "step": 1')
    writer.file.flush()
    assert list(reader.new()) == []
    writer.file.write(', "status": "solved", "metrics": {}, "weights": null, "error": ""}\n')
    writer.close()
    assert [(record.step, record.status) for record, _ in reader.new()] == [(1, SOLVED)]


def test_a_plan_survives_its_file_and_a_folder_appears_whole(folder):
    plan = work(trial(clip_threshold=None, learning_rate=1e-3), trial(task="adding", length=9), continues={"a": "b"})
    with folder.create(plan):
        assert folder.read_plan() == plan
        assert not folder.owner_is_gone()
        assert [path.name for path in folder.root.parent.iterdir()] == [folder.name]
        assert folder.adopt() is None
    assert folder.owner_is_gone()
    folder.adopt().close()


def test_the_plan_of_another_version_is_refused(folder):
    folder.create(work(trial())).close()
    folder.plan.write_text(json.dumps(json.loads(folder.plan.read_text()) | {"version": 99}))
    with pytest.raises(ValueError, match="another version"):
        folder.read_plan()


def test_a_worker_is_alive_while_it_holds_its_lock(folder):
    folder.create(work(trial())).close()
    with worker_lock(folder) as name:
        assert [lock.stem for lock in folder.live_workers()] == [name]
    assert list(folder.workers.iterdir()) == []
    code = f"""
from pathlib import Path
from rnnlab.spool import Folder, worker_lock
with worker_lock(Folder(Path({str(folder.root)!r}))):
    print("ready", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (lock,) = folder.live_workers()
        assert is_locked(lock)
        folder.kill_workers()
        assert process.wait() == -signal.SIGKILL
    assert folder.live_workers() == []
    assert lock.exists(), "whoever dies leaves it, and is known by that"


@pytest.mark.parametrize("ending", ["gone", "stop"])
def test_a_worker_ends_when_the_launching_process_is_gone_or_wants_it(ending, folder, monkeypatch):
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    owner = folder.create(work(*(trial(**SMALL, seed=s) for s in range(2)), stack_size=1))
    wanted = iter([True, True, False])
    is_wanted = worker.is_wanted

    def looked_at(folder):  # the wish comes while the first chunk is trained
        if not next(wanted):
            folder.stop.touch() if ending == "stop" else owner.close()
        return is_wanted(folder)

    monkeypatch.setattr(worker, "is_wanted", looked_at)
    worker.main(str(folder.root))
    owner.close()
    (spool,) = folder.spools.iterdir()
    said = [json.loads(line) for line in spool.read_text().splitlines()]
    assert [fields["step"] for fields in said if "step" in fields] == [0]
    (peak,) = SpoolReader(folder).peaks()
    assert peak > 2**20, "bytes of memory that it held"
    assert len(list(folder.checkpoints.iterdir())) == 1, "it takes down where its trial stands"


def test_a_worker_that_starts_too_late_does_nothing(folder, monkeypatch):
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    with folder.create(work(trial(**SMALL))):
        folder.stop.touch()
        worker.main(str(folder.root))
    assert list(folder.spools.iterdir()) == []
    assert os.listdir(folder.checkpoints) == []  # noqa: PTH208


def test_a_folder_goes_in_one_step(folder, monkeypatch):
    folder.create(work(trial())).close()
    monkeypatch.setattr("rnnlab.spool.shutil.rmtree", lambda *_, **__: None)  # killed here
    folder.remove()
    assert not folder.root.exists()
    folder.remove()  # again, by another launch


def test_spools_are_read_in_the_order_of_their_workers(folder):
    folder.create(work(trial())).close()
    names = []
    for step in range(3):
        with worker_lock(folder) as name, contextlib.closing(SpoolWriter(folder, name, "here")) as writer:
            writer.append(Record("k", step, RUNNING))
            names.append(name)
    assert names == sorted(names)
    assert [record.step for record, _ in SpoolReader(folder).new()] == [0, 1, 2]


@pytest.mark.parametrize(("status", "left"), [(RUNNING, 1), (SOLVED, 0)])
def test_a_record_whose_parameters_were_lost_does_not_end_a_trial(status, left, folder):
    folder.create(work(trial())).close()
    with contextlib.closing(SpoolWriter(folder, "w", "here")) as writer:
        writer.append(Record("k", 0, status, weights={"W": torch.arange(3.0)}))
    (file,) = folder.weights.rglob("*.safetensors")
    for damage in (lambda: file.write_bytes(b""), file.unlink):
        damage()
        records = list(SpoolReader(folder).new())
        assert [weights for _, weights in records] == [None] * left
