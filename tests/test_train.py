"""What training does to one trial: its data, its numbers against a plain loop, and how and when it ends."""

import random
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import courses, torch_modules, trial
from stacks import RAGGED, mates
from torch.nn import functional

from rnnlab import bptt, draws, train
from rnnlab.model import forward, initial
from rnnlab.record import EXHAUSTED, RUNNING, SOLVED, Record
from rnnlab.seeding import generator
from rnnlab.tasks import at_steps, stacked
from rnnlab.tasks.copy import Copy
from rnnlab.train import fit, one_thread
from rnnlab.trial import Train, Trial

SMALL = RAGGED | {"delay": 3, "hidden_size": 8}
NEVER = {"passes_to_solve": 10**6}


def verdicts(monkeypatch, *given: bool, **fields) -> list[Record]:
    """The records of a trial whose evaluations, at steps 0, 2, 4, ..., meet the criterion as `given`."""
    remaining = iter(given)
    monkeypatch.setattr(Copy, "solved", lambda task, metrics: next(remaining))
    records = list(fit([trial(**SMALL | {"eval_every": 2, "passes_to_solve": 3} | fields)]))
    assert not list(remaining), "fewer evaluations than verdicts"
    return records


def metric(records: Iterable[Record], name: str) -> list[float]:
    return [record.metrics[name] for record in records if name in record.metrics]


# Against a plain loop with torch's own modules


def schedule_of_torch(one: Trial, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    if one.train.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, one.train.max_steps)
    factor = one.train.schedule_factor if one.train.schedule == "step" else 1
    return torch.optim.lr_scheduler.StepLR(optimizer, one.train.schedule_every, factor)


def plain_losses(one: Trial, steps: int) -> list[float]:
    """The losses of the training steps of a trial, by torch.nn.RNN, torch.optim.SGD and clip_grad_norm_."""
    rnn, readout = torch_modules(one, initial(one))
    trained = [values for values in (*rnn.parameters(), *readout.parameters()) if values.requires_grad]
    options = {name: getattr(one.train, name) for name in ("momentum", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(trained, lr=one.train.learning_rate, **options)
    scheduler = schedule_of_torch(one, optimizer)
    losses = []
    for step in range(steps):
        inputs, targets, mask, _ = one.task.sample(generator(one.seed, "train", step), one.train.batch_size)
        if inputs.is_floating_point():
            loss = functional.mse_loss(readout(rnn(inputs)[0])[mask], targets[mask])
        else:
            one_hot = functional.one_hot(inputs, one.task.input_size).float()
            loss = functional.cross_entropy(readout(rnn(one_hot)[0])[mask], targets[mask])
        optimizer.zero_grad()
        loss.backward()
        if one.train.clip_threshold is not None:
            torch.nn.utils.clip_grad_norm_(trained, one.train.clip_threshold)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("clip_threshold", [None, 0.05])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize(
    "shape", [{"delay": 6}, {"delay": 6, "score": "all"}, {"task": "adding", "length": 9}], ids=str
)
def test_the_losses_are_those_of_a_plain_training_loop(shape, nonlinearity, clip_threshold):
    shape = shape | NEVER | {"hidden_size": 16, "batch_size": 10, "nonlinearity": nonlinearity, "learning_rate": 0.05}
    one = trial(**shape, clip_threshold=clip_threshold, eval_every=1, max_steps=20, eval_size=1, seed=4, input_scale=1)
    with one_thread():
        expected = plain_losses(one, 20)
    assert metric(fit([one]), "train/loss") == pytest.approx(expected, rel=1e-4)
    assert abs(expected[-1] - expected[0]) > 1e-3 * expected[0], "hardly any training: the test asks for little"


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_schedule_weight_decay_and_nesterov_are_those_of_a_plain_training_loop(schedule):
    options = {"schedule": schedule, "schedule_every": 7, "nesterov": True, "weight_decay": 0.03}
    shape = NEVER | {"delay": 6, "hidden_size": 16, "batch_size": 10, "learning_rate": 0.2, "clip_threshold": 0.3}
    one = trial(**shape, **options, eval_every=4, max_steps=32, eval_size=1, seed=4, input_scale=1)
    with one_thread():
        expected = np.reshape(plain_losses(one, 32), (8, 4)).mean(1)
    found = metric(fit([one]), "train/loss")
    assert found == pytest.approx(expected.tolist(), rel=1e-4)
    for name in options.keys() - {"schedule_every"}:
        default = getattr(Train(), name)
        without = metric(fit([replace(one, train=replace(one.train, **{name: default}))]), "train/loss")
        assert without != pytest.approx(expected.tolist(), rel=1e-4), (
            f"{name} changes nothing: the test asks for little"
        )


# What a record holds


@pytest.mark.parametrize("task", ["copy", "adding"])
def test_the_evaluation_is_that_of_the_weights_in_the_record(task):
    *_, last = fit([trial(task=task, **RAGGED, seed=2)])
    one = trial(task=task, **RAGGED, seed=2)
    held_out = stacked([one.task.sample(generator(2, "eval"), one.train.eval_size)])
    parameters = {name: values[None] for name, values in last.weights.items()}
    outputs = forward(one, parameters, held_out.inputs, one.task.scored)
    expected = one.task.metrics(outputs, at_steps(held_out, one.task.scored))
    for name in ("loss", "accuracy"):
        assert last.metrics[f"eval/{name}"] == pytest.approx(expected[name].item(), rel=1e-6)
    assert last.metrics["eval/relative_loss"] == last.metrics["eval/loss"] / one.task.baseline
    eigenvalues = np.linalg.eigvals(last.weights["W_hh"].double().numpy())
    assert last.metrics["model/spectral_radius"] == pytest.approx(np.abs(eigenvalues).max(), rel=1e-10)


def test_weights_come_with_the_first_and_the_last_record_only():
    one = trial(**SMALL)
    first, *between, last = fit([one])
    assert all(torch.equal(first.weights[name], values) for name, values in initial(one).items())
    assert all(not record.weights for record in between)
    assert not torch.equal(last.weights["W_hh"], first.weights["W_hh"])
    remembered = [f"velocity.{name}" for name in initial(one)]  # of an exhausted trial: a larger budget needs it
    assert list(first.weights) == list(initial(one))
    assert list(last.weights) == [*initial(one), *remembered]
    assert last.course["step"] == last.step


def test_the_weights_of_a_record_stay_as_they_are_while_training_goes_on():
    records = fit([trial(**SMALL)])
    first = next(records)
    before = {name: values.clone() for name, values in first.weights.items()}
    list(records)
    assert all(torch.equal(values, before[name]) for name, values in first.weights.items())


@pytest.mark.parametrize("clip_mode", ["norm", "value"])
def test_training_metrics_are_means_over_the_steps_since_the_last_evaluation(clip_mode):
    shape = (
        SMALL
        | NEVER
        | {"max_steps": 8, "clip_mode": clip_mode, "clip_threshold": {"norm": 0.9, "value": 0.3}[clip_mode]}
    )
    each, fourth = (list(fit([trial(**shape | {"eval_every": every})])) for every in (1, 4))
    for name in ("train/loss", "train/gradient_norm", "train/clipped"):
        steps = metric(each, name)
        assert len(steps) == 8
        assert metric(fourth, name) == pytest.approx([sum(steps[:4]) / 4, sum(steps[4:]) / 4], rel=1e-12)
    assert set(metric(each, "train/clipped")) == {0, 1}, "clipping acts always or never: the test asks for little"


# Data


def test_training_draws_one_stream_per_seed_and_step_and_evaluates_on_one_stream_per_seed(monkeypatch):
    asked = []

    def noted(seed, purpose, step=0):
        asked.append((purpose, seed, step))
        return generator(seed, purpose, step)

    monkeypatch.setattr(draws, "generator", noted)
    list(fit([trial(**SMALL | NEVER, seed=seed, learning_rate=rate) for seed in (5, 6) for rate in (0.1, 0.2)]))
    trained = [name for name in asked if name[0] == "train"]
    assert sorted(trained) == [("train", seed, step) for seed in (5, 6) for step in range(7)]
    assert {name for name in asked if name[0] != "train"} == {("eval", 5, 0), ("eval", 6, 0)}
    assert len(asked) - len(trained) == 2 * 4  # at steps 0, 3, 6, 7


def test_trials_with_the_same_seed_see_the_same_data_and_others_do_not(monkeypatch):
    seen = []

    def noted(one, parameters, inputs, *rest):
        seen.append(inputs)
        return forward(one, parameters, inputs, *rest)

    monkeypatch.setattr(train, "forward", noted)
    monkeypatch.setattr(bptt, "forward", noted)
    pair = {"seed": 1, "spectral_radius": 0.5}, {"seed": 1, "learning_rate": 0.5, "init": "identity"}
    list(fit([trial(**SMALL | NEVER | free) for free in (*pair, {"seed": 2})]))
    assert len(seen) == 7 + 4
    assert all(torch.equal(inputs[0], inputs[1]) for inputs in seen)
    assert not any(torch.equal(inputs[0], inputs[2]) for inputs in seen)


def test_the_frequency_of_evaluation_changes_neither_data_nor_weights():
    finals = []
    for every in (1, 2, 5, 100):
        *_, last = fit([trial(**SMALL | NEVER | {"eval_every": every})])
        assert (last.status, last.step) == (EXHAUSTED, 7)
        finals.append({name: values.numpy().tobytes() for name, values in last.weights.items()})
    assert finals[1:] == finals[:-1]


def test_training_leaves_all_global_random_states_alone():
    def states() -> tuple:
        return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()

    before = states()
    list(fit(mates(delay=3)))
    assert states() == before


def test_training_twice_gives_the_same_bits():
    assert courses(fit(mates(delay=3))) == courses(fit(mates(delay=3)))


# How a trial ends


def test_a_trial_is_solved_at_the_first_of_enough_evaluations_in_a_row(monkeypatch):
    *running, last = verdicts(monkeypatch, False, True, False, True, True, True, max_steps=100)
    assert {record.status for record in running} == {RUNNING}
    assert (last.status, last.step) == (SOLVED, 10)
    ends = {name: last.metrics[name] for name in ("solved", "trained_steps", "steps_to_solve", "first_passage")}
    assert ends == {"solved": 1, "trained_steps": 10, "steps_to_solve": 6, "first_passage": 2}


def test_an_evaluation_before_training_counts_as_one_in_the_row(monkeypatch):
    *_, last = verdicts(monkeypatch, True, True, True, max_steps=100)
    assert (last.step, last.metrics["steps_to_solve"], last.metrics["first_passage"]) == (4, 0, 0)


def test_a_trial_that_passes_only_now_and_then_is_exhausted(monkeypatch):
    *_, last = verdicts(monkeypatch, False, True, True, False, True, True, max_steps=10)
    assert (last.status, last.step) == (EXHAUSTED, 10)
    assert (last.metrics["solved"], last.metrics["trained_steps"], last.metrics["first_passage"]) == (0, 10, 2)
    assert "steps_to_solve" not in last.metrics


def test_a_trial_that_never_passes_has_no_first_passage(monkeypatch):
    *_, last = verdicts(monkeypatch, False, False, max_steps=2)
    assert (last.status, last.metrics["solved"]) == (EXHAUSTED, 0)
    assert not {"first_passage", "steps_to_solve"} & set(last.metrics)


def test_a_trial_solved_with_its_last_step_is_solved(monkeypatch):
    *_, last = verdicts(monkeypatch, False, True, True, True, max_steps=6)
    assert (last.status, last.step, last.metrics["steps_to_solve"]) == (SOLVED, 6, 2)


@pytest.mark.parametrize(("max_steps", "steps"), [(1, [0, 1]), (6, [0, 3, 6]), (7, [0, 3, 6, 7])])
def test_a_trial_is_evaluated_at_every_border_and_at_the_end_of_its_budget(max_steps, steps):
    records = list(fit([trial(**SMALL | {"max_steps": max_steps, "eval_every": 3})]))
    assert [record.step for record in records] == steps
    assert [record.status for record in records] == [RUNNING] * (len(steps) - 1) + [EXHAUSTED]


def test_an_easy_task_is_solved_and_its_last_evaluations_meet_the_criterion():
    easy = {"delay": 1, "symbols": 1, "hidden_size": 16, "learning_rate": 0.1, "eval_every": 10, "max_steps": 1000}
    one = trial(**easy, passes_to_solve=4)
    records = list(fit([one]))
    assert records[-1].status == SOLVED
    passes = [one.task.solved({"accuracy": value}) for value in metric(records, "eval/accuracy")]
    assert passes[-5:] == [False, True, True, True, True]
    assert records[-1].metrics["steps_to_solve"] == records[-4].step
