"""A store per test, without paying for MLflow's schema each time; and small sweeps to fill it."""

import shutil
import sys
from pathlib import Path

import pytest

from experiments import train
from rnnlab.store import StoreSettings
from rnnlab.store.writer import Writer

QUICK = ("train.max_steps=4", "train.eval_every=2", "train.eval_size=8", "train.batch_size=4", "model.hidden_size=8")


@pytest.fixture(scope="session")
def schema(tmp_path_factory) -> Path:
    """An empty store."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    with Writer(StoreSettings(str(path)), "unused", {}):
        pass
    return path


@pytest.fixture
def store(schema, tmp_path) -> Path:
    """The path of an empty store of one's own."""
    return Path(shutil.copy(schema, tmp_path / "store.db"))


def command_line(monkeypatch, *words: str) -> int:
    """Run `python -m experiments.train WORDS` in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["experiments/train.py", *words])
    try:
        train.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
