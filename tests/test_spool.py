"""The spools of a launch: each record once, in order, and none without what belongs to it."""

import contextlib
from dataclasses import replace

import pytest
import torch
from builders import trial
from folders import work

from rnnlab.folder import worker_lock
from rnnlab.record import RUNNING, SOLVED, Record
from rnnlab.spool import SpoolReader, SpoolWriter


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
