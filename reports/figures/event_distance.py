"""How long ago an event may lie that decides.

The share of sequences told right at the end of training against the steps since the event, its mean over seeds, one
line per cell, dashed where the network reads in both directions. The other fields separate panels.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from reports import captions, distances, lines, panels, shares, style, words
from rnnlab.analysis import mean_metric

EVENT, ACCURACY = "task.distance", "eval/accuracy"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", "parameters", lines.RADIUS, EVENT, ACCURACY)
CLAIM_OF = ("sensor",)
TASKS = ("sensor",)  # in which an event decides, and `EVENT` is the time since it


def applies(frame: pd.DataFrame) -> bool:
    """Where the time since the event is varied."""
    return EVENT in frame and bool(frame.loc[frame["task"].isin(TASKS), EVENT].nunique() > 1)


def _told(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The trials with an event, the columns that separate panels, and those that go with a line."""
    trials = frame[frame["task"].isin(TASKS)]
    told = lines.with_networks(trials if len(trials) else frame)
    also = lines.companions(told, lines.NETWORK)
    return *panels.separated(told, drawn=(lines.NETWORK, "cell", "model.bidirectional", *also)), also


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.mean_metric` of the accuracy for each panel, network and distance."""
    told, facets, _ = _told(frame)
    return mean_metric(told, [*facets, lines.NETWORK, "distance"], ACCURACY)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of the other fields that vary."""
    told, facets, _ = _told(frame)
    means, found = table(frame), lines.values(told[lines.NETWORK])
    keys = (lines.NETWORK, "distance", ACCURACY)
    with style.look():
        looks = lines.looks(found, lines.NETWORK)
        named = means[facets].drop_duplicates()
        figure, axes = panels.grid(named, "steps since the event", "accuracy (%)", lines=len(looks))
        trials = [rows for _, rows in told.groupby(facets, dropna=False)]
        for ax, of_panel, (key, rows) in zip(axes, trials, means.groupby(facets, dropna=False), strict=True):
            axis = distances.Axis(told.loc[told["task"] == key[0], "distance"], lines=len(looks))
            shares.draw(ax, rows, of_panel, keys, looks, found, axis.place)
            axis.apply(ax, rows["distance"])
            shares.chance_level(ax, words.CHANCE.get(str(key[0])))
        lines.legend(figure, looks, "network")
        lines.marks(figure, means.assign(missing=means["unfinished"] + means["failed"]))
    return figure


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and which network is best farthest from the event."""
    told, facets, also = _told(frame)
    shown = (
        f"Share of sequences told right {shares.LAST_EVALUATION} against the steps since the event that decides, one "
        f"line per network. {shares.BARS}"
    )
    how = captions.protocols(told, [*facets, lines.NETWORK, "distance"])
    found = captions.findings(told, (_finding(str(task), rows) for task, rows in table(frame).groupby("task")))
    rest = [*captions.sizes(told, lines.NETWORK), *captions.going_with(told, lines.NETWORK, also)]
    return " ".join([shown, *found, *how, *rest, *captions.account(told, early=shares.TOO_HIGH)])


def _finding(task: str, means: pd.DataFrame) -> str:
    """The accuracy of every network at the farthest event."""
    far = means[means["distance"] == means["distance"].max()].groupby(lines.NETWORK)["mean"].mean().dropna()
    if far.empty:
        return ""
    texts = [f"{name} {100 * share:.0f} %" for name, share in far.sort_values(ascending=False).items()]
    chance = words.CHANCE.get(task)
    guess = f"; chance is {100 * chance:.0f} %" if chance else ""
    return f"{words.value(means['distance'].max())} steps after the event: {words.listed(texts)}{guess}."
