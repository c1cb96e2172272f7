"""The train command: what a user types, what it answers, and what it refuses."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from stores import QUICK, command_line

from rnnlab import engine
from rnnlab.frame import MEASURED
from rnnlab.store.reader import Reader

EXPERIMENTS = sorted(file.stem for file in Path("conf/experiment").glob("*.yaml"))
TASK_KEYS = "task.delay, task.symbols, task.alphabet, task.score, task.variant"

BAD = {  # words -> what the one line must say: the key, the value, what is allowed
    ("model.hidden_size=-4",): "model.hidden_size=-4: must be an integer >= 1",
    ("model.hidden_size=1.5",): "model.hidden_size=1.5: must be an integer >= 1",
    (
        "model.hiden_size=8",
    ): "model.hiden_size=8: unknown key; did you mean model.hidden_size? allowed: model.hidden_size",
    ("task=nosuch",): "task=nosuch: must be one of adding, copy",
    ("cell=lstmm",): "cell=lstmm: must be one of elman",
    ("experiment=nosuch",): f"experiment=nosuch: must be one of {', '.join(EXPERIMENTS)}",
    ("task.delay=abc",): "task.delay=abc: must be an integer >= 1",
    ("task.length=5",): f"task.length=5: unknown key; allowed of task copy: {TASK_KEYS}",
    ("task=adding", "task.delay=5"): "task.delay=5: unknown key; allowed of task adding: task.length",
    ("init.spectral_radius=nan",): "init.spectral_radius=nan: must be a finite number >= 0",
    ("init.spectral_radius=inf",): "init.spectral_radius=inf: must be a finite number >= 0",
    ("train.clip_threshold=0",): "train.clip_threshold=0: must be a finite number > 0, or null",
    ("train.optimizer=adamw",): "train.optimizer=adamw: must be one of sgd, rmsprop, adam",
    ("train=fast",): "train=fast: must be a group of keys",
    ("seed=true",): "seed=true: must be an integer >= 0",
    ("engine.workers=0",): "engine.workers=0: must be an integer >= 1, or null",
    ("store.weights=all",): "store.weights=all: must be one of both, none",
    ("tsk=copy",): "tsk=copy: unknown key; did you mean task?",
    ("seed=1,2",): "seed=1,2: several values make a sweep; add -m",
    ("delay",): "delay: cannot be read",
    ("seed=range(",): "seed=range(: cannot be read",
    ("experiment=demo_copy,demo_adding",): "experiment=demo_copy,demo_adding: one named sweep at a time",
    ("-m", "experiment=demo_copy,demo_adding"): "experiment=demo_copy,demo_adding: cannot be swept, one named sweep at",
    ("-m", "engine.stack_size=4,8"): "engine.stack_size=4,8: cannot be swept, is no part of a trial",
    ("-m", "seed=1,2", "seed=3"): "seed: is given 2 times; must be given once",
    ("-m", "seed=interval(0,3)"): "seed=interval(0,3): must be a list of values",
    ("-m", "model.hiden_size=8,8"): "model.hiden_size=8: unknown key; did you mean model.hidden_size?",
    ("-m", "task=copy,nosuch"): "task=nosuch: must be one of adding, copy",
    ("-m", "seed=range(0)"): "seed=range(0): has no values; must have one or more",
    ("task=null",): "task=null: must name a member",
    ("experiment=null",): "experiment=null: must name a member",
    ("task.delay=3", "task.delay=4"): "task.delay: is given 2 times; must be given once",
    ("+trian.optimizer=adam",): "trian={'optimizer': 'adam'}: unknown key; did you mean train?",
    ("seed=" + "9" * 400,): "seed=9999",
    ("experiment=demo_adding", "+task.delay=3"): "task.delay=3: unknown key; allowed of task adding: task.length",
    ("-m", "train.optimizer=adam", "train.momentum=0.5,0.9"): "train.momentum=0.5,0.9: no trial of this sweep reads it",
    ("-m", "train.clip_threshold=null", "train.clip_mode=norm,value"): "train.clip_mode=norm,value: no trial of this",
}


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_):
        pytest.fail("something was trained or written")

    monkeypatch.setattr(engine._Launch, "run_once", refuse)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_bad_input_is_refused_in_one_line_before_anything_is_written(words, monkeypatch, tmp_path, capsys):
    store = tmp_path / "new" / "store.db"
    status = command_line(monkeypatch, *words, f"store.path={store}")
    said = capsys.readouterr()
    assert status == 2
    assert said.err.startswith(BAD[words])
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%20b.db", ""])
def test_a_path_that_is_no_address_of_a_database_is_refused(name, monkeypatch, tmp_path, capsys):
    assert command_line(monkeypatch, f"store.path='{name}'") == 2
    assert capsys.readouterr().err.startswith(f"store.path={name}: must be the path of a file, without ")


FILES = {  # content of an experiment file -> what the one line must say
    "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\ntrian: {optimizer: adam}": "trian={'optimizer': ",
    "hydra: {mode: MULTIRUN, sweeper: {params: {seed: [0, -1]}}}": "seed=-1: must be an integer >= 0",
    "hydra: {mode: MULTIRUN, sweeper: {params: {train.clip_threshold: [null, 0]}}}": "train.clip_threshold=0: must be",
    "hydra: {mode: MULTIRUN, sweeper: {grids: {seed: '0,1'}}}": "hydra.sweeper.grids={'seed': '0,1'}: must be a list",
    "hydra: {sweeper: {params: {seed: '0,1'}}}": "experiment=mine: has axes of a sweep, but not hydra.mode",
    "hydra: {mode: MULTIRUN": "a file in conf/ is not YAML: ",
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("content", FILES)
def test_a_wrong_experiment_file_is_refused_in_one_line(content, monkeypatch, tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{content}\n")
    words = ("experiment=mine", f"--config-dir={tmp_path}", f"store.path={tmp_path / 'x.db'}")
    assert command_line(monkeypatch, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith(FILES[content])
    assert said.count("\n") == 1
    assert not (tmp_path / "x.db").exists()


@pytest.mark.usefixtures("no_training")
def test_all_problems_of_a_sweep_are_named_at_once(monkeypatch, tmp_path, capsys):
    words = ("-m", "train.clip_threshold=0,1,-2", "model.hidden_size=0,8", f"store.path={tmp_path / 'x.db'}")
    assert command_line(monkeypatch, *words) == 2
    keys = {line.split(":")[0] for line in capsys.readouterr().err.splitlines()}
    assert keys == {"train.clip_threshold=0", "train.clip_threshold=-2", "model.hidden_size=0"}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("kind", ["folder", "text", "empty", "read-only", "in a read-only folder", "other program"])
def test_a_store_that_cannot_be_written_is_refused_and_left_as_it_was(kind, monkeypatch, tmp_path, capsys, schema):
    path = tmp_path / "store.db"
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "empty"):
        path.write_text("no database" * (kind == "text"))
    elif kind == "read-only":
        path.write_bytes(schema.read_bytes())
        path.chmod(0o444)
    elif kind == "in a read-only folder":
        (tmp_path / "locked").mkdir(mode=0o555)
        path = tmp_path / "locked" / "deep" / "store.db"
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE recipes (name)")
        connection.close()
    before = sorted((file, file.stat().st_size) for file in tmp_path.rglob("*"))
    assert command_line(monkeypatch, f"store.path={path}") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"store.path={path}: ")
    assert "must be" in said
    assert said.count("\n") == 1
    assert sorted((file, file.stat().st_size) for file in tmp_path.rglob("*")) == before


def test_a_failure_says_why_and_where_the_logs_are(monkeypatch, store, capsys):
    def broken(*_):
        raise RuntimeError("the culprit")

    monkeypatch.setattr("rnnlab.worker.chunks", broken)
    assert command_line(monkeypatch, *QUICK, f"store.path={store}") == 1
    said = capsys.readouterr().err
    assert "1 failed" in said
    assert "RuntimeError: the culprit" in said
    assert "logs" in said


def test_a_store_that_fails_while_it_is_written_is_one_line_and_the_same_command_goes_on(monkeypatch, store, capsys):
    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    words = (*QUICK, "-m", "seed=0,1", "engine=inline", "engine.progress=quiet", f"store.path={store}")
    with monkeypatch.context() as patched:
        patched.setattr("mlflow.MlflowClient.log_batch", full)
        assert command_line(monkeypatch, *words) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"store.path={store}: could not be written (database or disk is full); the same command")
    assert said.count("\n") == 1
    assert command_line(monkeypatch, *words) == 0
    frame = Reader(store).frame("adhoc")
    assert list(frame["status"]) == ["exhausted"] * 2
    assert set(frame["task"]) == {"copy"}


def test_ctrl_c_before_training_ends_with_its_own_status(monkeypatch, store, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnnlab.config.refuse_no_choice", interrupted)
    assert command_line(monkeypatch, *QUICK, f"store.path={store}") == engine.INTERRUPTED


def test_one_trial_ends_with_its_status_its_step_and_its_run(monkeypatch, store, capsys):
    assert command_line(monkeypatch, *QUICK, "task.delay=20", f"store.path={store}") == 0
    said = capsys.readouterr().out
    frame = Reader(store).frame("adhoc")
    assert said == f"exhausted at step 4 of at most 4, run {frame['run_id'][0]}\n"
    assert frame["status"][0] == "exhausted"


def test_the_same_trial_again_is_found_in_the_store_and_force_trains_it_again(monkeypatch, store, capsys):
    words = (*QUICK, f"store.path={store}")
    command_line(monkeypatch, *words)
    first = Reader(store).frame("adhoc")
    command_line(monkeypatch, *words)
    found = f"exhausted at step 4 of at most 4, run {first['run_id'][0]}, in the store already"
    assert found in capsys.readouterr().out
    command_line(monkeypatch, *words, "engine.mode=force")
    second = Reader(store).frame("adhoc")
    assert second["run_id"][0] != first["run_id"][0]
    assert second.drop(columns=list(MEASURED)).equals(first.drop(columns=list(MEASURED)))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_named_sweep_runs_when_shrunk_to_two_steps(name, monkeypatch, store, capsys):
    small = ("train.max_steps=2", "train.eval_size=4", "train.batch_size=2", "model.hidden_size=4", "seed=0")
    assert command_line(monkeypatch, f"experiment={name}", *small, "engine=inline", f"store.path={store}") == 0
    frame = Reader(store).frame(name)
    assert len(frame) > 4
    assert set(frame["status"]) == {"exhausted"}
    assert f"{name}: done; {len(frame)} exhausted" in capsys.readouterr().out


def test_the_flag_for_a_sweep_may_stand_anywhere(monkeypatch, store):
    assert command_line(monkeypatch, *QUICK, f"store.path={store}", "engine=inline", "-m", "seed=0,1") == 0
    assert sorted(Reader(store).frame("adhoc")["seed"]) == [0, 1]


def test_the_command_works_as_a_process_and_leaves_nothing_but_the_store(tmp_path):
    words = [*QUICK, f"store.path={tmp_path / 'a' / 'store.db'}"]
    checkout = Path(__file__).parents[1]
    before = {file.name for file in checkout.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.train", *words], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("exhausted at step 4 of at most 4, run ")
    assert done.stderr == ""
    assert {file.name for file in checkout.iterdir()} == before
    assert {file.name for file in (tmp_path / "a").iterdir()} == {
        "store.db",
        "store.db.artifacts",
        "store.db.lock",
        "store.db.sweeps",
    }
