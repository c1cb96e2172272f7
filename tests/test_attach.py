"""The page of a sweep is kept with its run when it is complete, or when somebody asks; never otherwise."""

import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from stores import QUICK, command_line

from reports.build import main
from rnnlab.store import REPORT_FILE, StoreSettings, place_of, sqlite_place
from rnnlab.store.reader import Reader

SMALL = (*QUICK, "engine=inline", "engine.progress=plain", "experiment=demo_copy", "task.delay=3,5", "init=gaussian")
SWEEP = (*SMALL, "init.spectral_radius=1.0", "seed=0,1")


def launch(monkeypatch, where, *words):
    """The sweep, with `words` in the place of others."""
    given = {word.partition("=")[0] for word in words}
    kept = [word for word in SWEEP if word.partition("=")[0] not in given]
    return command_line(monkeypatch, *kept, *words, *([f"store.path={where}"] if isinstance(where, Path) else where))


def page_of(where, experiment="demo_copy") -> Path:
    reader = Reader(where)
    run = reader.sweeps().to_dict("records")[-1]
    return reader.artifact(run, REPORT_FILE)


def rows_of(store):
    with sqlite3.connect(store) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table in ("runs", "tags", "metrics")
        ]


def test_a_complete_sweep_keeps_its_page_which_needs_nothing_beside_it(monkeypatch, store, capsys):
    assert launch(monkeypatch, store) == 0
    said = capsys.readouterr()
    assert said.out == "demo_copy: done; 4 exhausted\n"
    assert re.search(r"^demo_copy: its report is with the sweep's run in MLflow, \d+ s$", said.err, re.MULTILINE)
    page = page_of(store).read_text()
    assert "how far back does a tanh network learn to look" in page  # the comment in the file of the experiment
    assert "<svg" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(\s*['\"]?http", page)
    assert re.search(r">python -m reports.build demo_copy store.path=\S+</pre>", page)


def test_the_same_command_again_draws_no_page_again(monkeypatch, store, capsys):
    launch(monkeypatch, store)
    page_of(store).write_text("as it was")
    assert launch(monkeypatch, store) == 0
    assert page_of(store).read_text() == "as it was"
    page_of(store).unlink()
    assert launch(monkeypatch, store) == 0
    assert "<svg" in page_of(store).read_text()


@pytest.mark.parametrize("words", [("engine.report=false",), ("seed=0", "task.delay=3"), ("engine.dry_run=true",)])
def test_no_page_is_kept_where_none_is_wanted(words, monkeypatch, store, capsys):
    assert launch(monkeypatch, store, *words) == 0
    assert not list(sqlite_place(store).artifacts.rglob("report/*")) if sqlite_place(store).artifacts.exists() else True
    assert "report" not in capsys.readouterr().err


def test_a_sweep_without_a_name_keeps_no_page(monkeypatch, store):
    assert command_line(monkeypatch, *QUICK, "-m", "seed=0,1", "engine=inline", f"store.path={store}") == 0
    assert not page_of(store).exists()


def test_an_interrupted_sweep_keeps_no_page(monkeypatch, store, capsys):
    def interrupted(self, at_work):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnnlab.collector.Collector.collect_while", interrupted)
    assert launch(monkeypatch, store) == 130
    assert not page_of(store).exists()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no\nway"), "could not be drawn or kept \\(ValueError: no\\)"),
        (KeyboardInterrupt(), "was interrupted; python -m reports.build draws it"),
    ],
)
def test_a_failure_to_draw_is_one_line_and_does_not_spoil_the_sweep(error, told, monkeypatch, store, capsys):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("reports.writing.report_of", broken)
    assert launch(monkeypatch, store, "engine.progress=quiet") == 0
    said = capsys.readouterr()
    assert said.out == "demo_copy: done; 4 exhausted\n"
    assert re.fullmatch(rf"demo_copy: its report {told}\n", said.err)
    assert len(Reader(store).frame("demo_copy")) == 4


def test_a_build_writes_to_the_store_only_where_it_is_asked_to(monkeypatch, store, tmp_path, capsys):
    launch(monkeypatch, store, "engine.report=false")
    before = rows_of(store)
    words = ["demo_copy", f"store.path={store}", f"out={tmp_path / 'out'}"]
    assert main(words) == 0
    assert not page_of(store).exists()
    capsys.readouterr()
    assert main([*words, "attach=true"]) == 0
    assert rows_of(store) == before
    run = Reader(store).sweeps()["run_id"][0]
    assert capsys.readouterr().out.splitlines()[1] == f"demo_copy: attached to run {run} as report/index.html"
    assert "<svg" in page_of(store).read_text()


def test_a_page_without_a_sweep_cannot_be_attached(monkeypatch, store, tmp_path, capsys):
    command_line(monkeypatch, *QUICK, f"store.path={store}")
    capsys.readouterr()
    assert main([f"store.path={store}", f"out={tmp_path / 'out'}", "attach=true"]) == 2
    assert capsys.readouterr().err == "experiment adhoc: has no sweep; attach=true needs the run of one\n"


def test_a_copy_of_a_store_writes_nothing_into_the_artifacts_of_the_first(monkeypatch, store, tmp_path, capsys):
    launch(monkeypatch, store, "engine.report=false")
    copied = tmp_path / "elsewhere" / "copied.db"
    copied.parent.mkdir()
    shutil.copy(store, copied)
    shutil.copytree(sqlite_place(store).artifacts, sqlite_place(copied).artifacts)
    capsys.readouterr()
    assert main(["demo_copy", f"store.path={copied}", f"out={tmp_path / 'out'}", "attach=true"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"store.path={copied}: its artifacts are said to be in ")
    assert said.count("\n") == 1
    assert not page_of(store).exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgres", "server"])
def test_other_kinds_of_store_keep_the_page_too(kind, request, monkeypatch):
    settings: StoreSettings = request.getfixturevalue(kind)
    words = (f"store={settings.kind}", f"store.uri={settings.uri}", f"store.folder={settings.folder}")
    assert launch(monkeypatch, words) == 0
    assert "<svg" in page_of(place_of(settings)).read_text()
