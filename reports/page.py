"""What is said of an experiment, and its HTML page, whole in one file; and the list of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import jinja2
import pandas as pd

from reports import words
from reports.drawings import Drawing, Undrawn
from reports.files import folder_name
from reports.headline import Headline
from reports.missing import MOST_LISTED, Missing, fields
from reports.origin import Origin
from rnnlab.record import FAILED, RESULTS, RUNNING
from rnnlab.trial import KINDS

QUESTION = "How far back can this recurrent network learn to look, and what decides it?"
UNNAMED = "adhoc"  # the experiment of trials that no experiment file names: `ADHOC` of rnnlab.config
MOST_VALUES = 20  # of a field, listed on the page
MOST_ROWS = 200  # of the table of a figure, shown on the page
TEMPLATES = Path(__file__).parent / "templates"
MEANINGS = {  # of a status, where a reader may wonder
    "exhausted": "budget of steps ended first",
    "diverged": "counts as not solved",
    "running": "not finished, not counted",
    "failed": "crashed, not counted",
}


@dataclass(frozen=True)
class Report:
    """What is said of one experiment, whatever the format."""

    name: str
    frame: pd.DataFrame
    drawings: Sequence[Drawing]
    undrawn: Sequence[Undrawn]
    headline: Headline
    missing: Missing
    origin: Origin
    command: str  # that makes the report again

    def alone(self) -> Report:
        """The same for a page without files beside it."""
        return replace(self, drawings=[drawing.alone() for drawing in self.drawings])

    @property
    def question(self) -> str:
        return self.origin.question or QUESTION

    @property
    def total(self) -> str:
        return words.counted(f"{len(self.frame):,}", "trial")

    @property
    def statuses(self) -> list[tuple[str, str, str]]:
        """How trials ended: (status, how many, what it means)."""
        counts = self.frame["status"].value_counts()
        found = ((status, f"{counts.get(status, 0):,}") for status in (*RESULTS, RUNNING, FAILED))
        return [(status, count, MEANINGS.get(status, "")) for status, count in found]

    @cached_property
    def settings(self) -> dict[str, list[str]]:
        """The values of every field of the trials, in the order of the sections.

        A missing value is listed where it says something (clipping is off), but not of a field that only some tasks,
        cells or inits have.
        """
        frame = self.frame
        owned = {field for field in fields(frame) if field.split(".")[0] in KINDS}
        return {
            field: words.distinct(frame[field].dropna() if field in owned else frame[field]) for field in fields(frame)
        }

    @property
    def varied(self) -> dict[str, str]:
        """The fields that differ between trials, but for those that follow from another."""
        follow = {field for fields in self.following.values() for field in fields}
        return {
            field: brief(values) for field, values in self.settings.items() if len(values) > 1 and field not in follow
        }

    @cached_property
    def following(self) -> dict[str, dict[str, str]]:
        """Task, cell or init -> the fields that each of them has a value of its own of, and these values."""
        found: dict[str, dict[str, str]] = {}
        names = {field for field, values in self.settings.items() if len(values) > 1}
        for kind in [kind for kind in KINDS if kind in names]:
            groups = self.frame.groupby(kind)
            for field in [field for field in self.settings if field in names and field not in (*KINDS, "seed")]:
                known = groups[field].nunique(dropna=field.split(".")[0] in KINDS) > 0
                if known.sum() > 1 and (groups[field].nunique(dropna=False)[known] == 1).all():
                    values = groups[field].first()[known]
                    told = (f"{name} {words.value(value, field)}" for name, value in values.items())
                    found.setdefault(kind, {})[field] = ", ".join(told)
                    names.discard(field)
        return found

    @property
    def constant(self) -> dict[str, str]:
        return {field: values[0] for field, values in self.settings.items() if len(values) == 1}


def cell(content: object) -> str:
    """An entry of a table on the page; the CSV file beside it has all digits."""
    if pd.isna(content):
        return "–"
    return f"{content:.3g}" if isinstance(content, float) and not content.is_integer() else words.value(content)


def alike(table: pd.DataFrame) -> dict[str, str]:
    """What all rows of a long table agree in, by column: it is told once."""
    agreed = [name for name in table if len(table) > 1 and table[name].nunique(dropna=False) == 1]
    return {str(name): cell(table[name].iloc[0]) for name in agreed}


def rows(table: pd.DataFrame) -> list[list[str]]:
    """The first of a table."""
    return [[cell(value) for value in row] for row in table.head(MOST_ROWS).itertuples(index=False)]


def brief(values: Sequence[str]) -> str:
    """All values, or of very many the first and the last."""
    if len(values) <= MOST_VALUES:
        return ", ".join(values)
    return f"{', '.join(values[: MOST_VALUES // 2])}, ..., {values[-1]} ({len(values)} values)"


def experiment_page(report: Report, alone: bool = False) -> bytes:
    """The page of one experiment; `alone`: without files and other pages beside it."""
    shown = report.alone() if alone else report
    more = {"rows": rows, "alike": alike, "most_rows": MOST_ROWS, "most": MOST_LISTED}
    return _render("report.html.j2", report=shown, alone=alone, **more)


@dataclass(frozen=True)
class Entry:
    """An experiment in the list: its headline, and the file of the picture to show, if any."""

    name: str
    picture: str | None
    trials: str
    sentences: Sequence[str]

    @property
    def folder(self) -> str:
        return quote(folder_name(self.name))


def index_page(entries: Sequence[Entry]) -> bytes:
    """The list of experiments; trials that belong to no named one come last."""
    ordered = sorted(entries, key=lambda entry: (entry.name == UNNAMED, entry.name))
    return _render("index.html.j2", entries=ordered, question=QUESTION)


def _render(template: str, **content: object) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**content).encode()
