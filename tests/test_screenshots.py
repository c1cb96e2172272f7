"""`make screenshots`: what it refuses, and the pictures it takes."""

import errno
import shutil

import pytest
from builders import trial
from PIL import Image

from reports import browser, screenshots
from rnnlab.engine import EngineSettings, run
from rnnlab.refusal import BadInput
from rnnlab.store import StoreSettings

MOST_BYTES = 300_000  # of a picture in a README


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["store.pth=a"], ["store.pth=a: unknown key; did you mean store.path? allowed: store.path, out"]),
        (["out="], ["out=: must be a path"]),
        (["--quiet"], ["--quiet=: unknown key; allowed: store.path, out"]),
        (["one", "two"], ["one two: must be one experiment"]),
    ],
)
def test_wrong_words_are_refused_in_one_line_each(words, lines):
    with pytest.raises(BadInput) as refused:
        screenshots.parse(words)
    assert list(refused.value.problems) == lines


def test_a_missing_store_is_told_in_one_line(tmp_path, capsys):
    assert screenshots.main([f"store.path={tmp_path}/none.db"]) == 2
    line = f"store.path={tmp_path}/none.db: no store there; run a sweep first, for example: make demo\n"
    assert capsys.readouterr().err == line


def test_an_experiment_that_is_not_there_is_told_with_those_that_are(store, capsys):
    small = trial(max_steps=2, eval_size=2, hidden_size=4)
    run([small], "tests", StoreSettings(str(store)), EngineSettings(progress="quiet"), "")
    assert screenshots.main([f"store.path={store}"]) == 2
    assert capsys.readouterr().err == f"demo_copy: not in {store}; must be one of: tests\n"


def test_a_full_disk_is_told_in_one_line_with_the_folder(monkeypatch, tmp_path, capsys):
    def full(request):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(screenshots, "take", full)
    assert screenshots.main([f"out={tmp_path}"]) == 2
    told = f"out={tmp_path}: No space left on device; free some and give the same command again\n"
    assert capsys.readouterr().err == told


def test_a_missing_browser_is_told_with_the_packages_that_have_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(BadInput, match="chromium and chromedriver: not installed") as refused, browser.opened(100, 100):
        pass
    assert "apt install chromium chromium-driver" in str(refused.value)


@pytest.mark.slow
@pytest.mark.usefixtures("chromium")
def test_both_pictures_are_taken_and_small(swept, tmp_path):
    assert screenshots.main(["tests", f"store.path={swept}", f"out={tmp_path}"]) == 0
    sizes = {"report.png": screenshots.WIDTH, "mlflow.png": screenshots.UI_SIZE[0]}
    for name, width in sizes.items():
        picture = Image.open(tmp_path / name)
        assert picture.width == width
        assert len(picture.getcolors(256)) > 50
        assert (tmp_path / name).stat().st_size < MOST_BYTES
