"""A worker whose training of one trial ends the process, to be started in place of `rnnlab.worker.main`."""

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
