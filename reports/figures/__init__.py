"""Figures: one file each, found by walking this folder; a new figure is one new file.

A figure's file has a docstring whose first line is the figure's title, and

    NEEDS           the columns of the frame that it reads
    table(frame)    -> DataFrame, the numbers behind the figure
    draw(frame)     -> matplotlib Figure; reads nothing but the frame
    caption(frame)  -> str, what is shown and how the data were made

and, where they are needed,

    applies(frame)  -> bool, whether the figure is meant for a frame; without it, for all
    CLAIM_OF        names of experiments (conf/experiment) whose claim it shows: it comes first on their pages
    RANK            its place on other pages, lowest first
    OPTIONAL        beginnings of names of columns that it reads where they are there
    COURSES         names of metrics: table, draw and caption then take `(frame, courses)`, where `courses` has their
                    values over training: the columns `COURSE` of `rnnlab.frame`
    OBSERVATIONS    names of quantities: these functions then take `(frame, observations)`, where `observations` has
                    them as trained networks were found at their beginning and end: the columns `OBSERVATION`
    PLANNED         True: these functions then take `(frame, planned)`, where `planned` has a row for each trial that a
                    sweep of the experiment planned: `key`, `distance` and its fields, as in the frame
                    (at most one of the last three)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from types import ModuleType
from typing import Protocol

import pandas as pd

from rnnlab.refusal import BadInput

LAST = 9  # the rank of a figure that has none


class Extras(Protocol):
    """What figures may need beside the frame of an experiment; part of `rnnlab.store.reader.Reader`."""

    def courses(self, experiment: str, metrics: Collection[str]) -> pd.DataFrame:
        """Metrics of the trials in the experiment's frame over training: `rnnlab.frame.COURSE`, sorted by it."""

    def observations(self, experiment: str, quantities: Collection[str]) -> pd.DataFrame:
        """Quantities of these trials' networks, as diagnosed: `rnnlab.frame.OBSERVATION`, sorted by it."""

    def planned(self, experiment: str) -> pd.DataFrame:
        """The trials that the experiment's sweeps planned, sorted by `key`: it, `distance`, and the trials' fields."""


def figures() -> dict[str, ModuleType]:
    """Name -> module of every figure, by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def meant_for(frame: pd.DataFrame, experiment: str = "") -> dict[str, ModuleType]:
    """Name -> module of the figures to draw from `frame`, the most telling first."""
    return {name: module for name, module in in_order(experiment).items() if applies(module, frame)}


def in_order(experiment: str) -> dict[str, ModuleType]:
    """Name -> module of every figure: those that show the experiment's claim first, then by rank, then by name."""
    ranked = sorted(figures().items(), key=lambda item: getattr(item[1], "RANK", LAST))
    return dict(sorted(ranked, key=lambda item: experiment not in getattr(item[1], "CLAIM_OF", ())))


def applies(module: ModuleType, frame: pd.DataFrame) -> bool:
    """Whether a figure is meant for `frame`."""
    return not hasattr(module, "applies") or bool(module.applies(frame))


def extras(module: ModuleType, store: Extras, experiment: str) -> list[pd.DataFrame]:
    """What else the functions of a figure take, beside the frame of the experiment."""
    if hasattr(module, "COURSES"):
        return [store.courses(experiment, module.COURSES)]
    if hasattr(module, "OBSERVATIONS"):
        return [store.observations(experiment, module.OBSERVATIONS)]
    if getattr(module, "PLANNED", False):
        return [store.planned(experiment)]
    return []


def title(module: ModuleType) -> str:
    """The first line of the docstring, without its full stop."""
    return (module.__doc__ or module.__name__).splitlines()[0].rstrip(".")


def check(name: str, module: ModuleType, frame: pd.DataFrame) -> None:
    """Raise `BadInput` where `frame` lacks columns that the figure needs."""
    missing = [column for column in module.NEEDS if column not in frame]
    if missing:
        raise BadInput(f"figure {name}: the store's runs have no {', '.join(missing)}; were they written by rnnlab?")
