"""How fields of a trial and their values read in titles, legends and captions.

A field or a task without an entry here reads as its own name: a new one needs no change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pandas as pd

TASKS = {
    "copy": "copy memory",
    "variable_delay_copy": "copy memory with a variable delay",
    "adding": "adding problem",
    "multiplication": "multiplication problem",
    "noiseless_memorization": "noiseless memorisation",
    "digits": "handwritten digits",
    "sensor": "line scanner",
    "agreement": "verb agreement",
    "reverse": "reversal",
    "generate": "melodies",
}
CRITERIA = {  # what "solved" means; tests compare the numbers with those of the task modules
    **dict.fromkeys(
        ("copy", "variable_delay_copy", "selective_copy", "noiseless_memorization"),
        "at least 99 % of the recalled symbols right",
    ),
    **dict.fromkeys(
        ("temporal_order", "random_permutation", "bit_recall", "parity", "associative_recall", "sensor"),
        "at least 99 % of the sequences right",
    ),
    "adding": "a mean squared error of the sum below 0.01",
    "multiplication": "a mean squared error below 0.003",
    "digits": "at least 93 % of the held-out digits right",
    "agreement": "at least 99 % of the numbers right",
    "tagging": "at least 99 % of the tags right",
    "reverse": "at least 99 % of the written symbols and ends right",
    "generate": "at least 99 % of the notes right",
}
OWN_CRITERION = "the task's own criterion met"

# A field with its value, as a part of a panel's title. Default: the field's name, then the value.
PARTS = {
    "cell": "{}",
    "init": "{} init",
    "task.symbols": "{}",
    "cell.nonlinearity": "{}",
    "model.hidden_size": "{}",
    "train.clip_threshold": "clip {}",
    "train.optimizer": "{}",
    "train.max_steps": "budget {}",
    "train.truncation": "window {}",
    "model.layers": "{}",
    "layer": "{}",  # one of a network's: layer 1
    "stage": "{}",  # before training or after
    "init.spectral_radius": "radius {}",
}
COUNTED = {  # what a field is a number of: 1 layer, 2 layers
    "task.symbols": "symbol",
    "model.hidden_size": "unit",
    "train.max_steps": "step",
    "model.layers": "layer",
}
MISSING = {"train.clip_threshold": "off", "train.truncation": "full"}  # what a missing value of a field means


# What a field is called where its values stand beside it: in legends, on axes. Default: as in a panel's title.
LABELS = {
    "init.spectral_radius": r"initial spectral radius of $W_{hh}$",
    "train.truncation": "window of truncated backpropagation (steps)",
    "train.clip_threshold": "clip threshold of the gradient",
    "model.hidden_size": "hidden units",
    "model.layers": "recurrent layers",
    "task.symbols": "symbols to recall",
}
NUMBERED = ("model.hidden_size", "model.layers", "task.symbols")  # labels that are plurals
CELLS = (  # those with a plain recurrent matrix, those with gates, those made for long memory, those without recurrence
    *("elman", "irnn", "orthogonal", "antisymmetric", "cornn"),
    *("lstm", "gru", "lru"),
    *("tcn", "transformer"),
)
CHANCE = {"sensor": 1 / 3}  # share right of who guesses, where that is a level worth drawing


def task(name: str) -> str:
    return TASKS.get(name, name.replace("_", " "))


def criterion(name: str) -> str:
    return CRITERIA.get(name, OWN_CRITERION)


def value(content: object, field: str = "") -> str:
    """One entry of a frame: 64.0 as 64, a missing one by what it means."""
    if pd.isna(content):
        return MISSING.get(field, "none")
    return f"{content:.6g}" if isinstance(content, float) else str(content)


def aligned(numbers: Sequence[float], field: str = "") -> list[str]:
    """Numbers with equally many decimals, as few as tell each exactly: 0.5, 1.0, 1.2."""
    decimals = max(len(value(number).partition(".")[2]) for number in numbers)
    return [value(number, field) if pd.isna(number) else f"{number:.{decimals}f}" for number in numbers]


def distinct(column: pd.Series) -> list[str]:
    """The different values of a field, sorted, a missing one last."""
    present = sorted(column.dropna().unique())
    missing = [None] if column.isna().any() else []
    return [value(content, str(column.name)) for content in [*present, *missing]]


def part(field: str, content: object) -> str:
    """A field with its value: `clip 1`, `orthogonal`, `learning rate 0.01`."""
    if field == "task":
        return task(str(content))
    if content in ("true", "false"):
        return ("" if content == "true" else "not ") + bare(field)
    told = value(content, field)
    told = counted(told, COUNTED[field]) if field in COUNTED else told
    return PARTS.get(field, bare(field) + " {}").format(told)


def bare(field: str) -> str:
    """The field's own name: `learning rate`."""
    return field.rpartition(".")[2].replace("_", " ")


def label(field: str) -> str:
    """What a field is called in a legend or on an axis."""
    return LABELS.get(field, bare(field))


def plain(field: str) -> str:
    """`label` in a sentence: `number of hidden units`, without the signs of formulas."""
    return ("number of " if field in NUMBERED else "") + re.sub(r"[${}]", "", label(field)).removesuffix(" (steps)")


def listed(contents: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *before, final = contents
    return f"{', '.join(before)} {last} {final}" if before else final


def rounded(number: float) -> str:
    """A number with two digits, or all of those before its point: 0.031, 7.4, 10, 123."""
    return f"{number:.0f}" if abs(number) >= 10 else f"{number:#.2g}".rstrip(".")


def signed(number: float) -> str:
    """A correlation: with two decimals, and the sign of minus."""
    return f"{round(number, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def counted(number: object, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number} {noun}" + ("" if str(number) == "1" else "s")
