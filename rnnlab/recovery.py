"""What earlier launches left: those that are no more are brought to the store, whole, before anything new begins."""

from __future__ import annotations

import shutil
from pathlib import Path

from rnnlab.collector import Collector, Outcome
from rnnlab.processes import end
from rnnlab.progress import Display
from rnnlab.spool import Folder
from rnnlab.store import StoreSettings
from rnnlab.store.writer import Writer

GRACE = 20.0  # seconds that workers without a launch have to reach a chunk border


def launches(sweeps: Path) -> list[Folder]:
    """The folders of all launches, oldest first."""
    root = sweeps / "launches"
    return [Folder(path) for path in sorted(root.glob("[!.]*"))]


def live(sweeps: Path) -> list[Folder]:
    """The folders of launches that are at work."""
    return [folder for folder in launches(sweeps) if not folder.owner_is_gone()]


def abandoned(sweeps: Path) -> list[Folder]:
    """The folders of launches that are no more."""
    return [folder for folder in launches(sweeps) if folder.owner_is_gone()]


def recover(sweeps: Path, store: StoreSettings) -> None:
    """Bring to the store what abandoned launches trained, and remove their folders."""
    for folder in abandoned(sweeps):
        owner = folder.adopt()
        if owner is None:
            continue  # another launch recovers it
        with owner:
            end(folder, lambda: True, GRACE)
            _import(folder, store, {other.name for other in live(sweeps)})
            shutil.rmtree(folder.root, ignore_errors=True)


def _import(folder: Folder, store: StoreSettings, at_work: set[str]) -> None:
    """Write the records of a launch to the store; what is there already stays as it is."""
    try:
        plan = folder.read_plan()
    except (ValueError, KeyError, TypeError):  # of another version of rnnlab
        return
    with (
        Writer(store, plan.experiment, plan.tags, launch=folder.name, live=at_work) as writer,
        Display("quiet", plan.trials, 0, plan.experiment) as display,
    ):
        collector = Collector(folder, plan.trials, plan.continues, writer, display, Outcome())
        collector.collect()
