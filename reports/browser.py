"""A headless Chromium with a profile of its own, for pictures of pages and for tests of them.

Debian's packages `chromium` and `chromium-driver` are one build: the driver fits the browser, nothing is fetched.
Selenium comes with `pip install 'rnnlab[dev]'`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rnnlab.refusal import BadInput

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root, as in a container, cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # which containers keep small
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
    # As with a mouse: without one, charts show their buttons all the time.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
)
PATIENCE = 120  # seconds until a page must show what it is opened for


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextlib.contextmanager
def opened(width: int, height: int) -> Iterator[Chrome]:
    """A browser whose pages have this size in CSS pixels; `BadInput` where there is none."""
    if gone := missing():
        raise BadInput(
            f"{' and '.join(gone)}: not installed; must be there, for example: apt install chromium chromium-driver"
        )
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
    except ModuleNotFoundError as error:
        raise BadInput("selenium: not installed; must be there, for example: pip install 'rnnlab[dev]'") from error
    with tempfile.TemporaryDirectory(prefix="rnnlab-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which(PROGRAMS[0])
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(shutil.which(PROGRAMS[1]), env={**os.environ, "HOME": profile})
        try:
            driver = webdriver.Chrome(options, service)
        except WebDriverException as error:
            raise BadInput(
                f"chromium: did not start ({(error.msg or type(error).__name__).splitlines()[0]})"
            ) from error
        try:
            resize(driver, width, height)
            yield driver
        finally:
            driver.quit()


def resize(driver: Chrome, width: int, height: int) -> None:
    """Give pages this size; a window cannot be as narrow as a telephone is."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def until(driver: Chrome, condition: str, what: str) -> Any:
    """Wait until a JavaScript expression is true and return its value; `BadInput` names `what` did not come."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        return WebDriverWait(driver, PATIENCE).until(_evaluated(condition))
    except TimeoutException as error:
        raise BadInput(f"{driver.current_url}: no {what} within {PATIENCE} seconds") from error


def _evaluated(condition: str) -> Callable[[Chrome], Any]:
    return lambda driver: driver.execute_script(f"return {condition}")


def complaints(driver: Chrome) -> list[str]:
    """What pages said to the console since the last call that is worse than a warning."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def requests(driver: Chrome) -> list[str]:
    """The addresses that pages asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
