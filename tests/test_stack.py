"""The law of the stack: to the bit, a trial trains as if it were alone, whoever its mates are and whenever it joins."""

import pytest
import torch
from builders import courses, trial
from stacks import FREE, LONG, RAGGED, long, mates, optioned_mates, short, solo, wild

from rnnlab import train
from rnnlab.optim import OPTIMIZERS
from rnnlab.registry import registry
from rnnlab.tasks.copy import Copy
from rnnlab.train import Stack, fit
from rnnlab.trial import Trial

every_task = pytest.mark.parametrize("task", registry()["task"])
every_cell = pytest.mark.parametrize(  # module cells have tests of their own
    "cell", [name for name, spec in registry()["cell"].items() if not hasattr(spec, "module")]
)
# One of symbols, with many steps to score, and one of real values, with a single one
symbols_and_values = pytest.mark.parametrize("task", ["copy", "adding"])
every_optimizer = pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
every_mode = pytest.mark.parametrize("clip_mode", ["norm", "value"])
every_nonlinearity = pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "identity"])
NETWORKS = [  # fields of `model` and of `train` that decide how a network is computed
    {"layers": 2},
    {"layers": 3, "dropout": 0.3},
    {"bidirectional": True},
    {"layers": 2, "bidirectional": True, "dropout": 0.2},
    {"truncation": 3},
    {"layers": 2, "truncation": 2, "dropout": 0.2},
]


def assert_trains_as_alone(trials: list[Trial]) -> None:
    together, alone = courses(fit(trials)), solo(trials)
    assert together == alone
    trained = [[weights for *_, weights, _ in course if weights] for course in alone.values()]
    assert all(first != last for first, *_, last in trained), "nothing was trained"


@every_task
@pytest.mark.parametrize("lasting", [False, True], ids=["short", "long"])
def test_a_trial_of_any_task_trains_in_a_stack_as_it_does_alone(task, lasting):
    assert_trains_as_alone(mates(**(LONG | long(task) if lasting else short(task))))


@every_cell
@symbols_and_values
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_trial_of_any_cell_and_optimizer_trains_in_a_stack_as_it_does_alone(cell, task, optimizer):
    assert_trains_as_alone(mates(**short(task), cell=cell, optimizer=optimizer))


@every_cell
@symbols_and_values
def test_a_trial_of_any_cell_and_long_sequences_trains_in_a_stack_as_it_does_alone(cell, task):
    assert_trains_as_alone(mates(**LONG | long(task), cell=cell))


@pytest.mark.slow
@every_cell
@symbols_and_values
@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_trial_of_any_network_trains_in_a_stack_as_it_does_alone(cell, task, network):
    assert_trains_as_alone(mates(**short(task), **network, cell=cell))


@pytest.mark.parametrize("task", ["sensor", "agreement", "tagging"])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_networks_in_two_directions_train_in_a_stack_as_alone_where_lengths_vary(task, cell):
    assert_trains_as_alone(mates(**short(task), cell=cell, bidirectional=True, layers=2))


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "lru"])
def test_an_encoder_and_its_decoder_train_in_a_stack_as_alone(cell):
    assert_trains_as_alone(mates(**short("reverse"), cell=cell, layers=2, dropout=0.2, embedding_size=5))


@every_nonlinearity
@pytest.mark.parametrize("task", ["copy", "adding", "agreement"])
def test_a_trial_with_omega_trains_in_a_stack_as_it_does_alone(task, nonlinearity):
    assert_trains_as_alone(mates(**short(task), nonlinearity=nonlinearity, omega=2.0))


@symbols_and_values
@every_optimizer
@every_mode
@every_nonlinearity
def test_a_trial_trains_in_a_stack_as_it_does_alone(task, optimizer, clip_mode, nonlinearity):
    shape = {"optimizer": optimizer, "clip_mode": clip_mode, "nonlinearity": nonlinearity}
    assert_trains_as_alone(mates(**short(task), **shape))
    assert_trains_as_alone(mates(**LONG | long(task) | shape))


@symbols_and_values
@pytest.mark.parametrize("batch_size", [1, 2, 8, 15, 16, 17, 24, 32])
@pytest.mark.parametrize("hidden_size", [1, 16, 33])
def test_solo_equals_stacked_at_every_alignment_of_sizes(task, batch_size, hidden_size):
    trials = mates(**short(task), hidden_size=hidden_size, batch_size=batch_size, eval_size=batch_size)
    assert courses(fit(trials)) == solo(trials)


@symbols_and_values
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip_mode", ["norm", "value"])
def test_trials_of_different_schedules_and_decays_train_together_as_alone(task, optimizer, clip_mode):
    shape = short(task) | {"optimizer": optimizer, "clip_mode": clip_mode, "eval_every": 4, "max_steps": 11}
    trials = optioned_mates(**shape)
    alone = solo(trials)
    assert courses(fit(trials)) == alone
    assert courses(fit([wild(**shape), *trials[::-1]])).items() >= alone.items()
    plain = courses(fit(mates(**shape)))
    assert len(plain.keys() & alone.keys()) == 1, "the options change nothing"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_behind_the_parameters_of_a_model_stays_zero(optimizer):
    stack = Stack(optioned_mates(delay=3, optimizer=optimizer))
    stack.evaluate(stack.unseen())
    stack.train_to_border()
    assert stack.layout.padding > 0
    assert not stack.parameters[:, -stack.layout.padding :].any()


def test_the_order_of_a_stack_does_not_matter():
    trials = mates(delay=3)
    assert courses(fit(trials[::-1])) == courses(fit(trials)) == courses(fit(trials[2:] + trials[:2]))


@pytest.mark.parametrize("hidden_size", [16, 33])
def test_the_number_of_threads_does_not_matter(hidden_size):
    trials = mates(**LONG | {"delay": 114, "hidden_size": hidden_size})
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(courses(fit(trials)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_between_records_torch_has_the_threads_it_had_before():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert {torch.get_num_threads() for _ in fit(mates(delay=3))} == {2}
    finally:
        torch.set_num_threads(before)


def test_evaluating_in_groups_changes_nothing(monkeypatch):
    trials = mates(delay=3)
    whole = courses(fit(trials))
    for elements in (1, 2 * trials[0].task.length * 7 * 33):  # one model at a time, two at a time
        monkeypatch.setattr(train, "EVALUATION_ELEMENTS", elements)
        assert courses(fit(trials)) == whole


def ends_by_chance(task: Copy, metrics: dict[str, float]) -> bool:
    """A criterion that some evaluations meet, for no reason but the last digits of their loss."""
    return int(metrics["loss"] * 1e6) % 4 == 0


@every_optimizer
def test_trials_that_leave_and_join_at_any_border_train_as_they_do_alone(monkeypatch, optimizer):
    monkeypatch.setattr(Copy, "solved", ends_by_chance)
    shape = {"delay": 3, "max_steps": 14, "eval_every": 2, "passes_to_solve": 1, "optimizer": optimizer}
    trials = [
        one
        for seeds in (10, 20, 30)
        for one in (trial(**RAGGED | shape | f | {"seed": seeds + f["seed"]}) for f in FREE)
    ]
    waiting = trials[3:]
    free_places = []

    def refill(free: int) -> list[Trial]:
        free_places.append(free)
        return [waiting.pop(0) for _ in range(min(free, len(waiting)))]

    together = courses(fit(trials[:3], refill))
    assert together == solo(trials)
    assert not waiting
    assert set(free_places) <= {1, 2, 3}
    lengths = {len(course) for course in together.values()}
    assert len(lengths) > 2, "all trials end at once: the test asks for nothing"


def test_no_more_trials_are_under_way_than_the_stack_is_wide(monkeypatch):
    monkeypatch.setattr(Copy, "solved", ends_by_chance)
    shape = {"delay": 3, "max_steps": 14, "eval_every": 2, "passes_to_solve": 2, "hidden_size": 4}
    first, second, *waiting = (trial(**RAGGED | shape | {"seed": seed}) for seed in range(12))
    under_way = {first.key, second.key}
    for record in fit([first, second], lambda free: [waiting.pop() for _ in range(min(free, len(waiting)))]):
        under_way.add(record.key)
        if record.ended:
            under_way.remove(record.key)
        assert len(under_way) <= 2
    assert not under_way
    assert not waiting


def test_waiting_trials_join_also_where_the_whole_stack_ends_at_step_zero(monkeypatch):
    monkeypatch.setattr(Copy, "solved", lambda task, metrics: True)
    waiting = [trial(**RAGGED | {"delay": 3, "seed": seed, "passes_to_solve": 1}) for seed in range(4)]
    records = list(fit([waiting.pop()], lambda free: [waiting.pop()] if waiting else []))
    assert len(records) == 4


@pytest.mark.parametrize(
    "change",
    [{"delay": 4}, {"hidden_size": 32}, {"optimizer": "adam"}, {"batch_size": 8}, {"nonlinearity": "relu"}],
    ids=str,
)
def test_trials_of_different_shapes_are_refused(change):
    one, other = trial(**RAGGED | {"delay": 3}), trial(**RAGGED | {"delay": 3} | change)
    with pytest.raises(ValueError, match="different shapes"):
        list(fit([one, other]))
    ending = wild(delay=3, nonlinearity="relu")
    with pytest.raises(ValueError, match="different shapes"):
        list(fit([ending], lambda free: [other if change != {"nonlinearity": "relu"} else one]))
