"""What is wrong with a configuration file that a command names, as far as it shows before Hydra composes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import MarkedYAMLError, YAMLError

from rnnlab.build import EMPTY
from rnnlab.refusal import show, unknown_key
from rnnlab.trial import KINDS

SECTIONS = (*(key for key in EMPTY if key != "seed"), "store", "engine", "eval", "diagnostics")  # keys that hold keys
TOP = ("defaults", *EMPTY, "store", "engine", "eval", "diagnostics", "hydra")  # of an experiment file
HYDRA = {"hydra": ("mode", "sweeper"), "hydra.sweeper": ("params", "grids")}  # what an experiment file may set there
GROUPS = (*KINDS, "store", "engine")  # of which an experiment file may choose a member
MODES = ("RUN", "MULTIRUN")


def wrong_file(group: str, path: Path) -> Iterator[str]:
    """A line for each problem of the file of a member of `group`."""
    where = f"{group}={path.stem}: {path}"
    try:
        text = path.read_text(encoding="utf-8")
        node = OmegaConf.load(path)
    except UnicodeDecodeError as error:
        yield f"{where} is not UTF-8 (byte {error.start}); must be UTF-8 text"
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        yield f"{where} is not YAML (line {line}: {error.problem}); must map keys to values, each key once"
    except YAMLError as error:
        yield f"{where} is not YAML ({error}); must map keys to values, each key once"
    except OSError as error:
        yield f"{where} cannot be read ({error.strerror or 'a single value'}); must be a file that maps keys to values"
    else:
        if not OmegaConf.is_dict(node):
            yield f"{where} holds a list; must map keys to values"
        elif group == "experiment":
            if text.strip() and not re.match(r"\s*# @package _global_\s*(\n|$)", text):
                yield f"{where} starts otherwise; must start with the line # @package _global_"
            else:
                content: Any = OmegaConf.to_container(node)
                yield from _wrong_experiment(content)
                yield from _wrong_defaults(content.get("defaults", []), path)


def members_chosen(path: Path, by_default: Mapping[str, str]) -> dict[str, list[str]]:
    """Kind -> what an experiment file says of the members of its trials, as written ("copy,adding"): in each product of
    its axes, else under `defaults`, else `by_default`. Nothing where the file is wrong or is built on other files."""
    if next(wrong_file("experiment", path), ""):
        return {}
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    entries = [entry for entry in content.get("defaults", []) if entry != "_self_"]
    if not all(isinstance(entry, Mapping) for entry in entries):
        return {}
    said = {_group(key): name for entry in entries for key, name in entry.items()}
    sweeper = content.get("hydra", {}).get("sweeper", {})
    products = [{**by_default, **said, **sweeper.get("params", {}), **own} for own in sweeper.get("grids") or [{}]]
    return {kind: list(dict.fromkeys(_written(axes[kind]) for axes in products)) for kind in KINDS}


def _written(values: Any) -> str:
    """The values of an axis as they would stand on the command line."""
    return ",".join(map(show, values)) if isinstance(values, list) else show(values)


def _wrong_experiment(content: Any) -> Iterator[str]:
    for key, value in content.items():
        if key not in TOP:
            yield unknown_key(str(key), TOP, value)
        elif key in SECTIONS and not isinstance(value, Mapping):
            yield f"{key}={show(value)}: must be a group of keys"
        elif key in KINDS and "name" in value:
            chosen = f"- override /{key}: {show(value['name'])}"
            yield f"{key}.name={show(value['name'])}: must be chosen under defaults, as {chosen}"
    yield from _wrong_hydra(content.get("hydra", {}))


def _wrong_hydra(hydra: Any) -> Iterator[str]:
    """What an experiment file says of Hydra beyond its mode and the axes of the sweep."""
    sweeper = hydra.get("sweeper", {}) if isinstance(hydra, Mapping) else {}
    for prefix, node in (("hydra", hydra), ("hydra.sweeper", sweeper)):
        known = [f"{prefix}.{key}" for key in HYDRA[prefix]]
        if not isinstance(node, Mapping):
            yield f"{prefix}={show(node)}: must be a group of the keys {', '.join(known)}"
            return
        yield from (unknown_key(f"{prefix}.{key}", known, node[key]) for key in node if key not in HYDRA[prefix])
    mode, params, grids = hydra.get("mode", "RUN"), sweeper.get("params", {}), sweeper.get("grids") or []
    if mode not in MODES:
        yield f"hydra.mode={show(mode)}: must be one of {', '.join(MODES)}"
    if not isinstance(params, Mapping):
        yield f"hydra.sweeper.params={show(params)}: must map keys to their values, such as 0,1,2"
    elif not isinstance(grids, list) or not all(isinstance(product, Mapping) for product in grids):
        yield f"hydra.sweeper.grids={show(grids)}: must be a list of mappings, from keys to their values"
    else:
        for key in dict.fromkeys(key for product in grids for key in product if key in params):
            yield f"{key}: stands in hydra.sweeper.params and in hydra.sweeper.grids; must stand in one of them"


def _wrong_defaults(defaults: Any, path: Path) -> Iterator[str]:
    if not isinstance(defaults, list):
        yield f"defaults={show(defaults)}: must be a list, such as - override /task: adding"
        return
    for entry in defaults:
        if not isinstance(entry, Mapping):
            others = sorted(file.stem for file in path.parent.glob("*.yaml") if file != path)
            if entry not in ("_self_", *others):
                yield f"defaults: {show(entry)}: must be override /GROUP: NAME, or one of {', '.join(others)}"
            continue
        for key, name in entry.items():
            group = _group(key)
            if group.startswith("hydra/"):
                yield f"{group}={show(name)}: must be rnnlab, which trains stacks; leave the line out"
            elif group not in GROUPS:
                yield unknown_key(group, GROUPS, name, "defaults")
            elif not str(key).startswith("override /"):
                yield f"defaults: {key}: {show(name)}: must be override /{group}: {show(name)}"


def _group(key: object) -> str:
    """The group of an entry of `defaults`: `task` of `override /task`."""
    return str(key).rpartition(" ")[2].lstrip("/")
