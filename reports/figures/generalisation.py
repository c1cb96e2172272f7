"""Accuracy at lengths that were not trained.

The share right at other values of the field that sets a task's length than the one trained with, against their ratio,
its mean over seeds, one line per cell. Trials of different trained lengths stand in panels of their own.
"""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions, distances, lines, panels, shares, style, words
from rnnlab.analysis import mean_metric

LENGTHS, TRAINED_ACCURACY = "at_length/", "eval/accuracy"
METRIC = re.compile(re.escape(LENGTHS) + r"(\d+(?:\.\d+)?)/accuracy")
RATIO, SHARE = "length_ratio", "accuracy"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", "parameters", lines.RADIUS, TRAINED_ACCURACY, "key")
OPTIONAL = (LENGTHS,)
CLAIM_OF = ("length_generalisation",)
# The field that sets the length: the first of these that a task has.
DIALS = ("task.length", "task.delay", "task.distance", "task.span", "task.wait", "task.notes", "task.symbols")


def applies(frame: pd.DataFrame) -> bool:
    """Where trials were evaluated at other lengths."""
    return any(METRIC.fullmatch(name) and frame[name].notna().any() for name in frame.columns)


def long(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each trial and length: `RATIO` to the trained length, and `SHARE` right there.

    Of the tasks that were evaluated at other lengths. The trained length is always among them: where it was not
    evaluated by itself, with the accuracy of training.
    """
    dial = pd.Series(float("nan"), index=frame.index)
    for name in [name for name in DIALS if name in frame]:
        dial = dial.fillna(frame[name])
    lengths = {name: float(match[1]) for name in frame.columns if (match := METRIC.fullmatch(name))}
    evaluated = frame[list(lengths)].notna().groupby([frame["task"], dial]).transform("any")  # a missing trial shows
    parts = [
        frame.assign(**{RATIO: (length / dial).round(3), SHARE: frame[name]})[evaluated[name]]
        for name, length in lengths.items()
    ]
    known = pd.concat([part[part[RATIO] == 1] for part in parts])["key"]
    trained = frame.assign(**{RATIO: 1.0, SHARE: frame[TRAINED_ACCURACY]})
    trained = trained[~frame["key"].isin(known) & frame["task"].isin(pd.concat(parts)["task"])]
    return pd.concat([*parts, trained], ignore_index=True)


def _told(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """A row for each trial and length, the columns that separate panels, and those that go with a line."""
    told = lines.with_networks(long(frame))
    also = lines.companions(told, lines.NETWORK)
    drawn = (lines.NETWORK, "cell", "model.bidirectional", *also)
    return *panels.separated(told, drawn=drawn, distances=False), also


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.mean_metric` of the share right for each panel, network and ratio to the trained length."""
    told, facets, _ = _told(frame)
    return mean_metric(told, [*facets, lines.NETWORK, RATIO], SHARE)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of the other fields that vary."""
    told, facets, _ = _told(frame)
    means, found = table(frame), lines.values(told[lines.NETWORK])
    with style.look():
        looks = lines.looks(found, lines.NETWORK)
        named = means[facets].drop_duplicates()
        figure, axes = panels.grid(named, "length / trained length", "accuracy (%)", lines=len(looks))
        trials = [rows for _, rows in told.groupby(facets, dropna=False)]
        for ax, of_panel, (key, rows) in zip(axes, trials, means.groupby(facets, dropna=False), strict=True):
            axis = distances.Axis(told.loc[told["task"] == key[0], RATIO], lines=len(looks))
            shares.draw(ax, rows, of_panel, (lines.NETWORK, RATIO, SHARE), looks, found, axis.place)
            axis.apply(ax, rows[RATIO])
            _mark_trained(ax)
            shares.chance_level(ax, words.CHANCE.get(str(key[0])))
        lines.legend(figure, looks, "network")
        lines.marks(figure, means.assign(missing=means["unfinished"] + means["failed"]))
    return figure


def _mark_trained(ax: Axes) -> None:
    ax.axvline(1, color=style.GREY, linewidth=1, linestyle=(0, (1.5, 1.5)), zorder=1, label="_trained")
    place = {"xy": (1, 0), "xycoords": ("data", "axes fraction"), "xytext": (3, 3), "textcoords": "offset points"}
    ax.annotate("trained", **place, color=style.GREY, fontsize=7)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and what is left farthest from the trained length."""
    told, facets, also = _told(frame)
    dials = [
        next(name for name in DIALS if name in rows and rows[name].notna().any()) for _, rows in told.groupby("task")
    ]
    fields = [words.bare(name) for name in dict.fromkeys(dials)]
    shown = (
        "Share right at the end of training on sequences of other lengths, against the ratio of the field that sets "
        f"the length ({words.listed(fields, 'or')}) to its trained value (dotted), one line per network. {shares.BARS}"
    )
    how = captions.protocols(told, [*facets, lines.NETWORK, RATIO])
    found = captions.findings(frame, (_finding(str(task), rows) for task, rows in table(frame).groupby("task")))
    rest = [*captions.sizes(told, lines.NETWORK), *captions.going_with(told, lines.NETWORK, also)]
    return " ".join([shown, *found, *how, *rest, *captions.account(frame, early=shares.TOO_HIGH)])


def _finding(task: str, means: pd.DataFrame) -> str:
    """The share right of every network at the trained length and at the longest."""
    means = means.dropna(subset="mean")
    longest = means[RATIO].max()
    if means.empty or longest <= 1:
        return ""
    wide = means.pivot_table(index=lines.NETWORK, columns=RATIO, values="mean")[[1.0, longest]].dropna()
    texts = [f"{name} {100 * row[1.0]:.0f} % and {100 * row[longest]:.0f} %" for name, row in wide.iterrows()]
    name = words.task(task).capitalize()
    return (
        f"{name}, at the trained length and at {words.value(longest)} times it: {words.listed(texts)}." if texts else ""
    )
