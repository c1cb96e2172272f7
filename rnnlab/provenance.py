"""Where a number comes from: the code, the packages and the machine, as tags of a run."""

from __future__ import annotations

import functools
import json
import platform
import socket
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("rnnlab", "torch", "numpy", "hydra-core", "mlflow", "pandas")
CPU_LISTING = Path("/proc/cpuinfo")
CODE = ("rnnlab", "conf", "experiments", "hydra_plugins")  # what a number may depend on
KERNEL = "torch"  # the implementation of the recurrence behind `unroll.py`


@functools.cache
def tags() -> dict[str, str]:
    """Commit, versions, host and device of this process."""
    commit, dirty = git_state()
    return {
        "rnnlab.git_commit": commit,
        "rnnlab.git_dirty": json.dumps(dirty),
        "rnnlab.versions": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "rnnlab.python": platform.python_version(),
        "rnnlab.host": socket.gethostname(),
        "rnnlab.device": "cpu",
        "rnnlab.numerics": numerics(),
    }


def numerics() -> str:
    """The tag within which results are equal to the bit: torch, device, kernel, maker and instruction set.

    The maker of the processor is part of it, as MKL chooses its code by that too.
    """
    maker = platform.machine()
    if CPU_LISTING.exists():
        makers = [line for line in CPU_LISTING.read_text().splitlines() if line.startswith("vendor_id")]
        maker = makers[0].split(":")[1].strip() if makers else maker
    return f"torch {torch.__version__}, cpu, {KERNEL}, {maker}, {torch.backends.cpu.get_cpu_capability()}"


def git_state() -> tuple[str, bool | None]:
    """The commit of the checkout and whether its code has uncommitted changes; ("unknown", None) outside of git."""
    try:
        commit = _git("rev-parse", "HEAD")  # a new task is a new file, so untracked ones count
        return commit, bool(_git("status", "--porcelain", "--", *CODE))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None


def _git(*words: str) -> str:
    root = Path(__file__).parents[1]
    done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()
