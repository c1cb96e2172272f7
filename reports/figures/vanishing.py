"""How gradients vanish: the textbook law beside untrained networks, without inputs and with them.

The norm of the gradient with respect to earlier states against the lag, one line per spectral radius, in panels by the
scale of the inputs. At the state 0 of an orthogonal network it is the radius to the power of the lag, for ever; inputs
saturate the units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from reports import captions, curves, flows, lines, panels, style, words
from reports.flows import INITIAL, INPUT_SCALE, LAG, LAW, LAYER, LOG, THEORY, WHEN
from rnnlab.analysis import student

NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS, INPUT_SCALE)
OPTIONAL = (flows.THEORIES,)
OBSERVATIONS = flows.OBSERVED
CLAIM_OF = ("vanishing",)
HEIGHT = 1.25 * style.PANEL_HEIGHT  # of a panel, in inches
UNITS = "model.hidden_size"
MOST_TOLD = 3  # panels in which the factors of every radius are told


def applies(frame: pd.DataFrame) -> bool:
    """Where scales of inputs are compared in diagnosed networks of which theory speaks."""
    return INPUT_SCALE in frame and bool(_told(frame).groupby("task")[INPUT_SCALE].nunique().max() > 1)


def _told(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials of which theory speaks."""
    slopes = [name for name in frame if name.startswith(flows.THEORIES) and name.endswith("/slope")]
    return frame[frame[slopes].notna().any(axis=1)]


def _networks(frame: pd.DataFrame, observations: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """`flows.of_networks` at the beginning, and the columns that separate panels, the scale of the inputs last."""
    told, facets = panels.separated(_told(frame), drawn=(lines.RADIUS,), distances=False)
    facets = [*flows.in_order([*facets, LAYER], INPUT_SCALE)]
    networks = flows.of_networks(told, [*(name for name in facets if name != LAYER), lines.RADIUS], observations)
    return networks[networks[WHEN] == INITIAL].reset_index(drop=True), facets


def table(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """`flows.by_lag` for each panel and radius, of networks that are not trained yet."""
    networks, facets = _networks(frame, observations)
    return flows.by_lag(networks, [*facets, lines.RADIUS])


def draw(frame: pd.DataFrame, observations: pd.DataFrame) -> Figure:
    """The figure: a row of panels for each combination of the other fields that vary."""
    facets = _networks(frame, observations)[1]
    points, _ = flows.drawn(table(frame, observations), facets)
    if points.empty:
        return curves.nothing("no network has been observed yet")
    found = lines.values(points[lines.RADIUS])
    with style.look():
        colours = style.ordered_colours(len(found))
        looks = [replace(look, colour=style.tint(look.colour)) for look in lines.looks(found, lines.RADIUS)]
        named = points[facets].drop_duplicates()
        figure, axes = panels.grid(named, curves.X, curves.Y, height=HEIGHT)
        for ax, (key, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            curves.frame(ax, rows, points[points["task"] == key[0]], (LOG, THEORY, LAW))
            for rank, of_line in rows.groupby(lines.ranks(rows[lines.RADIUS], found)):
                curves.draw(ax, of_line, looks[rank], rank)
                for kind in (LAW, THEORY):
                    curves.theory(ax, of_line, kind, colours[rank])
        lines.legend(figure, looks, words.label(lines.RADIUS))
        curves.legend(figure, points)
    return figure


def caption(frame: pd.DataFrame, observations: pd.DataFrame) -> str:
    """What the figure shows, how the networks were made, and what is left of the law at the largest lag."""
    networks, facets = _networks(frame, observations)
    points, which = flows.drawn(flows.by_lag(networks, [*facets, lines.RADIUS]), facets)
    shown = (
        "Untrained networks: norm of the gradient with respect to the state of so many steps before, "
        f"{flows.measured()}. Dotted: the law of the state 0, rho^lag with rho the spectral radius, exact for the "
        "multiples of orthogonal matrices as long as no input moves the state. Dashed: "
        f"{flows.THEORY_SAYS}"
    )
    trials = _told(frame)
    how = [_how(str(task), rows) for task, rows in trials[trials["key"].isin(networks["key"])].groupby("task")]
    by = [*facets, lines.RADIUS]
    groups = [rows for _, rows in flows.slopes(networks, by).groupby(by, dropna=False)]
    found = [
        flows.SLOPES_ARE,
        *_left(networks, facets),
        *_without_inputs(networks),
        *_vanished(networks, facets),
        *flows.against_theory(groups, "line"),
    ]
    ends = captions.account(
        frame, "those that have begun are shown", "Shown as they began, like all", "Without an end", ""
    )
    rest = [
        *flows.of_layers(networks),
        *flows.lost(networks),
        *curves.beyond(points),
        *flows.unobserved(trials, networks),
        *ends,
    ]
    return " ".join([shown, *filter(None, [which]), *how, *found, *rest])


def _how(task: str, trials: pd.DataFrame) -> str:
    """How the networks of one task were made."""
    seeds = words.counted(trials["seed"].nunique(), "seed")
    cell, init, units = (words.listed(words.distinct(trials[name]), "or") for name in ("cell", "init", UNITS))
    return f"{words.task(task).capitalize()}: {seeds}; {cell} cell, {words.counted(units, 'hidden unit')}, {init} init."


def _left(networks: pd.DataFrame, facets: Sequence[str]) -> Iterator[str]:
    """By the law and as measured, what is left of a gradient at the largest lag."""
    others = [name for name in facets if name != INPUT_SCALE]
    groups = [rows for _, rows in networks.groupby(others, dropna=False)]
    if not 0 < len(groups) <= MOST_TOLD:
        return
    names = panels.titles(pd.concat([rows[others].iloc[:1] for rows in groups]))
    for name, rows in zip(names, groups, strict=True):
        last = rows[rows[LAG] == rows[LAG].max()]
        told = [_of_radius(radius, of_one) for radius, of_one in last.groupby(lines.RADIUS)]
        yield f"{name[0].upper()}{name[1:]}, what is left at lag {last[LAG].max():g}: {'; '.join(told)}.".replace(
            "\n", " "
        )


def _of_radius(radius: float, last: pd.DataFrame) -> str:
    """One radius at the largest lag."""
    law = flows.factor(math.log(radius) * last[LAG].max()) if radius > 0 else "0"
    measured = [
        f"{flows.with_interval(rows[LOG], flows.factor)} at {'' if place else 'input scale '}{words.value(scale)}"
        for place, (scale, rows) in enumerate(last.groupby(INPUT_SCALE))
    ]
    return f"radius {words.value(radius)}, law {law}, measured {words.listed(measured)}"


def _without_inputs(networks: pd.DataFrame) -> Iterator[str]:
    """How far from the law networks without inputs are."""
    known = networks.dropna(subset=[LOG, LAW])
    off = (known[LOG] - known[LAW] * known[LAG])[known[INPUT_SCALE] == 0].abs()
    if len(off):
        share = f"{flows.factor(math.log(100 * math.expm1(off.max())))} %" if 0 < off.max() < 1 else "0 %"
        most = share if off.max() < 1 else f"a factor of {flows.factor(off.max())}"
        yield f"Without inputs no network is farther from the law than {most}, at any lag."


def _vanished(networks: pd.DataFrame, facets: Sequence[str]) -> Iterator[str]:
    """In how many lines gradients vanish by inputs alone: with radii at which they do not by the law."""
    driven = networks[(networks[INPUT_SCALE] > 0) & (networks[lines.RADIUS] >= 1)]
    ends = []
    for _, rows in driven.groupby([*facets, lines.RADIUS], dropna=False):
        last = rows.loc[rows[LAG] == rows[LAG].max(), LOG].dropna()
        if len(last) > 1:
            ends.append(student(last.to_numpy()))
    if ends:
        smaller, larger = sum(high < 0 for _, high in ends), sum(low > 0 for low, _ in ends)
        yield (
            "With inputs and a radius of 1 or more, at which nothing vanishes by the law, gradients at the largest lag "
            f"are smaller than at lag 0 in {smaller} of {words.counted(len(ends), 'line')} and larger in {larger}; in "
            f"{len(ends) - smaller - larger} the interval holds 1."
        )
