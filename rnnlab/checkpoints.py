"""Checkpoints on disk: where interrupted trials stand, one safetensors file each, with JSON in its header.

A file is written beside its place, synced and renamed: whoever looks sees the old one or the new one, whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rnnlab.record import Checkpoint

SUFFIX = ".safetensors"


class Unusable(ValueError):
    """A checkpoint cannot be used; the text says why."""


class Stored(NamedTuple):
    """A checkpoint and what its file says about it."""

    checkpoint: Checkpoint
    key: str  # of the trial that wrote it: the one that goes on, or one with a smaller budget
    numerics: str  # the tag under which it was computed
    seconds: float  # of training so far


class Checkpoints:
    """The checkpoints of a store, by trial key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def keys(self) -> set[str]:
        """The trials that have one."""
        return {file.stem for file in self.folder.glob(f"*{SUFFIX}")}

    def save(self, checkpoints: Mapping[str, Checkpoint], numerics: str, seconds: Mapping[str, float]) -> None:
        """Write checkpoints; when this returns they survive a loss of power."""
        for key, checkpoint in checkpoints.items():
            header = {"key": key, "numerics": numerics, "seconds": repr(seconds.get(key, 0.0))}
            header["course"] = json.dumps(checkpoint.course)
            replace_synced(self.path(key), encode(checkpoint.tensors, header))
        sync_folder(self.folder)

    def load(self, key: str) -> Stored | None:
        """The checkpoint of a trial, None where there is none; raises `Unusable`."""
        file = self.path(key)
        return read(file) if file.exists() else None

    def copy(self, key: str, file: Path) -> None:
        """Let the trial go on from the checkpoint in `file`."""
        replace_synced(self.path(key), file.read_bytes())
        sync_folder(self.folder)

    def tidy(self) -> None:
        """Remove what a killed process left half-written."""
        for draft in self.folder.glob("*.tmp"):
            draft.unlink(missing_ok=True)

    def drop(self, key: str) -> None:
        """Forget where a trial stands."""
        self.path(key).unlink(missing_ok=True)


def read(file: Path) -> Stored:
    """What a file holds that `Checkpoints.save` wrote, or the end of an exhausted trial; raises `Unusable`."""
    try:
        with safe_open(file, framework="pt") as content:
            header = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a mapping
        course = json.loads(header["course"])
        stored = Stored(Checkpoint(course, tensors), header["key"], header["numerics"], float(header.get("seconds", 0)))
    except (SafetensorError, FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(course, dict):
        raise Unusable("cannot be read (its header is not that of a checkpoint)")
    return stored


def is_intact(file: Path) -> bool:
    """Whether the file is there and whole, as far as its header tells."""
    try:
        with safe_open(file, framework="pt"):
            return True
    except (SafetensorError, FileNotFoundError):
        return False


def write_tensors(file: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """A safetensors file; errors of the disk come as `OSError`."""
    file.write_bytes(encode(tensors, header))


def encode(tensors: Mapping[str, Any], header: Mapping[str, str]) -> bytes:
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(header))


def replace_synced(file: Path, content: bytes) -> None:
    """Put a file in place in one step."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def sync_file(file: Path) -> None:
    """Return when what is in a file survives a loss of power."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
