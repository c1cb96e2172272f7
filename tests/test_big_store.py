"""The store of the reporting benchmark is one that the writer could have written, and its report is measured."""

import json

import pandas as pd
import pytest

from benchmarks import big_store, reporting
from rnnlab import provenance
from rnnlab.collector import derived, run_name
from rnnlab.frame import MEASURED
from rnnlab.record import STATUSES
from rnnlab.store import StoreSettings
from rnnlab.store.reader import Reader
from rnnlab.store.writer import Writer

ACCIDENTS = ["run_id", "started", "artifacts", "heartbeat"]  # of a run


def written(path, courses, planned):
    """The same by the writer, record by record."""
    with Writer(StoreSettings(str(path)), big_store.EXPERIMENT, provenance.tags(), big_store.LAUNCH) as writer:
        writer.begin_sweep(planned, big_store.AXES, "a note", {"command.txt": "python -m benchmarks.big_store"})
        for one in courses:
            writer.begin(one.trial, run_name(one.trial), derived(one.trial))
            for record in one.records:
                writer.write(record)
        writer.complete = True


@pytest.mark.slow
def test_rows_put_in_by_sql_read_as_those_of_the_writer(tmp_path):
    planned = big_store.trials(45, 4)
    courses = [big_store.course(one, STATUSES[place % 5]) for place, one in enumerate(planned[:40])]
    for name, make in (("sql", big_store.fill), ("writer", written)):
        make(tmp_path / f"{name}.db", courses, planned)
    readers = [Reader(tmp_path / f"{name}.db") for name in ("sql", "writer")]
    name = big_store.EXPERIMENT
    names = ["eval/loss", "eval/accuracy", "train/gradient_norm", "seconds", "steps_to_solve"]
    for look in (
        lambda reader: reader.frame(name).drop(columns="run_id"),
        lambda reader: reader.courses(name, names),
        lambda reader: reader.planned(name),
        lambda reader: reader.provenance(name).trials,
        lambda reader: reader.provenance(name).launches,
        lambda reader: reader.trials().drop(columns=ACCIDENTS).sort_values("key", ignore_index=True),
    ):
        found, expected = map(look, readers)
        assert len(found)
        pd.testing.assert_frame_equal(_ended(found), _ended(expected))
    for one in courses[:5]:
        points, tags = ([], [])
        for reader in readers:
            run_id = reader.trials().set_index("key")["run_id"][one.trial.key]
            points.append(reader.curves(run_id))
            tags.append({tag: value for tag, value in reader.tags(run_id).items() if tag != "rnnlab.heartbeat"})
        pd.testing.assert_frame_equal(*points)
        assert tags[0] == tags[1]


def _ended(frame):
    """Without what a writer does to a run that it leaves at its end: MLflow shows it as killed."""
    if "mlflow_status" in frame:
        return frame.assign(mlflow_status=frame["mlflow_status"].replace("KILLED", "RUNNING"))
    return frame.drop(columns=[name for name in MEASURED if name in frame and name != "seconds"])


def test_the_trials_of_the_benchmark_differ_and_end_in_several_ways():
    planned = big_store.trials(1000, 100)
    assert len({one.key for one in planned}) == 1000
    found = [big_store.course(one) for one in planned[::7]]
    assert {"solved", "exhausted", "diverged"} <= {one.status for one in found}
    assert {len(one.records) for one in found} == {100}
    assert all(record.step == 20 * place for one in found for place, record in enumerate(one.records))


@pytest.mark.slow
def test_a_quick_run_of_the_reporting_benchmark_measures_and_writes_what_it_declares(tmp_path, capsys):
    output = tmp_path / "reporting.json"
    assert reporting.main(["--quick", "--output", str(output)]) == 0
    (row,) = json.loads(output.read_text())["results"]
    assert (row["runs"], row["points"], row["bar"]) == (20, 5, None)
    assert row["seconds"]["median"] > 0
    assert 0.05 < row["gigabytes"]["max"] < 2
    assert "learnability" in row["figures"]
    assert "From the store to the full report" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "gigabytes", "met"), [(15, 2.0, True), (15.1, 1, False), (1, 2.1, False)])
def test_the_bar_is_on_time_and_memory(seconds, gigabytes, met):
    row = {"seconds": {"median": seconds}, "gigabytes": {"max": gigabytes}}
    assert reporting.judged(reporting.BARS[0], row)["met"] is met
