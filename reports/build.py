"""From the store to figures, tables and pages.

python -m reports.build [EXPERIMENT ...] [store.path=FILE | store.uri=URI] [out=FOLDER]

Writes OUT/EXPERIMENT/FIGURE.svg, .png and .csv, a page OUT/EXPERIMENT/index.html, and OUT/index.html. Without a
name, every experiment in the store that has trials. URI is that of a PostgreSQL database or of an MLflow server. The
same store gives the same bytes.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pandas as pd

from reports import page, style
from reports.figures import Extras, check, extras, in_order, meant_for, title
from reports.files import folder_name, write
from rnnlab.refusal import BadInput, unknown_key

OUT = Path(__file__).parent / "out"
KEYS = ("store.path", "store.uri", "out")
DIGITS = "%.10g"  # of numbers in CSV files


class Reader(Extras, Protocol):
    """What is needed of `rnnlab.store.reader.Reader`."""

    def experiments(self) -> list[str]:
        """The names of the experiments in the store, sorted."""

    def frame(self, experiment: str) -> pd.DataFrame:
        """The tidy frame of one of them, sorted by key."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    experiments: tuple[str, ...] = ()
    store: Path | str | None = None  # a file, or the URI of a database or server
    out: Path = OUT

    def command(self, experiment: str) -> str:
        """The command that makes the page of one experiment again."""
        from rnnlab.store import without_password  # late: the figures do not need it

        store = [f"store.{'uri' if isinstance(self.store, str) else 'path'}={self.store}"] if self.store else []
        return without_password(shlex.join(["python", "-m", "reports.build", experiment, *store]))


def parse(arguments: Sequence[str]) -> Request:
    """The request; `BadInput` names every argument that cannot be understood."""
    problems: list[str] = []
    names: list[str] = []
    values: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("-"):
            names.append(argument)
        elif key not in KEYS:
            problems.append(unknown_key(key, KEYS, value))
        elif not value:
            problems.append(f"{key}=: must be a {'URI' if key == 'store.uri' else 'path'}")
        else:
            values[key] = value
    if {"store.path", "store.uri"} <= values.keys():
        problems.append("store.path: is given beside store.uri; must be one of them")
    if problems:
        raise BadInput(*problems)
    paths = {key: Path(value).expanduser() for key, value in values.items() if key != "store.uri"}
    store = values.get("store.uri") or paths.get("store.path")
    return Request(tuple(dict.fromkeys(names)), store, paths.get("out", OUT))


def chosen(reader: Reader, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The frames to draw, by experiment: those named, or all that have trials."""
    known = reader.experiments()
    unknown = [name for name in names if name not in known]
    there = f"there are: {', '.join(known)}" if known else "it has none"
    if unknown:
        raise BadInput(*(f"experiment {name}: not in the store; {there}" for name in unknown))
    frames = {name: reader.frame(name) for name in names or known}
    empty = [name for name, frame in frames.items() if frame.empty]
    if names and empty:
        raise BadInput(*(f"experiment {name}: no trials, nothing to draw yet" for name in empty))
    if len(empty) == len(frames):
        raise BadInput("the store has no trials: nothing to draw yet; run a sweep first, for example: make demo")
    return {name: frame for name, frame in frames.items() if not frame.empty}


def build(reader: Reader, request: Request) -> list[Path]:
    """Draw and write everything; returns the pictures' paths, and last that of the list of experiments."""
    frames = chosen(reader, request.experiments)
    chosen_figures = {experiment: meant_for(frame, experiment) for experiment, frame in frames.items()}
    for experiment, frame in frames.items():
        for name, module in chosen_figures[experiment].items():
            check(name, module, frame)
    pictures = []
    for experiment, frame in frames.items():
        folder = request.out / folder_name(experiment)
        drawings = [
            _drawing(name, module, folder, frame, *extras(module, reader, experiment))
            for name, module in chosen_figures[experiment].items()
        ]
        _forget(folder, chosen_figures[experiment])
        write(folder / "index.html", page.experiment_page(experiment, frame, drawings, request.command(experiment)))
        pictures += [folder / f"{drawing.name}.svg" for drawing in drawings]
    folders = {name: request.out / folder_name(name) for name in reader.experiments()}
    built = {name: _picture(name, folder) for name, folder in folders.items() if (folder / "index.html").is_file()}
    return [*pictures, write(request.out / "index.html", page.index_page(built))]


def _picture(experiment: str, folder: Path) -> str | None:
    """The file that stands for a page in the list of experiments: its first figure."""
    return next((f"{name}.svg" for name in in_order(experiment) if (folder / f"{name}.svg").is_file()), None)


def _forget(folder: Path, drawn: Collection[str]) -> None:
    """Remove the files of figures that were drawn before and are not meant for the frame any more."""
    for name in in_order("").keys() - set(drawn):
        for kind in ("svg", "png", "csv"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)


def _drawing(name: str, module: ModuleType, folder: Path, *frames: pd.DataFrame) -> page.Drawing:
    """Draw one figure and write its files."""
    figure, table = module.draw(*frames), module.table(*frames)
    vector, _ = style.save(figure, folder, name)
    write(folder / f"{name}.csv", table.to_csv(index=False, float_format=DIGITS, lineterminator="\n").encode())
    return page.Drawing(
        name, title(module), vector.read_text(encoding="utf-8"), figure.get_figwidth(), module.caption(*frames), table
    )


def _open_store(where: Path | str | None) -> Reader:
    from rnnlab.store import DEFAULT_PATH, place_of, settings_of_uri  # late: the figures do not need it
    from rnnlab.store.reader import Reader

    return Reader(place_of(settings_of_uri(where)) if isinstance(where, str) else where or DEFAULT_PATH)


def main(arguments: Sequence[str], open_store: Callable[[Path | str | None], Reader] = _open_store) -> int:
    """The exit status: 0, or 2 where the input is not possible, with one line for each problem."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    try:
        request = parse(arguments)
        paths = build(open_store(request.store), request)
    except BadInput as problem:
        print(problem, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"out: {error.filename}: {error.strerror}; must be a folder that can be written", file=sys.stderr)
        return 2
    here = Path.cwd()
    for path in paths:
        print(path.relative_to(here) if path.is_relative_to(here) else path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
