"""What `benchmarks.stack` measures: a network of `torch.nn`, and processes with a stack of rnnlab's models each.

Both do the whole training step of the same trial: draw the sequences, forward, loss, full BPTT, clip the global
norm, Adam. The peer is given every advantage that leaves it the same problem: the readout is computed at the
scored steps only, Adam is fused, and no metric is read back.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor
from torch.nn import functional

from rnnlab.build import build
from rnnlab.model import initial
from rnnlab.processes import worker_environment
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.tasks import at_steps
from rnnlab.train import Stack, one_thread
from rnnlab.trial import Trial

CHUNK = 2  # training steps in one call of a stack: it must not evaluate while it is timed


@dataclass(frozen=True)
class Protocol:
    """What is measured: the shapes, and how long."""

    hidden_sizes: tuple[int, ...] = (64, 128, 256)
    delay: int = 114  # steps; with 3 symbols, sequences of T = 120
    batch_size: int = 20
    stack: int = 16  # models in one process
    rounds: int = 9
    seconds: float = 1.0  # about, of one contender's round

    def trial(self, hidden_size: int, seed: int) -> Trial:
        return build(
            {
                "task": {"name": "copy", "delay": self.delay, "symbols": 3, "alphabet": 2, "score": "recall"},
                "model": {"hidden_size": hidden_size},
                "cell": {"name": "elman"},
                "init": {"name": "gaussian"},
                "train": {
                    "optimizer": "adam",
                    "learning_rate": 1e-3,
                    "batch_size": self.batch_size,
                    "eval_every": CHUNK,
                    "max_steps": 10**9,
                },
                "seed": seed,
            },
            registry(),
        )


QUICK = Protocol(hidden_sizes=(8, 16), delay=6, batch_size=3, stack=4, rounds=2, seconds=0.02)


class Peer:
    """The trial as one would write it with `torch.nn`: the same initial weights, the same sequences."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.task, self.done = trial, trial.task, 0
        with torch.random.fork_rng(devices=[]):  # the constructors draw weights that are replaced below
            self.rnn = torch.nn.RNN(self.task.input_size, trial.model.hidden_size)
            self.readout = torch.nn.Linear(trial.model.hidden_size, self.task.output_size)
        self._copy(initial(trial))
        self.weights = [*self.rnn.parameters(), *self.readout.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=trial.train.learning_rate, fused=True)

    def _copy(self, weights: Mapping[str, Tensor]) -> None:
        """torch.nn.RNN has a second bias: it starts at 0, and is trained as torch trains it."""
        places = {
            "W_xh": self.rnn.weight_ih_l0,
            "W_hh": self.rnn.weight_hh_l0,
            "b_h": self.rnn.bias_ih_l0,
            "W_hy": self.readout.weight,
            "b_y": self.readout.bias,
        }
        with torch.no_grad():
            self.rnn.bias_hh_l0.zero_()
            for name, place in places.items():
                place.copy_(weights[name])

    def loss(self) -> Tensor:
        """The mean cross-entropy on the sequences of the next training step."""
        batch = self.task.sample(generator(self.trial.seed, "train", self.done), self.trial.train.batch_size)
        states, _ = self.rnn(functional.one_hot(batch.inputs, self.task.input_size).float())
        outputs = self.readout(states[self.task.scored])
        return functional.cross_entropy(outputs.flatten(0, 1), at_steps(batch, self.task.scored).targets.flatten())

    def step(self) -> Tensor:
        """One update; returns the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.trial.train.clip_threshold)
        self.optimizer.step()
        self.done += 1
        return loss.detach()

    def run(self, steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        return time.perf_counter() - start

    def run_with_one_thread(self, steps: int) -> float:
        with one_thread():
            return self.run(steps)


def train(stack: Stack, steps: int) -> None:
    """`steps` updates of every model (a multiple of CHUNK), without the evaluations at the borders."""
    models = len(stack.slots)
    for _ in range(steps // CHUNK):
        for slot in stack.slots:
            slot.note_evaluation(passes=False)  # moves the border on; nothing is evaluated
        stack.train_to_border()
    if len(stack.slots) != models:
        raise RuntimeError("a model diverged: the stack was not full while it was timed")


def work(connection: Connection, protocol: Protocol, hidden_size: int, first_seed: int) -> None:
    """The body of a worker: build a stack, then train as many steps as the parent asks for, until it sends 0."""
    torch.set_num_threads(1)
    seeds = range(first_seed, first_seed + protocol.stack)
    stack = Stack([protocol.trial(hidden_size, seed) for seed in seeds])
    train(stack, 2 * CHUNK)
    connection.send("ready")
    while steps := connection.recv():
        train(stack, steps)
        connection.send("done")


class Workers:
    """One-thread processes with a stack each; they sleep until a round starts."""

    def __init__(self, protocol: Protocol, hidden_size: int, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(count)]
        self.connections = [ours for ours, _ in pipes]
        self.processes = [
            context.Process(target=work, args=(theirs, protocol, hidden_size, i * protocol.stack), daemon=True)
            for i, (_, theirs) in enumerate(pipes)
        ]
        for process, (_, theirs) in zip(self.processes, pipes, strict=True):
            with worker_environment():
                process.start()
            theirs.close()  # else the pipe would outlive a worker that dies

    def __enter__(self) -> Workers:
        with _all_alive():
            for connection in self.connections:
                connection.recv()
        return self

    def __exit__(self, *exception: object) -> None:
        for connection, process in zip(self.connections, self.processes, strict=True):
            with contextlib.suppress(ConnectionError):  # it may have died
                connection.send(0)
            process.join(timeout=10)
            process.kill()

    def run(self, steps: int) -> float:
        return _together(self.connections, steps)

    def run_one(self, steps: int) -> float:
        return _together(self.connections[:1], steps)


def _together(connections: Sequence[Connection], steps: int) -> float:
    """Wall time from the start of a round until the last worker is done."""
    start = time.perf_counter()
    with _all_alive():
        for connection in connections:
            connection.send(steps)
        for connection in connections:
            connection.recv()
    return time.perf_counter() - start


@contextlib.contextmanager
def _all_alive() -> Iterator[None]:
    """The end of a pipe means that its worker has died: say so."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise RuntimeError("a worker of the benchmark died; its own message is above") from error
