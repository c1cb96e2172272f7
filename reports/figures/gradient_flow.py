"""How gradients fade on their way back through time, before and after training.

The norm of the gradient with respect to earlier states against the lag, as a factor of that at the last scored output,
its mean and spread over networks, beside what theory says of untrained ones. A panel for each setting and layer; where
networks have several layers, which `reports.depth` compares, a panel for each setting and stage, and a line per layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import captions, curves, depth, flows, lines, panels, style, words
from reports.flows import INITIAL, LAW, LAYER, LOG, THEORY, WHEN
from rnnlab.analysis import student
from rnnlab.record import SOLVED

NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS)
OPTIONAL = (flows.THEORIES, "diagnostics/")
OBSERVATIONS = (*flows.OBSERVED, depth.NORM)
CLAIM_OF = ("gradient_flow", "diagnosis")
RANK = 5
MOST_TOLD = 6  # panels whose slopes are told one by one
KINDS = ((THEORY, "theory"), (LAW, "law"))
STAGE = "stage"
BEFORE, UNSOLVED, SOLVED_IT = STAGES = ("before training", "after training, not solved", "after training, solved")
PALETTE = style.ordered_colours(len(STAGES))
LOOKS = {
    stage: lines.Look(stage, colour, style.marker(rank))
    for rank, (stage, colour) in enumerate(zip(STAGES, (style.tint(PALETTE[0]), *PALETTE[1:]), strict=True))
}


def applies(frame: pd.DataFrame) -> bool:
    """Where layers of networks were diagnosed."""
    return any(name.startswith("diagnostics/") and name.count("/") == 2 and frame[name].notna().any() for name in frame)


class Networks(NamedTuple):
    """`flows.of_networks` with `STAGE`, and how they are laid out."""

    rows: pd.DataFrame
    facets: list[str]  # the columns of settings: radii stand side by side
    deep: bool  # `LOG` is relative to the top layer

    @property
    def panels(self) -> list[str]:
        return [*self.facets, STAGE if self.deep else LAYER]

    @property
    def line(self) -> str:
        return LAYER if self.deep else STAGE


def _networks(frame: pd.DataFrame, observations: pd.DataFrame) -> Networks:
    blanked, facets = panels.separated(frame, drawn=(), distances=False)
    facets = flows.in_order(facets, lines.RADIUS)
    networks = flows.of_networks(blanked, [*facets, "status"], observations)
    after = networks["status"].eq(SOLVED).map({True: SOLVED_IT, False: UNSOLVED})
    networks = networks.assign(**{STAGE: after.mask(networks[WHEN] == INITIAL, BEFORE)})
    compared = depth.of_top(networks, observations)
    return Networks(networks if compared is None else compared, facets, compared is not None)


def _slopes(networks: Networks) -> pd.DataFrame:
    """`flows.slopes` of each layer with `STAGE`."""
    stages = networks.rows[["key", WHEN, STAGE]].drop_duplicates()
    return flows.slopes(networks.rows, [*networks.facets, LAYER]).merge(stages, on=["key", WHEN])


def _points(networks: Networks) -> pd.DataFrame:
    """`flows.by_lag` for each line of each panel; theory goes on from where the line begins."""
    by = [*networks.panels, networks.line]
    points = flows.by_lag(networks.rows, by)
    if networks.deep:
        first = points.groupby(by, dropna=False)[LOG].transform(lambda logs: logs.iloc[0])
        points[[THEORY, LAW]] = points[[THEORY, LAW]].add(first, axis=0)
    return points


def table(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """The points of each panel and line; with the mean slope of the line and its interval, at every lag."""
    networks = _networks(frame, observations)
    by = [*networks.panels, networks.line]
    found = _slopes(networks).groupby(by, dropna=False)["slope"]
    means = found.mean().to_frame("slope")
    intervals = [student(values.dropna().to_numpy(dtype="float64")) for _, values in found]
    means[["slope_low", "slope_high"]] = np.reshape(intervals, (-1, 2))
    points = _points(networks).merge(means.reset_index(), on=by, how="left")
    return points.rename(columns={LOG: depth.OF_TOP} if networks.deep else {})


def draw(frame: pd.DataFrame, observations: pd.DataFrame) -> Figure:
    """The figure: all panels, or those of the largest distance alone where there are too many."""
    networks = _networks(frame, observations)
    points, _ = _drawn(networks)
    if points.empty:
        return curves.nothing("no network has been observed yet")
    with style.look():
        figure = _deep(points, networks) if networks.deep else _shallow(points, networks)
        curves.legend(figure, points.assign(**{LAW: math.nan}) if networks.deep else points, "black")
    return figure


def _shallow(points: pd.DataFrame, networks: Networks) -> Figure:
    """A panel for each setting and layer, a line per stage."""
    figure, axes = panels.grid(points[networks.panels].drop_duplicates(), curves.X, curves.Y)
    for ax, (key, rows) in zip(axes, points.groupby(networks.panels, dropna=False), strict=True):
        curves.frame(ax, rows, points[points["task"] == key[0]])
        for kind in (LAW, THEORY):
            curves.theory(ax, rows, kind, "black")
        for stage, of_stage in rows.groupby(STAGE):
            curves.draw(ax, of_stage, LOOKS[stage], STAGES.index(stage))
    lines.legend(figure, [LOOKS[stage] for stage in STAGES if points[STAGE].eq(stage).any()], "")
    return figure


def _deep(points: pd.DataFrame, networks: Networks) -> Figure:
    """A panel for each setting and stage, a line per layer."""
    stages = [stage for stage in STAGES if points[STAGE].eq(stage).any()]
    named, in_a_row = depth.panels_of(points[networks.facets].drop_duplicates(), STAGE, stages)
    looks = depth.looks(points[LAYER].unique())
    figure, axes = panels.grid(named, curves.X, depth.Y, in_a_row=in_a_row)
    for place, (key, rows) in enumerate(points.groupby(networks.facets, dropna=False)):
        for ax, stage in zip(axes[place * len(stages) :], stages, strict=False):
            curves.frame(ax, rows, points[points["task"] == key[0]])
            depth.draw(ax, rows[rows[STAGE] == stage], looks)
    lines.legend(figure, [*looks.values()], "")
    return figure


def _drawn(networks: Networks) -> tuple[pd.DataFrame, str]:
    """`flows.drawn` of the points; settings as a whole where each has several panels."""
    points = _points(networks)
    if not networks.deep:
        return flows.drawn(points, networks.panels)
    return flows.drawn(points, networks.facets, flows.MOST_PANELS // points[STAGE].nunique(), "setting")


def caption(frame: pd.DataFrame, observations: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how fast gradients fade, as measured and by theory."""
    networks, slopes = _networks(frame, observations), _slopes(_networks(frame, observations))
    points, which = _drawn(networks)
    blanked, _ = panels.separated(frame, drawn=(), distances=False)
    how = captions.protocols(blanked, networks.facets, "setting")
    alone = depth.both_ways(networks.rows) if networks.deep else depth.untold(networks.rows)
    found = [
        *flows.of_layers(networks.rows, networks.deep),
        *alone,
        *_findings(slopes, networks),
        *flows.lost(networks.rows),
    ]
    ends = captions.account(
        frame,
        "those that still train are shown as they began",
        "Shown with the weights before the step that broke them",
        "Without an end",
        captions.OF_EARLY,
    )
    rest = [*curves.beyond(points), *flows.unobserved(frame, networks.rows), *ends]
    return " ".join([_shown(networks.deep), *filter(None, [which]), *how, *found, *rest])


def _shown(deep: bool) -> str:
    """What the lines are."""
    measured = flows.measured("that at lag 0" + " of the network's top layer" * deep)
    law = "Dotted: the law of the state 0, rho^lag with rho the initial spectral radius. Both are"
    lines_are = "One line for each layer; dashed, from where it begins" if deep else "Dashed"
    return (
        f"Norm of the gradient with respect to the state of so many steps before, {measured}. {lines_are}: "
        f"{flows.THEORY_SAYS} {'This is' if deep else law} of tanh networks as they were drawn, and "
        f"{'says' if deep else 'say'} nothing of others or of trained ones."
    )


def _findings(slopes: pd.DataFrame, networks: Networks) -> Iterator[str]:
    """How fast gradients fade before and after training, and where that is what theory says."""
    known = slopes.dropna(subset="slope")
    if len(slopes) > len(known):
        count = words.counted(len(slopes) - len(known), "observation")
        yield f"Without a slope: {count} of a network with a gradient among them that is zero or not finite."
    if known.empty:
        yield "No slope is known yet."
        return
    by = [*networks.facets, LAYER]
    groups = [rows for _, rows in known.groupby(by, dropna=False)]
    yield flows.SLOPES_ARE
    if networks.deep:
        found = depth.factors(networks.rows, slopes, [*networks.facets, STAGE])
        yield from depth.findings(found, networks.facets, STAGE, STAGES)
    elif len(groups) <= MOST_TOLD:
        names = panels.titles(pd.concat([rows[by].iloc[:1] for rows in groups]))
        yield from (_told(name.replace("\n", " "), rows) for name, rows in zip(names, groups, strict=True))
    each = "layer" if networks.deep else "panel"
    yield from flows.against_theory([rows[rows[STAGE] == BEFORE] for rows in groups], each)
    for stage in (SOLVED_IT, UNSOLVED):
        yield from _changes(groups, stage, each)


def _told(name: str, rows: pd.DataFrame) -> str:
    """The slopes of one panel."""
    parts = []
    for stage, of_stage in ((stage, rows[rows[STAGE] == stage]) for stage in STAGES):
        if len(of_stage):
            beside = [
                f"{word} {flows.rate(of_stage[kind].mean())}" for kind, word in KINDS if of_stage[kind].notna().any()
            ]
            count = words.counted(len(of_stage), "network")
            told = f"{stage} {flows.with_interval(of_stage['slope'])} in {count}"
            parts.append(", ".join([told, *beside]))
    first, last = rows[["first", "last"]].iloc[0]
    return f"{name[0].upper()}{name[1:]}, lags {first} to {last}: {'; '.join(parts)}."


def _changes(groups: Sequence[pd.DataFrame], stage: str, each: str) -> Iterator[str]:
    """In how many panels training changed the slope of the networks that ended in this stage, network by network."""
    ends = []
    for rows in groups:
        both = rows.pivot(index="key", columns=STAGE, values="slope").reindex(columns=[BEFORE, stage]).dropna()
        if len(both) > 1:
            ends.append(student((both[stage] - both[BEFORE]).to_numpy()))
    if ends:
        slower, faster = sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)
        yield (
            f"{stage.capitalize()}: gradients fade more slowly than before in {slower} of "
            f"{words.counted(len(ends), each)}, faster in {faster}; in {len(ends) - slower - faster} the interval "
            "of the mean change of a network holds 0."
        )
