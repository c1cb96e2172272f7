"""From overrides to trials: defaults, grids, and the short cut past Hydra's own composition."""

import dataclasses
import itertools

import pytest
from builders import trial
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from rnnlab import config
from rnnlab.engine import EngineSettings
from rnnlab.evaluation import EvalSettings
from rnnlab.refusal import BadInput
from rnnlab.store import DEFAULT_PATH, StoreSettings
from rnnlab.trial import Model, Train
from rnnlab.watch import DiagnosticsSettings


@pytest.fixture(scope="module")
def loader():
    config.register()
    with initialize_config_dir(str(config.CHECKOUT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def composed(*overrides):
    return compose("config", list(overrides), return_hydra_config=True)


def expanded(loader, *arguments, params=None, grids=None):
    cells = config.grid(arguments, params or {}, grids, loader)
    return config.trials_of(cells, composed(), loader)


def test_a_value_that_refers_to_an_axis_follows_it(loader):
    found = expanded(loader, "task.delay=3,5", "train.max_steps=${task.delay}", "train.eval_every=1,2")
    course = [(one.task.delay, one.train.max_steps, one.train.eval_every) for one in found]
    assert course == [(3, 3, 1), (3, 3, 2), (5, 5, 1), (5, 5, 2)]


def test_an_axis_may_hold_mappings(loader):
    found = expanded(loader, "model={hidden_size:8},{hidden_size:9}", "seed=0,1")
    assert [(one.model.hidden_size, one.seed) for one in found] == [(8, 0), (8, 1), (9, 0), (9, 1)]


def test_cells_share_the_parts_that_their_axes_do_not_touch(loader):
    first, second, third = expanded(loader, "seed=0,1,2")
    assert first.task is second.task is third.task
    assert first.train is second.train is third.train


def test_more_cells_than_anyone_means_are_refused_before_they_are_made(loader):
    with pytest.raises(BadInput, match="100000000 trials: must be at most 1000000"):
        config.grid(["seed=range(10000)", "task.delay=range(1,10001)"], {}, None, loader)


@pytest.mark.usefixtures("loader")
def test_the_configuration_file_states_the_defaults_of_the_specs():
    node = composed()
    assert OmegaConf.to_container(node.model) == dataclasses.asdict(Model())
    assert OmegaConf.to_container(node.train) == dataclasses.asdict(Train())
    assert config.trial_of(node) == trial(**config.DEFAULT_MEMBERS)
    assert config.settings_of(node) == (StoreSettings(), EngineSettings(), EvalSettings(), DiagnosticsSettings())
    assert config.settings_of(node)[0].path == str(DEFAULT_PATH)


def test_a_sweep_equals_composing_each_of_its_cells(loader):
    axes = {
        "task": ["copy", "adding"],
        "init": ["gaussian", "identity"],
        "init.spectral_radius": ["0.5", "1.2"],
        "train.clip_threshold": ["null", "1"],
    }
    fixed = ["train.max_steps=300", "train.eval_every=${train.batch_size}"]
    arguments = [f"{key}={','.join(values)}" for key, values in axes.items()]
    fast = expanded(loader, *arguments, *fixed)
    cells = itertools.product(*([f"{key}={value}" for value in values] for key, values in axes.items()))
    slow = [config.trial_of(composed(*cell, *fixed)) for cell in cells]
    assert fast == slow
    assert {one.train.eval_every for one in fast} == {Train().batch_size}


def test_grids_are_a_union_of_products_that_share_the_params(loader):
    params = {"init.spectral_radius": "0.5,1.0", "seed": "range(2)"}
    grids = [{"task": "copy", "task.delay": "3,5"}, {"task": "adding", "task.length": "7"}]
    found = expanded(loader, params=params, grids=grids)
    radii_and_seeds = list(itertools.product((0.5, 1.0), (0, 1)))
    copies = [trial(init="orthogonal", delay=d, spectral_radius=r, seed=s) for d in (3, 5) for r, s in radii_and_seeds]
    addings = [trial(task="adding", init="orthogonal", length=7, spectral_radius=r, seed=s) for r, s in radii_and_seeds]
    assert set(found) == {*copies, *addings}
    assert len(found) == 12


def test_the_command_line_replaces_an_axis_of_the_experiment_file(loader):
    found = expanded(loader, "seed=7", params={"seed": "range(5)", "task.delay": "3,5"})
    assert [(one.task.delay, one.seed) for one in found] == [(3, 7), (5, 7)]


def test_values_of_an_axis_are_read_as_hydra_reads_them(loader):
    found = expanded(loader, "train.clip_threshold=null,1e-1,2", "task.score='all',recall")
    assert {one.train.clip_threshold for one in found} == {None, 0.1, 2.0}
    assert {one.task.score for one in found} == {"all", "recall"}


def test_an_axis_that_some_trials_read_is_kept(loader):
    found = expanded(loader, "train.optimizer=sgd,adam", "train.momentum=0.5,0.9")
    assert len(found) == 4
    assert len({one.key for one in found}) == 3  # adam has no momentum: its two are one trial


@pytest.mark.parametrize(
    ("arguments", "grids", "line"),
    [
        ((), [{"task.length": "5,6"}], "task.length=5,6: unknown key; allowed of task copy: "),
        ((), [{"seed": "1"}, {"nosuch.key": "1,2"}], "nosuch.key=1,2: unknown key; allowed: "),
        (("train.momentum=0.1,0.2", "train.optimizer=rmsprop"), None, "train.momentum=0.1,0.2: no trial of this sweep"),
    ],
)
def test_an_axis_that_no_trial_reads_is_refused(loader, arguments, grids, line):
    with pytest.raises(BadInput) as refused:
        expanded(loader, *arguments, grids=grids)
    assert refused.value.problems[0].startswith(line)
