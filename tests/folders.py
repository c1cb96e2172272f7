"""The folder of a launch for a test, and work to do in it."""

import pytest

from rnnlab.folder import Work, new_folder


def work(*trials, **fields):
    return Work(
        **{
            "trials": list(trials),
            "experiment": "tests",
            "stack_size": 4,
            "workers": 1,
            "memory": 0,
            "checkpoint_seconds": 20,
            "tags": {},
        }
        | fields
    )


@pytest.fixture
def folder(tmp_path):
    return new_folder(tmp_path / "sweeps")
