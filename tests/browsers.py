"""A Chromium for the tests, and a small sweep to look at."""

import os
import shutil
from pathlib import Path

import pytest
from builders import trial

from reports import browser
from rnnlab.engine import EngineSettings, run
from rnnlab.store import StoreSettings

WIDE = (1280, 800)  # of a page on a desk, in CSS pixels
QUICK = {"hidden_size": 8, "max_steps": 8, "eval_every": 2, "eval_size": 8, "batch_size": 4}


@pytest.fixture(scope="session")
def chromium():
    """A browser for all tests; without Chromium they are skipped, or fail in CI."""
    if gone := browser.missing():
        missing = f"{' and '.join(gone)}: not installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with browser.opened(*WIDE) as driver:
        yield driver


@pytest.fixture(scope="session")
def swept(schema, tmp_path_factory) -> Path:
    """A store with a small sweep."""
    store = Path(shutil.copy(schema, tmp_path_factory.mktemp("browser") / "store.db"))
    grid = [(delay, radius, seed) for delay in (3, 9) for radius in (0.5, 1.0) for seed in range(2)]
    trials = [trial(delay=delay, spectral_radius=radius, seed=seed, **QUICK) for delay, radius, seed in grid]
    settings = EngineSettings(launcher="inline", progress="quiet")
    run(trials, "tests", StoreSettings(str(store)), settings, "python -m experiments.train experiment=tests")
    return store
