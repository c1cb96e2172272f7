"""What a sweep costs: memory as torch allocates it, the store as MLflow fills it, widths within their bounds, times."""

import dataclasses
import json
from functools import partial

import pytest
from builders import peak_of, trial
from safetensors.torch import save_file

from rnnlab import cost, disk, memory
from rnnlab.collector import derived, run_name
from rnnlab.evaluation import LAGS, attempt
from rnnlab.lengths import needed_bytes
from rnnlab.optim import OPTIMIZERS
from rnnlab.provenance import tags
from rnnlab.record import EXHAUSTED
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.store import StoreSettings
from rnnlab.store.writer import Writer
from rnnlab.train import Stack, chunks
from rnnlab.trial import shape_key
from rnnlab.watch import DiagnosticsSettings, Watch

PLENTY = 1 << 50
SHAPES = {
    "long": {"delay": 114, "batch_size": 20, "optimizer": "adam"},
    "ragged": {"delay": 50, "batch_size": 7, "hidden_size": 33, "eval_size": 7},
    "adding": {"task": "adding", "length": 100, "batch_size": 20, "hidden_size": 48, "optimizer": "rmsprop"},
    "all scored": {"delay": 94, "batch_size": 16, "score": "all", "optimizer": "adam", "clip_mode": "value"},
    "wide": {"delay": 14, "batch_size": 20, "hidden_size": 256, "optimizer": "adam"},
    "many symbols": {"delay": 20, "symbols": 10, "alphabet": 10, "batch_size": 10, "hidden_size": 16, "score": "all"},
    "decoupled": {"delay": 3, "batch_size": 2, "hidden_size": 128, "optimizer": "adamw", "weight_decay": 0.1},
    "tiny": {"delay": 3, "symbols": 2, "batch_size": 3, "hidden_size": 5, "eval_size": 3},
}


def stack_of(shape: str, width: int) -> list:
    fields = {"eval_size": 20} | SHAPES[shape]
    return [trial(**fields, eval_every=2, init="identity", seed=seed) for seed in range(width)]


def train_two_steps(trials):
    stack = Stack(trials)
    for slot in stack.slots:
        slot.border = 2
    stack.train_to_border()


@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_takes_the_memory_that_is_said(shape, width):
    trials = stack_of(shape, width)
    measured = peak_of(lambda: train_two_steps(trials))
    assert memory.training_bytes(trials[0], width) == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_and_nesterov_take_no_memory_beyond_that_of_the_update(optimizer):
    """A row of parameters less or more would show: the network is large, its data are few."""
    shape = {"delay": 3, "batch_size": 2, "hidden_size": 128, "optimizer": optimizer}
    without, with_both = (
        peak_of(lambda options=options: train_two_steps([trial(**shape, **options, seed=seed) for seed in range(4)]))
        for options in ({}, {"weight_decay": 0.1, "nesterov": True})
    )
    assert with_both == pytest.approx(without, rel=0.01)


@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_evaluating_takes_the_memory_that_is_said(shape, width):
    trials = stack_of(shape, width)
    measured = peak_of(lambda: Stack(trials).evaluate(range(width)))
    assert memory.evaluation_bytes(trials[0], width) == pytest.approx(measured, rel=0.15, abs=4096)


NETWORKS = {
    "plain": {},
    "deep": {"layers": 2},
    "bidirectional": {"bidirectional": True},
    "truncated": {"truncation": 20},
    "cut often": {"truncation": 2},
    "embedded": {"embedding_size": 200},
    "blanked": {"layers": 3, "dropout": 0.5},
    "encoder": {"task": "reverse", "symbols": 40, "layers": 2, "embedding_size": 16},
}


def shape_of(network: str) -> dict:
    task = {} if "task" in NETWORKS[network] else {"delay": 94}
    return task | {"batch_size": 10, "eval_size": 20, "eval_every": 2, "hidden_size": 48} | NETWORKS[network]


def goes(cell: str, network: str) -> bool:
    """Some cells have no state to cut or to hand over."""
    try:
        trial(**shape_of(network), cell=cell)
    except BadInput:
        return False
    return True


PAIRS = [(cell, network) for cell in registry()["cell"] for network in NETWORKS if goes(cell, network)]


def test_most_cells_go_with_all_networks():
    assert len(PAIRS) >= len(registry()["cell"]) * len(NETWORKS) - 7


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "network"), PAIRS)
def test_the_memory_of_any_network_is_said_within_a_third(cell, network):
    """Of a stack of three; what a module makes while it is evaluated is only bounded."""
    trials = [trial(**shape_of(network), cell=cell, seed=seed) for seed in range(3)]
    trained, evaluated = peak_of(lambda: train_two_steps(trials)), peak_of(lambda: Stack(trials).evaluate(range(3)))
    assert 0.8 < memory.training_bytes(trials[0], 3) / trained < 1.35
    least, largest = (0.6, 2.0) if hasattr(trials[0].cell, "module") else (0.8, 1.35)
    assert least < memory.evaluation_bytes(trials[0], 3) / evaluated < largest


def test_the_memory_of_omega_is_said_within_a_third():
    for shape in ({"delay": 94}, {"task": "adding", "length": 200}):
        trials = [
            trial(**shape, batch_size=10, hidden_size=48, eval_every=2, omega=1.0, seed=seed) for seed in range(3)
        ]
        assert 0.8 < memory.training_bytes(trials[0], 3) / peak_of(partial(train_two_steps, trials)) < 1.35


def test_evaluating_in_groups_bounds_the_memory(monkeypatch):
    trials = stack_of("long", 16)
    whole = memory.evaluation_bytes(trials[0], 16)
    elements = 4 * 120 * 20 * 64  # four models at once
    monkeypatch.setattr("rnnlab.train.EVALUATION_ELEMENTS", elements)
    monkeypatch.setattr("rnnlab.memory.EVALUATION_ELEMENTS", elements)
    said = memory.evaluation_bytes(trials[0], 16)
    assert said < whole / 2
    assert said == pytest.approx(peak_of(lambda: Stack(trials).evaluate(range(16))), rel=0.15, abs=4096)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["both", "none"])
@pytest.mark.parametrize(
    ("fields", "asked", "watched"),
    [
        ({"hidden_size": 64, "max_steps": 300, "eval_every": 20}, (), {}),
        ({"hidden_size": 33, "max_steps": 405, "eval_every": 10, "optimizer": "adam", "task": "adding"}, (), {}),
        ({"hidden_size": 8, "max_steps": 4, "eval_every": 2}, (), {}),
        ({"hidden_size": 8, "max_steps": 4, "eval_every": 2}, range(1, 21), {}),
        ({"hidden_size": 8, "max_steps": 4, "eval_every": 2, "task": "adding", "length": 60}, [LAGS], {}),
        ({"hidden_size": 64, "max_steps": 300, "eval_every": 20}, (), {"every": "auto"}),
        ({"hidden_size": 8, "max_steps": 10, "eval_every": 2, "delay": 99}, (), {"every": 1, "states": True}),
        ({"hidden_size": 16, "max_steps": 10, "eval_every": 5, "layers": 2}, (), {"every": 1, "capacity": True}),
    ],
    ids=["copy", "adding", "short", "at other lengths", "by lag", "diagnosed", "with states", "with capacity"],
)
def test_a_run_takes_the_store_that_is_said(store, tmp_path_factory, fields, asked, watched, weights):
    """A course that uses its whole budget, written for 50 trials: the metrics and tensors are those of `fit`."""
    sizes = {"batch_size": 2, "eval_size": 2 if LAGS not in asked else 200}
    trials = [trial(**fields, **sizes, learning_rate=1e-12, seed=seed) for seed in range(50)]
    diagnostics = DiagnosticsSettings(**watched)
    watch = Watch(diagnostics) if watched else None
    records = [record for found in chunks(Stack(trials[:1], watch=watch)) for record in found]
    assert records[-1].status == EXHAUSTED
    records[-1].metrics.update(attempt(trials[:1], [records[-1].weights], asked).metrics[0])
    files = {record.step: saved(record, tmp_path_factory.mktemp("weights")) for record in records if record.weights}
    empty = size_of(store.parent)
    with Writer(StoreSettings(str(store), weights), "an experiment", tags()) as writer:
        for one in trials:
            writer.begin(one, run_name(one), derived(one))
            for record in records:
                writer.write(dataclasses.replace(record, key=one.key), files.get(record.step))
    added = (size_of(store.parent) - empty) / len(trials)
    assert disk.store_bytes(trials[0], weights == "both", asked, diagnostics) == pytest.approx(added, rel=0.3)


def saved(record, folder):
    """A record's parameters as a worker writes them."""
    file = folder / ("final.safetensors" if record.ended else "initial.safetensors")
    described = {"key": record.key, "step": str(record.step), "course": json.dumps(record.course)}
    save_file({name: tensor.contiguous() for name, tensor in record.weights.items()}, file, described)
    return file


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_stack_is_as_wide_as_all_bounds_allow():
    small, large = trial(delay=24, batch_size=10), trial(delay=214, batch_size=32, hidden_size=128)
    assert cost.stack_width(small, waiting=1000, workers=2, memory=PLENTY) == cost.WIDEST
    assert cost.stack_width(small, waiting=1000, workers=2, memory=PLENTY, limit=5) == 5
    assert cost.stack_width(small, waiting=33, workers=2, memory=PLENTY) == 17
    assert cost.stack_width(small, waiting=1, workers=2, memory=PLENTY) == 1
    assert cost.stack_width(small, waiting=1000, workers=2, memory=0) == 1
    tensor = 4 * 221 * 32 * 128
    assert cost.stack_width(large, waiting=1000, workers=2, memory=PLENTY) == cost.LARGEST_TENSOR // tensor


@pytest.mark.parametrize("shape", SHAPES)
def test_a_stack_fits_into_its_share_of_the_memory_and_one_more_would_not(shape):
    one = stack_of(shape, 1)[0]
    share = memory.peak_bytes(one, 6) + 1
    width = cost.stack_width(one, waiting=1000, workers=3, memory=3 * (cost.PROCESS_BYTES + share))
    assert memory.peak_bytes(one, width) <= share
    assert memory.peak_bytes(one, width + 1) > share or width == cost.stack_width(one, 1000, 3, PLENTY)


def test_no_shape_gets_a_stack_of_none():
    huge = trial(delay=5000, batch_size=500, hidden_size=512)
    assert cost.stack_width(huge, waiting=10, workers=2, memory=PLENTY) == 1


def test_the_time_of_a_sweep_by_hand(monkeypatch):
    monkeypatch.setattr(cost, "START_SECONDS", 5.0)
    monkeypatch.setattr(cost, "RUN_SECONDS", 0.0)
    short = [trial(delay=3, max_steps=10, seed=seed) for seed in range(5)]
    long = [trial(delay=50, max_steps=10, seed=seed) for seed in range(2)]
    rates = {shape_key(short[0]): 1.0, shape_key(long[0]): 4.0}
    widths = {shape_key(short[0]): 2, shape_key(long[0]): 1}
    # Two workers train a long one each until 40; then stacks of 2, 2 and 1 short ones take 20, 20 and 10.
    assert cost.estimate([*short, *long], rates, 2, widths, True).seconds == 5 + 70
    # One worker does all: 80 for the long ones, 50 for the short ones.
    assert cost.estimate([*short, *long], rates, 1, widths, True).seconds == 5 + 130
    # Seven workers are faster than the one writer, who needs 9 for each of the 7 runs.
    monkeypatch.setattr(cost, "RUN_SECONDS", 9.0)
    assert cost.estimate([*short, *long], rates, 7, widths, True).seconds == 5 + 63


def test_an_evaluation_at_other_lengths_costs_its_forward_pass():
    one = trial(delay=14, symbols=3, batch_size=10, eval_size=60, eval_every=20)  # 20 steps; 30 + 3 sequences
    assert cost.steps_worth(one, []) == 0
    assert cost.steps_worth(one, [14]) == pytest.approx(60 / 33), (
        "two passes over 60 sequences, a step does three of 10"
    )
    assert cost.steps_worth(one, [34]) == pytest.approx(2 * 60 / 33)
    assert cost.steps_worth(one, [14, 34]) == pytest.approx(3 * 60 / 33)


def test_an_estimate_rises_with_the_lengths_at_which_trials_are_evaluated_too(monkeypatch):
    monkeypatch.setattr(cost, "RUN_SECONDS", 0.0)
    trials = [trial(delay=14, symbols=3, batch_size=10, eval_size=66, eval_every=11, max_steps=10) for _ in range(4)]
    rates, widths = {shape_key(trials[0]): 1.0}, {shape_key(trials[0]): 2}

    def found(*lengths):
        return cost.estimate(trials, rates, 1, widths, True, lengths)

    assert found().seconds == cost.START_SECONDS + 4 * 10
    assert found(14).seconds == pytest.approx(cost.START_SECONDS + 4 * (10 + 66 / 36))
    assert found(14, 10**4).seconds == pytest.approx(cost.START_SECONDS + 4 * (10 + (20 + 10**4 + 6) / 20 * 66 / 36))
    assert found(1) == dataclasses.replace(found(1), memory=found().memory), "training takes more"
    needed = [needed_bytes(trials[0], value) for value in (10**4, 10**5)]
    for value, count in zip((10**4, 10**5), needed, strict=True):
        assert 0 < found(14, value).memory - cost.PROCESS_BYTES - count < memory.peak_bytes(trials[0], 2)
    assert needed[1] > needed[0] > memory.peak_bytes(trials[0], 2)


def test_what_is_made_up_comes_on_top_and_is_done_by_one_process():
    pending, done = trial(seed=0, max_steps=10), trial(seed=1, delay=20, max_steps=10)
    rates = {shape_key(pending): 1.0, shape_key(done): 3.0}
    alone = cost.estimate([pending], rates, 1, {shape_key(pending): 1}, True)
    both = cost.with_made_up(alone, [(done, [50]), (done, [10**5])], rates)
    expected = alone.seconds + 3 * cost.steps_worth(done, [50, 10**5]) + 2 * cost.MAKE_UP_SECONDS
    assert both.seconds == pytest.approx(expected)
    assert both.memory == cost.PROCESS_BYTES + needed_bytes(done, 10**5)
    assert both.store == alone.store + 2 * disk.LENGTH_BYTES
    assert cost.with_made_up(alone, [], rates) == alone
    assert cost.with_made_up(alone, [(done, [50])], {}).seconds is None
    assert cost.with_made_up(alone, [(done, [5])], rates).memory == alone.memory


def test_an_estimate_sums_the_store_and_takes_the_largest_memory():
    trials = [trial(delay=delay, seed=seed) for delay in (3, 50) for seed in range(3)]
    widths = {shape_key(one): 2 for one in trials}
    found = cost.estimate(trials, {}, 2, widths, weights=False)
    assert found.seconds is None
    assert found.memory == 2 * (cost.PROCESS_BYTES + memory.peak_bytes(trials[-1], 2))
    assert found.store == sum(disk.store_bytes(one, False) for one in trials)
    assert [what for what, _ in found.rows()] == ["time", "memory", "disk"]
    assert found.rows()[0][1] == "not known"
    assert cost.estimate([], {}, 2, {}, True) == cost.Estimate(cost.START_SECONDS, 0, 0)


def test_rates_that_are_known_stay_and_others_follow_what_a_step_consists_of():
    trials = [trial(delay=d, hidden_size=h) for d in (4, 14, 34, 94) for h in (16, 64, 256)]
    true = {shape_key(one): price(one) for one in trials}
    known = dict(list(true.items())[::2])
    found = cost.interpolate(known, trials)
    assert found.keys() == true.keys()
    assert all(found[key] == rate for key, rate in known.items())
    assert found == pytest.approx(true, rel=0.01)


def price(one) -> float:
    """A made-up rate: calls, elements and multiplications, of training and of the evaluation's share."""
    elements = one.task.length * one.model.hidden_size * (3 * one.train.batch_size + 10)
    return 1e-4 + 3e-9 * elements + 2e-11 * elements * one.model.hidden_size


def test_a_single_known_rate_is_scaled_and_none_gives_none():
    trials = [trial(delay=delay) for delay in (4, 94)]
    found = cost.interpolate({shape_key(trials[0]): 1.0}, trials)
    assert found[shape_key(trials[1])] == pytest.approx(10)  # 100 steps instead of 10
    assert cost.interpolate({}, trials) == cost.interpolate({"of another sweep": 1.0}, trials) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (3.4, "4 s"),
        (47, "47 s"),
        (59.5, "1 min"),
        (99, "1 min 40 s"),
        (601, "11 min"),
        (3599, "1 h"),
        (12345, "3 h 26 min"),
        (360000, "100 h"),
    ],
)
def test_times_as_one_says_them(seconds, text):
    assert cost.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_960_000, "10 MB"), (1.2e9, "1.2 GB"), (1e13, "10 TB")],
)
def test_sizes_as_one_says_them(count, text):
    assert cost.size(count) == text
