"""The export command: from a stored run to a file that needs torch alone."""

import errno
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import trial
from stores import QUICK, command_line

from experiments import export
from rnnlab import engine
from rnnlab.model import forward
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.store import StoreSettings
from rnnlab.store.reader import Reader
from rnnlab.stored import run_of, trial_of, weights_of

SMALL = {"max_steps": 4, "eval_every": 2, "eval_size": 4, "batch_size": 2, "hidden_size": 8}
README = Path(__file__).parents[1] / "README.md"


def run(store, *trials, weights="both"):
    settings = engine.EngineSettings(launcher="inline", progress="quiet")
    return engine.run(trials, "tests", StoreSettings(str(store), weights), settings, "a command")


def exit_of(monkeypatch, *words):
    """The exit status of the command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["experiments/export.py", *map(str, words)])
    try:
        export.main()
    except SystemExit as ended:
        return ended.code
    return 0


def test_a_trial_comes_back_from_the_store_as_it_was(store):
    """Every member of every kind, with values that text could lose: null, true, small numbers, text."""
    trials = [
        trial(cell=cell, layers=2, clip_threshold=None, learning_rate=1e-7, **SMALL) for cell in registry()["cell"]
    ]
    trials += [trial(task=task, bidirectional=False, **SMALL) for task in ("adding", "sensor", "reverse", "agreement")]
    trials += [trial(cell="lstm", init=init, nesterov=True, **SMALL) for init in registry()["init"]]
    run(store, *trials)
    reader = Reader(store)
    rows = reader.trials().to_dict("records")
    assert {trial_of(reader, row) for row in rows} == set(trials)


def test_a_field_that_was_added_since_has_the_value_that_means_what_was_before(store, monkeypatch):
    one = trial(**SMALL)
    run(store, one)
    reader = Reader(store)
    (row,) = reader.trials().to_dict("records")
    texts = reader.params(row["run_id"])
    later = {"model.layers", "train.schedule", "task.inputs"}
    assert later <= set(texts)
    monkeypatch.setattr(reader, "params", lambda run_id: {k: v for k, v in texts.items() if k not in later})
    assert trial_of(reader, row) == one
    monkeypatch.setattr(reader, "params", lambda run_id: texts | {"task.delay": "7"})
    with pytest.raises(BadInput, match="has changed since"):
        trial_of(reader, row)
    monkeypatch.setattr(reader, "params", lambda run_id: texts | {"task": "gone"})
    with pytest.raises(BadInput, match=f"run={row['run_id']}: task=gone: must be one of "):
        trial_of(reader, row)


def test_the_program_gives_the_outputs_of_the_stored_network(store, monkeypatch, tmp_path, capsys):
    one = trial(cell="lstm", layers=2, optimizer="adam", delay=3, **SMALL)
    run(store, one)
    reader = Reader(store)
    (run_id,) = reader.finished().values()
    out = tmp_path / "model.pt2"
    assert exit_of(monkeypatch, f"run={run_id[:6]}", f"out={out}", f"store.path={store}") == 0
    assert capsys.readouterr().out == (
        f"{out}: lstm copy delay=3 gaussian rho=1.0 seed=0; "
        f"y_t, *state = torch.export.load('{out}').module()(x_t, *state) with x_t int64 (B), y_t float32 (B, 3), "
        "state [float32 (B, 8), float32 (B, 8), float32 (B, 8), float32 (B, 8)], zeros at first\n"
    )
    assert [file.name for file in tmp_path.iterdir() if "model" in file.name] == ["model.pt2"]
    weights = weights_of(reader, run_of(reader, run_id), one)
    symbols = torch.tensor([1, 2, 0, 3, 0, 1]).unsqueeze(-1)
    parameters = {name: values.unsqueeze(0) for name, values in weights.items()}
    expected = forward(one, parameters, symbols[None], slice(None))[0]
    stream, state = torch.export.load(out).module(), [torch.zeros(1, 8)] * 4
    for symbol, y in zip(symbols, expected, strict=True):
        y_t, *state = stream(symbol, *state)
        torch.testing.assert_close(y_t, y, rtol=1e-5, atol=1e-6)


def test_the_example_of_the_readme_runs_without_rnnlab(store, monkeypatch, tmp_path):
    section = README.read_text().partition("## A trained model elsewhere")[2].partition("\n## ")[0]
    command, example = re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)
    assert command_line(monkeypatch, *QUICK[:-1], f"store.path={store}") == 0
    (run_id,) = Reader(store).finished().values()
    words = [word.replace("RUN_ID", run_id[:8]) for word in shlex.split(command)[3:]]
    monkeypatch.chdir(tmp_path)
    assert exit_of(monkeypatch, *words, f"store.path={store}") == 0
    alone = f"import sys\nsys.modules['rnnlab'] = None  # importing it is an error\n{example}"
    done = subprocess.run([sys.executable, "-I", "-c", alone], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["run=: must be the beginning of the id of a run", "out=: must be the path of a file"]),
        (
            ["run=a", "out=b", "ruun=a"],
            ["ruun=a: unknown key; did you mean run? allowed: run, out, store.path, store.uri"],
        ),
        (["run=a", "run=b", "out=c"], ["run: is given twice; must be given once"]),
        (
            ["run=a", "out=b", "store.path=c", "store.uri=d"],
            ["store.path: is given beside store.uri; must be one of them"],
        ),
    ],
)
def test_wrong_words_are_refused_in_a_line_each(words, lines, monkeypatch, capsys):
    assert exit_of(monkeypatch, *words) == 2
    assert capsys.readouterr().err.splitlines() == lines


def test_what_cannot_be_exported_is_refused_in_one_line_and_leaves_nothing(store, monkeypatch, tmp_path, capsys):
    plain, both = trial(**SMALL), trial(bidirectional=True, **SMALL)
    run(store, plain, both)
    run(store, trial(seed=1, **SMALL), weights="none")
    reader = Reader(store)
    ids = reader.finished()
    (sweep,) = reader.sweeps()["run_id"]
    (folder := tmp_path / "folder").mkdir()
    out = folder / "model.pt2"
    bare = next(run_id for key, run_id in ids.items() if key not in (plain.key, both.key))
    wrong = {
        ("nosuch", out): f"run=nosuch: no run in store.path={store} begins so",
        (sweep, out): f"run={sweep}: is the run of a sweep",
        (ids[both.key], out): "model.bidirectional=true: ",
        (bare, out): f"run={bare}: its weights are not in the store (store.weights=none)",
        (ids[plain.key], folder): f"out={folder}: must be a file in a folder that exists",
        (ids[plain.key], tmp_path / "gone" / "x"): f"out={tmp_path / 'gone' / 'x'}: must be a file",
    }
    for (run_id, file), line in wrong.items():
        assert exit_of(monkeypatch, f"run={run_id}", f"out={file}", f"store.path={store}") == 2
        said = capsys.readouterr()
        assert said.err.startswith(line)
        assert (said.out, said.err.count("\n")) == ("", 1)
    assert exit_of(monkeypatch, "run=x", f"out={out}", f"store.path={tmp_path / 'gone.db'}") == 2
    assert "no store there" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some and give the same command again"),
        (errno.EROFS, "must be a file that can be written"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_in_one_line_with_the_file(
    number, advice, store, monkeypatch, tmp_path, capsys
):
    def full(file, content):
        raise OSError(number, "a reason")

    run(store, trial(**SMALL))
    (run_id,) = Reader(store).finished().values()
    monkeypatch.setattr(export, "replace_synced", full)
    out = tmp_path / "model.pt2"
    assert exit_of(monkeypatch, f"run={run_id}", f"out={out}", f"store.path={store}") == 2
    assert capsys.readouterr() == ("", f"out={out}: a reason; {advice}\n")


def test_a_run_that_has_not_ended_or_is_not_meant_alone_is_refused(store):
    run(store, *(trial(seed=seed, **SMALL) for seed in range(17)))
    reader = Reader(store)
    rows = reader.trials()
    first = rows["run_id"].str[0]
    shared = first[first.duplicated()].iloc[0]  # of 17 ids, two begin with the same of 16 digits
    with pytest.raises(BadInput, match=f"run={shared}: .* runs begin so; must be longer"):
        run_of(reader, shared)
    rows.loc[0, "status"] = "running"
    reader.trials = lambda: rows
    with pytest.raises(BadInput, match="is running; must be one of solved, exhausted, diverged"):
        run_of(reader, rows["run_id"][0])
