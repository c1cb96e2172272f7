"""Where a launch's workers run: in this process, or in processes of their own on this machine.

A launcher is a generator: it keeps workers at work on a folder, yields now and then, and ends when nothing is left
that they can do or the folder's `stop` exists. It knows nothing of what they do; one for a cluster would look the same.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import submitit

from rnnlab import worker
from rnnlab.folder import Folder

POLL = 0.1  # seconds between looks at the workers
GRACE = 60.0  # seconds that workers have to reach a chunk border, where nobody is there to wait for it
NO_LIMIT = 60 * 24 * 365  # minutes: submitit wants a limit
# One thread each, or workers take each other's cores. And large blocks stay with the process, in huge pages: at each
# training step glibc would give them back and ask for them again, at 5000 page faults a step (30 % of the time).
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def inline(folder: Folder, workers: int) -> Generator[None]:
    """One worker, in this process; an error that ends Python ends the launch."""
    with contextlib.closing(worker.work(folder)) as at_work:
        for _ in at_work:
            yield
            if not worker.is_wanted(folder):
                return


def local(folder: Folder, workers: int) -> Generator[None]:
    """`workers` processes on this machine; one that dies is replaced, as long as the workers get anywhere.

    submitit starts them, as it would on a cluster. Closed early, it ends them at their next chunk border.
    """
    jobs = [_start(folder) for _ in range(workers)]
    trace = -1
    try:
        while True:
            time.sleep(POLL)
            yield
            stopping = folder.stop.exists()
            if not stopping:
                jobs += [_start(folder) for _ in range(_bury(folder))]
            if any(not job.done() for job in jobs) or folder.live_workers():
                continue
            if stopping or folder.is_done() or folder.trace() <= trace:
                return
            trace = folder.trace()
            jobs = [_start(folder) for _ in range(workers)]
    finally:
        end(folder, lambda: all(job.done() for job in jobs), GRACE)


LAUNCHERS: dict[str, Callable[[Folder, int], Generator[None]]] = {"inline": inline, "local": local}


def _start(folder: Folder) -> Any:
    """Start a worker; a `submitit.Job`."""
    executor = submitit.AutoExecutor(folder=folder.logs, cluster="local")
    executor.update_parameters(timeout_min=NO_LIMIT)
    with worker_environment(), _interrupts_ignored():
        return executor.submit(worker.main, str(folder.root))


def _bury(folder: Folder) -> int:
    """The number of workers that died since the last call: a worker that ends removes its lock."""
    locks = list(folder.workers.glob("*.lock"))
    alive = folder.live_workers()
    dead = [lock for lock in locks if lock not in alive and lock.exists()]
    for lock in dead:
        lock.unlink(missing_ok=True)
    return len(dead)


def end(folder: Folder, are_done: Callable[[], bool], grace: float) -> None:
    """Wait for the workers of a folder to end, at their next chunk border; those that take too long are killed."""
    if are_done() and not folder.live_workers():
        return
    with contextlib.suppress(OSError):  # on a full disk they are killed
        folder.stop.touch()
    deadline = time.monotonic() + (grace if folder.stop.exists() else 0)
    try:
        while not are_done() or folder.live_workers():
            if time.monotonic() > deadline:
                folder.kill_workers()
            time.sleep(POLL)
    except KeyboardInterrupt:
        folder.kill_workers()
        raise


class Interrupts:
    """What Ctrl-C and a request to end mean while trials train; a context manager.

    The first lets the workers end at their next chunk border, where they write checkpoints; the second ends them now.
    Only where the worker is this process (`inline`), or at the third, does that take a `KeyboardInterrupt`.
    """

    def __init__(self, folder: Folder, tell: Callable[[str], None], inline: bool) -> None:
        self.folder, self.tell, self.inline = folder, tell, inline
        self.received: int | None = None  # the number of the first signal
        self.count = 0

    def __enter__(self) -> Interrupts:
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.received is not None:
            self.folder.kill_workers()
            if self.inline or self.count > 2:
                raise KeyboardInterrupt
            return
        self.received = number
        with contextlib.suppress(OSError):
            self.folder.stop.touch()
        self.tell("ending at the next chunk border, with checkpoints; Ctrl-C again ends now")
        if not self.folder.stop.exists():  # a full disk
            raise KeyboardInterrupt


@contextlib.contextmanager
def worker_environment() -> Iterator[None]:
    """Processes started within have the environment of a worker; what the user has set stays."""
    added = {name: value for name, value in WORKER_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, until they ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def cores() -> int:
    """The cores that this process may use: those of its affinity, at most the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    return count


def free_memory() -> int:
    """Bytes of memory that are free on this machine, or for its control group where that has a limit."""
    free = 4 * 2**30  # where nothing is known
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        free = min(free, int(limit) - int(used))
    return free
