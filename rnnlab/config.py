"""From Hydra's configuration to trials: groups, grids and settings.

The whole grid of a sweep is expanded here, and Hydra composes once for each combination of config *groups*
(task, cell, init): along all other axes only values are put in, 1000 times faster than composing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from rnnlab import overrides
from rnnlab.build import EMPTY, build, build_part, conflicts
from rnnlab.engine import EngineSettings
from rnnlab.evaluation import EvalSettings
from rnnlab.overrides import DEFAULT_MEMBERS, LARGEST_SWEEP, SETTINGS, TRIAL_KEYS
from rnnlab.refusal import BadInput, show, unknown_key
from rnnlab.registry import registry
from rnnlab.spec import build_spec
from rnnlab.store import StoreSettings
from rnnlab.trial import KINDS, SECTIONS, Trial, ignored_in
from rnnlab.watch import DiagnosticsSettings

CHECKOUT = Path(__file__).parents[1]
ADHOC = "adhoc"  # the MLflow experiment of trials that no experiment file names


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
    """The trial of a launch without a sweep; refuses a configuration that means a sweep."""
    hydra = HydraConfig.get()
    refuse_other_launchers(hydra)
    axes = [*(hydra.sweeper.get("params") or ()), *(hydra.sweeper.get("grids") or ())]
    if axes:
        raise BadInput(
            f"experiment={experiment_of(hydra)}: has axes of a sweep, but not hydra.mode; must say hydra.mode: MULTIRUN"
        )
    return trial_of(config)


def refuse_other_launchers(hydra: Any) -> None:
    """Raise `BadInput` where an experiment file chooses another sweeper or launcher than rnnlab's."""
    chosen = {key: hydra.runtime.choices.get(key) for key in ("hydra/sweeper", "hydra/launcher")}
    other = [f"{key}={name}: must be rnnlab, which trains stacks" for key, name in chosen.items() if name != "rnnlab"]
    if other:
        raise BadInput(*other)


def all_of(*parts: Callable[[], Any]) -> list[Any]:
    """What each part returns. Raises `BadInput` with the problems of all of them at once."""
    found: list[Any] = []
    problems: list[str] = []
    for part in parts:
        try:
            found.append(part())
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return found


def settings_of(config: DictConfig) -> tuple[StoreSettings, EngineSettings, EvalSettings, DiagnosticsSettings]:
    """Where runs go, how trials are executed, and what else is measured at their end and observed on the way."""
    problems: list[str] = []
    built = _settings(config, problems)
    if problems:
        raise BadInput(*problems)
    return built[0], built[1], built[2], built[3]


def wrong_settings(config: DictConfig) -> list[str]:
    """A line for each problem of the settings."""
    problems: list[str] = []
    _settings(config, problems)
    return problems


def _settings(config: DictConfig, problems: list[str]) -> list[Any]:
    return [build_spec(cls, _plain(config[name]), name, problems) for name, cls in SETTINGS.items()]


def experiment_of(hydra: Any) -> str:
    """The name of the experiment file in use, else `adhoc`, from the configuration's node `hydra`."""
    return hydra.runtime.choices.get("experiment") or ADHOC


def source_of(hydra: Any) -> dict[str, str]:
    """The experiment file in use, as it is written, under the name by which a sweep keeps it; nothing without one."""
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    files = [folder / "experiment" / f"{hydra.runtime.choices.get('experiment')}.yaml" for folder in folders]
    found = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    return {"experiment.yaml": found[0]} if found else {}


def resolved(config: DictConfig) -> str:
    """The configuration as YAML: that of a trial before the axes of the sweep, the settings, and the axes."""
    node = OmegaConf.masked_copy(config, [*_keys(config), *SETTINGS])
    plain = _plain(node)
    sweep = {"params": _plain(config.hydra.sweeper.get("params")), "grids": _plain(config.hydra.sweeper.get("grids"))}
    words = {"words": list(config.hydra.overrides.task), "axes": sweep}
    return OmegaConf.to_yaml(OmegaConf.create({**plain, "sweep": words}))


def grid(
    arguments: Sequence[str],
    params: Mapping[str, Any],
    grids: Sequence[Mapping[str, Any]] | None,
    loader: ConfigLoader,
    members: Mapping[str, str] = DEFAULT_MEMBERS,
) -> list[list[str]]:
    """The cells of a sweep, each a list of overrides: a union of products.

    arguments: overrides from the command line; on an axis they replace what the experiment file says
    params:    axes that all products share, `hydra.sweeper.params` of the experiment file
    grids:     axes of each product, `hydra.sweeper.grids`; None stands for one product without more axes
    members:   task, cell and init where no axis says otherwise
    """
    parser = OverridesParser.create(config_loader=loader)
    given = parser.parse_overrides(list(arguments))
    problems = overrides.twice(given)
    replaced = {overrides.key_of(override) for override in given}
    cells: list[list[str]] = []
    for product in grids or [{}]:
        kept = {key: values for key, values in {**params, **product}.items() if key not in replaced}
        axes = _axes([*_read(kept, parser, problems), *given], members, problems)
        if math.prod(map(len, axes)) > LARGEST_SWEEP:
            problems.append(f"{math.prod(map(len, axes))} trials: must be at most {LARGEST_SWEEP}")
        elif not problems:
            cells += [list(cell) for cell in itertools.product(*axes)]
    if problems:
        raise BadInput(*dict.fromkeys(problems))
    return cells


def _read(product: Mapping[str, Any], parser: OverridesParser, problems: list[str]) -> list[Override]:
    """The axes of an experiment file as they would stand on the command line; YAML may hold values as a list."""
    found: list[Override] = []
    for key, values in product.items():
        if values == [] or isinstance(values, Mapping):
            problems.append(f"{key}={show(values)}: has no values; must have one or more, such as 0,1,2")
            continue
        line = f"{key}={','.join(map(show, values)) if isinstance(values, list) else show(values)}"
        try:
            found += parser.parse_overrides([line])
        except OverrideParseException:
            problems.append(overrides.unreadable(line, overrides.Chosen([], {})))
    return found


def _axes(given: Sequence[Override], members: Mapping[str, str], problems: list[str]) -> list[list[str]]:
    """The overrides that each axis takes in turn, a single one where it does not vary."""
    chosen = overrides.Chosen(given, members)
    axes = []
    for override in given:
        found = list(overrides.wrong(override, chosen))
        problems += found
        if not found:
            axes.append(_axis(override))
            if not axes[-1]:
                problems.append(f"{override.input_line}: has no values; must have one or more")
    return axes


def _axis(override: Override) -> list[str]:
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [override.input_line or f"{key}={override.get_value_element_as_str()}"]


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
            problems += conflicts(trials[-1])
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
        if len(swept) > 1 and section in SECTIONS and all(name in ignored_in(trial, section) for trial in trials):
            values = ",".join(sorted(show(lines[line].value) for line in swept))
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
