"""Executing a plan: workers, the folder they share, and what becomes of failures."""

import json
from dataclasses import replace

import pytest
import torch
from builders import bits, trial
from stores import QUICK, command_line

from rnnlab import engine, train, worker
from rnnlab.record import FAILED, RUNNING, SOLVED, Record
from rnnlab.spool import Claims, Folder, SpoolReader, SpoolWriter
from rnnlab.store import StoreSettings, sqlite_place
from rnnlab.store.reader import Reader

SMALL = {"max_steps": 6, "eval_every": 3, "eval_size": 8, "batch_size": 4, "hidden_size": 8}


def run(store, trials, **settings):
    settings = engine.EngineSettings(**{"workers": 1, "progress": "quiet", **settings})
    return engine.run(trials, "tests", StoreSettings(str(store)), settings, "a command")


def numbers(store):
    """All that is not an accident of the launch, of each trial and of its curves."""
    frame = Reader(store).frame("tests")
    curves = [Reader(store).curves(run_id).to_csv() for run_id in frame["run_id"]]
    return frame.drop(columns="run_id").to_csv(), curves


def test_results_do_not_depend_on_workers_or_the_size_of_stacks(schema, tmp_path):
    trials = [trial(seed=s, delay=d, spectral_radius=r, **SMALL) for s in range(3) for d in (3, 5) for r in (0.8, 1.1)]
    found = []
    for name, settings in {"one": {"stack_size": 1}, "two": {"workers": 2}, "all": {"stack_size": 64}}.items():
        store = tmp_path / f"{name}.db"
        store.write_bytes(schema.read_bytes())
        outcome = run(store, trials, **settings)
        assert outcome.exit_status == 0
        found.append(numbers(store))
    assert found[0] == found[1] == found[2]
    assert found[0][0].count("\n") == 13


def test_finished_trials_are_skipped_and_a_larger_grid_runs_what_is_missing(store):
    first, second = trial(seed=0, **SMALL), trial(seed=1, **SMALL)
    run(store, [first])
    outcome = run(store, [first, second])
    assert (outcome.skipped, sum(outcome.statuses.values())) == (1, 1)
    assert run(store, [first, second]).skipped == 2
    assert sum(run(store, [first, second], mode="force").statuses.values()) == 2
    assert len(Reader(store).frame("tests")) == 2


def test_an_error_in_training_is_recorded_with_its_reason_and_the_sweep_goes_on(store, monkeypatch):
    broken, fine = trial(delay=3, **SMALL), trial(delay=9, **SMALL)

    def fit(stack, refill):
        if stack[0] == broken:
            raise RuntimeError("the culprit")
        return train.fit(stack, refill)

    monkeypatch.setattr(worker, "fit", fit)
    outcome = run(store, [broken, fine])
    assert outcome.exit_status == 1
    frame = Reader(store).frame("tests").set_index("key")
    assert frame.loc[broken.key, "status"] == FAILED
    assert frame.loc[fine.key, "status"] == "exhausted"
    assert "the culprit" in Reader(store).tags(frame.loc[broken.key, "run_id"])["rnnlab.error"]
    monkeypatch.undo()
    assert run(store, [broken, fine]).exit_status == 0  # what failed is run again
    assert set(Reader(store).frame("tests")["status"]) == {"exhausted"}


def test_a_worker_that_dies_costs_its_trials_and_is_reported(store, monkeypatch):
    monkeypatch.setattr(engine, "WORKER_ENVIRONMENT", {"PYTHONHASHSEED": "no number"})  # Python ends at its start
    outcome = run(store, [trial(seed=s, **SMALL) for s in range(2)], workers=2)
    assert outcome.statuses == {FAILED: 2}
    assert outcome.exit_status == 1
    assert set(Reader(store).frame("tests")["status"]) == {FAILED}


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(store, monkeypatch):
    trials = [trial(seed=s, **SMALL) for s in range(3)]
    whole = worker.work

    def interrupted(folder):
        for count, _ in enumerate(whole(folder)):
            yield
            if count == 3:  # three trials have begun, none has ended
                raise KeyboardInterrupt

    monkeypatch.setattr(worker, "work", interrupted)
    outcome = run(store, trials)
    assert outcome.exit_status == 130
    assert set(Reader(store).frame("tests")["status"]) == {RUNNING}
    monkeypatch.undo()
    assert run(store, trials).exit_status == 0
    frame = Reader(store).frame("tests")
    assert list(frame["status"]) == ["exhausted"] * 3
    assert Reader(store).unfinished().empty
    assert not list(sqlite_place(store).sweeps.iterdir())


def test_a_claim_holds_for_one_process_and_ends_with_the_trial(tmp_path):
    mine, yours = Claims(tmp_path), Claims(tmp_path)
    assert mine.take("a")
    assert not yours.take("a")
    mine.close()
    assert yours.take("a")
    yours.release_done("a")
    assert not mine.take("a")
    assert not yours.take("a")


def test_a_spool_gives_each_record_once_and_waits_for_whole_lines(tmp_path):
    folder = Folder(tmp_path / "sweep")
    folder.create([trial()], 4, 1).close()
    writer, reader = SpoolWriter(folder, "w"), SpoolReader(folder)
    first = Record("k", 0, RUNNING, {"eval/loss": 0.1, "x": float("inf")}, {"W": torch.arange(3.0)})
    writer.append(first)
    ((record, weights),) = reader.new()
    assert (record, weights.name) == (replace(first, weights={}), "initial.safetensors")
    writer.file.write('{"key": "k", "step": 1')
    writer.file.flush()
    assert list(reader.new()) == []
    writer.file.write(', "status": "solved", "metrics": {}, "weights": null, "error": ""}\n')
    writer.close()
    assert [(record.step, record.status) for record, _ in reader.new()] == [(1, SOLVED)]


def test_a_plan_survives_its_file(tmp_path):
    trials = [trial(clip_threshold=None, learning_rate=1e-3), trial(task="adding", length=9)]
    folder = Folder(tmp_path / "sweep")
    with folder.create(trials, 4, 2):
        assert folder.read_plan() == (trials, 4, 2)
        assert not folder.owner_is_gone()
    assert folder.owner_is_gone()


def test_a_worker_ends_when_the_launching_process_is_gone_or_wants_it(tmp_path, monkeypatch):
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    for name, wanted in {"gone": False, "stop": True}.items():
        folder = Folder(tmp_path / name)
        owner = folder.create([trial(**SMALL, seed=s) for s in range(2)], 1, 1)
        if wanted:
            folder.stop.touch()
        else:
            owner.close()
        worker.main(str(folder.root))
        owner.close()
        (spool,) = folder.spools.iterdir()
        assert [json.loads(line)["step"] for line in spool.read_text().splitlines()] == [0]


def test_what_the_store_holds_is_what_training_gave(store):
    one = trial(**SMALL, delay=3)
    run(store, [one])
    (first, *_, last) = train.fit([one])
    frame = Reader(store).frame("tests")
    assert frame["eval/loss"][0] == last.metrics["eval/loss"]
    from safetensors.torch import load_file

    folder = sqlite_place(store).artifacts / "tests" / frame["run_id"][0] / "artifacts" / "weights"
    for name, record in {"initial": first, "final": last}.items():
        kept = replace(record, weights=load_file(folder / f"{name}.safetensors"))
        assert bits(replace(record, weights={k: record.weights[k] for k in kept.weights})) == bits(kept)


@pytest.mark.parametrize("mode", ["plain", "live"])
def test_a_sweep_shows_its_plan_and_its_progress(mode, monkeypatch, store, capsys):
    words = (*QUICK, "-m", "seed=0,1", "engine.workers=1", f"engine.progress={mode}", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 0
    said = capsys.readouterr()
    assert "2: 0 finished already, 2 to run" in said.err
    assert "2 exhausted" in said.err
    assert said.out == "adhoc: done; 2 exhausted\n"
