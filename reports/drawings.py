"""Figures with what stands beside them on a page: drawn once, and written to files where there is a folder for them."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pandas as pd

from reports import style
from reports.figures import title
from reports.files import write
from rnnlab.refusal import BadInput

PIXELS_PER_INCH = 125  # how large a figure stands on the page, where there is room
DIGITS = "%.10g"  # of numbers in CSV files
VECTOR = "svg"
REFERENCE = re.compile(r'(xlink:href="#|url\(#)([^")]+)')
IDENTITY = re.compile(r' id="([^"]+)"')


@dataclass(frozen=True)
class Drawing:
    """One figure: its SVG, and the files beside the page, in the order in which they are offered."""

    name: str
    title: str
    svg: str
    inches: float
    caption: str
    table: pd.DataFrame
    files: tuple[str, ...] = ()

    @property
    def markup(self) -> str:
        """The SVG as a part of a page: without the declarations before it, and with ids that no other figure has."""
        drawn = re.sub(r"<!--.*?-->\n?", "", self.svg[self.svg.index("<svg") :], flags=re.DOTALL)
        needed = {found[1] for found in REFERENCE.findall(drawn)}
        named = IDENTITY.sub(lambda one: f' id="{self.name}-{one[1]}"' if one[1] in needed else "", drawn)
        return REFERENCE.sub(rf"\g<1>{self.name}-\g<2>", named)

    @property
    def pixels(self) -> int:
        return round(self.inches * PIXELS_PER_INCH)

    @property
    def pictures(self) -> list[str]:
        """The names of its files but for that of its numbers."""
        return [file for file in self.files if not file.endswith(".csv")]

    def alone(self) -> Drawing:
        """The same for a page without files beside it."""
        return replace(self, files=())


@dataclass(frozen=True)
class Undrawn:
    """A figure that could not be drawn, and why."""

    name: str
    title: str
    reason: str


def drawn(name: str, module: ModuleType, frames: Sequence[pd.DataFrame], folder: Path | None) -> Drawing | Undrawn:
    """One figure of `frames`, with its files in `folder`. An error of the figure costs no other figure."""
    try:
        with warnings.catch_warnings():  # of a name that is too long for its place, say: the picture shows it
            warnings.simplefilter("ignore", UserWarning)
            table = module.table(*frames)
            with _asked_once(module, frames, table):
                figure, caption = module.draw(*frames), module.caption(*frames)
            kinds = {kind: style.content(figure, kind) for kind in (style.KINDS if folder else [VECTOR])}
        files = _written(kinds, table, folder, name) if folder else []
    except (OSError, BadInput):
        raise  # the disk or the store is at fault
    except Exception as error:  # noqa: BLE001 - whatever it is, a reader wants the other figures
        return Undrawn(name, title(module), f"{type(error).__name__}: {error}".strip(": ").splitlines()[0])
    return Drawing(name, title(module), kinds[VECTOR].decode(), figure.get_figwidth(), caption, table, tuple(files))


@contextlib.contextmanager
def _asked_once(module: ModuleType, frames: Sequence[pd.DataFrame], table: pd.DataFrame) -> Iterator[None]:
    """Within, the figure gets copies of the table that it made of these frames: `draw` and `caption` ask for it again.

    It holds the intervals of all points, and takes longer than to draw them.
    """
    compute = module.table

    def known(*given: pd.DataFrame) -> pd.DataFrame:
        same = len(given) == len(frames) and all(one is other for one, other in zip(given, frames, strict=True))
        return table.copy() if same else compute(*given)

    module.table = known
    try:
        yield
    finally:
        module.table = compute


def _written(kinds: Mapping[str, bytes], table: pd.DataFrame, folder: Path, name: str) -> list[str]:
    """Write the picture in each kind, and the numbers; returns the names of the files."""
    numbers = table.to_csv(index=False, float_format=DIGITS, lineterminator="\n").encode()
    files = {f"{name}.{kind}": content for kind, content in kinds.items()} | {f"{name}.csv": numbers}
    return [write(folder / file, content).name for file, content in files.items()]
