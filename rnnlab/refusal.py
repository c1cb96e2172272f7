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
    close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.75)
    whose = f" of {owner}" if owner else ""
    hint = f"did you mean {close[0]}? " if close else ""
    listed = ", ".join(known) if known else "none"
    return f"{key}={show(value)}: unknown key; {hint}allowed{whose}: {listed}"


def show(value: Any) -> str:
    """A value as it would be written on the command line."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
