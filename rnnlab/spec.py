"""A spec: a frozen dataclass whose fields say what is allowed, and how one is built from plain values, strictly.

Its fields are declared with `param`. Values are coerced to the declared types, so that 1 and 1.0 are one value; what is
not allowed becomes a line for each problem: the dotted key, the value, what is allowed.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from rnnlab.refusal import show, unknown_key

LARGEST = {int: 2**53, float: sys.float_info.max}  # what a float64 column of a frame holds exactly


@dataclass(frozen=True)
class Allowed:
    """The values that a field accepts, beyond its type: an interval, or a set of choices."""

    low: float | None = None
    above: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # that stand for values beside numbers

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
    words: tuple[str, ...] = (),
    absent: Any = MISSING,
) -> Any:
    """A field of a spec: its default, the values allowed, and what its absence means.

    `absent` is for a field added after its spec was first released: the value that reproduces
    the behaviour from before the field existed. At that value the field stays out of
    `Trial.key`, so that stored trials keep their identity.
    """
    metadata = {"allowed": Allowed(low, above, high, choices, words), "absent": absent}
    return dataclasses.field(default=default, metadata=metadata)


def name_of(spec: Any) -> str:
    """The name of a task, cell or init: that of its file."""
    return type(spec).__module__.rpartition(".")[2]


def ignored_by(spec: Any) -> frozenset[str]:
    """The fields of a spec without effect on the numbers, given its others; a spec may define `ignored()`."""
    return spec.ignored() if hasattr(spec, "ignored") else frozenset()


def counted(spec: Any, ignored: Collection[str]) -> dict[str, Any]:
    """The fields of a spec that tell it from others; it may have `canonical()`: fields in the one form of several."""
    canonical = spec.canonical() if hasattr(spec, "canonical") else {}
    values = {field.name: canonical.get(field.name, getattr(spec, field.name)) for field in dataclasses.fields(spec)}
    absent = {field.name: field.metadata.get("absent") for field in dataclasses.fields(spec)}
    return {name: value for name, value in values.items() if name not in ignored and value != absent[name]}


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
            coerced[key] = coerce(f"{prefix}.{key}", value, *declared[key], problems)
        else:
            known = [f"{prefix}.{name}" for name in declared]
            problems.append(unknown_key(f"{prefix}.{key}", known, value, owner))
    return cls(**coerced) if len(problems) == before else None


@functools.cache
def _declared(cls: type) -> dict[str, tuple[Any, Allowed]]:
    """Field of a spec class -> its type, and what is allowed."""
    types_of = typing.get_type_hints(cls)
    return {field.name: (types_of[field.name], field.metadata["allowed"]) for field in dataclasses.fields(cls)}


def coerce(key: str, value: Any, declared: Any, allowed: Allowed, problems: list[str]) -> Any:
    """`value` as the declared type has it; what is wrong with it is appended to `problems`."""
    kind, optional = _kind(declared)
    if _is_list(declared):
        entries = [_convert(entry, kind) for entry in value] if isinstance(value, list | tuple) else [None]
        if not all(entry is not None and allowed.admits(entry) for entry in entries):
            problems.append(f"{key}={show(value)}: must be {_describe_field(declared, allowed)}")
        return tuple(entries)
    if (value is None and optional) or value in allowed.words:
        return value
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
    return text + "".join(f", or {word}" for word in (*allowed.words, *(["null"] if optional else [])))
