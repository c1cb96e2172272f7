"""Whatever a store holds, a build ends in pages that can be used, or in one line; never in a traceback."""

import contextlib
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import trial

from reports.build import main
from reports.files import folder_name
from rnnlab.collector import derived, run_name
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED, Record
from rnnlab.store import ERROR_TAG, KEY_TAG, KIND_TAG, LAUNCH_TAG, STATUS_TAG, StoreSettings, sqlite_place
from rnnlab.store.writer import Writer

pytestmark = pytest.mark.usefixtures("one_kind_of_file")
EVIL = "</script><script>alert('x')</script> $\\frac{ | `*_[x](javascript:y) <b> & \"q\""
TRIALS = [
    trial(delay=delay, spectral_radius=radius, seed=seed)
    for delay in (5, 10, 20)
    for radius in (0.8, 1.2)
    for seed in (0, 1)
]
TAGS = {"rnnlab.numerics": "torch 2, cpu", "rnnlab.git_commit": "c0ffee", "rnnlab.git_dirty": "false"}
LAUNCH = "20260102-030405-aaaaaaaa"


def ending(one) -> str:
    if one.seed and one.task.delay == 20:
        return {0.8: FAILED, 1.2: RUNNING}[one.init.spectral_radius]
    return SOLVED if one.task.delay * 1.0 < 12 * one.init.spectral_radius else DIVERGED if one.seed else EXHAUSTED


def fill(path: Path, trials, experiment: str = "demo", tags=TAGS, end: Callable = ending, name: str = "") -> None:
    """A sweep that planned one trial more than it began."""
    with Writer(StoreSettings(str(path)), experiment, tags, LAUNCH) as writer:
        writer.begin_sweep([*trials, trial(delay=40, seed=9)], ["seed"], "a note", {"command.txt": name or "train"})
        for one in trials:
            writer.begin(one, name or run_name(one), derived(one))
            for step in (0, 20):
                metrics = {"eval/loss": 0.7 / (1 + step), "eval/accuracy": 0.5, "eval/relative_loss": 1.0}
                writer.write(Record(one.key, step, RUNNING, metrics))
            last = {"trained_steps": 40.0} | ({"steps_to_solve": 20.0} if end(one) == SOLVED else {})
            if end(one) != RUNNING:
                error = f"Traceback\nValueError: {EVIL}" if end(one) == FAILED else ""
                writer.write(Record(one.key, 40, end(one), metrics | last, measured={"seconds": 1.0}, error=error))


@pytest.fixture(scope="module")
def usual(schema, tmp_path_factory) -> Path:
    """A small store with every ending."""
    path = Path(shutil.copy(schema, tmp_path_factory.mktemp("usual") / "store.db"))
    fill(path, TRIALS)
    return path


@pytest.fixture
def copied(usual, tmp_path) -> Path:
    """A copy of it, with its artifacts."""
    path = Path(shutil.copy(usual, tmp_path / "store.db"))
    shutil.copytree(sqlite_place(usual).artifacts, sqlite_place(path).artifacts)
    return path


def execute(path: Path, *commands: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for command in commands:
            connection.execute(command)
        connection.commit()


def built(path: Path, capsys, out: Path) -> tuple[int, str]:
    """(exit status, stderr) of the command."""
    status = main([f"store.path={path}", f"out={out}"])
    said = capsys.readouterr().err
    assert "Traceback (most" not in said
    return status, said


FIRST_RUN = f"(SELECT run_uuid FROM tags WHERE key = '{KEY_TAG}' ORDER BY value LIMIT 1)"
HUGE = sys.float_info.max  # what MLflow makes of infinity
PAGES: dict[str, tuple[str, ...]] = {  # what was done to the store -> statements; a page comes out of it
    "as it was": (),
    "one run": (f"UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid != {FIRST_RUN}",),
    "a single seed": (
        "DELETE FROM runs WHERE run_uuid IN (SELECT run_uuid FROM params WHERE key='seed' AND value='1')",
    ),
    "a run without params": (f"DELETE FROM params WHERE run_uuid = {FIRST_RUN}",),
    "a run without a key": (f"DELETE FROM tags WHERE key = '{KEY_TAG}' AND run_uuid = {FIRST_RUN}",),
    "a run without a status": (f"DELETE FROM tags WHERE key = '{STATUS_TAG}' AND run_uuid = {FIRST_RUN}",),
    "no metrics": ("DELETE FROM latest_metrics", "DELETE FROM metrics"),
    "NaN everywhere": ("UPDATE latest_metrics SET is_nan = 1", "UPDATE metrics SET is_nan = 1"),
    "infinity everywhere": (
        f"UPDATE latest_metrics SET value = {HUGE}",
        f"UPDATE OR IGNORE metrics SET value = -{HUGE}",
    ),
    "all diverged": (f"UPDATE tags SET value = '{DIVERGED}' WHERE key = '{STATUS_TAG}'",),
    "all running": (f"UPDATE tags SET value = '{RUNNING}' WHERE key = '{STATUS_TAG}'",),
    "all failed": (f"UPDATE tags SET value = '{FAILED}' WHERE key = '{STATUS_TAG}'",),
    "no tags of provenance": ("DELETE FROM tags WHERE key LIKE 'rnnlab.git%' OR key = 'rnnlab.host'",),
    "another kind of run": (f"UPDATE tags SET value = 'probe' WHERE key = '{KIND_TAG}' AND run_uuid = {FIRST_RUN}",),
    "params and metrics of a newer rnnlab": (
        "INSERT INTO params SELECT 'train.future', 'x', run_uuid FROM params WHERE key = 'seed'",
        "INSERT INTO params SELECT 'train.future_number', '1', run_uuid FROM params WHERE key = 'seed' AND value = '1'",
        "INSERT INTO latest_metrics SELECT 'future/loss', 1, 1, 1, 0, run_uuid FROM params WHERE key = 'seed'",
    ),
    "names that are taken": (
        "INSERT INTO params SELECT 'seconds', 'x', run_uuid FROM params WHERE key = 'seed'",
        "INSERT INTO params SELECT 'status', 'x', run_uuid FROM params WHERE key = 'seed'",
        "INSERT INTO latest_metrics SELECT 'distance', 7, 1, 1, 0, run_uuid FROM params WHERE key = 'seed'",
    ),
    "a text where a number stood": ("UPDATE params SET value = 'many' WHERE key = 'train.max_steps'",),
    "a task of a newer rnnlab": ("UPDATE params SET value = 'task_of_the_future' WHERE key = 'task'",),
}


@pytest.mark.parametrize("case", PAGES)
def test_a_page_comes_out_of(case, copied, tmp_path, capsys):
    execute(copied, *PAGES[case])
    status, said = built(copied, capsys, tmp_path / "out")
    assert (status, said) == (0, "")
    page = (tmp_path / "out" / "demo" / "index.html").read_text()
    assert '<section id="headline"' in page
    assert "<figure>" in page
    assert (
        "nan" not in re.sub("<[^>]*>", " ", re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)).lower().split()
    )


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {  # -> statements, and what the one line says
    "nothing in it": (("DELETE FROM runs",), "the store has no trials: nothing to draw yet; "),
    "no params at all": (("DELETE FROM params",), "the store has no trials: nothing to draw yet; "),
    "an unknown status": (
        (f"UPDATE tags SET value = 'dreaming' WHERE key = '{STATUS_TAG}'",),
        "store: unknown status dreaming; a newer rnnlab may have written it",
    ),
    "a column that every figure needs": (
        ("DELETE FROM params WHERE key = 'train.passes_to_solve'",),
        "figure learnability: the store's runs have no train.passes_to_solve; were they written by rnnlab?",
    ),
    "a table with another name, as a newer MLflow may make it": (
        ("ALTER TABLE latest_metrics RENAME TO newest_metrics",),
        "cannot be read (no such table: latest_metrics); must be a database of this version of MLflow",
    ),
    "a column with another name": (
        ("ALTER TABLE runs RENAME COLUMN artifact_uri TO artifacts",),
        "cannot be read (no such column: runs.artifact_uri); must be a database of this version of MLflow",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_refuses(case, copied, tmp_path, capsys):
    commands, line = REFUSED[case]
    execute(copied, *commands)
    status, said = built(copied, capsys, tmp_path / "out")
    assert (status, said.count("\n")) == (2, 1)
    assert line in said
    assert not (tmp_path / "out").exists()


def test_a_database_that_is_torn_in_the_middle_is_refused_in_one_line(copied, tmp_path, capsys):
    content = bytearray(copied.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    copied.write_bytes(content)
    status, said = built(copied, capsys, tmp_path / "out")
    assert (status, said.count("\n")) == (2, 1)
    told = "cannot be read (database disk image is malformed); must be a database that is not damaged, such as a copy"
    assert said == f"store.path={copied}: {told}\n"


@pytest.mark.parametrize(
    ("content", "what"), [(b"", "an empty file"), (b"some text, longer than nothing" * 99, "not a SQLite database")]
)
def test_who_only_reads_is_not_told_where_a_store_can_be_made(content, what, tmp_path, capsys):
    path = tmp_path / "store.db"
    path.write_bytes(content)
    told = f"store.path={path}: {what}; must be a store that a sweep has written\n"
    assert built(path, capsys, tmp_path / "out") == (2, told)


@pytest.mark.parametrize("content", ["", "{", '{"keys": 1}'])
def test_a_plan_that_cannot_be_read_is_told_on_the_page(content, copied, tmp_path, capsys):
    (plan,) = sqlite_place(copied).artifacts.rglob("plan.json")
    plan.write_text(content)
    assert built(copied, capsys, tmp_path / "out") == (0, "")
    assert "A sweep whose plan cannot be read" in (tmp_path / "out" / "demo" / "index.html").read_text()


def test_names_are_shown_as_they_are_and_mean_nothing(schema, tmp_path, capsys):
    path = Path(shutil.copy(schema, tmp_path / "store.db"))
    fill(
        path,
        TRIALS[:4],
        "demo",
        {**TAGS, "rnnlab.git_commit": EVIL, "rnnlab.versions": EVIL, "rnnlab.device": EVIL},
        name=EVIL,
    )
    safe = EVIL.replace("'", "''")
    execute(
        path,
        f"UPDATE tags SET value = '{safe}' WHERE key IN ('rnnlab.host', 'rnnlab.numerics', '{ERROR_TAG}')",
        f"UPDATE params SET value = '{safe}' WHERE key = 'init' AND run_uuid = {FIRST_RUN}",
        f"UPDATE params SET value = '{safe}' WHERE key = 'cell.nonlinearity' AND run_uuid = {FIRST_RUN}",
        f"UPDATE experiments SET name = '{safe}' WHERE name = 'demo'",
    )
    assert built(path, capsys, tmp_path / "out") == (0, "")
    folder = tmp_path / "out" / folder_name(EVIL)
    for page in (tmp_path / "out").rglob("*.html"):
        text = page.read_text()
        assert "<script" not in text
        assert "</script" not in text
        assert "<b> &" not in text
        assert "&lt;/script&gt;&lt;script&gt;" in text
    assert not any("<script" in file.read_text() for file in folder.glob("*.svg"))
    markdown = (folder / "report.md").read_text()
    outside = re.sub(r"(`{3,}).*?\n\1", "", markdown, flags=re.DOTALL)
    assert "<script" not in outside
    assert "[x](javascript" not in outside
    assert not re.search(r"(?<!\\)\| `", outside)


def test_each_launch_is_listed_once_whatever_its_name(copied, tmp_path, capsys):
    execute(copied, f"UPDATE tags SET value = '{'x' * 300}<i>' WHERE key = '{LAUNCH_TAG}'")
    assert built(copied, capsys, tmp_path / "out") == (0, "")
    assert "<i>" not in (tmp_path / "out" / "demo" / "index.html").read_text()


def test_what_is_missing_is_named_by_its_settings(copied, tmp_path, capsys):
    built(copied, capsys, tmp_path / "out")
    page = (tmp_path / "out" / "demo" / "index.html").read_text()
    assert "1 never begun, 1 unfinished and 1 failed, of 13 trials" in page
    assert "<li>delay 40 · radius 1 · seed 9</li>" in page
    assert "<li>delay 20 · radius 1.2 · seed 1</li>" in page
    assert "<li>delay 20 · radius 0.8 · seed 1: ValueError: " in page


def test_without_distances_the_page_says_what_cannot_be_drawn(copied, tmp_path, capsys):
    execute(copied, "DELETE FROM params WHERE key = 'distance'")
    status, said = built(copied, capsys, tmp_path / "out")
    assert status == 1
    assert all(line.startswith("demo: figure ") for line in said.splitlines())
    assert said.startswith("demo: figure learnability: ")
    page = (tmp_path / "out" / "demo" / "index.html").read_text()
    assert "This figure could not be drawn: " in page
    assert '<section id="headline"' in page


def test_a_figure_that_fails_costs_no_other_figure_and_no_page(copied, tmp_path, capsys, monkeypatch):
    def broken(*frames):
        raise ZeroDivisionError("no way")

    monkeypatch.setattr("reports.figures.learnability.draw", broken)
    status, said = built(copied, capsys, tmp_path / "out")
    assert (status, said) == (1, "demo: figure learnability: ZeroDivisionError: no way\n")
    page = (tmp_path / "out" / "demo" / "index.html").read_text()
    assert "This figure could not be drawn: ZeroDivisionError: no way" in page
    assert "<figure>" in page
