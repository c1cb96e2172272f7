"""Gradients on their way down the layers of a network: beside that at lag 0 of its top layer, where they come in.

Two directions at once: back through time as the lag grows, and down through depth from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from reports import curves, flows, lines, panels, style, words
from reports.flows import LAG, LAYER, LOG, THEORY, WHEN
from rnnlab.analysis import student

NORM = "gradient/log_norm"  # the quantity: mean over sequences of ln |dL/dh|, relative to nothing
Y = "gradient norm / top layer's at lag 0"
OF_TOP = "ln_factor_of_top"  # what `LOG` is called in tables where it is relative to the top layer
DOWN, BACK, ACROSS = FACTORS = ("down", "back", "across")
TINT = 0.25  # the share of white in the line of a layer
PLAIN = r"layer \d+"  # not of an encoder, not backward
DASHES = {"encoder": "-.", "backward": ":"}
MOST_TOLD = 6  # settings whose factors are told one by one


def place(layers: pd.Series) -> pd.Series:
    """The number of each layer in its stack, from below."""
    return layers.str.extract(r"(\d+)", expand=False).astype(int)


def several(networks: pd.DataFrame) -> pd.Series:
    """Which rows of `flows.of_networks` are of a network with lags in layers below the top one."""
    plain = networks[LAYER].where(networks[LAYER].str.fullmatch(PLAIN))
    return plain.groupby(networks["key"]).transform("nunique") > 1


def of_top(networks: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame | None:
    """`flows.of_networks` with `LOG` relative to lag 0 of each network's top layer.

    None where there is no depth, or where a network does not say how its layers compare: earlier versions of rnnlab
    did not store it. With a top layer in two directions it is the forward one.
    """
    norms = observations[observations["quantity"] == NORM].rename(columns={"index": LAG, "value": NORM})
    if not several(networks).any() or not networks["key"].isin(norms["key"]).all():
        return None
    told = networks.merge(norms[["key", WHEN, LAYER, LAG, NORM]], on=["key", WHEN, LAYER, LAG], how="left")
    tops = told[told[LAYER].str.fullmatch(PLAIN) & (told[LAG] == 0)]
    tops = tops.sort_values(LAYER, key=place, kind="stable").drop_duplicates(["key", WHEN], keep="last")
    tops = tops[["key", WHEN, NORM]].rename(columns={NORM: "top"})
    told = told.merge(tops, on=["key", WHEN], how="left")
    factors = (told[NORM] - told["top"]).replace([-math.inf, math.inf], math.nan)
    return told.assign(**{LOG: factors}).drop(columns=[NORM, "top"])


def untold(networks: pd.DataFrame) -> Iterator[str]:
    """A sentence where layers are not compared although there are several: `of_top` is None."""
    if several(networks).any():
        yield "How the layers of a network compare is not shown: it is not stored of all networks."


def both_ways(networks: pd.DataFrame) -> Iterator[str]:
    """A sentence about top layers in two directions, of networks as they come from `of_top`."""
    if networks[LAYER].str.endswith("backward").any():
        yield "Of a top layer in two directions, lag 0 is that of the forward one."


def looks(layers: Sequence[str]) -> dict[str, lines.Look]:
    """How the line of each layer is drawn: its colour says its place, lighter than that of theory, which lies upon it.

    Those of an encoder first, the lowest first.
    """
    ranks = {name: _rank(name) for name in layers}
    colours = style.ordered_colours(max(at for _, at, _ in ranks.values()))
    return {
        name: lines.Look(name, style.tint(colours[at - 1], TINT), style.marker(at - 1), _dash(name))
        for name, (_, at, _) in sorted(ranks.items(), key=lambda item: item[1])
    }


def _rank(layer: str) -> tuple[bool, int, str]:
    return not layer.startswith("encoder"), int(place(pd.Series([layer])).iloc[0]), layer


def _dash(layer: str) -> str:
    return next((dash for word, dash in DASHES.items() if word in layer), "-")


def panels_of(settings: pd.DataFrame, stage: str, stages: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """The panels of each of the `settings` and `stages`, in this order, and how many fill a row.

    Settings that differ in their last field alone stand side by side, where they fit.
    """
    counts = settings.groupby(list(settings.columns[:-1]), dropna=False).size()
    wide = int(counts.iloc[0]) * len(stages)
    whole = counts.nunique() == 1 and wide <= panels.MOST_COLUMNS
    return settings.merge(pd.DataFrame({stage: list(stages)}), how="cross"), wide if whole else len(stages)


def draw(ax: Axes, rows: pd.DataFrame, shown: Mapping[str, lines.Look]) -> None:
    """The lines of one panel, with what theory says of each layer from where its line begins."""
    if rows.empty:
        ax.text(0.5, 0.5, "no network", color=style.GREY, ha="center", va="center", transform=ax.transAxes)
    colours = style.ordered_colours(max(at for _, at, _ in map(_rank, shown)))
    for rank, (name, look) in enumerate(shown.items()):
        of_layer = rows[rows[LAYER] == name]
        if len(of_layer):
            curves.draw(ax, of_layer, look, rank)
            curves.theory(ax, of_layer, THEORY, colours[_rank(name)[1] - 1])


def factors(networks: pd.DataFrame, slopes: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """ln of factors in each network of several layers, before or after training: `by`, key, `WHEN`, `FACTORS`.

    `DOWN`: mean from a layer to the one below, at lag 0; `BACK`: mean from a lag to the next, in the top layer;
    `ACROSS`: from the top layer to the lowest, at the largest lag.
    """
    plain = networks[several(networks) & networks[LAYER].str.fullmatch(PLAIN)]
    plain = plain.assign(place=place(plain[LAYER])).sort_values("place", kind="stable")
    last = plain.groupby("key")[LAG].transform("max")
    first, across = (_top_to_lowest(plain[plain[LAG] == lag], by) for lag in (0, last))
    back = slopes[["key", WHEN, LAYER, "slope"]].rename(columns={"slope": BACK})
    found = first.reset_index().merge(back, on=["key", WHEN, LAYER], how="left").set_index([*by, "key", WHEN])
    found[DOWN], found[ACROSS] = first["log"] / first["layers"], across["log"]
    return found[[*FACTORS]].reset_index()


def _top_to_lowest(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """For rows sorted from below, all of one lag of each network: ln of the factor, `LAYER` the top one."""
    groups = rows.groupby([*by, "key", WHEN], dropna=False)
    lowest, top = (groups[[LOG, "place", LAYER]].agg(lambda entries, at=at: entries.iloc[at]) for at in (0, -1))
    return top.assign(log=lowest[LOG] - top[LOG], layers=top["place"] - lowest["place"])


def findings(found: pd.DataFrame, facets: Sequence[str], stage: str, stages: Sequence[str]) -> Iterator[str]:
    """By how much gradients shrink on their way down a layer, beside a step back; `found` are `factors`."""
    groups = [rows for _, rows in found.groupby(list(facets), dropna=False)]
    if len(groups) <= MOST_TOLD:
        names = panels.titles(pd.concat([rows[list(facets)].iloc[:1] for rows in groups]))
        yield (
            'Factors of the gradient, with intervals as above: "down", at lag 0 from a layer to the one below; "back", '
            'in the top layer from a step to the one before; "across", at the largest lag from the top layer to the '
            "lowest; down and back are geometric means."
        )
        for name, rows in zip(names, groups, strict=True):
            yield _told(name.replace("\n", " "), rows, stage, stages)
    panel = [*facets, stage]
    yield from _signs(found, panel, DOWN, "At lag 0 the gradient shrinks on its way down")
    yield from _signs(found, panel, ACROSS, "At the largest lag it is smaller in the lowest layer than in the top one")


def _told(name: str, rows: pd.DataFrame, stage: str, stages: Sequence[str]) -> str:
    """The factors of one setting."""
    parts = [
        f"{one} " + ", ".join(f"{way} {flows.with_interval(of_stage[way], flows.factor)}" for way in FACTORS)
        for one, of_stage in ((one, rows[rows[stage] == one]) for one in stages)
        if len(of_stage)
    ]
    return f"{name[0].upper()}{name[1:]}: {'; '.join(parts)}."


def _signs(found: pd.DataFrame, by: Sequence[str], way: str, smaller: str) -> Iterator[str]:
    """In how many panels a factor is below 1, and above."""
    groups = [rows[way].dropna().to_numpy() for _, rows in found.groupby(list(by), dropna=False)]
    ends = [student(logs) for logs in groups if len(logs) > 1]
    if ends:
        less, more = sum(high < 0 for _, high in ends), sum(low > 0 for low, _ in ends)
        yield (
            f"{smaller} in {less} of {words.counted(len(ends), 'panel')} with several layers, the reverse in {more}; "
            f"in {len(ends) - less - more} the interval holds 1."
        )
