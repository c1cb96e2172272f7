"""A build writes whole files, the same bytes for the same store, and refuses what is not possible in one line."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import matplotlib as mpl
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, copy_sweep, frame_of, given, origin_of, unlucky

from reports import files, style, writing
from reports import page as page_module
from reports.build import main
from reports.figures import in_order, learnability, meant_for
from reports.request import OUT, Request, parse
from reports.writing import build
from rnnlab.store import DEFAULT_PATH
from rnnlab.store.origins import Provenance

COPY = frame_of(copy_sweep(seed=range(2)))
ONE_RUN = frame_of(copy_sweep(delay=20, init="gaussian", spectral_radius=1.0, seed=0))
ODD = "small/../<b>x</b>"  # the name of an experiment


class Store:
    """What reports need of a store, without one."""

    def __init__(self, **frames: pd.DataFrame) -> None:
        self.frames = frames

    def experiments(self) -> list[str]:
        return sorted(self.frames)

    def frame(self, experiment: str) -> pd.DataFrame:
        return self.frames[experiment].copy()

    def courses(self, experiment: str, metrics: Collection[str]) -> pd.DataFrame:
        return Diagnosed(self.frames[experiment]).courses(experiment, metrics)

    def observations(self, experiment: str, quantities: Collection[str]) -> pd.DataFrame:
        return Diagnosed(self.frames[experiment]).observations(experiment, quantities)

    def planned(self, experiment: str) -> pd.DataFrame:
        return Diagnosed(self.frames[experiment]).planned(experiment)

    def provenance(self, experiment: str) -> Provenance:
        return origin_of(self.frames[experiment])


SMALL = Store(**{"demo": ONE_RUN, ODD: ONE_RUN})  # drawn in a moment, where what is drawn does not matter


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def store() -> Store:
    demo = unlucky(frame_of([*copy_sweep(seed=range(3), clip_threshold=[1.0, None]), *adding_sweep(seed=range(3))]))
    return Store(**{"demo": demo, "empty": demo.iloc[:0], ODD: ONE_RUN})


@pytest.fixture(scope="module")
def built(store, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reports")
    build(store, Request(out=out))
    return out


def test_a_build_writes_the_files_of_every_experiment_that_has_trials(store, built):
    expected = {"index.html"}
    for experiment in ("demo", ODD):
        kinds = (*style.KINDS, "csv")
        drawn = [f"{name}.{kind}" for name in meant_for(store.frame(experiment)) for kind in kinds]
        written = ("index.html", "report.md", "summary.json", *drawn)
        expected |= {f"{files.folder_name(experiment)}/{name}" for name in written}
    assert set(contents(built)) == expected


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(store, built, tmp_path):
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.hashsalt": None}):  # somebody's own settings
        build(store, Request(out=tmp_path))
    assert contents(tmp_path) == contents(built)


def test_the_csv_file_holds_the_table(store, built):
    read = pd.read_csv(built / "demo" / "learnability.csv")
    table = learnability.table(store.frame("demo"))
    pd.testing.assert_frame_equal(read, table, check_dtype=False, rtol=1e-9)


def test_a_page_is_whole_in_one_file(built):
    page = (built / "demo" / "index.html").read_text()
    assert "<svg" in page
    assert "<?xml" not in page
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(\s*['\"]?http", page)


def test_a_page_shows_caption_numbers_counts_settings_and_command(store, built):
    frame, page = store.frame("demo"), (built / "demo" / "index.html").read_text()
    assert learnability.caption(frame) in page
    for status, count in frame["status"].value_counts().items():
        assert f"<b>{count}</b> {status}" in page
    assert "<dt>train.clip_threshold</dt><dd>1, off</dd>" in page
    assert "<dt>task.symbols</dt><dd>3</dd>" in page
    assert "torch 2.13.0, cpu, torch, AVX2" in page
    assert ">python -m reports.build demo</pre>" in page
    tables = [module.table(*given(module, frame)) for module in meant_for(frame, "demo").values()]
    assert rows_of_figures(page) == sum(min(len(table), page_module.MOST_ROWS) + 1 for table in tables)


def rows_of_figures(page: str) -> int:
    """Lines of the tables of figures."""
    return sum(details.count("<tr>") for details in re.findall("<details>.*?</details>", page, re.DOTALL))


@pytest.mark.usefixtures("one_kind_of_file")
def test_of_a_long_table_a_page_shows_the_first_rows_and_says_where_all_of_them_are(tmp_path, monkeypatch):
    build(SMALL, Request(("demo",), out=tmp_path))
    whole = (tmp_path / "demo" / "index.html").read_text()
    assert "rows; all of them are in" not in whole
    monkeypatch.setattr(page_module, "MOST_ROWS", 2)
    build(Store(demo=COPY), Request(("demo",), out=tmp_path))
    page, csv = (tmp_path / "demo" / name for name in ("index.html", "learnability.csv"))
    count = len(pd.read_csv(csv))
    assert count == len(learnability.table(COPY)) > 2
    told = f'The first 2 of {count} rows; all of them are in\n<a href="learnability.csv">learnability.csv</a>'
    assert told in page.read_text()
    tables = [module.table(*given(module, COPY)) for module in meant_for(COPY, "demo").values()]
    assert rows_of_figures(page.read_text()) == sum(min(len(table), 2) + 1 for table in tables)


def test_links_lead_to_files(built):
    for page in built.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#]+)"', page.read_text()):
            assert (page.parent / unquote(link)).is_file(), f"{page}: {link}"


@pytest.mark.usefixtures("one_kind_of_file")
def test_text_from_the_store_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    frame = COPY.assign(init=COPY["init"].replace("gaussian", evil), numerics=evil, **{"cell.nonlinearity": evil})
    build(Store(**{evil: frame}), Request(out=tmp_path))
    for page in tmp_path.rglob("*.html"):
        assert "<script" not in page.read_text()
    assert (tmp_path / files.folder_name(evil) / "index.html").read_text().count("&lt;script&gt;") >= 4


@pytest.mark.parametrize("name", ["..", ".", "../up", "/etc", "a/b", "a%2Fb", ".hidden", "plain-name_1.2", "Straße 5"])
def test_no_experiment_is_written_outside_its_folder(name, tmp_path):
    folder = files.folder_name(name)
    assert (tmp_path / folder).resolve().parent == tmp_path.resolve()
    assert unquote(folder) == name


@pytest.mark.usefixtures("one_kind_of_file")
def test_mixed_numerics_are_named(tmp_path):
    mixed = COPY.assign(numerics=COPY["numerics"].where(COPY["seed"] > 0, "torch 2.14.0, cpu, torch, AVX512"))
    build(Store(mixed=mixed), Request(out=tmp_path))
    page = (tmp_path / "mixed" / "index.html").read_text()
    assert "computed in 2 different ways" in page
    assert "AVX512" in page


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    target = files.write(tmp_path / "figure.svg", b"old")

    def break_off(self, content):
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", break_off)
    with pytest.raises(OSError, match="disk full"):
        files.write(target, b"new")
    assert contents(tmp_path) == {"figure.svg": b"old"}


@pytest.mark.usefixtures("one_kind_of_file")
def test_the_list_keeps_experiments_built_before(tmp_path):
    build(SMALL, Request(("demo",), out=tmp_path))
    build(SMALL, Request((ODD,), out=tmp_path))
    index = (tmp_path / "index.html").read_text()
    assert 'href="demo/index.html"' in index
    assert index.count("<h2><a href") == 2


# Command line


@pytest.mark.usefixtures("one_kind_of_file")
def test_the_command_says_where_the_figures_are_and_what_to_open(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "out=here"], lambda path: Store(demo=COPY)) == 0
    count = len(meant_for(COPY, "demo"))
    assert count > 1
    told = [f"demo: {count} figures in here/demo", "Open here/index.html in a browser."]
    assert capsys.readouterr().out.splitlines() == told


def test_arguments_are_experiments_and_paths():
    request = parse(["b", "a", "b", "store.path=my runs/x.db"])
    assert (request.experiments, request.store, request.out) == (("b", "a"), Path("my runs/x.db"), OUT)
    assert request.command("a") == "python -m reports.build a 'store.path=my runs/x.db'"


def test_the_command_on_a_page_names_a_store_only_where_it_is_not_the_usual_one(monkeypatch):
    """The same store gives the same bytes, whether it was named or not."""
    monkeypatch.chdir(DEFAULT_PATH.parents[1])
    for words in ([], ["store.path=runs/rnnlab.db"], [f"store.path={DEFAULT_PATH}"]):
        assert parse(words).command("a") == "python -m reports.build a"
    assert parse(["store.path=runs/other.db"]).command("a") == "python -m reports.build a store.path=runs/other.db"


REFUSED = {
    "an unknown experiment": (["demo", "dmeo"], "experiment dmeo: not in the store; there are: demo, empty, "),
    "an experiment without trials": (["empty"], "experiment empty: no trials, nothing to draw yet"),
    "an unknown key": (
        ["store.pth=x"],
        "store.pth=x: unknown key; did you mean store.path? allowed: store.path, store.uri, out, attach",
    ),
    "an unknown option": (["--verbose"], "--verbose=: unknown key; allowed: store.path, store.uri, out, attach"),
    "neither true nor false": (["attach=yes"], "attach=yes: must be true or false"),
    "no path": (["out="], "out=: must be a path"),
    "no URI": (["store.uri="], "store.uri=: must be a URI"),
    "two stores": (["store.uri=http://h", "store.path=x"], "store.path: is given beside store.uri; must be one of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_possible_is_refused_in_one_line(case, store, tmp_path, capsys):
    arguments, line = REFUSED[case]
    assert main([*arguments[:0], f"out={tmp_path}", *arguments], lambda path: store) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line)
    assert printed.err.count("\n") == 1
    assert contents(tmp_path) == {}


def test_every_problem_has_a_line(store, capsys):
    assert main(["a=1", "b=2", "out="], lambda path: store) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize("empty", [Store(), Store(planned=COPY.iloc[:0])])
def test_a_store_without_trials_has_nothing_to_draw_yet(empty, tmp_path, capsys):
    assert main([f"out={tmp_path}"], lambda path: empty) == 2
    assert "nothing to draw yet" in capsys.readouterr().err


def test_a_store_that_does_not_know_the_columns_is_refused_before_anything_is_written(store, tmp_path, capsys):
    broken = Store(demo=COPY, other=COPY.drop(columns="distance"))
    assert main([f"out={tmp_path}"], lambda path: broken) == 2
    assert capsys.readouterr().err.startswith("figure learnability: the store's runs have no distance;")
    assert contents(tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_refused_in_one_line(store, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main([f"out={tmp_path / 'taken'}"], lambda path: store) == 2
    line = rf"out={tmp_path}/taken: .*; must be a folder that can be written\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_a_full_disk_is_told_in_one_line_with_the_folder(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main([f"out={tmp_path}"], lambda path: SMALL) == 2
    told = f"out={tmp_path}: No space left on device; free some and give the same command again\n"
    assert capsys.readouterr() == ("", told)


def test_ctrl_c_while_it_loads_is_one_line(capsys, monkeypatch):
    code = """
import sys
from reports.build import main

class Interrupted:
    def find_spec(self, name, *_):
        if name == "pandas":
            raise KeyboardInterrupt

assert "pandas" not in sys.modules
sys.meta_path.insert(0, Interrupted())
sys.exit(main([]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "interrupted; the same command begins again\n"


@pytest.mark.parametrize(("content", "reason"), [(None, "no store there"), (b"no database", "not a SQLite database")])
def test_without_a_store_there_is_one_line_and_no_file(content, reason, tmp_path, capsys):
    path, out = tmp_path / "runs.db", tmp_path / "out"
    if content is not None:
        path.write_bytes(content)
    assert main([f"store.path={path}", f"out={out}"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"store.path={path}: {reason}")
    assert printed.count("\n") == 1
    assert path.exists() == (content is not None)
    assert not out.exists()


def test_reports_load_neither_torch_nor_mlflow_nor_hydra():
    code = """
import json, sys
from reports import figures, writing
figures.figures()
import rnnlab.store.reader
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "mlflow", "hydra", "omegaconf", "experiments"} & set(json.loads(loaded.stdout))


def test_a_figure_that_is_not_meant_for_the_frame_any_more_is_removed(tmp_path, monkeypatch):
    build(SMALL, Request(("demo",), out=tmp_path))
    stale = tmp_path / "demo" / "truncation.svg"
    stale.write_text("drawn before")
    monkeypatch.setattr(writing, "in_order", lambda experiment: {"truncation": None} | in_order(experiment))
    build(SMALL, Request(("demo",), out=tmp_path))
    assert not stale.exists()
