"""The figures of one experiment, drawn side by side in processes where the machine has the cores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import pandas as pd

from reports.drawings import Drawing, Undrawn, drawn
from reports.figures import title
from reports.progress import SILENT, Display

MOST_PROCESSES = 3  # each holds what its figure reads
Result: TypeAlias = Drawing | Undrawn

_work: list[Callable[[str], Result]] = []  # what processes that are forked now do; they inherit it, and its frames


def cores() -> int:
    """Processes that may draw at a time."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MOST_PROCESSES)


@contextlib.contextmanager
def drawing(
    modules: Mapping[str, ModuleType],
    frame: pd.DataFrame,
    more: Callable[[ModuleType], list[pd.DataFrame]],
    folder: Path | None,
    processes: int = 1,
    display: Display = SILENT,
) -> Iterator[Callable[[], list[Result]]]:
    """Within, figures are drawn; what is given waits for all of them, in the order of `modules`.

    `more` reads what a figure takes beside the frame. With several processes each figure is drawn in a fork of this
    one, which `more` must bear, while this one goes on; else they are drawn when they are waited for.
    """

    def draw(name: str) -> Result:
        return drawn(name, modules[name], [frame, *more(modules[name])], folder)

    if processes < 2 or len(modules) < 2:
        yield lambda: [_shown(draw, name, display) for name in modules]
        return
    context = multiprocessing.get_context("fork")
    _work.append(draw)
    try:
        with ProcessPoolExecutor(min(processes, len(modules)), context, _ignore_interrupts) as pool:
            futures = {name: pool.submit(_draw, name) for name in modules}
            for future in futures.values():
                future.add_done_callback(lambda _: display.done())
            yield lambda: [_result(future, name, modules[name]) for name, future in futures.items()]
    finally:
        _work.pop()


def _shown(draw: Callable[[str], Result], name: str, display: Display) -> Result:
    display.begin(name)
    result = draw(name)
    display.done()
    return result


def _draw(name: str) -> Result:
    return _work[-1](name)


def _ignore_interrupts() -> None:
    """Ctrl-C goes to all processes of a terminal; the first of them ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(future: Future[Result], name: str, module: ModuleType) -> Result:
    try:
        return future.result()
    except BrokenProcessPool:  # for want of memory, most likely
        return Undrawn(name, title(module), "its process was killed")
