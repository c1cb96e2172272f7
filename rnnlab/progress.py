"""What a person sees of a sweep while it runs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, SOLVED, Record
from rnnlab.sweep import work
from rnnlab.trial import Trial

DISPLAYS = ("auto", "live", "plain", "quiet")
COLOURS = {SOLVED: "green", EXHAUSTED: "yellow", DIVERGED: "magenta", FAILED: "red"}
PLAIN_LINES = 10  # lines over a whole sweep where there is no terminal


class Display:
    """A progress display over the trials that are `pending` and those `done` already; a context manager."""

    def __init__(self, mode: str, pending: Sequence[Trial], done: int, title: str) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.mode = _resolve(mode, self.console)
        self.total, self.done, self.title = len(pending) + done, done, title
        self.costs = {trial.key: work(trial) for trial in pending}  # of the whole budget
        self.budgets = {trial.key: trial.train.max_steps for trial in pending}
        self.left = self.all_work = float(sum(self.costs.values()))
        self.began = time.monotonic()
        self.steps: dict[str, int] = {}  # trial key -> step of the last record, of the trials that run
        self.trained = 0  # steps, all together
        self.statuses: Counter[str] = Counter()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=self.mode != "live",
        )
        self.task: TaskID = self.progress.add_task(title, total=self.total, completed=done, state="starting", left="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def tell(self, text: str) -> None:
        """A line above the display, whatever the mode."""
        self.console.print(text)

    def update(self, record: Record) -> None:
        """Take note of a record."""
        key = record.key
        if key in self.steps:  # else it begins, or goes on from a checkpoint: the way to there was not trained now
            new = max(0, record.step - self.steps[key])
            self.trained += new
            self.left -= self.costs[key] * new / self.budgets[key]
        elif record.step:
            self._forget(self.costs[key] * record.step / self.budgets[key])
        self.steps[key] = record.step
        if record.ended:
            self._forget(self.costs[key] * (1 - self.steps.pop(key) / self.budgets[key]))
            self.statuses[record.status] += 1
            self.done += 1
            tenths = [count * PLAIN_LINES // self.total for count in (self.done - 1, self.done)]
            if self.mode == "plain" and tenths[1] > tenths[0]:
                self.console.print(f"{self.title}: {self.done} of {self.total} trials, {self._state()}{self._rate()}")

    def _forget(self, amount: float) -> None:
        """Leave work out that need not be done."""
        self.left -= amount
        self.all_work -= amount

    def refresh(self) -> None:
        """Show what was noted."""
        state = f"{self._state()} {len(self.steps)} running{self._rate()}".strip()
        self.progress.update(self.task, completed=self.done, state=state, left=self._time_left())

    def _rate(self) -> str:
        elapsed = time.monotonic() - self.began
        return f", {self.trained / elapsed:,.0f} steps/s" if elapsed > 1 and self.trained else ""

    def _time_left(self) -> str:
        """The time that the rest takes at most, at the pace so far."""
        done = self.all_work - self.left
        if done <= 0 or self.left <= 0:
            return ""
        seconds = int((time.monotonic() - self.began) * self.left / done)
        return f"at most {timedelta(seconds=seconds)} left"

    def _state(self) -> str:
        return " ".join(
            f"[{colour}]{self.statuses[name]} {name}[/]" for name, colour in COLOURS.items() if self.statuses[name]
        )


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


def tell(text: str) -> None:
    """A line on stderr."""
    Console(stderr=True, highlight=False).print(escape(text))


def summary(statuses: Mapping[str, int]) -> str:
    """Counts by outcome: "12 solved, 3 exhausted"."""
    return ", ".join(f"{statuses[name]} {name}" for name in COLOURS if statuses.get(name))


def print_failures(rows: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """A table on stderr of (trial, reason) pairs."""
    console = console or Console(stderr=True, highlight=False)
    table = Table(title=f"{len(rows)} failed", title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("trial", overflow="fold")
    table.add_column("reason", overflow="fold")
    for trial, reason in rows:
        table.add_row(escape(trial), escape(reason))
    console.print(table)
