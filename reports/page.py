"""The HTML pages: one per experiment, whole in one file, and a list of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
import pandas as pd

from reports import panels, words
from reports.files import folder_name
from rnnlab.record import FAILED, RESULTS, RUNNING
from rnnlab.trial import KINDS, SECTIONS

PIXELS_PER_INCH = 125  # how large a figure stands on the page, where there is room
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
class Drawing:
    """One figure on a page."""

    name: str
    title: str
    svg: str
    inches: float
    caption: str
    table: pd.DataFrame

    @property
    def markup(self) -> str:
        """The SVG without the declarations before it, which have no place inside a page."""
        return self.svg[self.svg.index("<svg") :]

    @property
    def pixels(self) -> int:
        return round(self.inches * PIXELS_PER_INCH)

    @property
    def rows(self) -> list[list[str]]:
        """The first of the table."""
        return [[cell(value) for value in row] for row in self.table.head(MOST_ROWS).itertuples(index=False)]

    @property
    def left_out(self) -> bool:
        return len(self.table) > MOST_ROWS


def cell(content: object) -> str:
    """An entry of a table on the page; the CSV file beside it has all digits."""
    if pd.isna(content):
        return "–"
    return f"{content:.3g}" if isinstance(content, float) and not content.is_integer() else words.value(content)


def experiment_page(name: str, frame: pd.DataFrame, drawings: Sequence[Drawing], command: str) -> bytes:
    """The page of one experiment."""
    fields = settings(frame)
    numerics = frame["numerics"].fillna("unknown").value_counts().sort_index()
    return _render(
        "report.html.j2",
        name=name,
        drawings=drawings,
        total=words.counted(len(frame), "trial"),
        statuses=[
            (status, int((frame["status"] == status).sum()), MEANINGS.get(status, ""))
            for status in (*RESULTS, RUNNING, FAILED)
        ],
        varied={field: brief(values) for field, values in fields.items() if len(values) > 1},
        constant={field: values[0] for field, values in fields.items() if len(values) == 1},
        numerics=[(tag, words.counted(int(count), "trial")) for tag, count in numerics.items()],
        command=command,
    )


def settings(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The values of every field of the trials, in the order of the sections.

    A missing value is listed where it says something (clipping is off), but not of a field that only some tasks,
    cells or inits have.
    """
    fields = sorted(panels.trial_fields(frame), key=lambda field: SECTIONS.index(field.split(".")[0]))
    owned = {field for field in fields if field.split(".")[0] in KINDS}
    return {
        field: words.distinct(frame[field].dropna() if field in owned else frame[field]) for field in [*fields, "seed"]
    }


def brief(values: Sequence[str]) -> str:
    """All values, or of very many the first and the last."""
    if len(values) <= MOST_VALUES:
        return ", ".join(values)
    return f"{', '.join(values[: MOST_VALUES // 2])}, ..., {values[-1]} ({len(values)} values)"


def index_page(pictures: Mapping[str, str | None]) -> bytes:
    """The list of experiments: name -> file name of the picture to show, if any."""
    entries = [(name, quote(folder_name(name)), picture) for name, picture in sorted(pictures.items())]
    return _render("index.html.j2", entries=entries)


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
