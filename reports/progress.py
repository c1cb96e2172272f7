"""What a person sees while figures are drawn: on a terminal, on stderr, and nowhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Display(Protocol):
    """Is told what is drawn."""

    def begin(self, name: str) -> None:
        """What is drawn now."""

    def done(self) -> None:
        """One figure more is drawn."""


class Silent:
    """Shows nothing."""

    def begin(self, name: str) -> None:
        pass

    def done(self) -> None:
        pass


SILENT = Silent()


class Bar:
    """A bar over so many figures."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("drawing"), BarColumn(bar_width=28), MofNCompleteColumn(), TimeElapsedColumn())
        what = TextColumn("{task.description}", markup=False)
        console = Console(stderr=True, highlight=False)
        self.progress = Progress(*columns, what, console=console, transient=True)
        self.task = self.progress.add_task("", total=total)

    def begin(self, name: str) -> None:
        self.progress.update(self.task, description=name)

    def done(self) -> None:
        self.progress.update(self.task, advance=1)


@contextlib.contextmanager
def shown(total: int) -> Iterator[Display]:
    """Within, a display over so many figures."""
    if not sys.stderr.isatty():
        yield SILENT
        return
    bar = Bar(total)
    with bar.progress:
        yield bar
