"""What the command line of `reports.build` asks for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlab.refusal import BadInput, unknown_key
from rnnlab.store import DEFAULT_PATH, without_password

OUT = Path(__file__).parent / "out"
KEYS = ("store.path", "store.uri", "out", "attach")


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    experiments: tuple[str, ...] = ()
    store: Path | str | None = None  # a file, or the URI of a database or server
    out: Path = OUT
    attach: bool = False

    def command(self, experiment: str) -> str:
        """The command that makes the page of one experiment again."""
        named = isinstance(self.store, str) or (self.store and self.store.resolve() != DEFAULT_PATH.resolve())
        store = [f"store.{'uri' if isinstance(self.store, str) else 'path'}={self.store}"] if named else []
        return without_password(shlex.join(["python", "-m", "reports.build", experiment, *store]))


def parse(arguments: Sequence[str]) -> Request:
    """The request; `BadInput` names every argument that cannot be understood."""
    problems: list[str] = []
    names: list[str] = []
    values: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals and not argument.startswith("-"):
            names.append(argument)
        elif key not in KEYS:
            problems.append(unknown_key(key, KEYS, value))
        elif key == "attach" and value not in ("true", "false"):
            problems.append(f"attach={value}: must be true or false")
        elif not value:
            problems.append(f"{key}=: must be a {'URI' if key == 'store.uri' else 'path'}")
        else:
            values[key] = value
    if {"store.path", "store.uri"} <= values.keys():
        problems.append("store.path: is given beside store.uri; must be one of them")
    if problems:
        raise BadInput(*problems)
    paths = {key: Path(values[key]).expanduser() for key in ("store.path", "out") if key in values}
    store = values.get("store.uri") or paths.get("store.path")
    return Request(tuple(dict.fromkeys(names)), store, paths.get("out", OUT), values.get("attach") == "true")
