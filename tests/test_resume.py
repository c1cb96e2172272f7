"""What interrupted, failed and exhausted trials become: every number is that of an undisturbed run."""

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import crashes
import pytest
from builders import bits, courses, trial
from stacks import mates, optioned_mates
from stores import QUICK, command_line

from benchmarks import kills
from rnnlab import checkpoints, engine, worker
from rnnlab.checkpoints import Checkpoints, Unusable
from rnnlab.evaluation import EvalSettings
from rnnlab.folder import Work, new_folder
from rnnlab.frame import MEASURED
from rnnlab.launch import launch
from rnnlab.optim import OPTIMIZERS
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED
from rnnlab.store import StoreSettings, sqlite_place
from rnnlab.store.reader import Reader
from rnnlab.train import Stack, chunks, continues, fit
from rnnlab.watch import DiagnosticsSettings

SMALL = {"max_steps": 12, "eval_every": 3, "eval_size": 8, "batch_size": 4, "hidden_size": 8}


def run(store, trials, experiment="tests", diagnostics=engine.OFF, **settings):
    settings = engine.EngineSettings(**{"launcher": "inline", "progress": "quiet", **settings})
    return engine.run(trials, experiment, StoreSettings(str(store)), settings, "a command", diagnostics=diagnostics)


def numbers(store, experiment="tests"):
    """All that is not an accident of the launch: the frame, and the curves by key."""
    frame = Reader(store).frame(experiment)
    curves = {key: Reader(store).curves(run_id) for key, run_id in zip(frame["key"], frame["run_id"], strict=True)}
    curves = {key: curve[~curve["key"].isin(MEASURED)].to_csv(index=False) for key, curve in curves.items()}
    return frame.drop(columns=list(MEASURED)).to_csv(), curves


@pytest.fixture(scope="module")
def undisturbed(schema, tmp_path_factory):
    """The numbers of trials that nothing disturbs, each list of them trained once: `undisturbed(trials)`.

    To be asked for before the test disturbs anything.
    """

    @functools.cache
    def numbers_of(trials):
        store = Path(shutil.copy(schema, tmp_path_factory.mktemp("undisturbed") / "store.db"))
        run(store, trials)
        return numbers(store)

    return lambda trials: numbers_of(tuple(trials))


def cut_off(monkeypatch, store, trials, borders: int, **settings) -> None:
    """Launch, and be killed after so many chunk borders."""
    with monkeypatch.context() as patched:
        crashes.interrupt_after(patched, borders)
        with pytest.raises(crashes.Interrupted):
            run(store, trials, **settings)


# In a stack


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
@pytest.mark.parametrize("border", [0, 1, 2])
def test_a_trial_goes_on_from_its_checkpoint_in_any_stack_to_the_bit(optimizer, border, tmp_path):
    shape = {"optimizer": optimizer, "max_steps": 11, "passes_to_solve": 99}
    whole = courses(fit(mates(**shape)))
    first = Stack(mates(**shape))
    before = chunks(first)
    seen = [record for _ in range(border + 1) for record in next(before)]
    Checkpoints(tmp_path).save(first.checkpoints(), "here", {})
    saved = Checkpoints(tmp_path)
    found = courses(seen)
    for group in (mates(**shape)[3:], mates(**shape)[:1], mates(**shape)[1:3][::-1]):  # other mates, another order
        stack = Stack(group, lambda one: saved.load(one.key).checkpoint)
        for record in (record for records in chunks(stack) for record in records):
            found[record.key].append(bits(record))
    assert found == whole


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("border", [1, 2])
def test_a_trial_goes_on_from_its_checkpoint_under_its_own_schedule_to_the_bit(optimizer, border):
    trials = optioned_mates(delay=3, optimizer=optimizer, max_steps=11, passes_to_solve=99)
    whole = courses(fit(trials))
    first = Stack(trials)
    before = chunks(first)
    found = courses(record for _ in range(border + 1) for record in next(before))
    saved = first.checkpoints()
    for group in (trials[3:], trials[:1], trials[1:3][::-1]):
        for record in (record for records in chunks(Stack(group, lambda one: saved[one.key])) for record in records):
            found[record.key].append(bits(record))
    assert found == whole


def test_a_checkpoint_keeps_what_counts_towards_a_solution(monkeypatch):
    one = trial(**SMALL, delay=1, symbols=1)
    verdicts = {0: True, 3: False, 6: True, 9: True, 12: True}
    monkeypatch.setattr(type(one.task), "solved", lambda task, metrics: verdicts[at[0]])
    at = [0]
    stack = Stack([one])
    training = chunks(stack)
    for at[0] in (0, 3, 6, 9):
        next(training)
    saved = stack.checkpoints()[one.key]
    at[0] = 12
    (_, last) = [record for records in chunks(Stack([one], lambda _: saved)) for record in [*records, *records]]
    assert (last.status, last.metrics["steps_to_solve"], last.metrics["first_passage"]) == (SOLVED, 6, 0)


def test_only_a_checkpoint_that_fits_the_trial_continues_it():
    one = trial(**SMALL)
    stack = Stack([one])
    next(chunks(stack))
    saved = stack.checkpoints()[one.key]
    assert continues(one, saved)
    assert not continues(trial(**SMALL | {"hidden_size": 9}), saved)
    assert not continues(trial(**SMALL, optimizer="adam"), saved)
    assert not continues(one, replace(saved, course={**saved.course, "step": 12}))
    assert not continues(one, replace(saved, course={"step": 3}))


# Checkpoints on disk


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    one = trial(**SMALL)
    stack = Stack([one])
    training = chunks(stack)
    next(training)
    store = Checkpoints(tmp_path)
    store.save(stack.checkpoints(), "here", {one.key: 1.5})
    assert store.load(one.key)[1:] == (one.key, "here", 1.5)
    next(training)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(stack.checkpoints(), "here", {})
    assert store.load(one.key).checkpoint.course["step"] == 0, "the one before"
    assert [file.name for file in tmp_path.iterdir()] == [store.path(one.key).name]
    assert store.load("another") is None


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "no header", "other numerics", "other shape"])
def test_a_checkpoint_that_cannot_be_used_is_told_and_the_trial_starts_again(
    damage, store, monkeypatch, undisturbed, capsys
):
    one = trial(**SMALL)
    expected = undisturbed([one])
    cut_off(monkeypatch, store, [one], 1)
    saved = Checkpoints(sqlite_place(store).sweeps / "checkpoints")
    file = saved.path(one.key)
    content = file.read_bytes()
    if damage == "other numerics":
        saved.save({one.key: saved.load(one.key).checkpoint}, "another machine", {})
    elif damage == "other shape":
        stack = Stack([trial(**SMALL | {"hidden_size": 9})])
        next(chunks(stack))
        saved.save({one.key: next(iter(stack.checkpoints().values()))}, worker.provenance.numerics(), {})
    else:
        changed = {"truncated": content[:-50], "garbage": os.urandom(500), "empty": b""}
        file.write_bytes(changed.get(damage) or checkpoints.encode(saved.load(one.key).checkpoint.tensors, {}))
        with pytest.raises(Unusable):
            saved.load(one.key)
    outcome = run(store, [one])
    assert outcome.exit_status == 0
    (note,) = outcome.notes
    assert note.startswith(f"the checkpoint of trial {one.key[:12]} ")
    assert note.endswith("the trial starts again")
    assert numbers(store) == expected
    assert saved.keys() == set()


# Interrupted launches


@pytest.mark.parametrize("borders", [0, 1, 3])
def test_what_a_launch_left_is_brought_to_the_store_and_goes_on(borders, store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s, delay=d) for s in range(2) for d in (3, 5)]
    expected = undisturbed(trials)
    crashes.interrupt_after(monkeypatch, borders)
    monkeypatch.setattr("rnnlab.collector.Collector.collect", lambda self: None)  # the store has seen nothing of it
    with pytest.raises(crashes.Interrupted):
        run(store, trials, checkpoint_seconds=0)
    monkeypatch.undo()
    assert Reader(store).frame("tests").empty
    assert run(store, trials).exit_status == 0
    assert numbers(store) == expected
    assert set(Reader(store).trials()["mlflow_status"]) == {"FINISHED"}
    assert len(Reader(store).trials()) == 4


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("name", ["create_run", "log_batch", "set_terminated"])
def test_a_launch_that_was_killed_while_it_wrote_is_completed(name, call, store, monkeypatch, undisturbed):
    from mlflow import MlflowClient

    trials = [trial(**SMALL, seed=s) for s in range(3)]
    expected = undisturbed(trials)
    whole, calls = getattr(MlflowClient, name), []

    def killed(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise crashes.Interrupted
        return whole(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, name, killed)
        with pytest.raises(crashes.Interrupted):
            run(store, trials)
    assert run(store, trials).exit_status == 0
    assert numbers(store) == expected
    assert len(Reader(store).trials()) == 3
    assert set(Reader(store).trials()["mlflow_status"]) == {"FINISHED"}


def test_a_folder_that_was_half_removed_does_not_stop_the_next_launch(store):
    left = new_folder(sqlite_place(store).sweeps).root
    for name in (left, left.with_name(".gone-x"), left.with_name(".draft")):
        (name / "claims").mkdir(parents=True)
    assert run(store, [trial(**SMALL)]).exit_status == 0
    assert list(left.parent.iterdir()) == []


def test_a_checkpoint_without_its_curve_in_the_store_is_not_used(store, monkeypatch, undisturbed):
    one = trial(**SMALL)
    expected = undisturbed([one])
    cut_off(monkeypatch, store, [one], 2)
    run(store, [trial(**SMALL, seed=5)])  # brings what was left to the store
    from mlflow import MlflowClient

    runs = Reader(store).trials().set_index("key")["run_id"]
    MlflowClient(sqlite_place(store).uri).delete_run(runs[one.key])
    outcome = run(store, [one])
    assert outcome.notes == [
        f"the checkpoint of trial {one.key[:12]} has no curve in the store: the trial starts again"
    ]
    assert numbers(store)[1][one.key] == expected[1][one.key]


def test_a_plan_of_which_a_trial_cannot_be_built_any_more_is_recovered_all_the_same(store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s) for s in range(2)]
    expected = undisturbed(trials)
    crashes.interrupt_after(monkeypatch, 5)  # the two have ended, the third has begun
    monkeypatch.setattr("rnnlab.collector.Collector.collect", lambda self: None)
    with pytest.raises(crashes.Interrupted):
        run(store, [*trials, trial(**SMALL | {"max_steps": 6}, seed=2)])
    monkeypatch.undo()
    (folder,) = (sqlite_place(store).sweeps / "launches").iterdir()
    plan = json.loads((folder / "plan.json").read_text())
    plan["trials"][2]["task"] = {"name": "a task that was renamed"}
    (folder / "plan.json").write_text(json.dumps(plan))
    outcome = run(store, trials)
    assert outcome.skipped == 2
    assert numbers(store)[1] == expected[1]


def test_a_plan_that_cannot_be_read_is_set_aside_with_a_note(store, monkeypatch, undisturbed):
    one = trial(**SMALL)
    expected = undisturbed([one])
    cut_off(monkeypatch, store, [one], 1)
    (folder,) = (sqlite_place(store).sweeps / "launches").iterdir()
    (folder / "plan.json").write_text("")
    outcome = run(store, [one])
    assert "cannot be read" in outcome.notes[0]
    assert (sqlite_place(store).sweeps / "unreadable" / folder.name / "spool").is_dir()
    assert numbers(store) == expected


def test_a_launch_leaves_to_another_what_that_one_trains(store, monkeypatch):
    mine, theirs = trial(**SMALL, seed=0), trial(**SMALL, seed=1)
    folder = new_folder(sqlite_place(store).sweeps)
    folder.root.parent.mkdir(parents=True)
    work = Work([theirs], "tests", 4, 1, 0, 20.0, {})
    owner = folder.create(work)
    waits = []

    def wait(seconds):
        waits.append(set(Reader(store).frame("tests").set_index("key")["status"].items()))
        owner.close()  # the other launch is no more: its trial is anybody's

    monkeypatch.setattr(engine.time, "sleep", wait)
    outcome = run(store, [mine, theirs])
    assert waits == [{(mine.key, EXHAUSTED)}]
    assert outcome.statuses == {EXHAUSTED: 2}
    assert outcome.elsewhere == 0
    assert not folder.root.exists()


def test_a_launch_says_what_another_one_trained_meanwhile(store, monkeypatch, capsys):
    mine, theirs = trial(**SMALL, seed=0), trial(**SMALL, seed=1)
    folder = new_folder(sqlite_place(store).sweeps)
    folder.root.parent.mkdir(parents=True)
    owner = folder.create(Work([theirs], "tests", 4, 1, 0, 20.0, {}))

    def wait(seconds):
        owner.close()
        folder.remove()
        run(store, [theirs])  # how the other launch ends

    monkeypatch.setattr(engine.time, "sleep", wait)
    settings = engine.EngineSettings(launcher="inline", progress="quiet")
    launch([mine, theirs], "tests", StoreSettings(str(store)), settings, EvalSettings(), DiagnosticsSettings())
    assert capsys.readouterr().out == "tests: done; 1 exhausted, 1 trial by another launch\n"
    launch([mine, theirs], "tests", StoreSettings(str(store)), settings, EvalSettings(), DiagnosticsSettings())
    assert capsys.readouterr().out == "tests: done; nothing to train (2 were in the store already)\n"


# Modes


@pytest.fixture
def mixed(store, monkeypatch):
    """A store with an exhausted, a diverged, a failed trial and one that never ran: (trials, store)."""
    exhausted, failed, missing = (trial(**SMALL, seed=s, delay=3 + s) for s in range(3))
    diverged = trial(**SMALL, seed=9, learning_rate=1e30, init="orthogonal", nonlinearity="relu")

    def chunks_of(stack, refill):
        if failed in [slot.trial for slot in stack.slots]:
            raise RuntimeError("the culprit")
        return chunks(stack, refill)

    with monkeypatch.context() as patched:
        patched.setattr(worker, "chunks", chunks_of)
        run(store, [exhausted, diverged, failed])
    frame = Reader(store).frame("tests").set_index("key")["status"]
    assert frame.to_dict() == {exhausted.key: EXHAUSTED, diverged.key: DIVERGED, failed.key: FAILED}
    return [exhausted, diverged, failed, missing], store


@pytest.mark.parametrize(("mode", "ran"), [("resume", [2, 3]), ("failed", [2]), ("force", [0, 1, 2, 3])])
def test_a_mode_says_what_runs(mode, ran, mixed):
    trials, store = mixed
    before = set(Reader(store).trials()["run_id"])
    outcome = run(store, trials, mode=mode)
    assert set(outcome.run_ids) - {t.key for t in trials if t.key not in outcome.run_ids} >= {
        trials[i].key for i in ran
    }
    assert sum(outcome.statuses.values()) == len(ran)
    assert outcome.statuses[FAILED] == 0
    runs = Reader(store).trials()
    new = runs[~runs["run_id"].isin(before)]
    assert set(new["key"]) == {trials[i].key for i in ran if i != 2}, "what failed goes on in its own run"
    assert set(runs["mlflow_status"]) == {"FINISHED"}
    superseded = runs[runs["superseded"].notna()]
    assert set(superseded["key"]) == ({trials[0].key, trials[1].key} if mode == "force" else set())
    failed_run = Reader(store).frame("tests").set_index("key").loc[trials[2].key, "run_id"]
    assert not {"rnnlab.error", "mlflow.note.content"} & set(Reader(store).tags(failed_run))


def test_a_forced_sweep_that_is_interrupted_goes_on_and_the_next_one_trains_all_again(store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s, delay=3 + s) for s in range(3)]
    expected = undisturbed(trials)
    run(store, trials)
    cut_off(monkeypatch, store, trials, 7, mode="force")  # one has ended, the second is in training
    steps = []
    train_step = Stack._train_step
    monkeypatch.setattr(Stack, "_train_step", lambda stack: (steps.append(stack.slots[0].step), train_step(stack))[1])
    outcome = run(store, trials, mode="force")
    assert (outcome.skipped, sum(outcome.statuses.values())) == (1, 2)
    assert len(steps) < 2 * SMALL["max_steps"]
    assert numbers(store) == expected
    assert sum(run(store, trials, mode="force").statuses.values()) == 3
    assert numbers(store) == expected
    runs = Reader(store).trials()
    assert len(runs) == 9
    assert runs["superseded"].notna().sum() == 6
    assert set(runs["mlflow_status"]) == {"FINISHED"}


@pytest.mark.parametrize("settings", [{"mode": "read_only"}, {"dry_run": True}])
def test_what_is_only_looked_at_is_not_changed(settings, mixed):
    trials, store = mixed
    before = {path: path.read_bytes() for path in store.parent.rglob("*") if path.is_file() and path != store}
    frame = Reader(store).frame("tests")
    outcome = run(store, trials, **settings)
    assert outcome.exit_status == ("mode" in settings)
    assert outcome.missing == (2 if "mode" in settings else 0)
    assert {path: path.read_bytes() for path in store.parent.rglob("*") if path.is_file() and path != store} == before
    assert Reader(store).frame("tests").equals(frame)
    assert run(store, trials[:2], mode="read_only").exit_status == 0


def test_a_look_makes_no_store(tmp_path, monkeypatch, capsys):
    store = tmp_path / "new" / "store.db"
    assert command_line(monkeypatch, *QUICK, "-m", "seed=0,1", "engine.dry_run=true", f"store.path={store}") == 0
    assert command_line(monkeypatch, *QUICK, "-m", "seed=0,1", "engine.mode=read_only", f"store.path={store}") == 1
    assert list(tmp_path.iterdir()) == []
    assert "2 trials have no result, and engine.mode=read_only trains none" in capsys.readouterr().out


# Larger budgets


@pytest.mark.parametrize("first", [6, 7], ids=["on the grid", "off the grid"])
def test_a_larger_budget_goes_on_where_the_smaller_one_ended(first, store, monkeypatch, undisturbed):
    small = [trial(**SMALL | {"max_steps": first}, seed=s) for s in range(2)]
    large = [trial(**SMALL | {"max_steps": 14}, seed=s) for s in range(2)]
    expected = undisturbed(large)
    run(store, small)
    trained = []
    step = Stack._train_step
    monkeypatch.setattr(Stack, "_train_step", lambda stack: (trained.append(stack.slots[0].step), step(stack))[1])
    assert run(store, large, experiment="more").exit_status == 0
    assert min(trained) == first
    frame, curves = numbers(store, "more")
    assert curves == expected[1]
    assert frame == expected[0].replace(",tests,", ",more,")
    kept = [
        sqlite_place(store).artifacts / "more" / run_id / "artifacts/weights"
        for run_id in Reader(store).frame("more").run_id
    ]
    assert all((folder / f"{name}.safetensors").exists() for folder in kept for name in ("initial", "final"))


@pytest.mark.parametrize("borders", [0, 1])
def test_a_larger_budget_that_is_interrupted_goes_on_all_the_same(borders, store, monkeypatch, undisturbed):
    small, large = trial(**SMALL | {"max_steps": 4}), trial(**SMALL | {"max_steps": 14})
    expected = undisturbed([large])
    run(store, [small])
    crashes.interrupt_after(monkeypatch, borders)
    monkeypatch.setattr("rnnlab.collector.Collector.collect", lambda self: None)
    with pytest.raises(crashes.Interrupted):
        run(store, [large], experiment="more", checkpoint_seconds=0)
    monkeypatch.undo()
    run(store, [large], experiment="more")
    assert numbers(store, "more")[1] == expected[1]


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_a_larger_budget_goes_on_only_where_the_course_so_far_is_that_of_the_smaller_one(
    schedule, store, monkeypatch, undisturbed
):
    shape = SMALL | {"schedule": schedule, "schedule_every": 4, "learning_rate": 0.1}
    small, large = trial(**shape | {"max_steps": 6}), trial(**shape | {"max_steps": 14})
    expected = undisturbed([large])
    run(store, [small])
    trained = []
    step = Stack._train_step
    monkeypatch.setattr(Stack, "_train_step", lambda stack: (trained.append(stack.slots[0].step), step(stack))[1])
    run(store, [large], experiment="more")
    assert min(trained) == {"step": 6, "cosine": 0}[schedule]
    assert numbers(store, "more")[1] == expected[1]


# Crashes


def test_an_error_costs_the_culprit_alone(store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s) for s in range(8)]
    fine = [one for one in trials if one.seed != crashes.CULPRIT]
    expected = undisturbed(fine)
    train_to_border = Stack.train_to_border

    def broken(stack):
        if any(slot.trial.seed == crashes.CULPRIT and slot.step >= 3 for slot in stack.slots):
            raise RuntimeError("the culprit")
        return train_to_border(stack)

    monkeypatch.setattr(Stack, "train_to_border", broken)
    outcome = run(store, trials)
    assert outcome.exit_status == 1
    assert list(outcome.failures) == [trials[crashes.CULPRIT].key]
    assert "RuntimeError: the culprit" in outcome.failures[trials[crashes.CULPRIT].key]
    assert outcome.kept_folder.is_dir()
    frame = Reader(store).frame("tests")
    assert frame["status"].value_counts().to_dict() == {EXHAUSTED: 7, FAILED: 1}
    monkeypatch.undo()
    assert run(store, fine, experiment="fine", mode="read_only").exit_status == 0
    assert {key: curve for key, curve in numbers(store)[1].items() if key in expected[1]} == expected[1]


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_costs_no_other(store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s) for s in range(4)] + [trial(**SMALL, seed=9, delay=9)]
    fine = [one for one in trials if one.seed != crashes.CULPRIT]
    expected = undisturbed(fine)
    monkeypatch.setattr(worker, "main", crashes.main)
    monkeypatch.setenv("PYTHONPATH", str(Path(crashes.__file__).parent))
    outcome = run(store, trials, launcher="local", workers=1)
    assert outcome.statuses == {EXHAUSTED: 4, FAILED: 1}
    assert list(outcome.failures) == [trials[crashes.CULPRIT].key]
    assert "died 2 times with this trial alone" in outcome.failures[trials[crashes.CULPRIT].key]
    assert {key: curve for key, curve in numbers(store)[1].items() if key in expected[1]} == expected[1]


def test_a_disk_that_is_full_for_workers_costs_no_trial(store, monkeypatch, undisturbed):
    trials = [trial(**SMALL, seed=s) for s in range(3)]
    expected = undisturbed(trials)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnlab.spool.SpoolWriter._write", full)
    with pytest.raises(engine.StoreFailure, match=r"could not be written \(No space left on device\)"):
        run(store, trials)
    monkeypatch.undo()
    assert set(Reader(store).frame("tests")["status"]) <= {RUNNING}
    assert run(store, trials).exit_status == 0
    assert numbers(store) == expected


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_numbers_of_one_that_is_not(tmp_path):
    report = kills.drill(tmp_path, 4, 800, random.Random(1))  # noqa: S311
    assert report["problems"] == []
    assert report["in_mid_training"] > 0


@pytest.mark.slow
def test_a_second_ctrl_c_ends_now_and_nothing_is_lost(store):
    """Two signals to a sweep whose chunks take longer than anybody waits."""
    long = ("train.eval_every=1000000", "train.max_steps=1000000", "train.eval_size=4", "model.hidden_size=4")
    command = [sys.executable, "-m", "experiments.train", "-m", "seed=0,1", *long, f"store.path={store}"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    sweep = kills.Sweep(store, ())
    while len(sweep.positions()) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)  # between looks
    process.send_signal(signal.SIGINT)
    while "Ctrl-C again ends now" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert sweep.workers() == []
    assert set(Reader(store).trials()["mlflow_status"]) == {"KILLED"}
    assert len(json.loads(Reader(store).trials().to_json())) > 0
