"""From the store to figures, tables and pages.

python -m reports.build [EXPERIMENT ...] [store.path=FILE | store.uri=URI] [out=FOLDER] [attach=true]

Writes OUT/EXPERIMENT/FIGURE.svg, .png, .pdf and .csv, a page OUT/EXPERIMENT/index.html, the same as report.md, and
OUT/index.html. Without a name, every experiment in the store that has trials. URI is that of a PostgreSQL database or
of an MLflow server. The same store gives the same bytes. With attach=true the page is kept with the experiment's
newest sweep too, as the artifact report/index.html of its run; else nothing is written to the store.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.request import OUT, Request, parse
from rnnlab.refusal import BadInput
from rnnlab.store import DEFAULT_PATH, place_of, settings_of_uri
from rnnlab.store.files import unwritten

if TYPE_CHECKING:
    from reports.writing import Built, Reader


def _open_store(where: Path | str | None) -> Reader:
    from rnnlab.store.reader import Reader  # late, as `main` says

    return Reader(place_of(settings_of_uri(where)) if isinstance(where, str) else where or DEFAULT_PATH)


def main(arguments: Sequence[str], open_store: Callable[[Path | str | None], Reader] = _open_store) -> int:
    """The exit status: 0; 1 where a figure could not be drawn; 2 where the input is not possible. A line for each."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    out = OUT
    try:
        request = parse(arguments)
        out = request.out
        from reports import writing  # late: it takes a second to load, in which Ctrl-C is to end in one line too

        built = writing.build(open_store(request.store), request)
    except BadInput as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command begins again", file=sys.stderr)
        return 130  # as a shell reports it
    except OSError as error:
        print(unwritten("out", out, error, "a folder"), file=sys.stderr)
        return 2
    for line in _told(built, request):
        print(line)
    for problem in built.problems:
        print(problem, file=sys.stderr)
    return 1 if built.problems else 0


def _told(built: Built, request: Request) -> Iterator[str]:
    """What was written, a line for each experiment."""
    for experiment, (folder, count) in built.drawn.items():
        figures = f"{count} figure" + ("" if count == 1 else "s")
        yield f"{experiment}: {figures} in {_shown(folder)}"
    yield from built.attached
    yield f"Open {_shown(request.out / 'index.html')} in a browser."


def _shown(path: Path) -> Path:
    """A path as a person would write it from here."""
    whole = path.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
