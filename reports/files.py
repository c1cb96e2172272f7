"""Where reports go, and how they get there: a reader sees a whole file or the one from before."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def write(path: Path, content: bytes) -> Path:
    """Write to a temporary path in the same folder, then rename; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def folder_name(experiment: str) -> str:
    """The folder of an experiment: its name, with all that could lead out of the parent folder escaped.

    Different experiments have different folders.
    """
    quoted = quote(experiment, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
