"""The probe: its command line, its numbers as JSON, the same of fresh and of stored networks, its refusals."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from builders import trial
from stores import command_line
from test_networks import batches, parameters_of

from experiments import probe as command
from experiments import probe_tables
from rnnlab.diagnostics.activity import participation_ratio
from rnnlab.diagnostics.probe import probe
from rnnlab.diagnostics.trajectory import trajectories
from rnnlab.refusal import BadInput
from rnnlab.store.reader import Reader

TINY = ["task.delay=3", "model.hidden_size=4", "networks=2", "sequences=3"]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return its exit status, what it printed, and what it said on stderr."""

    def exit_of(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["experiments/probe.py", *words])
        capsys.readouterr()
        try:
            command.main()
        except SystemExit as ended:
            return ended.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return exit_of


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "copy", "delay": 3},
        {"task": "adding", "length": 12, "lengths": "varied", "layers": 2, "cell": "lstm"},
        {"task": "tagging", "bidirectional": True, "cell": "lru"},
        {"task": "reverse", "cell": "gru"},
        {"task": "copy", "delay": 3, "cell": "irnn"},
    ],
    ids=str,
)
def test_every_network_has_findings_that_json_can_hold(fields):
    one = trial(**fields, hidden_size=4)
    layers = probe(one, parameters_of(one), batches(one))
    again = json.loads(json.dumps(layers, allow_nan=False))
    assert again == layers
    for layer in layers:
        assert len(layer["memory_capacity"]) == 2
        gradient = layer["gradient"]
        assert all(len(row) == len(gradient["lag"]) for name in ("mean", "zero") for row in gradient[name])
        assert bool(layer["theory"].get("reason")) == (fields.get("cell", "elman") != "elman")


def test_a_probe_of_fresh_networks_is_printed_and_written(tmp_path):
    """As in a shell: a process of its own."""
    out = tmp_path / "probe.json"
    line = [sys.executable, "-m", "experiments.probe", *TINY, "init.spectral_radius=0.9", f"out={out}"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=command.config.CHECKOUT)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["layers"][0]["matrix"]["spectral_radius"] == pytest.approx([0.9, 0.9])
    assert found["networks"] == [f"elman copy delay=3 orthogonal rho=0.9 seed={seed}" for seed in (0, 1)]
    for text in ("2 networks with the seeds 0 to 1 before training, 3 sequences", "mean field: chi", "radius^lag"):
        assert text in done.stdout


def test_a_stored_run_is_what_it_was_before_training_and_has_changed_after(run, store, tmp_path, monkeypatch):
    fresh, before, after = (str(tmp_path / name) for name in ("fresh", "before", "after"))
    words = ["task.delay=3", "model.hidden_size=4", "seed=5"]
    assert command_line(monkeypatch, *words, "train.max_steps=40", f"store.path={store}", "engine=inline") == 0
    (run_id,) = Reader(store).finished().values()
    for more in ([*words, "networks=1", f"out={fresh}"], [f"run={run_id}", "weights=initial", f"out={before}"]):
        status, _, said = run(*more, *([f"store.path={store}"] if more[0].startswith("run") else []), "sequences=3")
        assert (status, said) == (0, "")
    _, printed, _ = run(f"run={run_id}", f"store.path={store}", "sequences=3", f"out={after}")
    assert "after training, exhausted" in printed
    layers = [json.loads(Path(file).read_text())["layers"] for file in (fresh, before, after)]
    assert layers[0] == layers[1]
    assert layers[0] != layers[2]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["networks=0"], "networks=0: must be an integer >= 1 and <= 10000"),
        (["sequences=x"], "sequences=x: must be an integer >= 1 and <= 10000"),
        (["weights=final"], "weights=final: fresh networks have no other; must stand with run=RUN_ID"),
        (["-m"], "-m: unknown word; allowed: the keys of one trial, networks, sequences, out, run, --help"),
        (["networks=" + "9" * 5000], f"networks={'9' * 5000}: must be an integer >= 1 and <= 10000"),
        (["run"], "run: has no value; must be run=VALUE"),
        (
            ["engine.workers=3"],
            "engine.workers=3: has no effect on fresh networks; must be left out or stand with run=RUN_ID",
        ),
        (["out=~nosuchuser/x"], "out=~nosuchuser/x: must be a file in a folder that exists"),
        (["run=ab", "weights=best"], "weights=best: must be one of final, initial"),
        (["run=ab", "networks=2"], "networks=2: a run has one network; must stand without run"),
        (["run=ab", "run=cd"], "run: is given twice; must be given once"),
        (["out=/nowhere/x"], "out=/nowhere/x: must be a file in a folder that exists"),
    ],
)
def test_wrong_words_are_refused(words, line):
    with pytest.raises(BadInput) as refused:
        command.parse(words)
    assert [*refused.value.problems] == [line]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["experiment=depth"], "experiment=depth: is a sweep of many trials; must be left out, a probe looks at one"),
        (["cell=tcn"], "cell=tcn: has no states that could be looked at; must be a recurrent cell"),
        (["seed=1,2"], "seed=1,2: several values make a sweep; must be one"),
        (["task.delay=-1"], "task.delay=-1: must be an integer >= 1"),
    ],
)
def test_what_no_probe_can_look_at_ends_in_one_line(words, line, run):
    assert run(*words) == (2, "", f"{line}\n")


def test_what_would_not_fit_into_memory_is_refused_before_it_begins(run):
    status, printed, said = run("networks=10000", "sequences=10000")
    assert (status, printed) == (2, "")
    assert said.startswith("networks=10000 sequences=10000: would take about")
    assert said.strip().endswith("that are free; must be fewer")


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=f"out={tmp_path}/nowhere/x: .*; must be a file that can be written"):
        command.write(tmp_path / "nowhere" / "x", {})


def test_lower_layers_in_two_directions_have_no_lags():
    one = trial(task="tagging", bidirectional=True, layers=2, hidden_size=4)
    layers = probe(one, parameters_of(one), batches(one))
    assert [bool(layer["gradient"].get("reason")) for layer in layers] == [True, True, False, False]
    assert "layer 2" in str(probe_tables._gradients(layers).columns[1].header)


def test_a_decoder_is_looked_at_over_its_own_steps():
    one = trial(task="reverse", cell="gru", hidden_size=4)
    parameters, batch = parameters_of(one), batches(one)
    decoder = probe(one, parameters, batch)[-1]
    paths, _ = trajectories(one, parameters, batch)
    assert decoder["activity"]["participation_ratio"] == pytest.approx(participation_ratio(paths[-1]).tolist())


def test_numbers_beyond_the_range_of_floats_are_printed():
    assert probe_tables._exponential([-2302.585092994046]) == "1.00e-1000"
    assert probe_tables._exponential([0.0]) == "1"
    assert probe_tables._exponential([]) == "–"


def test_what_vanished_is_shown():
    gradient = {"lag": [0, 1], "mean": [[0.0, None]], "zero": [[0, 3]], "broken": [[0, 1]]}
    assert probe_tables._gradient(gradient, 1) == ("–", "3 zero, 1 not finite")
