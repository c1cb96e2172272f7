"""Ways to end training early: by an exception at a chunk border, or by a worker that one trial kills.

`main` is such a worker, to be started in place of `rnnlab.worker.main`.
"""

import os
import signal

from rnnlab import worker
from rnnlab.train import Stack

CULPRIT = 3  # seed of the trial that does it
AT_STEP = 3
main_of_a_worker = worker.main
train_to_border = Stack.train_to_border


def main(root: str) -> None:
    Stack.train_to_border = _lethal
    main_of_a_worker(root)


def _lethal(stack: Stack) -> list:
    if any(slot.trial.seed == CULPRIT and slot.step >= AT_STEP for slot in stack.slots):
        os.kill(os.getpid(), signal.SIGKILL)
    return train_to_border(stack)


class Interrupted(Exception):
    """Training was ended early."""


def interrupt_after(monkeypatch, borders: int) -> None:
    """Let the next launch end as if it was killed, after so many chunk borders."""
    whole = worker.work

    def cut_off(folder):
        for count, _ in enumerate(whole(folder)):
            yield
            if count == borders:
                raise Interrupted

    monkeypatch.setattr(worker, "work", cut_off)
