"""How gradients fade on their way back through time, before and after training.

The norm of the gradient with respect to earlier states against the lag, as a factor of that at the last scored output,
its mean and spread over networks, beside what theory says of untrained ones. A panel for each setting and layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import captions, curves, flows, lines, panels, style, words
from reports.flows import INITIAL, LAW, LAYER, THEORY, WHEN
from rnnlab.analysis import student
from rnnlab.record import SOLVED

NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS)
OPTIONAL = (flows.THEORIES, "diagnostics/")
OBSERVATIONS = flows.OBSERVED
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


def _networks(frame: pd.DataFrame, observations: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """`flows.of_networks` with `STAGE`, and the columns that separate panels.

    Radii, or the layers of a network, stand side by side.
    """
    blanked, facets = panels.separated(frame, drawn=(), distances=False)
    facets = flows.in_order(facets, lines.RADIUS)
    networks = flows.of_networks(blanked, [*facets, "status"], observations)
    after = networks["status"].eq(SOLVED).map({True: SOLVED_IT, False: UNSOLVED})
    return networks.assign(**{STAGE: after.mask(networks[WHEN] == INITIAL, BEFORE)}), [*facets, LAYER]


def _slopes(networks: pd.DataFrame, facets: Sequence[str]) -> pd.DataFrame:
    """`flows.slopes` with `STAGE`."""
    stages = networks[["key", WHEN, STAGE]].drop_duplicates()
    return flows.slopes(networks, facets).merge(stages, on=["key", WHEN])


def table(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """`flows.by_lag` for each panel and stage; with the mean slope of the stage and its interval, at every lag."""
    networks, facets = _networks(frame, observations)
    found = _slopes(networks, facets).groupby([*facets, STAGE], dropna=False)["slope"]
    means = found.mean().to_frame("slope")
    intervals = [student(values.dropna().to_numpy(dtype="float64")) for _, values in found]
    means[["slope_low", "slope_high"]] = np.reshape(intervals, (-1, 2))
    return flows.by_lag(networks, [*facets, STAGE]).merge(means.reset_index(), on=[*facets, STAGE], how="left")


def draw(frame: pd.DataFrame, observations: pd.DataFrame) -> Figure:
    """The figure: a panel for each setting and layer, of the largest distance alone where there are too many."""
    facets = _networks(frame, observations)[1]
    points, _ = flows.drawn(table(frame, observations), facets)
    if points.empty:
        return curves.nothing("no network has been observed yet")
    with style.look():
        figure, axes = panels.grid(points[facets].drop_duplicates(), curves.X, curves.Y)
        for ax, (key, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            curves.frame(ax, rows, points[points["task"] == key[0]])
            for kind in (LAW, THEORY):
                curves.theory(ax, rows, kind, "black")
            for stage, of_stage in rows.groupby(STAGE):
                curves.draw(ax, of_stage, LOOKS[stage], STAGES.index(stage))
        lines.legend(figure, [LOOKS[stage] for stage in STAGES if points[STAGE].eq(stage).any()], "")
        curves.legend(figure, points, "black")
    return figure


def caption(frame: pd.DataFrame, observations: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how fast gradients fade, as measured and by theory."""
    blanked, _ = panels.separated(frame, drawn=(), distances=False)
    networks, facets = _networks(frame, observations)
    points, which = flows.drawn(flows.by_lag(networks, [*facets, STAGE]), facets)
    shown = (
        f"Norm of the gradient with respect to the state of so many steps before, {flows.MEASURED}. Dashed: "
        f"{flows.THEORY_SAYS} Dotted: the law of the state 0, rho^lag with rho the initial spectral radius. Both are "
        "of tanh networks as they were drawn, and say nothing of others or of trained ones."
    )
    how = captions.protocols(blanked, facets[:-1], "setting")
    found = [*flows.of_layers(networks), *_findings(_slopes(networks, facets), facets), *flows.lost(networks)]
    ends = captions.account(
        frame,
        "those that still train are shown as they began",
        "Shown with the weights before the step that broke them",
        "Without an end",
    )
    rest = [*curves.beyond(points), *flows.unobserved(frame, networks), *ends]
    return " ".join([shown, *filter(None, [which]), *how, *found, *rest])


def _findings(slopes: pd.DataFrame, facets: Sequence[str]) -> Iterator[str]:
    """How fast gradients fade before and after training, and where that is what theory says."""
    known = slopes.dropna(subset="slope")
    if len(slopes) > len(known):
        count = words.counted(len(slopes) - len(known), "observation")
        yield f"Without a slope: {count} of a network with a gradient among them that is zero or not finite."
    if known.empty:
        yield "No slope is known yet."
        return
    groups = [rows for _, rows in known.groupby(list(facets), dropna=False)]
    names = panels.titles(pd.concat([rows[list(facets)].iloc[:1] for rows in groups]))
    yield flows.SLOPES_ARE
    if len(groups) <= MOST_TOLD:
        yield from (_told(name.replace("\n", " "), rows) for name, rows in zip(names, groups, strict=True))
    yield from flows.against_theory([rows[rows[STAGE] == BEFORE] for rows in groups], "panel")
    for stage in (SOLVED_IT, UNSOLVED):
        yield from _changes(groups, stage)


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


def _changes(groups: Sequence[pd.DataFrame], stage: str) -> Iterator[str]:
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
            f"{words.counted(len(ends), 'panel')}, faster in {faster}; in {len(ends) - slower - faster} the interval "
            "of the mean change of a network holds 0."
        )
