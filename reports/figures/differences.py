"""How much farther one setting reaches than the next.

A row for each pair of neighbouring values of the field that makes the lines elsewhere (of names, for each pair): the
ratio of their horizons with its interval, and beside it p of a test of how soon and how often trials are solved. The
other fields separate panels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from reports import captions, lines, panels, style, words
from reports.figures.horizon import LEAST_DISTANCES
from rnnlab.analysis import (
    CHANCE,
    CONFIDENCE,
    CORRECTION,
    HORIZON_INTERVAL,
    RATIO_INTERVAL,
    TEST,
    compare,
    endings,
    least_probability,
)
from rnnlab.record import RESULTS

NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", "steps_to_solve")
OPTIONAL = ("trained_steps",)
RANK = 6
LEAST_SEEDS = 6  # with fewer, no exchange of the names of two settings is improbable
MOST_ROWS = 12  # in a panel
ROW, FRAME = 0.19, 0.85  # inches of height: a row, what is above and below them
FARTHEST = 32  # ratios beyond it, either way, stand at the edge
LEAST_SPAN, EDGE = 2, 1.1  # of ratios: the axis reaches at least so far, and a little beyond what is known
SUBS, WIDE = (1.0, 2.0, 5.0), 100  # ticks, on axes that are no wider
SMALL, PAD, BESIDE = 7, 8, 10  # points: letters of p; from the panel to the names and to p, clear of arrows
TESTED, HEAD = "p, time\nto solve", 1.3  # above the p; its height, in rows
SIDES = ("first", "second")
COLOUR, TINT = style.named_colour(0), 0.6  # of intervals; of those without an end
BESIDE_PANEL = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": SMALL, "annotation_clip": False}


def applies(frame: pd.DataFrame) -> bool:
    """Where settings that differ in one field have results of enough seeds at enough distances, some in common."""
    if not {*NEEDS} <= {*frame.columns}:
        return False
    blanked, facets = separated(frame)
    line, results = lines.field(frame), blanked[blanked["status"].isin(RESULTS)].dropna(subset="distance")
    tested = results.groupby([*facets, line], dropna=False)[["distance", "seed"]].transform("nunique")
    enough = results[(tested["distance"] >= LEAST_DISTANCES) & (tested["seed"] >= LEAST_SEEDS)]
    common = enough.groupby([*facets, "seed", "distance"], dropna=False)[line].nunique(dropna=False)
    return bool((common >= 2).any())


def separated(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The frame with the field of the distance blanked, and the columns that separate panels."""
    line = lines.field(frame)
    return panels.separated(frame, drawn=(line, *lines.companions(frame, line)))


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers in the figure: `analysis.compare` for each panel; with `missing`, trials without a result."""
    blanked, facets = separated(frame)
    line = lines.field(frame)
    found = compare(blanked, facets, line)
    ended = endings(blanked, [*facets, line])
    found = found.astype(ended.dtypes[facets])  # a field of a task without a result yet has lost its type
    lost = ended.assign(missing=ended["unfinished"] + ended["failed"])[[*facets, line, "missing"]]
    sides = [found.merge(lost.rename(columns={line: side}), on=[*facets, side], how="left") for side in SIDES]
    return found.assign(missing=sides[0]["missing"] + sides[1]["missing"])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a panel that are drawn: where there are too many, those whose settings differ most surely."""
    surest = rows["p"].sort_values(kind="stable").index[:MOST_ROWS]
    return rows.loc[surest.sort_values()]


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of the other fields that vary."""
    found, line = table(frame), lines.field(frame)
    facets = list(found.columns[: found.columns.get_loc("first")])
    found = found.assign(name=names(found, line), excludes_one=excludes_one(found), open_ended=open_ended(found))
    drawn = [shown(rows) for _, rows in found.groupby(facets, dropna=False)]
    most, limits = max(map(len, drawn)), ends(found)
    with style.look():
        titles, height = found[facets].drop_duplicates(), FRAME + ROW * (HEAD + most)
        figure, axes = panels.grid(titles, "ratio of horizons", "", height=height)
        for ax, rows in zip(axes, drawn, strict=True):
            framed(ax, rows["name"].tolist(), most, limits)
            for place, row in enumerate(rows.to_dict("records")):
                _row(ax, place, row, limits)
        _legend(figure, f"{words.label(line)}, first → second")
        _signs(figure, pd.concat(drawn))
    return figure


def names(found: pd.DataFrame, line: str) -> list[str]:
    """What is compared in each row."""
    values = lines.values(pd.concat([found["first"], found["second"]]))
    looks = lines.looks(values, line)
    sides = [[looks[rank].name for rank in lines.ranks(found[side], values)] for side in SIDES]
    return [f"{first} → {second}" for first, second in zip(*sides, strict=True)]


def ends(found: pd.DataFrame) -> tuple[float, float]:
    """Of the axis of ratios: all that are known, up to `FARTHEST`, and one."""
    known = found[["ratio", "ratio_low", "ratio_high"]].to_numpy(dtype="float64")
    known = known[np.isfinite(known) & (known > 0)].clip(1 / FARTHEST, FARTHEST)
    return min([*known, 1 / LEAST_SPAN]) / EDGE, max([*known, LEAST_SPAN]) * EDGE


def framed(ax: Axes, named: list[str], most: int, limits: tuple[float, float]) -> None:
    """A panel with a line for each row, the first above, and one where settings are equal."""
    ax.set_xscale("log")
    ax.set_xlim(*limits)
    ticks = LogLocator(subs=SUBS if limits[1] / limits[0] < WIDE else (1.0,)).tick_values(*limits)
    ax.set_xticks(ticks[(ticks >= limits[0]) & (ticks <= limits[1])])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_yticks(range(len(named)), named)
    ax.tick_params(axis="y", pad=PAD)
    ax.set_ylim(most - 0.5, -0.5 - HEAD)
    ax.plot([1, 1], [-0.5, most - 0.5], color=style.GREY, linewidth=1, zorder=1, label="_equal")
    ax.spines["left"].set_visible(False)
    ax.annotate(TESTED, (1, 1), (BESIDE, 0), **BESIDE_PANEL, va="top", linespacing=1, color=style.GREY)


def excludes_one(rows: pd.DataFrame) -> pd.Series:
    """Where the interval of the ratio says which of the two horizons is farther."""
    return (rows["ratio_low"] > 1) | (rows["ratio_high"] < 1)


def open_ended(rows: pd.DataFrame) -> pd.Series:
    """Where the interval of the ratio says nothing."""
    return (rows["ratio_low"] == 0) & np.isinf(rows["ratio_high"])


def _row(ax: Axes, place: int, row: dict, limits: tuple[float, float]) -> None:
    """One comparison: a bar with arrows where it does not end in the panel, a point where the ratio is known, and p."""
    colour = style.tint(COLOUR, TINT) if row["open_ended"] else COLOUR
    look = {"color": colour, "alpha": lines.FADED if row["missing"] else 1.0, "zorder": 3}
    low, high = np.clip([row["ratio_low"], row["ratio_high"]], *limits)
    ax.hlines(place, low, high, linewidth=1.3, **look)
    for end, beyond, arrow in (
        (limits[0], row["ratio_low"] < limits[0], "<"),
        (limits[1], row["ratio_high"] > limits[1], ">"),
    ):
        if beyond:
            ax.plot(end, place, arrow, markersize=4, clip_on=False, label="_open", **look)
    if limits[0] <= row["ratio"] <= limits[1]:
        face = colour if row["excludes_one"] else "white"
        ax.plot(row["ratio"], place, "o", markerfacecolor=face, label="_ratio", **look | {"zorder": 4})
    weight = "bold" if row["p_adjusted"] < CHANCE else "normal"
    told = BESIDE_PANEL | {"xycoords": ax.get_yaxis_transform(), "va": "center", "weight": weight}
    ax.annotate(probability(row["p_adjusted"]), (1, place), (BESIDE, 0), **told)


def probability(p: float) -> str:
    """p as it is written beside a row."""
    if math.isnan(p):
        return "no common seeds"
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 2 * CHANCE else f"p {p:.2f}"


def _legend(figure: Figure, title: str) -> None:
    look, interval = {"color": COLOUR, "marker": "o"}, f"{100 * CONFIDENCE:g} % interval"
    surely = Line2D([], [], label=f"{interval} excludes 1", **look)
    handles = [surely, Line2D([], [], markerfacecolor="white", label="includes 1", **look)]
    figure.legend(handles=handles, title=title, ncols=2, loc="outside upper center", **lines.SPACING)


def _signs(figure: Figure, drawn: pd.DataFrame) -> None:
    """Below the panels: the rows that are paler, where there are any."""
    pale = {"without an end on either side": (drawn["open_ended"], {"color": style.tint(COLOUR, TINT)})}
    pale["some trials missing"] = (drawn["missing"] > 0, {"color": COLOUR, "alpha": lines.FADED})
    handles = [Line2D([], [], label=name, **look) for name, (rows, look) in pale.items() if rows.any()]
    lines.below(figure, handles)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and which settings differ."""
    blanked, facets = separated(frame)
    found, line = table(frame), lines.field(frame)
    each = "with the next larger" if pd.api.types.is_numeric_dtype(found["first"]) else "each with each"
    shown_of = (
        f"Settings that differ in the {words.plain(line)} alone, compared {each}: the ratio of the second's horizon, "
        "the distance at which half of the seeds solve the task within the budget of steps, to the first's. Without a "
        f"point: one of the two lies outside the distances tested. Bars: {100 * CONFIDENCE:g} % intervals "
        f"({RATIO_INTERVAL}, from the {HORIZON_INTERVAL} intervals of both horizons); an arrow where they do not end. "
        f"p compares how soon and how often trials are solved, not the horizons, so the two may disagree: {TEST}, "
        f"exchanging whole seeds, adjusted for the comparisons of a panel ({CORRECTION}); bold below {CHANCE:g}."
    )
    told = captions.protocols(blanked, [*facets, line, "distance"], "setting and distance")
    also = captions.going_with(frame, line, lines.companions(frame, line))
    missing = "faded rows miss some of theirs"
    return " ".join(
        [
            shown_of,
            *told,
            *captions.findings(frame, findings(found)),
            *least(found, facets),
            *cut(found, facets),
            *also,
            *captions.account(frame, missing),
        ]
    )


def findings(found: pd.DataFrame) -> Iterator[str]:
    """For each task in how many comparisons time to solve differs, and which way."""
    for task, rows in found.dropna(subset="p").groupby("task"):
        surely = rows[rows["p_adjusted"] < CHANCE]
        farther, nearer = int((surely["difference"] > 0).sum()), int((surely["difference"] < 0).sum())
        told = f"{words.task(str(task)).capitalize()}: {len(surely)} of {words.counted(len(rows), 'comparison')}"
        ways = f": {farther} where the second solves more, {nearer} where it solves fewer" if len(surely) else ""
        yield f"{told} differ in time to solve (adjusted p < {CHANCE:g}){ways}."


def least(found: pd.DataFrame, facets: list[str]) -> Iterator[str]:
    """How small p could have become, where no difference could have been shown, and what holds over all panels."""
    tested = found.dropna(subset="p").groupby(facets, dropna=False)["seeds"].agg(["max", "size"])
    if tested.empty:
        return
    bounds = [least_probability(int(seeds), int(count)) for seeds, count in tested.to_numpy()]
    at_most = "at most " if tested["max"].nunique() > 1 else ""
    seeds = words.counted(tested["max"].max(), "seed")
    alone = least_probability(int(tested["max"].max()), 1)
    adjusted = f", {min(bounds):.2g} after adjustment" if min(bounds) > alone else ""
    yield f"With {at_most}{seeds} no p can be below {alone:.2g}{adjusted}."
    few = sum(bound >= CHANCE for bound in bounds)
    if few:
        where = "all panels" if few == len(bounds) else f"{few} of {len(bounds)} panels"
        yield f"In {where} the seeds are too few for so many comparisons: whatever happened, none could differ."
    if len(bounds) > 1:
        yield f"Panels are not corrected against one another: {100 * CHANCE:g} % of them may hold a false difference."


def cut(found: pd.DataFrame, facets: list[str]) -> Iterator[str]:
    """What is left out of panels."""
    if found.groupby(facets, dropna=False).size().max() > MOST_ROWS:
        yield f"Of more than {MOST_ROWS} comparisons in a panel, those with the least p are drawn; the table has all."
