"""From the store to the files of every experiment: figures, tables and pages."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pandas as pd

from reports import attach, markdown, page, progress, side_by_side, style
from reports.drawings import Drawing, Undrawn
from reports.figures import Extras, check, extras, in_order, meant_for
from reports.files import folder_name, write
from reports.headline import headline
from reports.missing import missing
from reports.origin import origin
from reports.request import Request
from rnnlab.refusal import BadInput
from rnnlab.store.origins import Provenance

INDEX = "index.html"
SUMMARY = "summary.json"  # of a page, for the list of experiments
SENTENCES = 2  # of a headline, in that list


class Reader(Extras, Protocol):
    """What is needed of `rnnlab.store.reader.Reader`."""

    def experiments(self) -> list[str]:
        """The names of the experiments in the store, sorted."""

    def frame(self, experiment: str) -> pd.DataFrame:
        """The tidy frame of one of them, sorted by key."""

    def provenance(self, experiment: str) -> Provenance:
        """Where the numbers in the frame come from."""


@dataclass(frozen=True)
class Built:
    """What was written."""

    drawn: dict[str, tuple[Path, int]] = field(default_factory=dict)  # experiment -> its folder, how many figures
    problems: list[str] = field(default_factory=list)  # a line for each figure that was not drawn
    attached: list[str] = field(default_factory=list)  # a line for each page


def chosen(reader: Reader, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The frames to draw, by experiment: those named, or all that have trials."""
    known = reader.experiments()
    unknown = [name for name in names if name not in known]
    there = f"there are: {', '.join(known)}" if known else "it has none"
    if unknown:
        raise BadInput(*(f"experiment {name}: not in the store; {there}" for name in unknown))
    frames = {name: reader.frame(name) for name in names or known}
    empty = [name for name, frame in frames.items() if readable(frame).empty]
    if names and empty:
        raise BadInput(*(f"experiment {name}: no trials, nothing to draw yet" for name in empty))
    if len(empty) == len(frames):
        raise BadInput("the store has no trials: nothing to draw yet; run a sweep first, for example: make demo")
    return {name: frame for name, frame in frames.items() if name not in empty}


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials that say what they are: a run that was cut off before its fields were written tells nothing."""
    known = frame[["key", "task", "seed"]].notna().all(axis="columns")
    return frame[known].reset_index(drop=True)


def build(reader: Reader, request: Request) -> Built:
    """Draw and write everything."""
    frames = chosen(reader, request.experiments)
    figures = {experiment: meant_for(readable(frame), experiment) for experiment, frame in frames.items()}
    for experiment, frame in frames.items():
        for name, module in figures[experiment].items():
            check(name, module, frame)
    built = Built()
    with progress.shown(sum(map(len, figures.values()))) as display:
        for experiment, frame in frames.items():
            display.begin(experiment)
            folder = request.out / folder_name(experiment)
            command = request.command(experiment)
            report = report_of(reader, experiment, frame, command, figures[experiment], folder, display)
            _forget(folder, [drawing.name for drawing in report.drawings])
            _write(report, folder)
            built.drawn[experiment] = folder, len(report.drawings)
            built.problems.extend(f"{experiment}: figure {lost.name}: {lost.reason}" for lost in report.undrawn)
            if request.attach:
                built.attached.append(attach.keep(reader, report))
    write(request.out / INDEX, page.index_page(_entries(reader, request.out)))
    return built


def report_of(
    reader: Reader,
    experiment: str,
    frame: pd.DataFrame,
    command: str,
    figures: Mapping[str, ModuleType],
    folder: Path | None = None,
    display: progress.Display = progress.SILENT,
) -> page.Report:
    """What is said of one experiment; figures go to files in `folder`, where there is one."""
    trials = readable(frame)
    processes = side_by_side.cores() if folder and getattr(reader, "forkable", False) else 1
    more = functools.partial(extras, store=reader, experiment=experiment)
    with side_by_side.drawing(figures, trials, more, folder, processes, display) as results:
        found = reader.provenance(experiment)
        lost = missing(trials, reader.planned(experiment), found.errors)
        answer = headline(trials, lost)
        tried = results()
    return page.Report(
        name=experiment,
        frame=trials,
        drawings=[one for one in tried if isinstance(one, Drawing)],
        undrawn=[one for one in tried if isinstance(one, Undrawn)],
        headline=answer,
        missing=lost,
        origin=origin(found, len(frame) - len(trials)),
        command=command,
    )


def _write(report: page.Report, folder: Path) -> None:
    write(folder / "report.md", markdown.experiment_report(report))
    summary = {"trials": report.total, "sentences": list(report.headline.sentences[:SENTENCES])}
    write(folder / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    write(folder / INDEX, page.experiment_page(report))


def _entries(reader: Reader, out: Path) -> list[page.Entry]:
    """The experiments of the store that have a page, built now or before."""
    folders = {name: out / folder_name(name) for name in reader.experiments()}
    return [_entry(name, folder) for name, folder in folders.items() if (folder / INDEX).is_file()]


def _entry(experiment: str, folder: Path) -> page.Entry:
    """One in the list, with its first figure as the picture."""
    picture = next((f"{name}.svg" for name in in_order(experiment) if (folder / f"{name}.svg").is_file()), None)
    try:
        summary = json.loads((folder / SUMMARY).read_text())
        return page.Entry(experiment, picture, str(summary["trials"]), [str(one) for one in summary["sentences"]])
    except (OSError, ValueError, KeyError, TypeError):
        return page.Entry(experiment, picture, "", [])


def _forget(folder: Path, drawn: Collection[str]) -> None:
    """Remove the files of figures that were drawn before and are not meant for the frame any more."""
    for name in in_order("").keys() - set(drawn):
        for kind in (*style.KINDS, "csv"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
