"""What is wrong with the words of a command line and the axes of a sweep, as far as it shows before Hydra composes.

Each function yields one line for each problem: the key, the value, what is allowed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, QuotedString, Sweep
from hydra.errors import OverrideParseException

from rnnlab.build import EMPTY, build_part
from rnnlab.config_file import members_chosen, wrong_file
from rnnlab.engine import EngineSettings
from rnnlab.evaluation import EvalSettings
from rnnlab.refusal import BadInput, closest, show, unknown_key
from rnnlab.registry import registry
from rnnlab.spec import build_spec, requirement
from rnnlab.store import KEYS, StoreSettings
from rnnlab.trial import KINDS, Model, Train
from rnnlab.watch import DiagnosticsSettings

CONF = Path(__file__).parents[1] / "conf"
LARGEST_SWEEP = 10**6  # cells; more is a slip of the pen
TRIAL_KEYS = tuple(EMPTY)
SETTINGS: Mapping[str, type] = {
    "store": StoreSettings,
    "engine": EngineSettings,
    "eval": EvalSettings,
    "diagnostics": DiagnosticsSettings,
}
FIXED: Mapping[str, type] = {"model": Model, "train": Train, **SETTINGS}  # sections with one spec
GROUPS = (*KINDS, "store", "engine", "experiment")  # keys whose value is the name of a member
STORE_KEYS = list(dict.fromkeys(itertools.chain(*KEYS.values())))  # of any kind of store
TOP = (*TRIAL_KEYS, *SETTINGS, "experiment")
DEFAULT_MEMBERS = {"task": "copy", "cell": "elman", "init": "orthogonal"}  # of conf/config.yaml
FLAGS = ("-m", "--multirun", "--config-dir=DIR", "--cfg=job", "--help", "--version")


def check(arguments: Sequence[str]) -> None:
    """Raise `BadInput` with all that is wrong with the words of a command line."""
    parser = OverridesParser.create()
    folders = [CONF, *(Path(word.partition("=")[2]) for word in arguments if word.startswith("--config-dir="))]
    problems: list[str] = []
    given: list[Override] = []
    unread: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        if before == "--config-dir":  # refused already, as it lacks its folder
            continue
        if word.startswith("-"):
            problems += _wrong_flag(word)
            continue
        try:
            given += parser.parse_overrides([word])
        except OverrideParseException:
            unread.append(word)
    problems += twice(given)
    chosen = Chosen(given, _members_by_default(given, folders, parser))
    problems += [unreadable(word, chosen) for word in unread]
    for override in given:
        problems += wrong(override, chosen)
        problems += _wrong_members(override, folders)
    if problems:
        raise BadInput(*dict.fromkeys(problems))


def _members_by_default(
    given: Sequence[Override], folders: Sequence[Path], parser: OverridesParser
) -> dict[str, list[str]]:
    """Kind -> the members of the trials that the experiment file in use describes, else those of conf/config.yaml."""
    named = [override for override in given if key_of(override) == "experiment"]
    if not named:
        return {kind: [name] for kind, name in DEFAULT_MEMBERS.items()}
    files = [folder / "experiment" / f"{value}.yaml" for value in _values(named[-1]) for folder in folders]
    words = next((members_chosen(file, DEFAULT_MEMBERS) for file in files if file.is_file()), {})
    found: dict[str, list[str]] = {}
    for kind, texts in words.items():
        with contextlib.suppress(OverrideParseException):
            read = parser.parse_overrides([f"{kind}={text}" for text in texts])
            found[kind] = [name for override in read for name in _names(override)]
    return found


class Chosen:
    """The tasks, cells and inits that overrides choose, else those by default; none of a kind where nobody tells."""

    def __init__(self, overrides: Sequence[Override], by_default: Mapping[str, str | Sequence[str]]) -> None:
        given = {key_of(override): override for override in overrides}
        self.members: dict[str, list[str]] = {}
        for kind in KINDS:
            other = by_default.get(kind, ())
            names = _names(given[kind]) if kind in given else [other] if isinstance(other, str) else other
            if names and set(names) <= set(registry()[kind]):
                self.members[kind] = list(dict.fromkeys(names))

    def without(self, kind: str, field: str) -> list[str]:
        """The members without a field; where it is not known which are chosen: all, if all are without."""
        members = self.members.get(kind) or sorted(registry()[kind])
        lacking = [name for name in members if field not in names_of(registry()[kind][name])]
        return lacking if kind in self.members or lacking == members else []

    def fields(self) -> list[str]:
        """Every key of two parts: of the members that are chosen; where that is not known, of all."""
        specs = {kind: [registry()[kind][name] for name in names] for kind, names in self.members.items()}
        found = {group: [names_of(spec) for spec in of] for group, of in (_specs() | specs).items()}
        return list(dict.fromkeys(f"{group}.{name}" for group, of in found.items() for names in of for name in names))


def wrong(override: Override, chosen: Chosen) -> Iterator[str]:
    """What is wrong with one override; not whether the members that it names exist."""
    word, key = _word(override), key_of(override)
    text = word.partition("=")[2]
    section, _, name = key.partition(".")
    if section == "hydra" or section.startswith("hydra/"):
        yield f"{word}: Hydra's own settings are fixed here, rnnlab has its own launcher; allowed: {', '.join(TOP)}"
    elif override.is_delete():
        yield f"{word}: nothing can be taken away; must be {key}=VALUE"
    elif problem := unknown(key, text, chosen):
        yield problem
    elif override.is_add():
        yield f"{word}: the key exists already; must be {word[1:]}"
    elif override.is_sweep_override() and (problem := _no_axis(override)):
        yield problem
    elif key not in GROUPS and "${" not in text:
        for value in _values(override):
            yield from _refused(section, name, value)


def _no_axis(override: Override) -> str:
    """Why the override cannot be an axis of a sweep; "" where it can."""
    word, section = _word(override), key_of(override).split(".")[0]
    if not override.is_discrete_sweep():
        return f"{word}: must be a list of values, range(...), choice(...) or glob(...)"
    if section not in TRIAL_KEYS:
        why = "one named sweep at a time" if section == "experiment" else "is no part of a trial"
        return f"{word}: cannot be swept, {why}; axes are {', '.join(TRIAL_KEYS)}"
    values = None if isinstance(override.value(), Glob) else _values(override)
    if values and any(isinstance(value, Sweep) for value in values):
        return f"{word}: must be one list of values or one range(...), not both"
    if values == []:
        return f"{word}: has no values; must have one or more"
    if values and len(values) > LARGEST_SWEEP:
        return f"{word}: has too many values; must have at most {LARGEST_SWEEP}"
    return ""


def unknown(key: str, value: Any, chosen: Chosen) -> str:
    """The line that refuses a key nobody reads; "" where it is known."""
    section, _, name = key.partition(".")
    if section not in TOP or (name and section in ("seed", "experiment")):
        everything = chosen.fields()
        near = difflib.get_close_matches(key, [*TOP, *everything], n=1, cutoff=0.75) or [closest(key, everything)]
        near += difflib.get_close_matches(re.split(r"\W", section)[0], TOP, n=1)
        hint = next((f"did you mean {one}? " for one in near if one), "")
        return f"{key}={show(value)}: unknown key; {hint}allowed: {', '.join(TOP)}"
    if not name:
        return ""
    if section in FIXED:
        known = STORE_KEYS if section == "store" else names_of(FIXED[section])
        return "" if name in known else unknown_key(key, [f"{section}.{field}" for field in known], value)
    lacking = chosen.without(section, name)
    if lacking and section not in chosen.members:
        close = closest(key, [field for field in chosen.fields() if field.startswith(f"{section}.")])
        hint = f"did you mean {close}? " if close else ""
        return (
            f"{key}={show(value)}: unknown key; {hint}allowed: keys of the {section} chosen, no {section} has this one"
        )
    own = [names_of(registry()[section][member]) for member in lacking]
    listed = [f"{section}.{field}" for field in own[0] if all(field in names for names in own)] if own else []
    return unknown_key(key, listed, value, f"{section} {' and '.join(lacking)}") if lacking else ""


def twice(given: Sequence[Override]) -> list[str]:
    keys = [key_of(override) for override in given]
    return [
        f"{key}: is given {keys.count(key)} times; must be given once"
        for key in dict.fromkeys(keys)
        if keys.count(key) > 1
    ]


def allowed_at(key: str) -> str:
    """What a key accepts, in words: "an integer >= 1"; "" where that is not known."""
    section, _, name = key.partition(".")
    found = [requirement(spec, name) for spec in _specs().get(section, ()) if name in names_of(spec)]
    return "an integer >= 0" if key == "seed" else found[0] if found else ""


def key_of(override: Override) -> str:
    """The key without the signs before it."""
    key: str = override.get_key_element()
    return key.lstrip("+~")


def _refused(section: str, name: str, value: Any) -> list[str]:
    """What is wrong with a value of a known key; a key of several members is right if it is for one of them."""
    problems: list[str] = []
    if section in SETTINGS and not name:
        build_spec(SETTINGS[section], value, section, problems)
        return problems
    if section == "seed" or not name:
        build_part(section, value, registry(), problems)
        return problems
    found: list[list[str]] = []
    for spec in _specs()[section]:
        if name in names_of(spec):
            found.append([])
            build_spec(spec, {name: value}, section, found[-1])
    return min(found, key=len)


def _wrong_members(override: Override, folders: Sequence[Path]) -> Iterator[str]:
    """Names that are no member of their group, and files of members that cannot be read."""
    group = key_of(override)
    if group not in GROUPS or override.is_delete() or (override.is_sweep_override() and _no_axis(override)):
        return
    files = {file.stem: file for folder in reversed(folders) for file in (folder / group).glob("*.yaml")}
    members = sorted({*registry().get(group, ()), *files})
    for value in _values(override):
        if not isinstance(value, str) or value not in members:
            yield f"{group}={show(value)}: must be one of {', '.join(members)}"
        elif value in files:
            yield from wrong_file(group, files[value])


def _wrong_flag(word: str) -> Iterator[str]:
    name, _, value = word.partition("=")
    if not any(word == flag or (value and name == flag.partition("=")[0] and "=" in flag) for flag in FLAGS):
        yield f"{word}: unknown flag; allowed: {', '.join(FLAGS)}"
    elif name == "--config-dir" and not Path(value).is_dir():
        yield f"{word}: no such folder; must be a folder that exists"
    elif name == "--cfg" and value != "job":
        yield f"{word}: must be --cfg=job"


def unreadable(word: str, chosen: Chosen) -> str:
    """The line for a word that Hydra's grammar refuses."""
    name, equals, value = word.partition("=")
    key = name.lstrip("+~")
    if problem := unknown(key, value, chosen):
        return problem
    if not equals:
        return f"{word}: has no value; must be {key}=VALUE"
    allowed = allowed_at(key)
    return f"{word}: the value cannot be read; must be {allowed + ', ' if allowed else ''}in quotes where it is text"


def _values(override: Override) -> list[Any]:
    """The values that an override takes, not many more than are allowed; none where only Hydra can tell."""
    value = override.value()
    if not override.is_sweep_override():
        return [value]
    if isinstance(value, Glob) or not override.is_discrete_sweep():
        return []
    try:
        found = list(itertools.islice(override.sweep_iterator(), LARGEST_SWEEP + 1))
    except ValueError:  # a range with step 0
        return []
    return [value.text if isinstance(value, QuotedString) else value for value in found]


def _names(override: Override) -> list[str]:
    """The members that an override of a group chooses; none where only Hydra can tell."""
    value = override.value()
    if isinstance(value, Glob):
        return list(map(str, value.filter(sorted(registry()[key_of(override)]))))
    return [found for found in _values(override) if isinstance(found, str)]


def _specs() -> dict[str, list[type]]:
    """Section -> the specs that it may have."""
    return {
        **{kind: list(registry()[kind].values()) for kind in KINDS},
        **{section: [spec] for section, spec in FIXED.items()},
    }


def names_of(spec: type) -> list[str]:
    """The names of a spec's fields."""
    return [field.name for field in dataclasses.fields(spec)]


def _word(override: Override) -> str:
    return override.input_line or f"{override.get_key_element()}={override.get_value_element_as_str()}"
