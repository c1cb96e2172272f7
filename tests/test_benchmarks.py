"""The benchmark measures what it says: its peer trains the same problem, and a run writes what it declares."""

import json

import numpy as np
import pytest
import torch

from benchmarks import diagnostics, planning, stack, widths
from benchmarks.contenders import CHUNK, QUICK, Peer, Workers, train
from rnnlab.seeding import generator
from rnnlab.train import Stack

CONTENDERS = {"peer", "peer_one_thread", "stacks", "one_stack"}


def losses_of(stacked, steps):
    """Training losses of the first model of a stack."""
    losses = []
    for _ in range(steps // CHUNK):
        train(stacked, CHUNK)
        losses += stacked.slots[0].losses
    return losses


@pytest.mark.parametrize("hidden_size", [8, 64])
def test_the_peer_and_the_stack_start_from_the_same_loss_on_the_same_data(hidden_size):
    trials = [QUICK.trial(hidden_size, seed) for seed in range(3)]
    stacked = Stack(trials)
    train(stacked, CHUNK)
    for slot in stacked.slots:
        assert Peer(slot.trial).step().item() == pytest.approx(slot.losses[0], abs=1e-5)


def test_the_peer_without_its_second_bias_trains_like_the_stack():
    trial, steps = QUICK.trial(16, seed=1), 20
    peer = Peer(trial)
    peer.rnn.bias_hh_l0.requires_grad_(False)
    expected = [peer.step().item() for _ in range(steps)]
    assert losses_of(Stack([trial]), steps) == pytest.approx(expected, abs=1e-4)


def test_the_peer_scores_the_recalled_symbols_by_hand():
    trial = QUICK.trial(8, seed=2)
    peer, task = Peer(trial), trial.task
    batch = task.sample(generator(trial.seed, "train", 0), trial.train.batch_size)
    hidden, total = torch.zeros(trial.train.batch_size, 8), 0.0
    for t in range(task.length):
        one_hot = torch.eye(task.input_size)[batch.inputs[t]]
        hidden = torch.tanh(one_hot @ peer.rnn.weight_ih_l0.T + hidden @ peer.rnn.weight_hh_l0.T)
        if t >= task.length - task.symbols:
            outputs = peer.readout(hidden).log_softmax(-1)
            total -= outputs.gather(1, batch.targets[t][:, None]).mean().item() / task.symbols
    assert peer.loss().item() == pytest.approx(total, abs=1e-5)


def test_training_a_stack_takes_the_steps_asked_for_and_evaluates_nothing(monkeypatch):
    stacked = Stack([QUICK.trial(8, seed) for seed in range(2)])
    monkeypatch.setattr(Stack, "evaluate", lambda *_: pytest.fail("an evaluation inside the timed region"))
    train(stacked, 3 * CHUNK)
    assert [slot.step for slot in stacked.slots] == [3 * CHUNK] * 2


def test_making_a_peer_leaves_the_global_random_state_and_the_threads_alone():
    torch_before, numpy_before, threads = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
        torch.get_num_threads(),
    )
    Peer(QUICK.trial(8, seed=0)).run_with_one_thread(CHUNK)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_a_quick_run_writes_the_declared_fields(tmp_path, capsys):
    output = tmp_path / "new folder" / "stack.json"
    assert stack.main(["--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert set(report) == {"machine", "protocol", "results", "bar"}
    assert {"cpu", "cores", "torch", "torch_threads"} <= set(report["machine"])
    assert report["protocol"]["workers"] == 2
    assert report["bar"] == {
        "ratio_at_least": stack.BAR,
        "hidden_size": 64,
        "ratio": None,
        "quiet": None,
        "met": None,
    }
    assert [row["hidden_size"] for row in report["results"]] == list(QUICK.hidden_sizes)
    for row in report["results"]:
        assert set(row["models_per_second"]) == set(row["steps_per_round"]) == CONTENDERS
        assert set(row["ratios"]) == set(stack.RATIOS)
        for measured in (*row["models_per_second"].values(), *row["ratios"].values()):
            assert len(measured["rounds"]) == QUICK.rounds
            assert 0 < measured["min"] <= measured["median"] <= measured["max"]
    assert "stacks / peer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ratio", "others", "met"),
    [(2.9, 0.0, False), (3.0, 0.0, True), (3.0, None, True), (90.0, 1.3, False)],
    ids=["below", "met", "load unknown", "a busy machine"],
)
def test_the_exit_status_says_whether_the_bar_is_met(monkeypatch, tmp_path, ratio, others, met):
    monkeypatch.setattr(stack, "measure", lambda protocol, hidden_size, workers: synthetic(hidden_size, ratio, others))
    output = ["--output", str(tmp_path / "stack.json")]
    assert stack.main(output) == (0 if met else 1)
    assert json.loads((tmp_path / "stack.json").read_text())["bar"]["met"] is met
    assert stack.main(["--no-bar", *output]) == 0


def synthetic(hidden_size, ratio, others):
    """A row as `measure` returns it, with the ratio asked for at the bar's hidden size and a low one elsewhere."""
    shown = ratio if hidden_size == stack.BAR_HIDDEN else 0.5
    return {
        "hidden_size": hidden_size,
        "steps_per_round": dict.fromkeys(CONTENDERS, CHUNK),
        "models_per_second": {name: stack.spread([100.0]) for name in CONTENDERS},
        "ratios": {name: stack.spread([shown]) for name in stack.RATIOS},
        "cores_used_by_others": others,
    }


def test_a_worker_that_dies_is_an_error_and_not_a_hang():
    with Workers(QUICK, 8, 1) as workers:
        workers.processes[0].kill()
        with pytest.raises(RuntimeError, match="a worker of the benchmark died"):
            workers.run(CHUNK)


@pytest.mark.slow
def test_a_quick_run_over_widths_writes_rates_the_rule_and_its_regret(tmp_path, capsys):
    output = tmp_path / "widths.json"
    assert widths.main(["--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert [row["shape"] for row in report["results"]] == [list(shape) for shape in widths.QUICK.shapes]
    for row in report["results"]:
        expected = {f"{kind} {width}" for kind in ("workers", "threads") for width in widths.QUICK.widths}
        assert set(row["models_per_second"]) == set(row["steps_per_round"]) == expected
        assert all(measured["min"] > 0 for measured in row["models_per_second"].values())
        assert row["judged"]["rule"] == row["rule"] == max(widths.QUICK.widths)
        assert 0 <= row["judged"]["regret"] < 1
    assert "regret" in capsys.readouterr().out


@pytest.mark.slow
def test_the_benchmark_of_widths_lets_one_process_have_all_threads_and_no_other():
    shape, width = widths.QUICK.shapes[0], 2
    with widths.Workers(shape, width, 1, threads=2) as process:
        assert process.pools[0].submit(torch.get_num_threads).result() == 2
    with widths.Workers(shape, width, 1, threads=1) as process:
        assert process.pools[0].submit(torch.get_num_threads).result() == 1


@pytest.mark.slow
def test_a_quick_run_of_the_planning_benchmark_measures_both_and_writes_what_it_declares(tmp_path, capsys):
    output = tmp_path / "planning.json"
    assert planning.main(["--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert set(report) == {"machine", "protocol", "trials", "seconds", "cores_used_by_others", "bar"}
    assert report["trials"] == 16
    assert report["bar"]["met"] is None  # a smaller sweep says nothing about it
    names = ["rnnlab", "rnnlab, 4 trials", "hydra, scaled from 20 cells", "hydra, one cell", "hydra, each further cell"]
    assert list(report["seconds"]) == names
    assert all(measured["median"] > 0 for measured in report["seconds"].values())
    assert "seconds to plan 16 trials" in capsys.readouterr().out


def test_the_planning_benchmark_plans_ten_thousand_trials_along_axes_of_values():
    words = planning.Protocol().words()
    assert planning.Protocol().trials == 10_000
    assert [word.partition("=")[0] for word in words[:4]] == [
        "seed",
        "task.delay",
        "init.spectral_radius",
        "train.clip_threshold",
    ]


def test_a_sweep_that_ends_before_it_trains_is_an_error_of_the_planning_benchmark(monkeypatch, capfd):
    monkeypatch.setattr(planning, "TINY", ("model.hidden_size=0",))
    with pytest.raises(RuntimeError, match="ended before it trained"):
        planning.until_first_step(planning.FEW)
    assert "model.hidden_size=0: must be an integer >= 1" in capfd.readouterr().err


def test_the_benchmark_of_diagnostics_weighs_all_points_against_the_training_of_a_whole_budget(tmp_path, capsys):
    output = tmp_path / "diagnostics.json"
    assert diagnostics.main(["--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    (row,) = report["results"]
    seconds = {name: found["rounds"] for name, found in row["seconds"].items()}
    expected = [
        (seconds["default: beginning"][turn] + 10 * seconds["between"][turn] + seconds["default: end"][turn])
        / (12 * seconds["chunk"][turn])
        for turn in range(2)
    ]
    assert row["share"]["default"]["rounds"] == pytest.approx(expected)
    assert report["worst"] == row["share"]["default"]["median"]
    assert "Share of diagnostics" in capsys.readouterr().out
