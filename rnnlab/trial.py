"""One trial: the frozen specification of a training run, and its identity.

`rnnlab.build` makes one from a plain mapping.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnnlab.spec import counted, ignored_by, name_of, param

SCHEMA_VERSION = 1  # rises when the meaning of a stored trial changes: see CHANGELOG, "Results changed"


@dataclass(frozen=True)
class Model:
    """Size and form of the network around the cell."""

    hidden_size: int = param(64, low=1)  # units of each recurrent layer, in each direction
    layers: int = param(1, low=1, absent=1)  # recurrent layers, each reads the states of the one below
    bidirectional: bool = param(False, absent=False)  # a second network reads from the end of the sequence
    dropout: float = param(0.0, low=0, high=0.99, absent=0.0)  # share of the units between layers that training blanks
    embedding_size: int | None = param(None, low=1, absent=None)  # of the vector of a symbol; null: one-hot inputs

    def refuses(self, trial: Trial) -> Iterator[str]:
        if self.bidirectional and hasattr(trial.task, "source_length"):
            yield "model.bidirectional=true: a decoder cannot read from the end; must be false for an encoder-decoder"
        if self.embedding_size and not trial.task.symbolic:
            yield (
                f"model.embedding_size={self.embedding_size}: the inputs of task={name_of(trial.task)} are no symbols; "
                "must be null"
            )

    def ignored(self) -> frozenset[str]:
        """Fields without effect on the numbers, given the others."""
        return frozenset({"dropout"} if self.layers == 1 else ())


@dataclass(frozen=True)
class Train:
    """Optimisation, evaluation and the budget of one trial."""

    optimizer: str = param("sgd", choices=("sgd", "rmsprop", "adam", "adamw"))
    learning_rate: float = param(0.01, above=0)  # where it begins, if the schedule changes it
    schedule: str = param("constant", choices=("constant", "cosine", "step"), absent="constant")
    schedule_factor: float = param(0.1, above=0, high=1, absent=0.1)  # of step: what the learning rate is multiplied by
    schedule_every: int = param(500, low=1, absent=500)  # of step: training steps from one change to the next
    momentum: float = param(0.9, low=0, high=1)  # of sgd; the others have none
    nesterov: bool = param(False, absent=False)  # of sgd: the gradient where the momentum leads to
    weight_decay: float = param(0.0, low=0, absent=0.0)  # of adamw decoupled, of the others added to the gradient
    batch_size: int = param(50, low=1)  # sequences in a training step, drawn afresh each time
    max_steps: int = param(2000, low=1)  # the budget: training steps before a trial is exhausted
    eval_every: int = param(20, low=1)  # training steps between evaluations
    eval_size: int = param(200, low=1)  # held-out sequences, the same at every evaluation
    passes_to_solve: int = param(3, low=1)  # evaluations in a row that must meet the task's criterion
    clip_mode: str = param("norm", choices=("norm", "value"))
    clip_threshold: float | None = param(1.0, above=0)  # null switches clipping off

    truncation: int | None = param(None, low=1, absent=None)  # steps that a gradient reaches back; null: all
    omega: float = param(0.0, low=0, absent=0.0)  # strength of the regulariser of Pascanu et al. 2013, section 3.3

    def refuses(self, trial: Trial) -> Iterator[str]:
        forms = {
            "model.bidirectional=true": trial.model.bidirectional,
            "an encoder-decoder": hasattr(trial.task, "source_length"),
        }
        for form in [name for name, chosen in forms.items() if chosen]:
            if self.truncation is not None:
                yield f"train.truncation={self.truncation}: does not go with {form}; must be null"
            if self.omega:
                yield f"train.omega={self.omega:g}: does not go with {form}; must be 0"
        if self.omega and (getattr(trial.cell, "elman", None) is None or "W_hh" not in trial.cell.shapes(1, 1)):
            yield f"train.omega={self.omega:g}: is for Elman cells alone; must be 0 for cell={name_of(trial.cell)}"
        if self.omega and (self.truncation is not None or trial.model.layers > 1 or trial.model.embedding_size):
            yield f"train.omega={self.omega:g}: is defined for one layer, without embedding or truncation; must be 0"

    def ignored(self) -> frozenset[str]:
        """Fields without effect on the numbers, given the others."""
        unused = {
            "schedule_factor": self.schedule != "step",
            "schedule_every": self.schedule != "step",
            "momentum": self.optimizer != "sgd",
            "nesterov": self.optimizer != "sgd" or self.momentum == 0,
            "clip_mode": self.clip_threshold is None,
        }
        return frozenset(name for name, without_effect in unused.items() if without_effect)


@dataclass(frozen=True)
class Trial:
    """One point of a sweep: task + model + cell + init + training + seed.

    `task`, `cell` and `init` are specs from `rnnlab.tasks`, `rnnlab.cells` and `rnnlab.inits`.
    """

    task: Any
    cell: Any
    init: Any
    model: Model = Model()
    train: Train = Train()
    seed: int = param(0, low=0)

    @functools.cached_property
    def key(self) -> str:
        """The trial's identity: SHA-256 of the canonical JSON of its fields.

        Fields without effect (`ignored`) are left out: two trials that differ only there are one
        trial and give the same numbers.
        """
        return _digest(_identity(self))

    @property
    def prefix_key(self) -> str:
        """`key` without the budget: trials that differ in `train.max_steps` alone share a course.

        Not under the cosine schedule, whose course stretches over the budget.
        """
        identity = _identity(self)
        if self.train.schedule != "cosine":
            del identity["train"]["max_steps"]
        return _digest(identity)

    @functools.cached_property
    def shape(self) -> str:
        """What `shape_key` returns, worked out once: a plan asks for it many times."""
        identity = _identity(self)
        del identity["seed"], identity["init"]
        identity["cell"] |= counted(self.cell, ignored_by(self.cell))  # also what an init takes the place of
        identity["train"] = {
            field.name: value
            for field in dataclasses.fields(self.train)
            if field.name not in FREE_IN_STACK
            and (value := getattr(self.train, field.name)) != field.metadata.get("absent")
        }
        return _digest(identity)

    def flat(self) -> dict[str, Any]:
        """Every field under its dotted name; `task`, `cell` and `init` hold the member's name."""
        columns: dict[str, Any] = {}
        for section, spec in sections(self):
            if section in KINDS:
                columns[section] = name_of(spec)
            columns |= {f"{section}.{name}": value for name, value in vars(spec).items()}
        return columns | {"seed": self.seed}

    def mapping(self) -> dict[str, Any]:
        """The nested plain mapping that `build` turns back into an equal trial."""
        nested: dict[str, Any] = {}
        for section, spec in sections(self):
            named = {"name": name_of(spec)} if section in KINDS else {}
            nested[section] = named | vars(spec)
        return nested | {"seed": self.seed}


KINDS = ("task", "cell", "init")  # sections of a trial that are chosen by name
SECTIONS = ("task", "model", "cell", "init", "train")
FREE_IN_STACK = frozenset(  # of `Train`
    {
        *("learning_rate", "schedule", "schedule_factor", "schedule_every"),
        *("momentum", "nesterov", "weight_decay", "clip_threshold"),
    }
)


def sections(trial: Trial) -> Iterator[tuple[str, Any]]:
    """The (name, spec) pairs of a trial, in the order in which they are shown."""
    return ((name, getattr(trial, name)) for name in SECTIONS)


def shape_key(trial: Trial) -> str:
    """Trials with equal shape keys can train in one stack.

    They agree in everything that decides a tensor's shape or the algorithm. Free within a stack
    are the seed, the init, and the fields of `train` in `FREE_IN_STACK`.
    """
    return trial.shape


def ignored_in(trial: Trial, section: str) -> frozenset[str]:
    """The fields of a section without effect on the numbers; a section's own name among them: so is the member chosen.

    A cell that makes its recurrent weights by itself reads nothing of the init but the scale of the inputs, or not even
    that.
    """
    spec = getattr(trial, section)
    if section == "init" and not trial.cell.reads_init:
        read = {"input_scale"} if getattr(trial.cell, "reads_input_scale", True) else set()
        return frozenset({section, *(field.name for field in dataclasses.fields(spec))} - read)
    overruled: Collection[str] = getattr(trial.init, "overrules", ()) if section == "cell" else ()
    return ignored_by(spec) | ({field.name for field in dataclasses.fields(spec)} & set(overruled))


def _identity(trial: Trial) -> dict[str, Any]:
    identity: dict[str, Any] = {"schema": SCHEMA_VERSION, "seed": trial.seed}
    for section, spec in sections(trial):
        ignored = ignored_in(trial, section)
        identity[section] = counted(spec, ignored)
        if section in KINDS and section not in ignored:
            identity[section] |= {"name": name_of(spec), "version": spec.version} | _raised(type(spec))
    return identity


def _raised(member: type) -> dict[str, int]:
    """The versions of the members that this one is `built_on`, and they in turn; 1 is left out, as keys began so."""
    found: dict[str, int] = {}
    for part in getattr(member, "built_on", ()):
        name = ".".join(part.__module__.split(".")[-2:])  # inits.identity
        found |= _raised(part) | ({name: part.version} if part.version > 1 else {})
    return found


def _digest(identity: Mapping[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
