"""Executing a plan: workers, the folder they share, and what becomes of failures."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
import yaml
from builders import bits, trial
from stores import QUICK, command_line

from rnnlab import draws, engine, processes, train, worker
from rnnlab.frame import MEASURED
from rnnlab.record import FAILED, RUNNING
from rnnlab.seeding import generator
from rnnlab.store import StoreSettings, sqlite_place
from rnnlab.store.reader import Reader

SMALL = {"max_steps": 6, "eval_every": 3, "eval_size": 8, "batch_size": 4, "hidden_size": 8}


def run(store, trials, **settings):
    launcher = "local" if "workers" in settings else "inline"
    settings = engine.EngineSettings(**{"launcher": launcher, "progress": "quiet", **settings})
    return engine.run(trials, "tests", StoreSettings(str(store)), settings, "a command")


def numbers(store):
    """All that is not an accident of the launch, of each trial and of its curves."""
    frame = Reader(store).frame("tests")
    curves = [Reader(store).curves(run_id) for run_id in frame["run_id"]]
    curves = [curve[~curve["key"].isin(MEASURED)].to_csv() for curve in curves]
    return frame.drop(columns=list(MEASURED)).to_csv(), curves


def mlflow_statuses(store):
    return set(Reader(store).trials()["mlflow_status"])


def leftovers(store):
    """What launches have left beside the store: nothing, after a sweep that is complete."""
    return [path for path in sqlite_place(store).sweeps.rglob("*") if path.name not in ("launches", "checkpoints")]


@pytest.mark.parametrize(
    "ways",
    [
        [{"stack_size": 1}, {"stack_size": 3}, {"stack_size": 64}],
        pytest.param([{"stack_size": 1}, {"workers": 2}, {"workers": 4}], marks=pytest.mark.slow),
    ],
    ids=["stacks", "workers"],
)
def test_results_do_not_depend_on_workers_or_the_size_of_stacks(ways, schema, tmp_path):
    trials = [trial(seed=s, delay=d, spectral_radius=r, **SMALL) for s in range(3) for d in (3, 5) for r in (0.8, 1.1)]
    found = []
    for place, settings in enumerate(ways):
        store = tmp_path / f"{place}.db"
        store.write_bytes(schema.read_bytes())
        outcome = run(store, trials, **settings)
        assert outcome.exit_status == 0
        found.append(numbers(store))
    assert all(numbers_of == found[0] for numbers_of in found)
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

    def chunks(stack, refill):
        if broken in [slot.trial for slot in stack.slots]:
            raise RuntimeError("the culprit")
        return train.chunks(stack, refill)

    monkeypatch.setattr(worker, "chunks", chunks)
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
    monkeypatch.setattr(processes, "WORKER_ENVIRONMENT", {"PYTHONHASHSEED": "no number"})  # Python ends at its start
    outcome = run(store, [trial(seed=s, **SMALL) for s in range(2)], workers=2)
    assert outcome.statuses == {FAILED: 2}
    assert outcome.exit_status == 1
    assert set(Reader(store).frame("tests")["status"]) == {FAILED}


def test_ctrl_c_ends_at_a_chunk_border_and_the_same_command_goes_on(store, monkeypatch):
    trials = [trial(seed=s, **SMALL) for s in range(3)]
    whole = worker.work

    def interrupted(folder):
        for count, _ in enumerate(whole(folder)):
            if count == 1:  # all have begun and been evaluated once, none has ended
                os.kill(os.getpid(), signal.SIGINT)
            yield

    monkeypatch.setattr(worker, "work", interrupted)
    outcome = run(store, trials)
    assert outcome.exit_status == 130
    assert set(Reader(store).frame("tests")["status"]) == {RUNNING}
    assert mlflow_statuses(store) == {"KILLED"}
    monkeypatch.undo()
    steps = []
    monkeypatch.setattr(
        draws, "generator", lambda seed, purpose, step=0: (steps.append(step), generator(seed, purpose, step))[1]
    )
    assert run(store, trials).exit_status == 0
    assert min(step for step in steps if step) == 3, "nothing that was trained is trained again"
    frame = Reader(store).frame("tests")
    assert list(frame["status"]) == ["exhausted"] * 3
    assert list(frame["attempt"]) == [2] * 3
    assert mlflow_statuses(store) == {"FINISHED"}
    assert leftovers(store) == []


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
    words = (*QUICK, "-m", "seed=0,1", "engine=inline", f"engine.progress={mode}", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 0
    said = capsys.readouterr()
    assert "2: 0 finished already, 2 to run" in said.err
    assert "2 exhausted" in said.err
    assert said.out == "adhoc: done; 2 exhausted\n"


def test_the_run_of_a_sweep_keeps_where_its_numbers_come_from(monkeypatch, store):
    words = (*QUICK, "-m", "seed=0,1", "engine=inline", "engine.progress=quiet", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 0
    (sweep,) = Reader(store).sweeps().to_dict("records")
    (folder,) = Reader(store).artifact(sweep, "plan.json").parent.glob("launches/*")
    kept = {file.name: file.read_text() for file in folder.iterdir()}
    assert {"command.txt", "config.yaml", "machine.json", "packages.txt"} <= set(kept)
    assert kept["command.txt"].startswith("python -m experiments.train -m ")
    assert all(word in kept["command.txt"] for word in QUICK)
    assert json.loads(kept["machine.json"])["cores"] >= 1
    assert f"torch=={torch.__version__}" in kept["packages.txt"].splitlines()
    config = yaml.safe_load(kept["config.yaml"])
    assert (config["train"]["max_steps"], config["store"]["path"]) == (4, str(store))
    assert "seed=0,1" in config["sweep"]["words"]


def test_a_failure_and_a_result_side_by_side_end_in_a_table_of_failures(monkeypatch, store, capsys):
    whole = worker.chunks

    def chunks(stack, refill):
        if any(slot.trial.seed == 1 for slot in stack.slots):
            raise RuntimeError("the [culprit]")
        return whole(stack, refill)

    monkeypatch.setattr(worker, "chunks", chunks)
    words = (*QUICK, "-m", "seed=0,1,2", "engine=inline", "engine.progress=quiet", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 1
    said = capsys.readouterr()
    assert said.out == "adhoc: done; 2 exhausted, 1 failed\n"
    assert "1 failed" in said.err
    assert "seed=1" in said.err
    assert "RuntimeError: the [culprit]" in said.err
    assert "the same command tries again" in said.err
