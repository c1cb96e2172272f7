"""The report and the MLflow UI as a real browser shows them: headless Chromium, on this machine alone."""

import io
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browsers import WIDE
from PIL import Image
from selenium.webdriver.common.by import By

from reports import browser
from reports.request import Request
from reports.screenshots import served, show
from reports.writing import build
from rnnlab.store.reader import Reader

NARROW = (390, 844)  # a telephone, in CSS pixels
SHOWN = "document.readyState === 'complete'"
BOXES = """return [...document.querySelectorAll('figure svg')].map(svg => {
    const box = svg.getBoundingClientRect(); return [box.left, box.right, box.height]})"""
LINKS = "return [...document.links].map(link => link.href)"
FEWEST_COLOURS = 10  # of a figure that shows something
CARDS = "[data-testid=experiment-view-compare-runs-card]"
NOTICES = "[class*=notification], [class*=error-boundary]"


@pytest.fixture(scope="module")
def folder(swept, tmp_path_factory) -> Path:
    """Where the report of the sweep is."""
    out = tmp_path_factory.mktemp("report")
    build(Reader(swept), Request(("tests",), swept, out, attach=True))
    return out


@pytest.fixture
def report(chromium, folder):
    """The browser, with the report open from a file at the width of a desk."""
    browser.resize(chromium, *WIDE)
    chromium.get("about:blank")
    browser.requests(chromium), browser.complaints(chromium)
    chromium.get((folder / "tests" / "index.html").as_uri())
    browser.until(chromium, SHOWN, "report")
    return chromium


def test_the_report_opens_from_a_file_without_a_complaint_or_a_request_to_anywhere_else(report, folder):
    page = (folder / "tests" / "index.html").as_uri()
    assert [url for url in browser.requests(report) if not url.startswith("data:")] == [page]
    assert browser.complaints(report) == []


def test_every_figure_is_seen_within_the_width_of_the_page(report):
    boxes = report.execute_script(BOXES)
    assert boxes
    for left, right, height in boxes:
        assert 0 <= left < right <= WIDE[0]
        assert height > 0


def test_no_figure_is_blank(report):
    for svg in report.find_elements(By.CSS_SELECTOR, "figure svg"):
        pixels = Image.open(io.BytesIO(svg.screenshot_as_png)).convert("RGB")
        assert len(pixels.getcolors(pixels.width * pixels.height)) >= FEWEST_COLOURS


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
def test_the_report_does_not_scroll_sideways(report, size):
    browser.resize(report, *size)
    browser.until(report, f"innerWidth === {size[0]}", "page of this width")
    assert report.execute_script("return document.documentElement.scrollWidth") <= size[0]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desk", "telephone"])
def test_the_headline_is_on_the_first_screen(report, size):
    browser.resize(report, *size)
    browser.until(report, f"innerWidth === {size[0]}", "page of this width")
    top = report.execute_script("return document.getElementById('headline').getBoundingClientRect().top")
    assert 0 <= top < 0.8 * size[1]


def test_every_link_of_report_and_index_leads_to_a_file(report, folder):
    for page in ("tests/index.html", "index.html"):
        report.get((folder / page).as_uri())
        browser.until(report, SHOWN, page)
        links = report.execute_script(LINKS)
        assert links
        assert [link for link in links if not Path(unquote(urlsplit(link).path)).is_file()] == []


@pytest.fixture(scope="module")
def link(swept, folder):
    """What `experiments.ui` prints for the experiment of the sweep; the UI is served meanwhile."""
    with served(swept, "tests") as address:
        yield address


@pytest.fixture
def ui(chromium, link):
    """The browser, with what the link opens."""
    chromium.get("about:blank")
    show(chromium, link)
    return chromium


def texts(driver, selector) -> list[str]:
    return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]


@pytest.mark.slow
def test_the_link_opens_on_runs_of_the_sweep_in_their_groups(ui):
    lines = [line for row in texts(ui, "[role=row]") for line in row.splitlines()]
    assert len([line for line in lines if line.startswith("elman copy delay=")]) == 8
    assert len([line for line in lines if line.startswith("Group: distance: ")]) == 4


@pytest.mark.slow
def test_the_link_opens_on_charts_in_which_every_group_is_drawn(ui):
    cards = ui.find_elements(By.CSS_SELECTOR, CARDS)
    assert all(card.size["width"] > 100 and card.size["height"] > 100 for card in cards)
    drawn = {card.text.splitlines()[0]: card for card in cards}
    assert {"distance vs. solved", "eval/relative_loss", "eval/accuracy", "train/gradient_norm"} <= drawn.keys()
    marks = {"distance vs. solved": ".points path"}
    for title in ("distance vs. solved", "eval/relative_loss", "eval/accuracy", "train/gradient_norm"):
        paths = drawn[title].find_elements(By.CSS_SELECTOR, f".scatterlayer {marks.get(title, 'path.js-line')}")
        assert len([path for path in paths if path.get_attribute("d")]) >= 4, title


@pytest.mark.slow
def test_the_ui_reports_no_error(ui):
    assert texts(ui, NOTICES) == []
    assert "Error" not in ui.find_element(By.TAG_NAME, "body").text


@pytest.mark.slow
def test_the_list_has_the_chosen_columns(ui, link):
    ui.get(link.replace("=CHART", "=TABLE"))
    browser.until(ui, "document.querySelectorAll('[col-id*=seed][role=gridcell]').length >= 8", "column of seeds")
    chosen = {"task.delay", "init.spectral_radius", "seed", "solved", "eval/accuracy", "trained_steps", "status"}
    assert chosen <= set(texts(ui, "[role=columnheader]"))  # without those that no run has


@pytest.mark.slow
def test_the_description_leads_to_the_report_which_is_shown_inline(ui):
    ui.get(ui.find_element(By.LINK_TEXT, "Report").get_attribute("href"))
    browser.until(ui, "document.querySelector('iframe')", "report")
    ui.switch_to.frame(ui.find_element(By.TAG_NAME, "iframe"))
    try:
        browser.until(ui, "document.querySelector('figure svg')", "figure")
        assert ui.find_element(By.TAG_NAME, "h1").text == "tests"
        for left, right, height in ui.execute_script(BOXES):
            assert 0 <= left < right
            assert height > 0
    finally:
        ui.switch_to.default_content()


@pytest.mark.slow
def test_the_description_leads_to_the_plan_and_says_how_to_read_the_page(ui):
    ui.find_element(By.CSS_SELECTOR, "[data-component-id='mlflow.experiment.metadata_editor.expand_button']").click()
    browser.until(ui, "document.body.innerText.includes('MLflow loads 100 runs at a time')", "explanation")
    ui.get(ui.find_element(By.PARTIAL_LINK_TEXT, "plan").get_attribute("href"))
    browser.until(ui, "document.body.innerText.includes('8: 0 finished already, 8 to run')", "plan")
