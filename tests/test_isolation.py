"""Isolation: what befalls one trial of a stack changes nothing in the others, and a trial that diverges is a result."""

import math

import pytest
from builders import courses, trial
from stacks import RAGGED, mates, short, wild

from rnnlab.record import DIVERGED, EXHAUSTED, RESULTS, SOLVED
from rnnlab.registry import registry
from rnnlab.train import fit

every_task = pytest.mark.parametrize("task", registry()["task"])
every_optimizer = pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])


@every_task
def test_a_diverged_trial_of_any_task_changes_nothing_in_its_stack_mates(task):
    assert_spoils_nothing(2, **short(task), nonlinearity="relu")


@pytest.mark.parametrize("task", ["copy", "adding"])
@every_optimizer
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_diverged_trial_changes_nothing_in_its_stack_mates(task, optimizer, place):
    assert_spoils_nothing(place, **short(task), optimizer=optimizer, nonlinearity="relu")


@pytest.mark.parametrize(
    "network", [{"layers": 3}, {"truncation": 2}, {"omega": 1.0}, {"bidirectional": True}], ids=str
)
def test_a_diverged_network_changes_nothing_in_its_stack_mates(network):
    assert_spoils_nothing(1, **short("copy"), **network, nonlinearity="relu")


def assert_spoils_nothing(place: int, **shape) -> None:
    trials = mates(**shape)
    spoiled = [*trials[:place], wild(**shape), *trials[place:]]
    found, expected = courses(fit(spoiled)), courses(fit(trials))
    course = found.pop(wild(**shape).key)
    assert found == expected
    assert course[-1][2] == DIVERGED


def test_a_trial_with_huge_weights_changes_nothing_in_its_stack_mates():
    trials = mates(delay=3, nonlinearity="relu")
    huge = trial(
        **RAGGED | {"delay": 3, "nonlinearity": "relu", "seed": 9, "input_scale": 1e38, "spectral_radius": 1e30}
    )
    found = courses(fit([trials[0], huge, *trials[1:]]))
    course = found.pop(huge.key)
    assert found == courses(fit(trials))
    assert [(step, status) for _, step, status, *_ in course] == [(0, DIVERGED)]


@every_optimizer
@pytest.mark.parametrize("nonlinearity", ["relu", "identity"])
def test_a_diverged_trial_is_a_result_with_its_last_finite_weights(optimizer, nonlinearity):
    shape = {"delay": 3, "optimizer": optimizer, "nonlinearity": nonlinearity}
    records = [record for record in fit([wild(**shape), *mates(**shape)]) if record.key == wild(**shape).key]
    assert [record.status for record in records] == ["running", DIVERGED]
    last = records[-1]
    assert (last.step, last.metrics["trained_steps"]) == (2, 1)  # the step that failed, and those that were done
    assert last.metrics["solved"] == 0
    assert math.isnan(last.metrics["train/loss"]) or math.isnan(last.metrics["train/gradient_norm"])
    assert "steps_to_solve" not in last.metrics
    assert last.error == ""
    assert all(values.isfinite().all() for values in last.weights.values())


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        "rmsprop",
        "adam",
    ],
)
def test_a_stack_may_diverge_as_a_whole(optimizer):
    shape = {"delay": 3, "optimizer": optimizer, "nonlinearity": "relu"}
    records = list(fit([wild(**shape)]))
    assert [record.status for record in records] == ["running", DIVERGED]


def test_a_learning_rate_beyond_float32_leaves_finite_weights():
    *_, last = fit([trial(**RAGGED | {"delay": 3, "learning_rate": 1e39})])
    assert last.status == DIVERGED
    assert all(values.isfinite().all() for values in last.weights.values())


@every_task
def test_every_trial_ends_in_exactly_one_result(task):
    found = courses(fit([wild(**short(task), nonlinearity="relu"), *mates(**short(task), nonlinearity="relu")]))
    for course in found.values():
        statuses = [status for _, _, status, *_ in course]
        assert statuses[-1] in RESULTS
        assert set(statuses[:-1]) <= {"running"}
    assert {course[-1][2] for course in found.values()} - {SOLVED} == {DIVERGED, EXHAUSTED}  # a few outputs by chance
