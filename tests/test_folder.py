"""The folder of a launch: its plan and its locks, as processes share them."""

import json
import signal
import subprocess
import sys

import pytest
from builders import trial
from folders import work

from rnnlab.folder import is_locked, worker_lock


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
from rnnlab.folder import Folder, worker_lock
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


def test_a_folder_goes_in_one_step(folder, monkeypatch):
    folder.create(work(trial())).close()
    monkeypatch.setattr("rnnlab.folder.shutil.rmtree", lambda *_, **__: None)  # killed here
    folder.remove()
    assert not folder.root.exists()
    folder.remove()  # again, by another launch
