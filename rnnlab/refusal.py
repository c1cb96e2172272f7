"""Refusals: lines for what a user asked for that is not possible, each with the key, the value and what is allowed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any


class BadInput(ValueError):
    """What a user asked for is not possible; `problems` holds one clear line for each reason."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def unknown_key(key: str, known: Sequence[str], value: Any, owner: str = "") -> str:
    """The line that refuses a key nobody reads."""
    whose = f" of {owner}" if owner else ""
    close = closest(key, known)
    hint = f"did you mean {close}? " if close else ""
    listed = ", ".join(known) if known else "none"
    return f"{key}={show(value)}: unknown key; {hint}allowed{whose}: {listed}"


def closest(key: str, known: Sequence[str]) -> str:
    """The known key whose last part is like that of `key`, or has it as one of its words; "" where there is none."""
    names = {one.rpartition(".")[2]: one for one in reversed(known)}
    name = str(key).rpartition(".")[2]
    close = difflib.get_close_matches(name, names, n=1) or [one for one in names if name in one.split("_")]
    return names[close[0]] if name and close else ""


def show(value: Any) -> str:
    """A value as it would be written on the command line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
