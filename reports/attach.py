"""Keep the page of an experiment with the run of a sweep, where the MLflow UI shows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from reports.request import Request
from rnnlab.refusal import BadInput
from rnnlab.store import REPORT_FILE, SQLITE, StoreSettings, place_of
from rnnlab.store.reader import Reader

if TYPE_CHECKING:
    from reports import page


def keep(reader: Reader, report: page.Report, run_id: str = "") -> str:
    """Attach the page to the run of a sweep, by default the experiment's newest; returns a line that says so.

    Raises `BadInput` where there is no sweep, or where the store cannot be written.
    """
    from reports import page
    from rnnlab.store.attached import attach  # late, as it takes MLflow a second to load

    run_id = run_id or next(reversed(reader.plans(report.name)), "")
    if not run_id:
        raise BadInput(f"experiment {report.name}: has no sweep; attach=true needs the run of one")
    attach(reader.place, run_id, REPORT_FILE, page.experiment_page(report, alone=True))
    return f"{report.name}: attached to run {run_id} as {REPORT_FILE}"


def at_the_end(experiment: str, store: StoreSettings, keys: Collection[str], anew: bool, quiet: bool) -> None:
    """Attach the page of a sweep that is complete, whose trials have these keys; `anew`: even if it has one already.

    The sweep is done, whatever happens here: an error is told in one line.
    """
    began = time.monotonic()
    try:
        done = _at_the_end(experiment, store, frozenset(keys), anew)
    except KeyboardInterrupt:
        told = "its report was interrupted; python -m reports.build draws it"
    except Exception as error:  # noqa: BLE001 - a report must never spoil a sweep
        reason = f"{type(error).__name__}: {error}".strip(": ").splitlines()[0]
        told = f"its report could not be drawn or kept ({reason})"
    else:
        seconds = time.monotonic() - began
        told = f"its report is with the sweep's run in MLflow, {seconds:.0f} s" if done and not quiet else ""
    if told:
        print(f"{experiment}: {told}", file=sys.stderr)


def _at_the_end(experiment: str, store: StoreSettings, keys: frozenset[str], anew: bool) -> bool:
    """Whether a page was attached."""
    reader = Reader(place_of(store))
    run_id = [run for run, planned in reader.plans(experiment).items() if planned == keys][-1]
    sweep = next(run for run in reader.sweeps().to_dict("records") if run["run_id"] == run_id)
    if not anew and reader.artifact(sweep, REPORT_FILE).is_file():
        return False
    from reports import progress, writing  # late: they load all that draws
    from reports.figures import meant_for

    frame = writing.chosen(reader, [experiment])[experiment]
    figures = meant_for(writing.readable(frame), experiment)
    place = Path(store.path) if store.kind == SQLITE else store.uri
    command = Request(store=place).command(experiment)
    with progress.shown(len(figures)) as display:
        report = writing.report_of(reader, experiment, frame, command, figures, display=display)
    keep(reader, report, run_id)
    return True
