"""Diagnostics through the store: a sweep that is diagnosed has the numbers of one that is not, however it is cut up."""

import json

import pandas as pd
import pytest
from builders import trial
from test_resume import cut_off, run

from rnnlab import worker
from rnnlab.claims import Attempt, Claims
from rnnlab.diagnostics.observation import SEQUENCES
from rnnlab.frame import COURSE, MEASURED, OBSERVATION, rows_of
from rnnlab.record import DIAGNOSED, RUNNING
from rnnlab.store.reader import Reader
from rnnlab.train import Stack, chunks
from rnnlab.watch import DiagnosticsSettings, Watch

TINY = {"hidden_size": 6, "delay": 3, "max_steps": 8, "eval_every": 2, "eval_size": 5, "batch_size": 4}
ON = DiagnosticsSettings(every=3, states=True)
QUANTITIES = ("gradient/mean", "gradient/zero", "eigenvalue/real", "state", "input", "output")
LYAPUNOV = "diagnostics/layer_1/lyapunov"


def frame_of(store):
    return Reader(store).frame("tests").set_index("key").drop(columns=list(MEASURED))


def diagnosed(frame):
    return [name for name in frame if name.startswith(DIAGNOSED)]


def trials_of(count=3, **fields):
    return [trial(**TINY | {"seed": seed} | fields) for seed in range(count)]


def everything(store):
    """All that a store says of the sweep: the frame, the courses of all metrics, and what was observed."""
    reader, frame = Reader(store), frame_of(store)
    courses = reader.courses("tests", [name for name in frame if "/" in name])
    return frame.to_csv(), courses.to_csv(), reader.observations("tests", QUANTITIES).to_csv()


def test_a_diagnosed_sweep_has_the_numbers_of_one_that_is_not(store, schema, tmp_path):
    trials = trials_of()
    other = tmp_path / "other.db"
    other.write_bytes(schema.read_bytes())
    assert run(store, trials, diagnostics=ON).exit_status == run(other, trials).exit_status == 0
    found, plain = frame_of(store), frame_of(other)
    assert diagnosed(found)
    assert not diagnosed(plain)
    pd.testing.assert_frame_equal(found.drop(columns=diagnosed(found)), plain)
    for key in plain.index:
        ids = [Reader(where).finished()[key] for where in (store, other)]
        curves, expected = (Reader(where).curves(run_id) for where, run_id in zip((store, other), ids, strict=True))
        kept = curves[~curves["key"].str.startswith(DIAGNOSED)].reset_index(drop=True)
        kept, expected = (part[part["key"] != "seconds"].reset_index(drop=True) for part in (kept, expected))
        pd.testing.assert_frame_equal(kept, expected)


def test_courses_and_observations_are_those_of_the_records(store):
    trials = trials_of()
    run(store, trials, diagnostics=ON)
    records = [record for found in chunks(Stack(trials, watch=Watch(ON))) for record in found]
    points = [(r.key, LYAPUNOV, float(r.step), r.metrics[LYAPUNOV]) for r in records if LYAPUNOV in r.metrics]
    courses = Reader(store).courses("tests", [LYAPUNOV])
    assert [*courses.itertuples(index=False, name=None)] == sorted(points)
    assert tuple(courses) == COURSE
    assert sorted({step for _, _, step, _ in points}) == [0, 4, 6, 8]
    expected = {
        (r.key, "final" if r.ended else "initial", r.step, *row[:-1]): row[-1]
        for r in records
        for row in rows_of(r.observed, QUANTITIES)
    }
    observed = Reader(store).observations("tests", QUANTITIES)
    assert tuple(observed) == OBSERVATION
    assert {tuple(row[:-1]): row[-1] for row in observed.itertuples(index=False, name=None)} == expected
    assert set(observed["quantity"]) == set(QUANTITIES)
    assert observed.equals(observed.sort_values(list(OBSERVATION[:-1]), ignore_index=True))
    counted = Reader(store).observations("tests", ["gradient/counted", "gradient/zero", "gradient/broken"])
    assert (counted.groupby(["key", "when", "layer", "index"])["value"].sum() == SEQUENCES).all()


def test_trials_that_finished_without_diagnostics_are_told(store):
    trials = trials_of()
    run(store, trials[:2])
    told = "diagnostics: {} finished before without them; engine.mode=force trains all again"
    assert told.format(2) in run(store, trials, diagnostics=ON).notes
    assert told.format(2) in run(store, trials_of(max_steps=13)[:2], diagnostics=ON).notes
    assert run(store, trials, diagnostics=ON, mode="force").notes == []
    assert run(store, trials, diagnostics=ON).notes == []
    assert run(store, trials[:2]).notes == []


def test_a_store_without_diagnostics_has_no_observations(store):
    run(store, trials_of())
    assert Reader(store).observations("tests", QUANTITIES).empty
    assert Reader(store).courses("tests", [LYAPUNOV]).empty


def test_a_file_of_observations_that_cannot_be_read_counts_as_missing(store):
    trials = trials_of(2)
    run(store, trials, diagnostics=ON)
    damaged, *_ = store.with_name(f"{store.name}.artifacts").rglob("initial.json")
    damaged.write_text(json.dumps({"observed": {}})[:-1])
    found = Reader(store).observations("tests", QUANTITIES)
    assert found.groupby("key")["when"].nunique().sort_values().tolist() == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("borders", [1, 2, 3])
def test_a_diagnosed_sweep_that_is_interrupted_ends_as_one_that_is_not(borders, store, schema, tmp_path, monkeypatch):
    trials = trials_of()
    whole = tmp_path / "whole.db"
    whole.write_bytes(schema.read_bytes())
    run(whole, trials, diagnostics=ON)
    cut_off(monkeypatch, store, trials, borders, diagnostics=ON)
    assert RUNNING in set(frame_of(store)["status"]) or borders == 1
    assert run(store, trials, diagnostics=ON).exit_status == 0
    assert everything(store) == everything(whole)


def test_a_larger_budget_keeps_what_was_found_at_the_beginning(store):
    run(store, trials_of(), diagnostics=ON)
    larger = trials_of(max_steps=13)
    run(store, larger, diagnostics=ON)
    frame = Reader(store).frame("tests")
    longer = frame[frame["train.max_steps"] == 13]
    assert longer["theory/layer_1/slope"].notna().all()
    courses = Reader(store).courses("tests", [LYAPUNOV])
    steps = courses[courses["key"].isin(longer["key"])].groupby("key")["step"].apply(list)
    assert all(found == [0, 4, 6, 10, 12, 13] for found in steps)
    observed = Reader(store).observations("tests", ["gradient/mean"])
    assert set(observed[observed["key"].isin(longer["key"])]["step"]) == {0, 13}


@pytest.mark.parametrize(
    ("attempt", "left_out"),
    [(Attempt(1, "", ""), True), (Attempt(8, "", ""), False), (Attempt(1, "", "an error"), False)],
    ids=["died alone", "died in a stack", "an error"],
)
def test_a_trial_alone_with_which_a_worker_died_is_not_diagnosed_again(attempt, left_out, store, monkeypatch):
    """It may have been for want of the memory that diagnostics take. An error of training says nothing of them."""
    monkeypatch.setattr(worker, "blame", lambda attempts: None)
    taken = Claims.take

    def take(claims, key):
        found = taken(claims, key)
        if found:
            claims.attempts[key] = [attempt]
        return found

    monkeypatch.setattr(Claims, "take", take)
    outcome = run(store, trials_of(), diagnostics=ON)
    assert outcome.exit_status == 0
    assert bool(diagnosed(frame_of(store))) != left_out
    told = f"diagnostics: left out 3 times ({worker.DIED_BEFORE}); training is not affected"
    assert [note for note in outcome.notes if note.startswith("diagnostics")] == [told] * left_out
