"""The train command: what a user types, what it answers, and what it refuses."""

import dataclasses
import sqlite3
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from stores import QUICK, command_line

from rnnlab import engine
from rnnlab.engine import EngineSettings
from rnnlab.frame import MEASURED
from rnnlab.registry import registry
from rnnlab.store.reader import Reader
from rnnlab.survey import Survey
from rnnlab.sweep import plan
from rnnlab.train import fit
from rnnlab.trial import Model, Train, shape_key

EXPERIMENTS = sorted(file.stem for file in Path("conf/experiment").glob("*.yaml"))
ENGINES = sorted(file.stem for file in Path("conf/engine").glob("*.yaml"))
UNREAD = "no trial of this sweep reads it, given the other settings; must be left out"


def keys_of(section, spec):
    return ", ".join(f"{section}.{field.name}" for field in dataclasses.fields(spec))


TASKS = registry()["task"]
TASK_KEYS, ADDING_KEYS = keys_of("task", TASKS["copy"]), keys_of("task", TASKS["adding"])
TRAIN_KEYS, ENGINE_KEYS = keys_of("train", Train), keys_of("engine", EngineSettings)
TOP = "task, model, cell, init, train, seed, store, engine, eval, diagnostics, experiment"
MODEL_KEYS = ", ".join(f"model.{field.name}" for field in dataclasses.fields(Model))
MEANT_SIZE = f"unknown key; did you mean model.hidden_size? allowed: {MODEL_KEYS}"
UNKNOWN = f"unknown key; allowed: {TOP}"
MEANT_DELAY = f"unknown key; did you mean task.delay? allowed of task copy: {TASK_KEYS}"
MEANT_STEPS = f"unknown key; did you mean train.max_steps? allowed: {TOP}"
NO_AXIS = "cannot be swept, is no part of a trial; axes are task, model, cell, init, train, seed"
ADDING_HAS = f"unknown key; allowed of task adding: {ADDING_KEYS}"
COPY_HAS = f"unknown key; allowed of task copy: {TASK_KEYS}"
MEANT_LENGTH = f"unknown key; did you mean task.length? allowed of task adding: {ADDING_KEYS}"
MEANT_RADIUS = (
    "unknown key; did you mean init.spectral_radius? allowed of init orthogonal: init.spectral_radius, init.input_scale"
)
EVERY_INIT = " and ".join(registry()["init"]) + ": init.spectral_radius, init.input_scale"
A_TASK = f"must be one of {', '.join(TASKS)}"
HYDRAS = f"Hydra's own settings are fixed here, rnnlab has its own launcher; allowed: {TOP}"
FLAGS = "unknown flag; allowed: -m, --multirun, --config-dir=DIR, --cfg=job, --help, --version"

BAD = [  # words, and the whole of the one line: the key, the value, what is allowed
    # out of range
    ("model.hidden_size=-4", "model.hidden_size", "-4", "must be an integer >= 1"),
    ("init=sparse init.nonzeros=0", "init.nonzeros", "0", "must be an integer >= 1"),
    ("init.spectral_radius=-1", "init.spectral_radius", "-1", "must be a finite number >= 0"),
    ("init.spectral_radius=nan", "init.spectral_radius", "nan", "must be a finite number >= 0"),
    ("init.spectral_radius=inf", "init.spectral_radius", "inf", "must be a finite number >= 0"),
    ("train.clip_threshold=0", "train.clip_threshold", "0", "must be a finite number > 0, or null"),
    ("train.momentum=1.5", "train.momentum", "1.5", "must be a finite number >= 0 and <= 1"),
    ("train.weight_decay=-1", "train.weight_decay", "-1", "must be a finite number >= 0"),
    ("train.schedule_factor=0", "train.schedule_factor", "0", "must be a finite number > 0 and <= 1"),
    ("train.schedule_factor=2", "train.schedule_factor", "2", "must be a finite number > 0 and <= 1"),
    ("train.schedule_every=0", "train.schedule_every", "0", "must be an integer >= 1"),
    ("train.learning_rate=1e400", "train.learning_rate", "inf", "must be a finite number > 0"),
    ("train.max_steps=1e30", "train.max_steps", "1e+30", "must be an integer >= 1"),
    ("train.max_steps=9007199254740993", "train.max_steps", "9007199254740993", "must be an integer >= 1"),
    ("seed=-1", "seed", "-1", "must be an integer >= 0"),
    ("eval.lengths=[3,0]", "eval.lengths", "0: task.delay=0", "must be an integer >= 1"),
    ("eval.lengths=[-1]", "eval.lengths", "[-1]", "must be a list, each entry an integer >= 0"),
    (
        "task=generate task.notes=5 eval.lengths=[3,6]",
        "eval.lengths",
        "6",
        "task=generate is learnt by heart, up to task.notes=5; must be <= 5",
    ),
    ("task=temporal_order eval.lengths=[9]", "eval.lengths", "9: task.length=9", "must be an integer >= 10"),
    (
        "task=adding task.lengths=varied eval.lengths=[20,10]",
        "eval.lengths",
        "10: task.length=10",
        "must be >= 11 with task.lengths=varied, below which no lengths vary",
    ),
    ("eval.lengths=3", "eval.lengths", "3", "must be a list, each entry an integer >= 0"),
    ("eval.lengths=[1.5]", "eval.lengths", "[1.5]", "must be a list, each entry an integer >= 0"),
    ("eval={lengths:[x]}", "eval.lengths", "['x']", "must be a list, each entry an integer >= 0"),
    (
        "eval.length=[3]",
        "eval.length",
        "[3]",
        "unknown key; did you mean eval.lengths? allowed: eval.lengths, eval.by_lag",
    ),
    ("eval=null", "eval", "null", "must be a group of keys: lengths, by_lag"),
    ("eval.by_lag=1", "eval.by_lag", "1", "must be true or false"),
    ("eval.by_lag=null", "eval.by_lag", "null", "must be true or false"),
    ("-m seed=0,1 eval.by_lag=true,false", "eval.by_lag", "true,false", NO_AXIS),
    ("-m eval.lengths=[3],[4]", "eval.lengths", "[3],[4]", NO_AXIS),
    ("-m seed=0,1 eval.lengths=3,4", "eval.lengths", "3,4", NO_AXIS),
    ("diagnostics.every=0", "diagnostics.every", "0", "must be an integer >= 1, or auto, or null"),
    ("diagnostics.every=often", "diagnostics.every", "often", "must be an integer >= 1, or auto, or null"),
    ("diagnostics.every=1.5", "diagnostics.every", "1.5", "must be an integer >= 1, or auto, or null"),
    ("diagnostics.states=auto", "diagnostics.states", "auto", "must be true or false"),
    (
        "diagnostics.evry=3",
        "diagnostics.evry",
        "3",
        (
            "unknown key; did you mean diagnostics.every? allowed: diagnostics.every, diagnostics.states, "
            "diagnostics.capacity"
        ),
    ),
    ("diagnostics=auto", "diagnostics", "auto", "must be a group of keys: every, states, capacity"),
    ("-m diagnostics.every=10,20", "diagnostics.every", "10,20", NO_AXIS),
    ("diagnostics.states=true", "diagnostics.states", "true", "has no effect without diagnostics.every; must be false"),
    (
        "diagnostics.every=auto cell=tcn",
        "diagnostics.every",
        "auto",
        "cell=tcn has no states that could be looked at; must be null, or the sweep without that cell",
    ),
    ("seed=" + "9" * 400, "seed", "9" * 400, "must be an integer >= 0"),
    ("engine.workers=0", "engine.workers", "0", "must be an integer >= 1, or null"),
    ("engine.checkpoint_seconds=-1", "engine.checkpoint_seconds", "-1", "must be a finite number >= 0"),
    # wrong type
    ("model.hidden_size=1.5", "model.hidden_size", "1.5", "must be an integer >= 1"),
    ("model.hidden_size=null", "model.hidden_size", "null", "must be an integer >= 1"),
    ("task.delay=abc", "task.delay", "abc", "must be an integer >= 1"),
    ("task.delay=[3]", "task.delay", "[3]", "must be an integer >= 1"),
    ("task.delay='3'", "task.delay", "3", "must be an integer >= 1"),
    ("task.delay=???", "task.delay", "???", "must be an integer >= 1"),
    ("task.delay=${train.optimizer}", "task.delay", "sgd", "must be an integer >= 1"),
    (
        "task.delay=${nosuch}",
        "task.delay",
        "${nosuch}",
        "Interpolation key 'nosuch' not found; must be an integer >= 1",
    ),
    ("train.learning_rate='0.1'", "train.learning_rate", "0.1", "must be a finite number > 0"),
    ("train.optimizer=null", "train.optimizer", "null", "must be one of sgd, rmsprop, adam, adamw"),
    ("train.optimizer=adamax", "train.optimizer", "adamax", "must be one of sgd, rmsprop, adam, adamw"),
    ("train.nesterov=1", "train.nesterov", "1", "must be true or false"),
    ("train.schedule=linear", "train.schedule", "linear", "must be one of constant, cosine, step"),
    ("train=fast", "train", "fast", f"must be a group of keys: {TRAIN_KEYS.replace('train.', '')}"),
    (
        "model={hidden:8}",
        "model.hidden",
        "8",
        MEANT_SIZE,
    ),
    ("seed=true", "seed", "true", "must be an integer >= 0"),
    ("seed=", "seed", "", "must be an integer >= 0"),
    ("engine.workers=two", "engine.workers", "two", "must be an integer >= 1, or null"),
    ("engine.dry_run=maybe", "engine.dry_run", "maybe", "must be true or false"),
    ("store.weights=all", "store.weights", "all", "must be one of both, none"),
    ("cell.nonlinearity=sigmoid", "cell.nonlinearity", "sigmoid", "must be one of tanh, relu, identity"),
    # unknown groups
    ("task=nosuch", "task", "nosuch", A_TASK),
    ("task=null", "task", "null", A_TASK),
    ("task=../config", "task", "../config", A_TASK),
    ("task={delay:3}", "task", "{'delay': 3}", A_TASK),
    ("cell=lstmm", "cell", "lstmm", f"must be one of {', '.join(sorted(registry()['cell']))}"),
    ("init=gausian", "init", "gausian", f"must be one of {', '.join(sorted(registry()['init']))}"),
    ("store=nosuch", "store", "nosuch", "must be one of postgres, server, sqlite"),
    ("engine={workers:0}", "engine", "{'workers': 0}", f"must be one of {', '.join(ENGINES)}"),
    ("engine=nosuch", "engine", "nosuch", f"must be one of {', '.join(ENGINES)}"),
    ("experiment=nosuch", "experiment", "nosuch", f"must be one of {', '.join(EXPERIMENTS)}"),
    ("experiment=null", "experiment", "null", f"must be one of {', '.join(EXPERIMENTS)}"),
    ("experiment=a/b", "experiment", "a/b", f"must be one of {', '.join(EXPERIMENTS)}"),
    ("experiment=../config", "experiment", "../config", f"must be one of {', '.join(EXPERIMENTS)}"),
    # what does not go together
    (
        "init=chrono",
        "init",
        "chrono",
        "needs a cell with gates, cell=elman has none; must be another init",
    ),
    # unknown keys
    (
        "model.hiden_size=8",
        "model.hiden_size",
        "8",
        MEANT_SIZE,
    ),
    ("trian.max_steps=3", "trian.max_steps", "3", MEANT_STEPS),
    ("max_steps=3", "max_steps", "3", MEANT_STEPS),
    ("+trian.optimizer=adam", "trian.optimizer", "adam", f"unknown key; did you mean train.optimizer? allowed: {TOP}"),
    ("tsk=copy", "tsk", "copy", f"unknown key; did you mean task? allowed: {TOP}"),
    ("foo=1", "foo", "1", UNKNOWN),
    ("=3", "", "3", UNKNOWN),
    ("seed.x=3", "seed.x", "3", f"unknown key; did you mean seed? allowed: {TOP}"),
    ("train.foo.bar=3", "train.foo.bar", "3", f"unknown key; allowed: {TRAIN_KEYS}"),
    ("engine.foo=1", "engine.foo", "1", f"unknown key; allowed: {ENGINE_KEYS}"),
    ("model.foo=1", "model.foo", "1", f"unknown key; allowed: {MODEL_KEYS}"),
    ("task@train=copy", "task@train", "copy", f"unknown key; did you mean task? allowed: {TOP}"),
    ("tâche=1", "tâche", "1", UNKNOWN),
    (
        "task.délai=3",
        "task.délai",
        "3",
        MEANT_DELAY,
    ),
    ("task.foo=1", "task.foo", "1", COPY_HAS),
    ("task.length=5", "task.length", "5", COPY_HAS),
    ("task=copy task.lenght=5", "task.lenght", "5", COPY_HAS),
    ("task=adding task.lenght=5", "task.lenght", "5", MEANT_LENGTH),
    ("task=adding task.lenght=é", "task.lenght", "é", MEANT_LENGTH),
    ("task=adding lenght=5", "lenght", "5", f"unknown key; did you mean task.length? allowed: {TOP}"),
    ("lenght=5", "lenght", "5", f"unknown key; did you mean eval.lengths? allowed: {TOP}"),
    ("init.radius=2", "init.radius", "2", MEANT_RADIUS),
    ("task=adding task.delay=5", "task.delay", "5", ADDING_HAS),
    ("experiment=demo_adding task.delay=3", "task.delay", "3", ADDING_HAS),
    ("experiment=demo_adding task.foo=3", "task.foo", "3", ADDING_HAS),
    ("experiment=demo_adding task.lenght=5", "task.lenght", "5", MEANT_LENGTH),
    ("experiment=demo_adding task=copy task.foo=3", "task.foo", "3", COPY_HAS),
    ("experiment=architectures task.delay=3", "task.delay", "3", ADDING_HAS),
    ("experiment=architectures task.foo=3", "task.foo", "3", "unknown key; allowed of task copy and adding: none"),
    ("-m task=copy,adding task.foo=1", "task.foo", "1", "unknown key; allowed of task copy and adding: none"),
    ("-m init=glob(*) init.foo=1,2", "init.foo", "1,2", f"unknown key; allowed of init {EVERY_INIT}"),
    ("task.name=adding", "task.name", "adding", COPY_HAS),
    # what cannot be read
    ("delay", "delay", "", f"unknown key; did you mean task.delay? allowed: {TOP}"),
    ("seed", "seed", None, "has no value; must be seed=VALUE"),
    ("seed=range(", "seed", "range(", "the value cannot be read; must be an integer >= 0, in quotes where it is text"),
    (
        "train.optimizer=ädam",
        "train.optimizer",
        "ädam",
        "the value cannot be read; must be one of sgd, rmsprop, adam, adamw, in quotes where it is text",
    ),
    # said twice, added, taken away
    ("task.delay=3 task.delay=4", "task.delay", None, "is given 2 times; must be given once"),
    ("-m seed=1,2 seed=3", "seed", None, "is given 2 times; must be given once"),
    ("+seed=3", "+seed", "3", "the key exists already; must be seed=3"),
    ("~train", "~train", None, "nothing can be taken away; must be train=VALUE"),
    ("~train.momentum", "~train.momentum", None, "nothing can be taken away; must be train.momentum=VALUE"),
    # Hydra's own
    ("hydra/launcher=basic", "hydra/launcher", "basic", HYDRAS),
    ("-m hydra/sweeper=basic", "hydra/sweeper", "basic", HYDRAS),
    ("+hydra.foo=1", "+hydra.foo", "1", HYDRAS),
    ("hydra.run.dir=x", "hydra.run.dir", "x", HYDRAS),
    ("--foo=1", "--foo", "1", FLAGS),
    ("-x", "-x", None, FLAGS),
    ("--resolve", "--resolve", None, FLAGS),
    ("--cfg=hydra", "--cfg", "hydra", "must be --cfg=job"),
    ("--config-dir=/no/such", "--config-dir", "/no/such", "no such folder; must be a folder that exists"),
    # axes
    ("seed=1,2", "seed", "1,2", "several values make a sweep; add -m"),
    ("experiment=a,b", "experiment", "a,b", NO_AXIS.replace("is no part of a trial", "one named sweep at a time")),
    ("-m experiment=a,b", "experiment", "a,b", NO_AXIS.replace("is no part of a trial", "one named sweep at a time")),
    ("-m engine.stack_size=4,8", "engine.stack_size", "4,8", NO_AXIS),
    ("-m foo=1,2", "foo", "1,2", UNKNOWN),
    ("-m seed=1,a", "seed", "a", "must be an integer >= 0"),
    ("-m seed=range(0)", "seed", "range(0)", "has no values; must have one or more"),
    ("-m seed=range(0,9,0)", "seed", "range(0,9,0)", "has no values; must have one or more"),
    ("-m task=glob(z*)", "task", "glob(z*)", "has no values; must have one or more"),
    ("-m seed=range(1000000000)", "seed", "range(1000000000)", "has too many values; must have at most 1000000"),
    ("-m seed=1,range(3)", "seed", "1,range(3)", "must be one list of values or one range(...), not both"),
    (
        "-m seed=interval(0,3)",
        "seed",
        "interval(0,3)",
        "must be a list of values, range(...), choice(...) or glob(...)",
    ),
    (
        "-m model.hiden_size=8,9",
        "model.hiden_size",
        "8,9",
        MEANT_SIZE,
    ),
    ("-m task=copy,nosuch", "task", "nosuch", A_TASK),
    ("-m task=copy,adding task.delay=3,5", "task.delay", "3,5", ADDING_HAS),
    ("-m experiment=demo_copy task=adding", "task.delay", "3,5,8,12,18,27,40,60,90", ADDING_HAS),
    ("-m train.optimizer=adam train.momentum=0.5,0.9", "train.momentum", "0.5,0.9", UNREAD),
    ("-m train.schedule=cosine train.schedule_every=5,50", "train.schedule_every", "5,50", UNREAD),
    ("-m train.optimizer=adam train.nesterov=true,false", "train.nesterov", "false,true", UNREAD),
    ("-m train.clip_threshold=null train.clip_mode=norm,value", "train.clip_mode", "norm,value", UNREAD),
]


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_):
        pytest.fail("something was trained or written")

    monkeypatch.setattr(engine._Launch, "run", refuse)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("words", "key", "value", "allowed"), BAD, ids=[row[0][:60] for row in BAD])
def test_bad_input_is_refused_in_one_line_before_anything_is_written(
    words, key, value, allowed, monkeypatch, tmp_path, capsys
):
    before = sorted(Path.cwd().iterdir())
    status = command_line(monkeypatch, *words.split(" "), f"store.path={tmp_path / 'new' / 'store.db'}")
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert said.err == (key if value is None else f"{key}={value}") + f": {allowed}\n"
    assert list(tmp_path.iterdir()) == []
    assert sorted(Path.cwd().iterdir()) == before


def test_forty_lines_and_more_are_refused_each_with_its_own_words():
    assert len(BAD) > 40
    assert len({words for words, *_ in BAD}) == len(BAD)
    assert all(allowed for *_, allowed in BAD)


@pytest.mark.usefixtures("no_training")
def test_settings_keys_and_values_that_are_wrong_are_all_named_at_once(monkeypatch, tmp_path, capsys):
    wrong = ("engine.stack_size=0", "store.weights=all", "train.max_stepz=3", "trian.x=1", "seed=a", "~task", "--foo")
    assert command_line(monkeypatch, *wrong, f"store.path={tmp_path / 'x.db'}") == 2
    said = capsys.readouterr().err.splitlines()
    assert {line.split(":")[0] for line in said} == set(wrong)
    assert len(said) == len(wrong)


@pytest.mark.usefixtures("no_training")
def test_equal_values_of_an_axis_are_one_trial(monkeypatch, tmp_path):
    planned = []
    monkeypatch.setattr(engine._Launch, "run", lambda launch: planned.append(plan(launch.survey.trials)))
    assert command_line(monkeypatch, "-m", "seed=1,1,2", f"store.path={tmp_path / 'x.db'}") == 0
    assert [trial.seed for trial in planned[0].trials] == [1, 2]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%20b.db", ""])
def test_a_path_that_is_no_address_of_a_database_is_refused(name, monkeypatch, tmp_path, capsys):
    assert command_line(monkeypatch, f"store.path='{name}'") == 2
    assert capsys.readouterr().err.startswith(f"store.path={name}: must be the path of a file, without ")


SWEEP = "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
FILES = {  # content of an experiment file -> the one line; {file} stands for its path
    # not a mapping in UTF-8
    b"seed: \xff": "experiment=mine: {file} is not UTF-8 (byte 6); must be UTF-8 text",
    "- a\n- b": "experiment=mine: {file} holds a list; must map keys to values",
    "3": "experiment=mine: {file} cannot be read (a single value); must be a file that maps keys to values",
    "seed: 1\nseed: 2": "experiment=mine: {file} is not YAML (line 3: found duplicate key seed); "
    "must map keys to values, each key once",
    "hydra: {mode: MULTIRUN": "experiment=mine: {file} is not YAML (line 3: expected ',' or '}}', but got "
    "'<stream end>'); must map keys to values, each key once",
    b"task: {delay: 3}": "experiment=mine: {file} starts otherwise; must start with the line # @package _global_",
    # keys
    f"{SWEEP}trian: {{optimizer: adam}}": "trian={{'optimizer': 'adam'}}: unknown key; did you mean train? allowed: "
    "defaults, task, model, cell, init, train, seed, store, engine, eval, diagnostics, hydra",
    f"{SWEEP}1: 2": "1=2: unknown key; allowed: defaults, task, model, cell, init, train, seed, store, engine, eval, "
    "diagnostics, hydra",
    f"{SWEEP}train: {{max_stps: 3}}": "train.max_stps=3: unknown key; did you mean train.max_steps? allowed: "
    + TRAIN_KEYS,
    f"{SWEEP}engine: {{wrkers: 3}}": "engine.wrkers=3: unknown key; did you mean engine.workers? allowed: "
    + ENGINE_KEYS,
    "task: {name: adding}": "task.name=adding: must be chosen under defaults, as - override /task: adding",
    "task: {length: 3}": f"task.length=3: unknown key; allowed of task copy: {TASK_KEYS}",
    # values
    f"{SWEEP}train: 3": "train=3: must be a group of keys",
    f"{SWEEP}engine: null": "engine=null: must be a group of keys",
    f"{SWEEP}store: [1]": "store=[1]: must be a group of keys",
    f"{SWEEP}train: {{max_steps: '3'}}": "train.max_steps=3: must be an integer >= 1",
    f"{SWEEP}train: {{max_steps: yes}}": "train.max_steps=true: must be an integer >= 1",
    f"{SWEEP}train: {{max_steps: '${{nosuch}}'}}": "train.max_steps=...: Interpolation key 'nosuch' not found; "
    "must be an integer >= 1",
    # defaults
    "defaults: 3": "defaults=3: must be a list, such as - override /task: adding",
    "defaults: [nosuch]": "defaults: nosuch: must be override /GROUP: NAME, or one of other",
    "defaults: [{override /task: nosuch}]": f"task=nosuch: {A_TASK}",
    "defaults: [{override /tsk: copy}]": "tsk=copy: unknown key; did you mean task? allowed of defaults: "
    "task, cell, init, store, engine",
    "defaults: [{/task: copy}]": "defaults: /task: copy: must be override /task: copy",
    "defaults: [{override /hydra/launcher: basic}]": "hydra/launcher=basic: must be rnnlab, which trains stacks; "
    "leave the line out",
    f"defaults: [{{override /hydra/sweeper: basic}}]\n{SWEEP}": "hydra/sweeper=basic: must be rnnlab, "
    "which trains stacks; leave the line out",
    # Hydra's node
    "hydra: {mode: MULTI}": "hydra.mode=MULTI: must be one of RUN, MULTIRUN",
    "hydra: {sweper: {}}": "hydra.sweper={{}}: unknown key; did you mean hydra.sweeper? allowed: "
    "hydra.mode, hydra.sweeper",
    "hydra: {sweeper: {parms: {}}}": "hydra.sweeper.parms={{}}: unknown key; did you mean hydra.sweeper.params? "
    "allowed: hydra.sweeper.params, hydra.sweeper.grids",
    "hydra: {sweeper: {params: [seed]}}": "hydra.sweeper.params=['seed']: must map keys to their values, such as 0,1,2",
    "hydra: {sweeper: {grids: {seed: '0,1'}}}": "hydra.sweeper.grids={{'seed': '0,1'}}: must be a list of mappings, "
    "from keys to their values",
    "hydra: {sweeper: {params: {seed: '0,1'}}}": "experiment=mine: has axes of a sweep, but not hydra.mode; "
    "must say hydra.mode: MULTIRUN",
}
AXES = {  # hydra.sweeper of an experiment file -> the one line
    "params: {seed: [0, -1]}": "seed=-1: must be an integer >= 0",
    "params: {seed: []}": "seed=[]: has no values; must have one or more, such as 0,1,2",
    "params: {seed: ''}": "seed=: must be an integer >= 0",
    "params: {seed: {a: 1}}": "seed={'a': 1}: has no values; must have one or more, such as 0,1,2",
    "params: {seed: 'range('}": "seed=range(: the value cannot be read; must be an integer >= 0, "
    "in quotes where it is text",
    "params: {train.clip_threshold: [null, 0]}": "train.clip_threshold=0: must be a finite number > 0, or null",
    "params: {task: 'copy,nosuch'}": f"task=nosuch: {A_TASK}",
    "params: {task.length: '5,6'}": f"task.length=5,6: unknown key; allowed of task copy: {TASK_KEYS}",
    "params: {trian.max_steps: '5,6'}": f"trian.max_steps=5,6: {MEANT_STEPS}",
    "params: {engine.workers: '1,2'}": f"engine.workers=1,2: {NO_AXIS}",
    "params: {seed: 'range(10000)', task.delay: 'range(1,1000)'}": "9990000 trials: must be at most 1000000",
    "params: {seed: '0,1'}, grids: [{seed: '2,3'}]": "seed: stands in hydra.sweeper.params and in "
    "hydra.sweeper.grids; must stand in one of them",
    "grids: [{seed: 1, seed: 2}]": None,
    "grids: [{task: copy}, {task: adding, task.delay: '3,5'}]": f"task.delay=3,5: {ADDING_HAS}",
}


@pytest.fixture
def experiment(tmp_path, monkeypatch, no_training, capsys):
    """Launch an experiment file with this content; return what it is told."""

    def launch(content):
        folder = tmp_path / "conf" / "experiment"
        folder.mkdir(parents=True)
        (folder / "other.yaml").write_text("# @package _global_\n")
        file = folder / "mine.yaml"
        if callable(content):
            content(file)
        else:
            file.write_bytes(content if isinstance(content, bytes) else f"# @package _global_\n{content}\n".encode())
        before = sorted(Path.cwd().iterdir())
        words = ("experiment=mine", f"--config-dir={folder.parent}", f"store.path={tmp_path / 'x.db'}")
        assert command_line(monkeypatch, *words) == 2
        assert [path.name for path in tmp_path.iterdir()] == ["conf"]
        assert sorted(Path.cwd().iterdir()) == before
        said = capsys.readouterr()
        assert said.out == ""
        return said.err, file

    return launch


@pytest.mark.parametrize("content", FILES)
def test_a_wrong_experiment_file_is_refused_in_one_line(content, experiment):
    said, file = experiment(content)
    assert said == FILES[content].format(file=file) + "\n"


@pytest.mark.parametrize("sweeper", AXES)
def test_a_wrong_axis_in_an_experiment_file_is_refused_in_one_line(sweeper, experiment):
    said, file = experiment(f"hydra: {{mode: MULTIRUN, sweeper: {{{sweeper}}}}}")
    duplicate = f"experiment=mine: {file} is not YAML (line 2: found duplicate key seed); must map keys to values"
    assert said == (AXES[sweeper] or f"{duplicate}, each key once") + "\n"


@pytest.mark.parametrize("kind", ["broken link", "folder"])
def test_an_experiment_file_that_cannot_be_opened_is_refused_in_one_line(kind, experiment):
    said, file = experiment(Path.mkdir if kind == "folder" else lambda file: file.symlink_to("nowhere"))
    why = "Is a directory" if kind == "folder" else "No such file or directory"
    assert said == f"experiment=mine: {file} cannot be read ({why}); must be a file that maps keys to values\n"


def test_settings_and_trials_of_an_experiment_file_are_refused_together(experiment):
    said, _ = experiment(SWEEP + "train: {max_steps: -3}\nengine: {workers: 0}")
    assert {line.split(":")[0] for line in said.splitlines()} == {"train.max_steps=-3", "engine.workers=0"}


@pytest.mark.usefixtures("no_training")
def test_where_it_is_not_known_which_task_is_chosen_a_key_of_none_is_refused_without_a_list_of_all(
    monkeypatch, tmp_path, capsys
):
    for chooses in ("task=nosuch", "experiment=nosuch", "-m task=copy,nosuch"):
        words = (*chooses.split(), "task.dellay=3", "task.length=5", f"store.path={tmp_path / 'x.db'}")
        assert command_line(monkeypatch, *words) == 2
        said = capsys.readouterr().err.splitlines()
        hint = "did you mean task.delay? allowed: keys of the task chosen, no task has this one"
        assert [line for line in said if line.startswith("task.")] == [f"task.dellay=3: unknown key; {hint}"]
        assert len(said) == 2


@pytest.mark.usefixtures("no_training")
def test_an_experiment_file_that_is_built_on_another_has_the_task_of_that_one(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text("# @package _global_\ndefaults: [{override /task: adding}]\n")
    (folder / "mine.yaml").write_text(f"# @package _global_\ndefaults: [base]\n{SWEEP}")
    words = ("experiment=mine", f"--config-dir={folder.parent}", f"store.path={tmp_path / 'x.db'}")
    assert command_line(monkeypatch, *words, "task.notes=3") == 2
    assert capsys.readouterr().err == "task.notes=3: is of task generate, not of the task chosen here\n"
    assert command_line(monkeypatch, *words, "task.length=4", "engine.dry_run=true") == 0


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

    monkeypatch.setattr("rnnlab.overrides.check", interrupted)
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


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_named_sweep_runs_when_shrunk_to_two_steps(name, monkeypatch, store, capsys):
    """All its trials are trained; a few of them by the command itself, which writes any trial in the same way."""
    small = ("train.max_steps=2", "train.eval_size=4", "train.batch_size=2", "model.hidden_size=4", "seed=0")
    small += ("engine=inline", "engine.report=false")
    planned = []

    def survey_of_a_few(trials, place):
        planned.extend(trials)
        return Survey(trials[:: len(trials) // 5], place)

    monkeypatch.setattr(engine, "Survey", survey_of_a_few)
    assert command_line(monkeypatch, f"experiment={name}", *small, f"store.path={store}") == 0
    for _, mates in groupby(sorted(planned, key=shape_key), shape_key):
        assert {record.status for record in fit(list(mates)) if record.ended} == {"exhausted"}
    frame = Reader(store).frame(name)
    assert len(frame) > 4
    assert set(frame["status"]) == {"exhausted"}
    assert f"{name}: done; {len(frame)} exhausted" in capsys.readouterr().out


def test_the_flag_for_a_sweep_may_stand_anywhere(monkeypatch, store):
    assert command_line(monkeypatch, *QUICK, f"store.path={store}", "engine=inline", "-m", "seed=0,1") == 0
    assert sorted(Reader(store).frame("adhoc")["seed"]) == [0, 1]


@pytest.mark.slow
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
