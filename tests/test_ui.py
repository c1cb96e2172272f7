"""The second act: the MLflow UI over the store."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from builders import trial

from experiments import ui
from rnnlab.engine import EngineSettings, run
from rnnlab.refusal import BadInput
from rnnlab.store import StoreSettings


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["port=abc"], "port=abc: must be an integer >= 1 and <= 65535"),
        (["port=70000"], "port=70000: must be an integer >= 1 and <= 65535"),
        (["prot=1"], "prot=1: unknown key; did you mean port? allowed: store.path, store.uri, port"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(words, line):
    with pytest.raises(BadInput) as refused:
        ui.arguments(words)
    assert str(refused.value) == line


def test_a_port_in_use_is_passed_over():
    first = ui.free_port(5100)
    with ui.socket.socket() as taken:
        taken.bind((ui.HOST, first))
        taken.listen()
        assert ui.free_port(first) > first


def test_the_command_serves_the_store_on_this_machine_and_links_its_runs(store):
    small = trial(max_steps=2, eval_size=2, hidden_size=4)
    run([small], "tests", StoreSettings(str(store)), EngineSettings(progress="quiet"), "")
    command = [sys.executable, "-m", "experiments.ui", f"store.path={store}", "port=5200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as server:
        try:
            where, runs = server.stdout.readline(), server.stdout.readline()
            base = where.split()[5]
            assert base.startswith("http://127.0.0.1:52")
            name, link = runs.split()
            assert (name, link.split("/#/")[0]) == ("tests", base)
            number = link.split("/experiments/")[1].split("/")[0]
            with urllib.request.urlopen(f"{base}/api/2.0/mlflow/experiments/get?experiment_id={number}") as answer:  # noqa: S310
                assert b'"name": "tests"' in answer.read()
        finally:
            server.terminate()
    assert server.returncode == 0
