"""One trial: the frozen specification of a training run, its strict construction and its identity.

A *spec* is a frozen dataclass whose fields are declared with `param`, which states the default
and what is allowed. `build` turns a plain mapping into a `Trial` or raises `BadInput` with one
line for each problem: the dotted key, the value, what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import sys
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

LARGEST = {int: 2**53, float: sys.float_info.max}  # what a float64 column of a frame holds exactly
SCHEMA_VERSION = 1  # rises when the meaning of a stored trial changes: see CHANGELOG, "Results changed"

Registry = Mapping[str, Mapping[str, type]]  # kind ("task", "cell", "init") -> name -> spec class


class BadInput(ValueError):
    """What a user asked for is not possible; `problems` holds one clear line for each reason."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Allowed:
    """The values that a field accepts, beyond its type: an interval, or a set of choices."""

    low: float | None = None
    above: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def admits(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return (
            (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
        )

    def __str__(self) -> str:
        if self.choices:
            return "one of " + ", ".join(self.choices)
        bounds = [(">=", self.low), (">", self.above), ("<=", self.high)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def param(
    default: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    absent: Any = MISSING,
) -> Any:
    """A field of a spec: its default, the values allowed, and what its absence means.

    `absent` is for a field added after its spec was first released: the value that reproduces
    the behaviour from before the field existed. At that value the field stays out of
    `Trial.key`, so that stored trials keep their identity.
    """
    metadata = {"allowed": Allowed(low, above, high, choices), "absent": absent}
    return dataclasses.field(default=default, metadata=metadata)


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
        identity["cell"] |= _counted(self.cell, ignored_by(self.cell))  # also what an init takes the place of
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
EMPTY: Mapping[str, Any] = {**{section: {} for section in SECTIONS}, "seed": 0}  # of which `build` takes the defaults
FREE_IN_STACK = frozenset(  # of `Train`
    {
        *("learning_rate", "schedule", "schedule_factor", "schedule_every"),
        *("momentum", "nesterov", "weight_decay", "clip_threshold"),
    }
)


def sections(trial: Trial) -> Iterator[tuple[str, Any]]:
    """The (name, spec) pairs of a trial, in the order in which they are shown."""
    return ((name, getattr(trial, name)) for name in SECTIONS)


def name_of(spec: Any) -> str:
    """The name of a task, cell or init: that of its file."""
    return type(spec).__module__.rpartition(".")[2]


def shape_key(trial: Trial) -> str:
    """Trials with equal shape keys can train in one stack.

    They agree in everything that decides a tensor's shape or the algorithm. Free within a stack
    are the seed, the init, and the fields of `train` in `FREE_IN_STACK`.
    """
    return trial.shape


def ignored_by(spec: Any) -> frozenset[str]:
    """The fields of a spec without effect on the numbers, given its others; a spec may define `ignored()`."""
    return spec.ignored() if hasattr(spec, "ignored") else frozenset()


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


def _counted(spec: Any, ignored: Collection[str]) -> dict[str, Any]:
    """The fields of a spec that tell it from others; it may have `canonical()`: fields in the one form of several."""
    canonical = spec.canonical() if hasattr(spec, "canonical") else {}
    values = {field.name: canonical.get(field.name, getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    absent = {field.name: field.metadata.get("absent") for field in dataclasses.fields(spec)}
    return {name: value for name, value in values.items() if name not in ignored and value != absent[name]}


def _identity(trial: Trial) -> dict[str, Any]:
    identity: dict[str, Any] = {"schema": SCHEMA_VERSION, "seed": trial.seed}
    for section, spec in sections(trial):
        ignored = ignored_in(trial, section)
        identity[section] = _counted(spec, ignored)
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


def build(mapping: Mapping[str, Any], registry: Registry) -> Trial:
    """The trial that a nested mapping describes; `BadInput` names every problem at once."""
    problems = [unknown_key(key, list(EMPTY), value) for key, value in mapping.items() if key not in EMPTY]
    parts = {name: build_part(name, mapping.get(name, empty), registry, problems) for name, empty in EMPTY.items()}
    if problems:
        raise BadInput(*problems)
    trial = Trial(**parts)
    if problems := conflicts(trial):
        raise BadInput(*problems)
    return trial


def conflicts(trial: Trial) -> list[str]:
    """A line for each reason why parts that are right by themselves do not go together.

    A spec may have a method `refuses(trial)` that yields them.
    """
    refusing = (spec.refuses for _, spec in sections(trial) if hasattr(spec, "refuses"))
    return [line for refuses in refusing for line in refuses(trial)]


def build_part(name: str, values: Any, registry: Registry, problems: list[str]) -> Any:
    """The field `name` of a trial, from a mapping (the seed: a number); what is wrong is appended to `problems`."""
    if name == "seed":
        return _coerce(name, values, int, Allowed(low=0), problems)
    if name in KINDS:
        return _build_named(name, values, registry[name], problems)
    return build_spec({"model": Model, "train": Train}[name], values, name, problems)


def _build_named(kind: str, values: Any, members: Mapping[str, type], problems: list[str]) -> Any:
    if not isinstance(values, Mapping):
        problems.append(f"{kind}={show(values)}: must be a group of keys")
        return None
    name = show(values.get("name"))
    if name not in members:
        problems.append(f"{kind}={name}: must be one of {', '.join(sorted(members))}")
        return None
    rest = {key: value for key, value in values.items() if key != "name"}
    return build_spec(members[name], rest, kind, problems, owner=f"{kind} {name}")


def build_spec(cls: type, values: Any, prefix: str, problems: list[str], owner: str = "") -> Any:
    """An instance of the spec class `cls`, from a mapping; what is wrong is appended to `problems` instead."""
    before = len(problems)
    declared = _declared(cls)
    if not isinstance(values, Mapping):
        problems.append(f"{prefix}={show(values)}: must be a group of keys: {', '.join(declared)}")
        return None
    coerced = {}
    for key, value in values.items():
        if key in declared:
            coerced[key] = _coerce(f"{prefix}.{key}", value, *declared[key], problems)
        else:
            known = [f"{prefix}.{name}" for name in declared]
            problems.append(unknown_key(f"{prefix}.{key}", known, value, owner))
    return cls(**coerced) if len(problems) == before else None


@functools.cache
def _declared(cls: type) -> dict[str, tuple[Any, Allowed]]:
    """Field of a spec class -> its type, and what is allowed."""
    types_of = typing.get_type_hints(cls)
    return {field.name: (types_of[field.name], field.metadata["allowed"]) for field in dataclasses.fields(cls)}


def unknown_key(key: str, known: typing.Sequence[str], value: Any, owner: str = "") -> str:
    """The line that refuses a key nobody reads."""
    whose = f" of {owner}" if owner else ""
    close = closest(key, known)
    hint = f"did you mean {close}? " if close else ""
    listed = ", ".join(known) if known else "none"
    return f"{key}={show(value)}: unknown key; {hint}allowed{whose}: {listed}"


def closest(key: str, known: typing.Sequence[str]) -> str:
    """The known key whose last part is like that of `key`, or has it as one of its words; "" where there is none."""
    names = {one.rpartition(".")[2]: one for one in reversed(known)}
    name = str(key).rpartition(".")[2]
    close = difflib.get_close_matches(name, names, n=1) or [one for one in names if name in one.split("_")]
    return names[close[0]] if name and close else ""


def _coerce(key: str, value: Any, declared: Any, allowed: Allowed, problems: list[str]) -> Any:
    kind, optional = _kind(declared)
    if _is_list(declared):
        entries = [_convert(entry, kind) for entry in value] if isinstance(value, list | tuple) else [None]
        if not all(entry is not None and allowed.admits(entry) for entry in entries):
            problems.append(f"{key}={show(value)}: must be {_describe_field(declared, allowed)}")
        return tuple(entries)
    if value is None and optional:
        return None
    converted = _convert(value, kind)
    if converted is None or not allowed.admits(converted):
        problems.append(f"{key}={show(value)}: must be {_describe_field(declared, allowed)}")
    return converted


def _kind(declared: Any) -> tuple[type, bool]:
    """The type of a field's values, or of the entries of a list, and whether null is one more."""
    if _is_list(declared):
        return typing.get_args(declared)[0], False
    options = typing.get_args(declared) if isinstance(declared, types.UnionType) else (declared,)
    return next(option for option in options if option is not type(None)), type(None) in options


def _is_list(declared: Any) -> bool:
    """Whether a field holds any number of values: `tuple[int, ...]`."""
    return typing.get_origin(declared) is tuple


def _convert(value: Any, kind: type) -> Any:
    """`value` as a finite number, text or truth value of type `kind`, or None where it is not one."""
    if isinstance(value, bool) or kind is bool:
        return value if isinstance(value, bool) and kind is bool else None
    if kind is str:
        return value if isinstance(value, str) else None
    if not isinstance(value, int | float) or not abs(value) <= LARGEST[kind]:
        return None
    if kind is int:
        return int(value) if value == int(value) else None
    return float(value) + 0.0  # -0.0 and 0.0 are one value


def requirement(cls: type, field: str) -> str:
    """What a field of a spec accepts, in words: "an integer >= 1, or null"."""
    return _describe_field(*_declared(cls)[field])


def _describe_field(declared: Any, allowed: Allowed) -> str:
    kind, optional = _kind(declared)
    return ("a list, each entry " if _is_list(declared) else "") + _describe(kind, allowed, optional)


def _describe(kind: type, allowed: Allowed, optional: bool) -> str:
    noun = {int: "an integer", float: "a finite number", bool: "true or false", str: "text"}[kind]
    text = str(allowed) if allowed.choices else f"{noun} {allowed}".rstrip()
    return text + (", or null" if optional else "")


def show(value: Any) -> str:
    """A value as it would be written on the command line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
