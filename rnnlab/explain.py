"""What an error of Hydra's means, in one line for each problem: the key, the value, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from rnnlab.overrides import Chosen, allowed_at, names_of, unknown
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.store import KEYS
from rnnlab.trial import KINDS

HYDRA_ERRORS = (HydraException, OmegaConfBaseException, YAMLError)


def explain(error: BaseException, arguments: Sequence[str]) -> list[str]:
    """The lines for an error; `arguments` are the overrides from the command line."""
    if isinstance(error, BadInput):
        return list(error.problems)
    text = str(error)
    given = dict(word.lstrip("+").split("=", 1) for word in arguments if "=" in word)
    if isinstance(error, YAMLError):
        return ["a file in conf/ is not YAML: " + " ".join(text.split())]
    if isinstance(error, MissingConfigException) and (found := re.search(r"Could not find '([^']+)'", text)):
        group, _, name = found[1].rpartition("/")
        return [f"{group}={name}: must be one of {', '.join(sorted(error.options or ()))}"]
    if isinstance(error, ConfigCompositionException) and (found := re.search(r"Could not \w+ '([^']+)'", text)):
        key = found[1].split("=")[0]
        return [_not_here(key, given.get(key, ""))]
    if found := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", text):
        return [f"{found[1]}: several values make a sweep; add -m"]
    lines = [line.strip() for line in text.strip().splitlines()] or [type(error).__name__]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    key = getattr(error, "full_key", None)
    if key:
        allowed = allowed_at(key)
        return [f"{key}={given.get(key, '...')}: {first}" + (f"; must be {allowed}" if allowed else "")]
    return [first + (f" ({str(error.__cause__).splitlines()[0]})" if error.__cause__ else "")]


def _not_here(key: str, value: str) -> str:
    """The line for a key that the composed configuration does not have, though members have it that are not chosen."""
    section, _, field = key.partition(".")
    if problem := unknown(key, value, Chosen([], {})):
        return problem
    if section == "store":
        stores = [f"store={kind}" for kind, names in KEYS.items() if field in names]
        return f"{key}={value}: is not of the store chosen here; must stand with {' or '.join(stores)}"
    owners = [name for name, spec in registry()[section].items() if field in names_of(spec)] if section in KINDS else []
    return f"{key}={value}: is of {section} {' or '.join(owners)}, not of the {section} chosen here"
