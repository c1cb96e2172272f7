"""Whether files and folders can be written, which nothing is changed to find out; and why they were not."""

from __future__ import annotations

import errno
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


def unwritten(key: str, path: Path, error: OSError, what: str) -> str:
    """The line that says why `what` was not written to `path`, which a user gave as `key`."""
    place = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    where = f"{key}={path}: {error.strerror or error}{place}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}; free some and give the same command again"
    return f"{where}; must be {what} that can be written"
