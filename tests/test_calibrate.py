"""Calibration: it times what a sweep would do, in processes like its workers, and never stands in its way."""

import json
import subprocess
import sys

import pytest
from builders import trial
from stacks import wild

from rnnlab import calibrate
from rnnlab.processes import worker_environment
from rnnlab.sweep import by_shape, work
from rnnlab.train import Stack
from rnnlab.trial import shape_key

SMALL = {"hidden_size": 8, "batch_size": 4, "eval_size": 4}


def trials_of(*delays: int) -> list:
    return [trial(delay=delay, seed=seed, **SMALL) for delay in delays for seed in range(3)]


def widths_of(trials, width: int = 2) -> dict[str, int]:
    return {shape_key(one): width for one in trials}


def test_each_shape_gets_a_rate():
    trials = trials_of(3, 9)
    rates = calibrate.calibrate(trials, widths_of(trials), seconds=0.05)
    assert rates.keys() == widths_of(trials).keys()
    assert all(0 < rate < float("inf") for rate in rates.values())


def test_the_shapes_are_spread_over_their_work():
    groups = by_shape([trial(delay=delay, **SMALL) for delay in range(1, 30)])
    chosen = calibrate.spread(groups, 6)
    assert len({shape_key(group[0]) for group in chosen}) == 6
    costs = [work(group[0]) for group in chosen]
    assert costs == sorted(costs)
    assert {costs[0], costs[-1]} == {work(groups[-1][0]), work(groups[0][0])}
    assert len(calibrate.spread(groups[:4], 6)) == 4
    assert calibrate.spread(groups, 1) == [groups[0]]


def test_the_stacks_are_as_wide_as_planned_and_train_with_evaluations(monkeypatch):
    trained, evaluated = [], []
    train, evaluate = Stack.train_to_border, Stack.evaluate
    monkeypatch.setattr(Stack, "train_to_border", lambda stack: trained.append(len(stack.slots)) or train(stack))
    monkeypatch.setattr(Stack, "evaluate", lambda stack, at: evaluated.append(len(at)) or evaluate(stack, at))
    trials = trials_of(3)
    calibrate.calibrate(trials, widths_of(trials, 2), seconds=0.0)
    assert trained == [2, 2]
    assert evaluated == [2, 2]


def test_a_step_that_takes_one_second_and_an_evaluation_that_takes_two(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: clock[0])
    train, evaluate = Stack.train_to_border, Stack.evaluate

    def take(seconds, done):
        clock[0] += seconds
        return done

    monkeypatch.setattr(Stack, "train_to_border", lambda stack: take(1.0, train(stack)))
    monkeypatch.setattr(Stack, "evaluate", lambda stack, at: take(2.0, evaluate(stack, at)))
    four = [trial(delay=3, seed=seed, eval_every=10, **SMALL) for seed in range(4)]
    assert calibrate.seconds_per_step(four, seconds=5.0) == pytest.approx(1 / 4 + 2 / 4 / 10)


def test_a_shape_of_which_all_models_diverge_has_no_rate():
    lost = [wild(task="copy", delay=3, nonlinearity="identity")]
    fine = trials_of(3)
    rates = calibrate.calibrate([*lost, *fine], widths_of([*lost, *fine]), seconds=0.01)
    assert rates.keys() == widths_of(fine).keys()


def test_processes_side_by_side_agree_on_the_shapes():
    trials = trials_of(3, 9)
    with worker_environment():
        rates = calibrate.side_by_side(trials, widths_of(trials), workers=2, seconds=0.05)
    assert rates.keys() == widths_of(trials).keys()
    assert all(0 < rate < float("inf") for rate in rates.values())


def test_a_process_reads_and_writes_json():
    trials = trials_of(3)
    asked = {"trials": [one.mapping() for one in trials], "widths": widths_of(trials), "seconds": 0.01}
    command = [sys.executable, "-m", "rnnlab.calibrate"]
    done = subprocess.run(command, cwd=calibrate.CODE, input=json.dumps(asked), capture_output=True, text=True)
    ready, answer = done.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(answer).keys() == widths_of(trials).keys()


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(1)", "print('ready')", "print('ready'); print('nonsense')", "print('ready'); print('{}')"],
    ids=["dies", "says nothing", "nonsense", "no rates"],
)
def test_what_goes_wrong_is_no_error(monkeypatch, program):
    monkeypatch.setattr(calibrate, "COMMAND", [sys.executable, "-c", program])
    trials = trials_of(3)
    assert calibrate.side_by_side(trials, widths_of(trials), workers=2) == {}


def test_a_process_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(calibrate, "COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(calibrate, "PATIENCE", 0.3)
    trials = trials_of(3)
    assert calibrate.side_by_side(trials, widths_of(trials), workers=2) == {}


def test_nothing_to_train_needs_no_process(monkeypatch):
    monkeypatch.setattr(calibrate, "COMMAND", ["/no/such/program"])
    assert calibrate.side_by_side([], {}, workers=2) == {}
