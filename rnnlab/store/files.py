"""Whether files and folders can be written; nothing is changed to find out."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def problem_of_folder(folder: Path) -> str:
    """Why files cannot be created in `folder`, which need not exist yet; empty where they can."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        return f"{existing} is not a folder; must be a file that can be created"
    if read_only(existing):
        return f"the folder {existing} is read-only; must be a path that can be written"
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return f"cannot create a file in {existing} ({error.strerror}); must be a path that can be written"


def read_only(path: Path) -> bool:
    """Whether the path is marked so, also for a superuser, whom the mark would not stop."""
    return not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK)
