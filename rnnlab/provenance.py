"""Where a number comes from: the code, the packages and the machine, as tags of a run and files of a sweep."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import socket
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

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


def files() -> dict[str, str]:
    """What is too long for a tag, by file name: all packages, the machine, and code that is in no commit."""
    packages = sorted(f"{found.name}=={found.version}" for found in distributions())
    kept = {"packages.txt": "\n".join(dict.fromkeys(packages)) + "\n", "machine.json": json.dumps(machine(), indent=1)}
    changes = uncommitted()
    return kept | ({"git_diff.patch": changes + "\n"} if changes else {})


def machine() -> dict[str, Any]:
    """The processor, the accelerators and the threads."""
    listed = CPU_LISTING.read_text().splitlines() if CPU_LISTING.exists() else []
    models = [line.split(":", 1)[1].strip() for line in listed if line.startswith("model name")]
    accelerators = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "accelerators": [torch.cuda.get_device_name(number) for number in accelerators],
        "threads_of_torch": torch.get_num_threads(),
        "threads_of_a_worker": 1,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }


def uncommitted() -> str:
    """The code that is not in the commit, as a patch, with the files that git does not know yet."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        patch = _git("diff", "HEAD", "--", *CODE)
        new = _git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines()
        whole = [_git("diff", "--no-index", "--", os.devnull, name, allowed=(0, 1)) for name in new]
        return "\n".join(part for part in (patch, *whole) if part)
    return ""


def git_state() -> tuple[str, bool | None]:
    """The commit of the checkout and whether its code has uncommitted changes; ("unknown", None) outside of git."""
    try:
        commit = _git("rev-parse", "HEAD")  # a new task is a new file, so untracked ones count
        return commit, bool(_git("status", "--porcelain", "--", *CODE))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None


def _git(*words: str, allowed: tuple[int, ...] = (0,)) -> str:
    root = Path(__file__).parents[1]
    done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)  # noqa: S603, S607
    if done.returncode not in allowed:
        raise subprocess.CalledProcessError(done.returncode, words)
    return done.stdout.strip()
