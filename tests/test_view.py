"""What the MLflow UI is told of an experiment: groups, columns, charts and the description."""

import contextlib
import json
import sqlite3

import pytest
from builders import trial
from frames import adding_sweep, architecture_sweep, copy_sweep, sweep
from test_store import write

from rnnlab.store import EXPERIMENT_KIND_TAG, NOTE_TAG, StoreSettings, experiment
from rnnlab.store.experiment import refresh
from rnnlab.store.reader import Reader
from rnnlab.store.view import MOST_GROUPS, PLAIN, VIEW_TAG, describe_experiment, view_of, view_state
from rnnlab.store.writer import Writer
from rnnlab.sweep import plan

LONGEST = 20_000  # characters of an experiment's tag that MLflow keeps


def view(trials):
    return view_of(plan(trials).axes(), [one.flat() | {"distance": one.task.distance} for one in trials])


def groups(trials) -> set:
    """The combinations of values that become a line or point each."""
    return {
        tuple((one.flat() | {"distance": one.task.distance}).get(name) for name in view(trials).groups)
        for one in trials
    }


def test_runs_are_grouped_by_distance_and_by_the_axis_with_most_values():
    trials = copy_sweep(delay=[3, 5, 8, 12, 18, 27, 40, 60, 90])  # by 2 inits and 4 radii
    assert view(trials).groups == ("distance", "init.spectral_radius")
    assert view(trials).across == "distance"
    assert view(trials).axes == ("task.delay", "init", "init.spectral_radius", "seed")


def charts(of) -> list[tuple[str, ...]]:
    """(type, what is drawn) of each chart of points and maps."""
    state = json.loads(view_state(of))
    axes = ("xaxis", "yaxis", "zaxis")
    return [
        (chart["type"], *(chart[axis]["key"] for axis in axes if axis in chart))
        for chart in state["compareRunCharts"]
        if chart["type"] != "LINE"
    ]


def test_two_numeric_axes_make_a_map_of_the_share_that_solved():
    assert charts(view(copy_sweep(init="gaussian"))) == [
        ("CONTOUR", "distance", "init.spectral_radius", "solved"),
        ("SCATTER", "distance", "solved"),
        ("SCATTER", "distance", "steps_to_solve"),
    ]


def test_where_several_groups_would_share_a_place_there_is_no_map():
    """As with clipping off, which is no number, or with a third axis."""
    off = copy_sweep(init="gaussian", spectral_radius=1.0, clip_threshold=[0.1, 1.0, None])
    for trials in (copy_sweep(), off, architecture_sweep()):
        assert {kind for kind, *_ in charts(view(trials))} == {"SCATTER"}


@pytest.mark.parametrize(
    "trials", [copy_sweep(), adding_sweep(), architecture_sweep()], ids=["copy", "adding", "cells"]
)
def test_groups_average_over_seeds_and_are_few(trials):
    found = view(trials)
    assert "seed" not in found.groups
    assert len(groups(trials)) <= max(MOST_GROUPS, len({(one.task, type(one.cell)) for one in trials}))


def test_an_axis_that_follows_from_the_others_is_no_group_and_no_column():
    trials = [
        *sweep(task="copy", delay=[5, 10], learning_rate=0.01, seed=range(3)),
        *sweep(task="adding", length=[10, 20], learning_rate=0.003, seed=range(3)),
    ]
    assert view(trials).groups == ("task", "distance")
    assert view(trials).axes == ("task", "task.delay", "task.length", "seed")


def test_two_tasks_are_never_averaged_over():
    assert {"task", "distance", "cell"} <= set(view(architecture_sweep()).groups)


def test_where_the_distance_does_not_vary_charts_go_along_another_axis():
    trials = copy_sweep(delay=10, init="gaussian")
    assert view(trials).groups == ("init.spectral_radius",)
    assert view(trials).across == "init.spectral_radius"


def test_where_nothing_but_names_varies_there_are_no_charts_of_points():
    state = json.loads(view_state(view(sweep(task="copy", delay=10, cell=["elman", "gru"], seed=range(2)))))
    assert {chart["type"] for chart in state["compareRunCharts"]} == {"LINE"}
    assert len(state["compareRunSections"]) == 1


def test_seeds_alone_are_lines_of_their_own():
    state = json.loads(view_state(view(copy_sweep(delay=10, init="gaussian", spectral_radius=1.0))))
    assert state["groupBy"] is None


@pytest.mark.parametrize("of", [PLAIN, view(architecture_sweep())], ids=["no sweep", "a sweep"])
def test_every_chart_is_in_a_section_and_columns_begin_with_the_axes(of):
    state = json.loads(view_state(of))
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {
        section["uuid"] for section in state["compareRunSections"]
    }
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == len(state["compareRunCharts"])
    assert state["selectedColumns"][: len(of.axes)] == [f"params.`{axis}`" for axis in of.axes]


def test_whole_seeds_are_loaded_and_not_the_best_runs():
    state = json.loads(view_state(view(copy_sweep())))
    assert (state["orderByKey"], state["orderByAsc"]) == ("params.`seed`", True)


def test_view_and_description_of_a_wide_sweep_fit_in_tags():
    trials = sweep(
        task=["copy", "adding"], cell=["elman", "irnn", "orthogonal"], hidden_size=[8, 16], spectral_radius=[0.5, 1.0],
        clip_threshold=[0.1, 1.0, None], learning_rate=[0.001, 0.01], batch_size=[10, 20], truncation=[5, None],
        seed=[0],
    )  # fmt: skip
    found = view(trials)
    assert len(view_state(found)) < LONGEST
    assert len(describe_experiment("name" * 50, "1", found, len(trials), "0" * 32, "plan" * 2000)) < LONGEST


def test_the_first_line_of_a_description_leads_to_the_report_and_to_the_plan():
    first, *rest = describe_experiment("demo", "7", view(copy_sweep()), 240, "abc", "the plan").splitlines()
    assert first.startswith('**demo**: 240 trials, at first 100 are shown ("Load more" is below the list). [Report]')
    assert "(#/experiments/7/runs/abc/artifacts/report/index.html?workflowType=machine_learning)" in first
    assert "(#/experiments/7/runs/abc?workflowType=machine_learning)" in first
    assert "the plan" in rest
    assert "`distance`, `init.spectral_radius` and `init`" in "\n".join(rest)


def test_the_first_line_does_not_speak_of_more_where_all_runs_are_loaded():
    first = describe_experiment("demo", "7", view(copy_sweep()), 100, "abc", "the plan").splitlines()[0]
    assert first.startswith("**demo**: 100 trials. [Report]")


def tags(store) -> dict[str, str]:
    """Those of the experiment `tests`."""
    query = "SELECT key, value FROM experiment_tags JOIN experiments USING (experiment_id) WHERE name = 'tests'"
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return dict(connection.execute(query))


@pytest.fixture
def old(store):
    """A store whose experiment has a view of an earlier rnnlab and no description."""
    with Writer(StoreSettings(str(store)), "tests", {}) as writer:
        writer.begin_sweep([trial(seed=0), trial(seed=1)], ["seed"], "what was planned")
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(f"DELETE FROM experiment_tags WHERE key != '{VIEW_TAG}'")
        connection.execute("UPDATE experiment_tags SET value = '{}'")
    return store


def test_an_experiment_of_an_earlier_rnnlab_gets_view_and_description_when_it_is_looked_at(old):
    write(old, [], [trial(seed=0), trial(seed=1), trial(seed=2, spectral_radius=0.5)])
    refresh(Reader(old))
    found = tags(old)
    (sweep_run,) = Reader(old).sweeps()["run_id"]
    assert f"/runs/{sweep_run}" in found[NOTE_TAG]
    assert "what was planned" in found[NOTE_TAG]
    assert "**tests**: 3 trials." in found[NOTE_TAG]
    assert json.loads(found[VIEW_TAG])["selectedColumns"][:2] == ["params.`init.spectral_radius`", "params.`seed`"]
    assert found[EXPERIMENT_KIND_TAG] == "custom_model_development"


def test_what_is_up_to_date_is_not_written_again(old, monkeypatch):
    refresh(Reader(old))
    monkeypatch.setattr(experiment, "client_of", lambda place: pytest.fail("asked for a client"))
    refresh(Reader(old))


def test_a_store_that_cannot_be_written_is_shown_as_it_is(old, monkeypatch):
    def refuse(place):
        raise OSError("read-only file system")

    monkeypatch.setattr(experiment, "client_of", refuse)
    refresh(Reader(old))
    assert tags(old)[VIEW_TAG] == "{}"


def test_a_description_is_made_anew_by_each_sweep_but_for_one_that_a_person_wrote(old):
    def launch(*seeds):
        with Writer(StoreSettings(str(old)), "tests", {}) as writer:
            writer.begin_sweep([trial(seed=seed) for seed in seeds], ["seed"], f"a plan of {len(seeds)}")
        return tags(old)[NOTE_TAG]

    assert "a plan of 2" in launch(0, 1)
    assert "a plan of 3" in launch(0, 1, 2)
    with contextlib.closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE experiment_tags SET value = 'mine' WHERE key = ?", (NOTE_TAG,))
    assert launch(0, 1) == launch(0, 1, 2, 3) == "mine"
