"""The same store gives the same bytes, in any process: whatever its hash seed, its locale, its time zone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_hostile_stores import TRIALS, fill

from reports import side_by_side
from reports.build import main

CHECKOUT = Path(__file__).parents[1]
ENVIRONMENTS = [
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"},
    {"PYTHONHASHSEED": "2", "TZ": "America/Caracas", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(schema, tmp_path):
    store = Path(shutil.copy(schema, tmp_path / "store.db"))
    fill(store, TRIALS, "a/sweep", name="train Straße 5")
    found = []
    for place, changed in enumerate(ENVIRONMENTS):
        out = tmp_path / str(place)
        command = [sys.executable, "-m", "reports.build", f"store.path={store}", f"out={out}"]
        subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **changed}, check=True, capture_output=True)
        found.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    kinds = {Path(name).suffix for name in found[0]}
    assert {".svg", ".png", ".pdf", ".csv", ".html", ".md", ".json"} <= kinds
    assert found[0].keys() == found[1].keys()
    different = [name for name, content in found[0].items() if content != found[1][name]]
    assert not different


@pytest.mark.slow
def test_figures_drawn_side_by_side_are_those_drawn_one_after_another(schema, tmp_path, monkeypatch):
    store = Path(shutil.copy(schema, tmp_path / "store.db"))
    fill(store, TRIALS[:6], "demo")
    found = []
    for processes in (1, 2):
        monkeypatch.setattr(side_by_side, "cores", lambda count=processes: count)
        out = tmp_path / str(processes)
        assert main([f"store.path={store}", f"out={out}"]) == 0
        found.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert found[0] == found[1]
