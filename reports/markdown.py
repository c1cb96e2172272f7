"""The report of an experiment in Markdown, with its figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import jinja2
import pandas as pd

from reports.missing import MOST_LISTED
from reports.page import TEMPLATES, Report

SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[#+-]")
HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(text: object) -> str:
    """Text from a store as Markdown that shows it: on one line, without any sign that means something."""
    line = " ".join(str(text).split())
    marked = SPECIAL.sub(lambda sign: f"\\{sign[0]}", line)
    return re.sub("[&<>]", lambda sign: HTML[sign[0]], marked)


def fenced(text: str) -> str:
    """A block of code that `text` cannot end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def grid(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join("---" if cell == "---" else escaped(cell) for cell in line) + " |" for line in lines
    )


def table(content: pd.DataFrame) -> str:
    return grid(list(content.columns), content.to_numpy().tolist())


def experiment_report(report: Report) -> bytes:
    """The report of one experiment."""
    environment = jinja2.Environment(  # noqa: S701 - of Markdown, whose own escape is the filter `md`
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escaped, "fenced": fenced, "table": table}
    text = environment.get_template("report.md.j2").render(report=report, grid=grid, most=MOST_LISTED)
    return re.sub(r"\n{3,}", "\n\n", text).encode()
