"""A worker: when it begins and ends, and whom it blames for an attempt that came to nothing."""

import json
import os

import pytest
from builders import trial
from folders import work

from rnnlab import worker
from rnnlab.claims import Attempt, blame, narrower
from rnnlab.spool import SpoolReader

SMALL = {"max_steps": 6, "eval_every": 3, "eval_size": 8, "batch_size": 4, "hidden_size": 8}


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
    assert narrower(attempts) == width
    assert (blame(attempts) is not None) == to_blame


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
