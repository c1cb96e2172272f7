"""What pages say of settings, tables and origins, in few words and once."""

import pandas as pd
from frames import adding_sweep, copy_sweep, frame_of, sweep

from reports.origin import labelled
from reports.page import Entry, Report, alike, index_page


def report_of(frame: pd.DataFrame) -> Report:
    """As far as settings go."""
    return Report("demo", frame, [], [], None, None, None, "")


def test_a_field_that_follows_from_the_task_is_told_with_it_and_not_as_varied():
    copy = copy_sweep(delay=[5, 10], init="gaussian", learning_rate=0.01, clip_threshold=None, seed=[0, 1])
    adding = adding_sweep(length=[10, 20], init="gaussian", learning_rate=0.003, clip_threshold=1.0, seed=[0, 1])
    report = report_of(frame_of([*copy, *adding]))
    assert list(report.varied) == ["task", "task.delay", "task.length", "init.spectral_radius", "seed"]
    told = {"train.clip_threshold": "adding 1, copy off", "train.learning_rate": "adding 0.003, copy 0.01"}
    assert report.following == {"task": told}


def test_a_field_that_follows_from_the_cell_is_told_with_it():
    trials = [*sweep(cell="elman", learning_rate=0.1, seed=[0, 1]), *sweep(cell="gru", learning_rate=0.2, seed=[0, 1])]
    assert report_of(frame_of(trials)).following == {"cell": {"train.learning_rate": "elman 0.1, gru 0.2"}}


def test_a_field_that_varies_within_a_task_follows_from_nothing():
    trials = [*copy_sweep(delay=5, learning_rate=[0.1, 0.2]), *adding_sweep(length=10, learning_rate=0.3)]
    report = report_of(frame_of(trials))
    assert report.following == {}
    assert report.varied["train.learning_rate"] == "0.1, 0.2, 0.3"


def test_one_trial_follows_from_nothing():
    report = report_of(frame_of(sweep(seed=0)))
    assert (report.varied, report.following) == ({}, {})


def test_what_all_rows_of_a_table_agree_in_is_told_once():
    table = pd.DataFrame({"task": ["copy"] * 2, "clip": [None] * 2, "rate": [0.123456] * 2, "steps": [1.0, 2.0]})
    assert alike(table) == {"task": "copy", "clip": "–", "rate": "0.123"}
    assert alike(table.head(1)) == {}


def test_trials_of_no_named_sweep_come_last_in_the_list():
    page = index_page([Entry(name, None, "", []) for name in ("zebra", "adhoc", "copy")]).decode()
    assert page.index("copy/") < page.index("zebra/") < page.index("adhoc/")


def test_the_parts_of_the_numerics_are_told_with_what_they_are():
    told = "torch 2.13.0+cpu, device cpu, kernel torch, processor AuthenticAMD, instructions AVX512"
    assert labelled("torch 2.13.0+cpu, cpu, torch, AuthenticAMD, AVX512") == told
    assert labelled("torch 1.0, cpu") == "torch 1.0, cpu"
