"""Figures: one file each, found by walking this folder; a new figure is one new file.

A figure's file has a docstring whose first line is the figure's title, and

    NEEDS           the columns of the frame that it reads
    table(frame)    -> DataFrame, the numbers behind the figure
    draw(frame)     -> matplotlib Figure; reads nothing but the frame
    caption(frame)  -> str, what is shown and how the data were made
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pandas as pd

from rnnlab.trial import BadInput


def figures() -> dict[str, ModuleType]:
    """Name -> module of every figure, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def title(module: ModuleType) -> str:
    """The first line of the docstring, without its full stop."""
    return (module.__doc__ or module.__name__).splitlines()[0].rstrip(".")


def check(name: str, module: ModuleType, frame: pd.DataFrame) -> None:
    """Raise `BadInput` where `frame` lacks columns that the figure needs."""
    missing = [column for column in module.NEEDS if column not in frame]
    if missing:
        raise BadInput(f"figure {name}: the store's runs have no {', '.join(missing)}; were they written by rnnlab?")
