"""From Hydra's configuration to trials: groups, grids, and errors that a person can read.

The whole grid of a sweep is expanded here, and Hydra composes once for each combination of config *groups*
(task, cell, init): along all other axes only values are put into a copy, 100 times faster than composing.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rnnlab.engine import EngineSettings
from rnnlab.registry import registry
from rnnlab.store import KEYS, StoreSettings, without_password
from rnnlab.trial import (
    EMPTY,
    KINDS,
    BadInput,
    Model,
    Train,
    Trial,
    build,
    build_part,
    build_spec,
    ignored_by,
    show,
    unknown_key,
)

CHECKOUT = Path(__file__).parents[1]
ADHOC = "adhoc"  # the MLflow experiment of trials that no experiment file names
TRIAL_KEYS = tuple(EMPTY)
SETTINGS: Mapping[str, type] = {"store": StoreSettings, "engine": EngineSettings}
HYDRA_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)
DEFAULT_MEMBERS = {"task": "copy", "cell": "elman", "init": "orthogonal"}  # of conf/config.yaml, for messages


def register() -> None:
    """Make every task, cell and init an option of its config group, with the defaults of its spec."""
    OmegaConf.register_new_resolver("checkout", lambda: str(CHECKOUT), replace=True)
    store = ConfigStore.instance()
    for kind, members in registry().items():
        for name, spec in members.items():
            defaults = {field.name: field.default for field in dataclasses.fields(spec)}
            store.store(group=kind, name=name, node={"name": name, **defaults}, provider="rnnlab")


def trial_of(config: DictConfig) -> Trial:
    """The trial that a composed configuration describes."""
    return build({key: _plain(config[key]) for key in _keys(config)}, registry())


def single_trial(config: DictConfig) -> Trial:
    """The trial of a launch without a sweep; refuses a configuration that means a sweep or says a thing twice."""
    hydra = HydraConfig.get()
    _refuse_duplicates(OverridesParser.create().parse_overrides(list(hydra.overrides.task)))
    axes = [*(hydra.sweeper.get("params") or ()), *(hydra.sweeper.get("grids") or ())]
    if axes:
        raise BadInput(
            f"experiment={experiment_of(hydra)}: has axes of a sweep, but not hydra.mode; must say hydra.mode: MULTIRUN"
        )
    return trial_of(config)


def settings_of(config: DictConfig) -> tuple[StoreSettings, EngineSettings]:
    """Where runs go and how trials are executed."""
    problems: list[str] = []
    built = [build_spec(cls, _plain(config[name]), name, problems) for name, cls in SETTINGS.items()]
    if problems:
        raise BadInput(*problems)
    return built[0], built[1]


def experiment_of(hydra: Any) -> str:
    """The name of the experiment file in use, else `adhoc`, from the configuration's node `hydra`."""
    return hydra.runtime.choices.get("experiment") or ADHOC


def resolved(config: DictConfig) -> str:
    """The configuration as YAML: that of a trial before the axes of the sweep, the settings, and the axes."""
    node = OmegaConf.masked_copy(config, [*_keys(config), *SETTINGS])
    plain = _plain(node)
    sweep = {"params": _plain(config.hydra.sweeper.get("params")), "grids": _plain(config.hydra.sweeper.get("grids"))}
    words = {"words": list(config.hydra.overrides.task), "axes": sweep}
    return OmegaConf.to_yaml(OmegaConf.create({**plain, "sweep": words}))


def grid(
    arguments: Sequence[str], params: Mapping[str, Any], grids: Sequence[Mapping[str, Any]] | None, loader: ConfigLoader
) -> list[list[str]]:
    """The cells of a sweep, each a list of overrides: a union of products.

    arguments: overrides from the command line; on an axis they replace what the experiment file says
    params:    axes that all products share, `hydra.sweeper.params` of the experiment file
    grids:     axes of each product, `hydra.sweeper.grids`; None stands for one product without more axes
    """
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(list(arguments))
    _refuse_duplicates(given)
    replaced = {override.get_key_element() for override in given}
    cells: list[list[str]] = []
    problems: list[str] = []
    for product in _products(params, grids):
        lines = [f"{key}={_written(value)}" for key, value in product.items() if key not in replaced]
        axes = [_axis(override, problems) for override in [*parser.parse_overrides(lines), *given]]
        cells += [list(cell) for cell in itertools.product(*axes)]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return cells


def _products(params: Any, grids: Any) -> list[dict[str, Any]]:
    """The axes of each product, as the experiment file writes them."""
    if not isinstance(params, Mapping):
        raise BadInput(f"hydra.sweeper.params={show(params)}: must map keys to their values, such as 0,1,2")
    if not isinstance(grids or [], list) or not all(isinstance(product, Mapping) for product in grids or []):
        raise BadInput(f"hydra.sweeper.grids={show(grids)}: must be a list of mappings, from keys to their values")
    return [{**params, **product} for product in grids or [{}]]


def _written(value: Any) -> str:
    """The values of an axis as they would stand on the command line; YAML may hold them as a list."""
    return ",".join(map(show, value)) if isinstance(value, list) else show(value)


def _refuse_duplicates(given: Sequence[Override]) -> None:
    keys = [override.get_key_element() for override in given]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise BadInput(*(f"{key}: is given {keys.count(key)} times; must be given once" for key in twice))


def _axis(override: Override, problems: list[str]) -> list[str]:
    """The overrides that one axis takes in turn, a single one where it does not vary."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [override.input_line or f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        problems.append(f"{override.input_line}: must be a list of values, range(...), choice(...) or glob(...)")
        return []
    if key.split(".")[0].split("@")[0] not in TRIAL_KEYS:
        why = "one named sweep at a time" if key == "experiment" else "is no part of a trial"
        problems.append(f"{override.input_line}: cannot be swept, {why}; axes are {', '.join(TRIAL_KEYS)}")
        return []
    values = [f"{key}={value}" for value in override.sweep_string_iterator()]
    if not values:
        problems.append(f"{override.input_line}: has no values; must have one or more")
    return values


def trials_of(cells: Sequence[Sequence[str]], config: DictConfig, loader: ConfigLoader) -> list[Trial]:
    """The trials of a sweep's cells. Raises `BadInput` with the problems of all of them at once.

    `config` is the sweep's own composed configuration, with the node `hydra`.
    """
    lines = _Lines(loader)
    bases: dict[tuple[str, ...], _Base] = {}
    trials: list[Trial] = []
    problems: list[str] = []
    for cell in cells:
        composed = tuple(line for line in cell if lines[line].composed)
        if composed not in bases:
            bases[composed] = _Base(_trial_node(loader.load_sweep_config(config, list(composed))), problems)
        parts = bases[composed].parts([lines[line] for line in cell if not lines[line].composed])
        if None not in parts.values():
            trials.append(Trial(**parts))
    if not problems:
        problems += _ignored_axes(cells, trials, lines)
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return trials


@dataclass(frozen=True, eq=False)
class _Line:
    """What an override sets; each is itself alone, as its value may be a mapping."""

    key: str
    value: Any
    section: str  # the part of a trial that the key is in
    composed: bool  # whether Hydra has to compose: the line does more than to set a value of a trial
    interpolates: bool  # whether the value depends on other keys


class _Lines(dict[str, _Line]):
    """The meaning of overrides, each distinct line parsed once."""

    def __init__(self, loader: ConfigLoader) -> None:
        super().__init__()
        self.parser = OverridesParser.create(config_loader=loader)

    def __missing__(self, line: str) -> _Line:
        override = self.parser.parse_override(line)
        key = override.get_key_element().lstrip("+")
        section = key.split(".")[0]
        plain = section in TRIAL_KEYS and key not in KINDS and not override.is_delete() and "@" not in key
        value = None if override.is_delete() else override.value()
        self[line] = _Line(key, value, section, not plain, "${" in line)
        return self[line]


class _Base:
    """What trials with the same members have in common: their configuration before values are put in.

    Each part of a trial is built once for the values that decide it, which are those of its own keys: a grid has
    many cells, but its axes have few values. Only where something refers to other keys do all values decide it.
    """

    def __init__(self, node: DictConfig, problems: list[str]) -> None:
        self.node, self.problems = node, problems
        self.interpolates = "${" in OmegaConf.to_yaml(node)
        self.built: dict[tuple[str, tuple[_Line, ...]], Any] = {}
        problems += [unknown_key(str(key), TRIAL_KEYS, _plain(node[key])) for key in node if key not in TRIAL_KEYS]

    def parts(self, values: Sequence[_Line]) -> dict[str, Any]:
        """Part of a trial -> what these values make of it, None where they are wrong."""
        entangled = self.interpolates or any(line.interpolates for line in values)
        found = {}
        for part in TRIAL_KEYS:
            deciding = tuple(line for line in values if entangled or line.section == part)
            if (part, deciding) not in self.built:
                self.built[part, deciding] = self._build(part, deciding)
            found[part] = self.built[part, deciding]
        return found

    def _build(self, part: str, values: Sequence[_Line]) -> Any:
        node = self.node.copy()
        for line in values:
            OmegaConf.update(node, line.key, line.value, force_add=True)
        return build_part(part, _plain(node.get(part, EMPTY[part])), registry(), self.problems)


def _ignored_axes(cells: Sequence[Sequence[str]], trials: Sequence[Trial], lines: Mapping[str, _Line]) -> Iterator[str]:
    """A line for each axis that no trial of the sweep reads, given its other fields."""
    settings: dict[str, set[str]] = {}
    for line in dict.fromkeys(itertools.chain.from_iterable(cells)):
        if not lines[line].composed:
            settings.setdefault(lines[line].key, set()).add(line)
    for key, swept in settings.items():
        section, _, name = key.partition(".")
        if len(swept) > 1 and all(name in ignored_by(getattr(trial, section, None)) for trial in trials):
            values = ",".join(sorted(line.partition("=")[2] for line in swept))
            yield f"{key}={values}: no trial of this sweep reads it, given the other settings; must be left out"


def _trial_node(config: DictConfig) -> DictConfig:
    """A copy of the part of a configuration that describes the trial, open to new keys."""
    node = OmegaConf.masked_copy(config, _keys(config))
    OmegaConf.set_struct(node, False)
    return node


def _keys(config: DictConfig) -> list[str]:
    """The top-level keys that should describe a trial: all but those of settings and of Hydra."""
    return [str(key) for key in config if key not in (*SETTINGS, "hydra")]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def refuse_no_choice(arguments: Sequence[str]) -> None:
    """Raise `BadInput` where a group is set to null, which Hydra answers with a traceback."""
    groups = (*KINDS, *SETTINGS, "experiment")
    words = [word for word in arguments if word in [f"{group}=null" for group in groups]]
    if words:
        raise BadInput(*(f"{word}: must name a member; leave the word out for the default" for word in words))


def explain(error: BaseException, arguments: Sequence[str]) -> list[str]:
    """What an error of Hydra's means, in one line per problem: key, value, what is allowed.

    `arguments` are the overrides from the command line.
    """
    if isinstance(error, BadInput):
        return list(error.problems)
    text = str(error)
    if isinstance(error, YAMLError):
        return ["a file in conf/ is not YAML: " + " ".join(text.split())]
    if isinstance(error, MissingConfigException) and (found := re.search(r"Could not find '([^']+)'", text)):
        group, _, name = found[1].rpartition("/")
        return [f"{group}={name}: must be one of {', '.join(sorted(error.options or ()))}"]
    if isinstance(error, OverrideParseException):
        why = error.message.splitlines()[0]
        return [f"{without_password(error.override or '')}: cannot be read ({why}); must be key=value"]
    if isinstance(error, ConfigCompositionException) and (found := re.search(r"Could not \w+ '([^']+)'", text)):
        return [_explain_unknown(found[1].split("=")[0], arguments)]
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", text):
        if found[1].startswith("experiment="):
            return [f"{found[1]}: one named sweep at a time"]
        return [f"{found[1]}: several values make a sweep; add -m"]
    cause = f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else ""
    return [(text.strip().splitlines() or [type(error).__name__])[0] + cause]


def _explain_unknown(key: str, arguments: Sequence[str]) -> str:
    """The line for a key that the configuration does not have."""
    given = dict(line.lstrip("+~").split("=", 1) for line in arguments if "=" in line)
    section, _, name = key.partition(".")
    value = given.get(key, "")
    if section not in (*TRIAL_KEYS, *SETTINGS) or not name:
        groups = (*TRIAL_KEYS, *SETTINGS, "experiment")
        close = difflib.get_close_matches(section, groups, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        return f"{key}={value}: unknown key; {hint}allowed: {', '.join(groups)}"
    if section in KINDS:
        default = "" if "experiment" in given else DEFAULT_MEMBERS[section]  # an experiment may choose another
        members = {given.get(section, default)} & set(registry()[section]) or set(registry()[section])
        known = [f"{section}.{name}" for member in sorted(members) for name in _fields(registry()[section][member])]
        if key not in known:
            return unknown_key(key, list(dict.fromkeys(known)), value, f"{section} {' or '.join(sorted(members))}")
        owners = [name for name, spec in registry()[section].items() if key.partition(".")[2] in _fields(spec)]
        return f"{key}={value}: is of {section} {' or '.join(owners)}, not of the {section} chosen here"
    if section == "store":
        stores = [f"store={kind}" for kind, names in KEYS.items() if name in names]
        if stores:
            value = without_password(value)
            return f"{key}={value}: is not of the store chosen here; must stand with {' or '.join(stores)}"
        return unknown_key(key, [f"store.{name}" for name in dict.fromkeys(sum(KEYS.values(), ()))], value)
    spec = {"model": Model, "train": Train, **SETTINGS}.get(section)
    return unknown_key(key, [f"{section}.{name}" for name in _fields(spec)] if spec else [], value)


def _fields(spec: type) -> list[str]:
    return [field.name for field in dataclasses.fields(spec)]
