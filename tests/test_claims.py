"""Claims: a trial has one worker at a time, and what came of an attempt is known to the next."""

import contextlib
import subprocess
import sys

import pytest

from rnnlab.claims import Attempt, Claims


@pytest.fixture
def claims(tmp_path):
    with contextlib.closing(Claims(tmp_path, "log")) as held:
        yield held


def test_a_claim_holds_for_one_process_and_ends_with_the_trial(tmp_path):
    mine, yours = Claims(tmp_path), Claims(tmp_path)
    assert mine.take("a")
    assert not yours.take("a")
    mine.close()
    assert yours.take("a")
    yours.release_done("a")
    assert not mine.take("a")
    assert not yours.take("a")


def test_an_attempt_that_ends_well_leaves_no_trace_and_one_whose_process_dies_does(claims, tmp_path):
    for key in "ab":
        claims.take(key)
    claims.begin("ab")
    claims.release("b")
    code = f"""
import os
from pathlib import Path
from rnnlab.claims import Claims
claims = Claims(Path({str(tmp_path)!r}), "its log")
claims.take("b"), claims.take("c")
claims.begin(["b", "c"])
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert claims.take("b")
    assert claims.attempts == {"a": [], "b": [Attempt(2, "its log", "")]}
    claims.release("b")
    assert claims.take("b")
    assert claims.attempts["b"] == [Attempt(2, "its log", "")], "it stays after an attempt that ended well"


def test_an_error_is_noted_with_the_width_of_the_stack(claims):
    for key in "abc":
        claims.take(key)
    claims.begin("abc")
    claims.release_failed("an error")
    assert claims.held == {}
    assert claims.take("c")
    assert claims.attempts["c"] == [Attempt(3, "log", "an error")]
