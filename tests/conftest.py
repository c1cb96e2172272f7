"""Property tests draw the same examples on every machine, and have no deadline on the clock; torch has one thread.

Tests multiply small matrices: a second thread only costs them time.
"""

import gc

import pytest
import torch
from hypothesis import settings

from reports import style

settings.register_profile("rnnlab", derandomize=True, deadline=None)
settings.load_profile("rnnlab")

torch.set_num_threads(1)

pytest_plugins = ["stores", "servers", "folders", "browsers"]


def pytest_collection_finish() -> None:
    """A full collection of garbage need not go through what the libraries have loaded, over and over again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def one_kind_of_file(monkeypatch) -> None:
    """Figures become SVG alone, in a third of the time: for tests to which the kind of file is nothing."""
    monkeypatch.setattr(style, "KINDS", {"svg": style.KINDS["svg"]})
