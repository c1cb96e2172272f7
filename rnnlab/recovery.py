"""What earlier launches left: those that are no more are brought to the store, whole, before anything new begins."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rnnlab.checkpoints import Checkpoints
from rnnlab.collector import Collector, Outcome
from rnnlab.folder import Folder, Work
from rnnlab.processes import end
from rnnlab.progress import Display
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


def tidy(sweeps: Path) -> None:
    """Remove what launches left that were killed while they made or removed their folder.

    To be called with the lock of the store, which is held while a folder is made.
    """
    for left in (sweeps / "launches").glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    Checkpoints(sweeps / "checkpoints").tidy()


def recover(sweeps: Path, store: StoreSettings) -> list[str]:
    """Bring to the store what abandoned launches trained, and remove their folders; what a person should know."""
    notes = []
    for folder in abandoned(sweeps):
        owner = folder.adopt()
        if owner is None:
            if not folder.owner.exists():  # not whole any more
                folder.remove()
            continue  # another launch recovers it
        with owner:
            folder.stop.touch()  # before workers are looked for: one may start late
            end(folder, lambda: True, GRACE)
            try:
                plan = folder.read_plan()
            except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
                kept = sweeps / "unreadable" / folder.name
                notes.append(f"what a launch left cannot be read ({error}); it is kept in {kept}")
                folder.remove(kept)
                continue
            _import(folder, plan, store, {other.name for other in live(sweeps)})
            folder.remove()
    return notes


def _import(folder: Folder, plan: Work, store: StoreSettings, at_work: set[str]) -> None:
    """Write the records of a launch to the store; what is there already stays as it is."""
    with (
        Writer(store, plan.experiment, plan.tags, launch=folder.name, live=at_work) as writer,
        Display("quiet", plan.trials, 0, plan.experiment) as display,
    ):
        collector = Collector(folder, plan.trials, plan.continues, writer, display, Outcome())
        collector.collect()
    os.sync()  # the store is safe before the folder goes
