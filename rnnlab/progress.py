"""What a person sees of a sweep while it runs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, SOLVED, Record

MODES = ("auto", "live", "plain", "quiet")
COLOURS = {SOLVED: "green", EXHAUSTED: "yellow", DIVERGED: "magenta", FAILED: "red"}
PLAIN_LINES = 10  # lines over a whole sweep where there is no terminal


class Display:
    """A progress display over `total` trials, `done` of which are finished already; a context manager."""

    def __init__(self, mode: str, total: int, done: int, title: str) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.mode = _resolve(mode, self.console)
        self.total, self.done, self.title = total, done, title
        self.steps: dict[str, int] = {}  # trial key -> training steps done
        self.statuses: Counter[str] = Counter()
        self.running: set[str] = set()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=self.mode != "live",
        )
        self.task: TaskID = self.progress.add_task(title, total=total, completed=done, state="starting")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def update(self, record: Record) -> None:
        """Take note of a record."""
        self.steps[record.key] = record.step
        if record.ended:
            self.running.discard(record.key)
            self.statuses[record.status] += 1
            self.done += 1
            tenths = [count * PLAIN_LINES // self.total for count in (self.done - 1, self.done)]
            if self.mode == "plain" and tenths[1] > tenths[0]:
                self.console.print(f"{self.title}: {self.done} of {self.total} trials, {self._state(' ')}")
        else:
            self.running.add(record.key)

    def refresh(self) -> None:
        """Show what was noted."""
        elapsed = self.progress.tasks[0].elapsed or 0.0
        speed = f" {sum(self.steps.values()) / elapsed:,.0f} steps/s" if elapsed > 1 else ""
        self.progress.update(self.task, completed=self.done, state=self._state(f" {len(self.running)} running") + speed)

    def _state(self, tail: str) -> str:
        parts = [
            f"[{colour}]{self.statuses[name]} {name}[/]" for name, colour in COLOURS.items() if self.statuses[name]
        ]
        return (" ".join(parts) + tail).strip()


def _resolve(mode: str, console: Console) -> str:
    if mode != "auto":
        return mode
    if os.environ.get("CI"):
        return "quiet"
    return "live" if console.is_terminal else "plain"


def print_table(title: str, rows: Iterable[tuple[str, str]], mode: str) -> None:
    """A two-column table on stderr, unless `mode` is quiet."""
    console = Console(stderr=True, highlight=False)
    if _resolve(mode, console) == "quiet":
        return
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for what, value in rows:
        table.add_row(f"[dim]{what}[/]", value)
    console.print(table)


def summary(statuses: Mapping[str, int]) -> str:
    """Counts by outcome: "12 solved, 3 exhausted"."""
    return ", ".join(f"{statuses[name]} {name}" for name in COLOURS if statuses.get(name)) or "nothing"
