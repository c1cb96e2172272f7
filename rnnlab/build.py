"""From a nested plain mapping to a trial: all that is not possible is refused at once, before anything trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnlab.refusal import BadInput, show, unknown_key
from rnnlab.spec import Allowed, build_spec, coerce
from rnnlab.trial import KINDS, SECTIONS, Model, Train, Trial, sections

Registry = Mapping[str, Mapping[str, type]]  # kind ("task", "cell", "init") -> name -> spec class
EMPTY: Mapping[str, Any] = {**{section: {} for section in SECTIONS}, "seed": 0}  # of which `build` takes the defaults


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
        return coerce(name, values, int, Allowed(low=0), problems)
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
