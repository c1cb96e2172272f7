"""Pictures of the report and of the MLflow UI, as a browser shows them.

python -m reports.screenshots [EXPERIMENT] [store.path=FILE] [out=FOLDER]

Writes OUT/report.png and OUT/mlflow.png, of demo_copy or the experiment named. Needs Chromium and its driver (Debian's
packages chromium and chromium-driver) and `pip install 'rnnlab[dev]'`.
"""

from __future__ import annotations

import contextlib
import io
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from reports import browser, writing
from reports import request as command_line
from reports.files import folder_name, write
from rnnlab.refusal import BadInput, unknown_key
from rnnlab.store import DEFAULT_PATH
from rnnlab.store.files import unwritten
from rnnlab.store.reader import Reader

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

OUT = Path(__file__).parent / "gallery" / "screenshots"
EXPERIMENT = "demo_copy"
KEYS = ("store.path", "out")
WIDTH, LONGEST = 1280, 1600  # of the picture of the report, in CSS pixels; it ends with the first figure
UI_SIZE = (1600, 1240)
COLOURS = 255  # of a picture: a few hundred shades of text and of lines look the same in as many
SHOWN = "document.readyState === 'complete' && document.querySelector('figure svg')"
FIRST_FIGURE = "return document.querySelector('figure').getBoundingClientRect().bottom"
MARGIN = 4  # CSS pixels below it
# MLflow opens a panel for other work on the first visit.
NO_PANEL = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
# In every chart of the first screen something is drawn.
DRAWN = """(cards => cards.length > 0 && cards.every(card => card.querySelector(
    '.contourlayer path[d], .scatterlayer .points path, .scatterlayer path.js-line[d]')))(
    [...document.querySelectorAll('[data-testid=experiment-view-compare-runs-card]')].filter(
        card => card.getBoundingClientRect().top < innerHeight))"""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    experiment: str = EXPERIMENT
    store: Path = DEFAULT_PATH
    out: Path = OUT


def parse(arguments: Sequence[str]) -> Request:
    """The request; `BadInput` names every argument that cannot be understood."""
    names = [argument for argument in arguments if "=" not in argument and not argument.startswith("-")]
    given = [argument.partition("=") for argument in arguments if argument not in names]
    problems = [unknown_key(key, KEYS, value) for key, _, value in given if key not in KEYS]
    problems += [f"{key}=: must be a path" for key, _, value in given if key in KEYS and not value]
    if len(names) > 1:
        problems.append(f"{' '.join(names)}: must be one experiment")
    if problems:
        raise BadInput(*problems)
    paths = {key: Path(value).expanduser() for key, _, value in given}
    store, out = paths.get("store.path", DEFAULT_PATH), paths.get("out", OUT)
    return Request(names[0] if names else EXPERIMENT, store, out)


def take(request: Request) -> list[Path]:
    """Write the pictures and return their files."""
    reader = Reader(request.store)
    if request.experiment not in reader.experiments():
        known = ", ".join(reader.experiments()) or "none"
        raise BadInput(f"{request.experiment}: not in {request.store}; must be one of: {known}")
    with browser.opened(WIDTH, LONGEST) as driver:
        report = of_report(driver, reader, request)
        ui = of_ui(driver, request)
    return [write(request.out / name, png) for name, png in (("report.png", report), ("mlflow.png", ui))]


def of_report(driver: Chrome, reader: Reader, request: Request) -> bytes:
    """The report's beginning, to the end of its first figure."""
    with tempfile.TemporaryDirectory() as folder:
        writing.build(reader, command_line.Request((request.experiment,), request.store, Path(folder)))
        driver.get((Path(folder) / folder_name(request.experiment) / "index.html").as_uri())
        browser.until(driver, SHOWN, "figure")
        browser.resize(driver, WIDTH, min(LONGEST, math.ceil(driver.execute_script(FIRST_FIGURE)) + MARGIN))
        return picture(driver)


def of_ui(driver: Chrome, request: Request) -> bytes:
    """The first screen of what the link to the experiment opens."""
    with served(request.store, request.experiment) as link:
        show(driver, link)
        return picture(driver)


def show(driver: Chrome, link: str) -> None:
    """Open the MLflow UI at a link to charts, and wait for them."""
    browser.resize(driver, *UI_SIZE)
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NO_PANEL})
    driver.get(link)
    browser.until(driver, DRAWN, "charts")


@contextlib.contextmanager
def served(store: Path, experiment: str) -> Iterator[str]:
    """The link to an experiment that `experiments.ui` prints; the UI is served within."""
    command = [sys.executable, "-m", "experiments.ui", f"store.path={store.absolute()}"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root) as server:  # noqa: S603
        try:
            yield _link(server, experiment)
        finally:
            server.terminate()


def _link(server: subprocess.Popen[str], experiment: str) -> str:
    assert server.stdout is not None and server.stderr is not None  # noqa: S101, PT018 - both are piped
    for line in server.stdout:
        name, _, link = line.strip().rpartition(" ")
        if name.rstrip() == experiment:
            return link
    raise BadInput(server.stderr.read().strip() or f"{experiment}: the MLflow UI has no link to it")


def picture(driver: Chrome) -> bytes:
    """The first screen of the page as a PNG with few colours."""
    whole = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    small = io.BytesIO()
    few = whole.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    return small.getvalue()


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0, or 2 where the pictures cannot be taken, with one line for each problem."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    out = OUT
    try:
        request = parse(arguments)
        out = request.out
        files = take(request)
    except BadInput as problem:
        print(problem, file=sys.stderr)
        return 2
    except OSError as error:
        print(unwritten("out", out, error, "a folder"), file=sys.stderr)
        return 2
    for file in files:
        print(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
