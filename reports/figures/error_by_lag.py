"""Error against the actual distance within a task.

The loss that trained networks are left with, relative to the baseline without memory, against the distance that each
output has to bridge: adding by the position of the first marker. One line per value of the field that is worth most as
lines; trials that were trained on other distances, or differ in other fields, stand in panels of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from reports import captions, curves, lags, lines, panels, style, words
from reports.lags import FEWEST, LAG, LEAST
from rnnlab.analysis import CONFIDENCE, MEAN_INTERVAL, endings
from rnnlab.record import BY_LAG_POINTS

COURSES = (lags.LOSS, lags.OUTPUTS)
NEEDS = (*captions.NEEDS, "key", "distance", "baseline", "train.clip_threshold", "parameters", lines.RADIUS)
OPTIONAL = (BY_LAG_POINTS,)
X, Y = "actual distance (steps)", "loss / baseline"
MOST_PANELS, MOST_IN_A_ROW, MOST_ROWS = 12, 4, 3
MOST = 3  # baselines: where the axis of losses ends at the latest
ROOM = 3  # times the least mean: as far below it intervals are shown
TICKS = (1, 3)  # of each power of ten, on that axis
BAND, FADED, FEW = 0.15, 0.4, 4  # opacity of the intervals of a few lines, and of lines that miss trials
BASELINE = {"color": style.GREY, "linewidth": 1, "linestyle": (0, (4, 2))}
REACHED = {  # what an output of a task has to reach back to
    **dict.fromkeys(("adding", "multiplication"), "the earlier marker"),
    "temporal_order": "the first of the symbols",
    "agreement": "the subject",
}


def applies(frame: pd.DataFrame) -> bool:
    """Where trials were evaluated by lag."""
    return BY_LAG_POINTS in frame and bool((frame[BY_LAG_POINTS] > 1).any())


def evaluated(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials of the tasks and distances that were evaluated by lag: a missing trial shows."""
    known = frame.get(BY_LAG_POINTS, pd.Series(np.nan, index=frame.index)) > 1
    return frame[known.groupby([frame["task"], frame["distance"]]).transform("any")]


def separated(trials: pd.DataFrame) -> tuple[pd.DataFrame, list[str], str]:
    """The trials, the columns that separate panels, the trained distance last, and the field of the lines."""
    line = lines.field(trials)
    told, facets = panels.separated(trials, drawn=(line, *lines.companions(trials, line)))
    return told, [*facets, "distance"], line


def table(frame: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """A row for each panel, line and distance within the task, of all panels, drawn or not.

    Columns: those that separate panels, the line, `LAG`; `mean`, `low`, `high`: the loss relative to the baseline, its
    mean over trials with a result and its interval, as `lags.mean_of` has them; `counted`, these trials; `outputs` in
    the mean, of all trials; `missing`, trials that are unfinished or failed.
    """
    told, facets, line = separated(evaluated(frame))
    by = [*facets, line]
    points = lags.points_of(told, courses)
    rows = [(*key, *lags.mean_of(of_lag)) for key, of_lag in points.groupby([*by, LAG], dropna=False)]
    found = pd.DataFrame(rows, columns=[*by, LAG, "mean", "low", "high", "counted", "outputs"])
    counts = endings(told, by)
    counts["missing"] = counts["unfinished"] + counts["failed"]
    return found.astype(counts.dtypes[by]).merge(counts[[*by, "missing"]], on=by)


def shown(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of the panels that are drawn: of each setting as many distances as there is room for, evenly chosen.

    Distances are left out first that are hardly any distances apart within the task.
    """
    enough = trials[BY_LAG_POINTS] >= FEWEST
    told = trials[enough.groupby([trials["task"], trials["distance"]]).transform("any")]
    told = told if len(told) else trials
    for most in range(told.groupby("task")["distance"].nunique().max(), 0, -1):
        few = _at_few(told, most)
        if len(_named(few)) <= MOST_PANELS:
            return few
    told, facets, _ = separated(few)
    named = _named(few)
    chosen = named.iloc[np.linspace(0, len(named) - 1, MOST_PANELS).round().astype(int)]
    places = told.reset_index()[["index", *facets]].merge(chosen, on=facets)["index"]
    return few.iloc[np.sort(places)]


def _at_few(trials: pd.DataFrame, most: int) -> pd.DataFrame:
    """The trials of at most so many distances of each task, evenly among those trained."""
    kept = pd.Series(False, index=trials.index)
    for _, rows in trials.groupby("task"):
        trained = np.unique(rows["distance"].dropna())
        ends = np.linspace(0, 1, min(most, len(trained))) if most > 1 else np.array([0.5])
        chosen = trained[np.floor(ends * (len(trained) - 1)).astype(int)]
        kept |= trials.index.isin(rows.index[rows["distance"].isin(chosen)])
    return trials[kept]


def _named(trials: pd.DataFrame) -> pd.DataFrame:
    """The panels: a row for each, with the columns that separate them."""
    told, facets, _ = separated(trials)
    return told[facets].sort_values(facets).drop_duplicates(ignore_index=True)


def draw(frame: pd.DataFrame, courses: pd.DataFrame) -> Figure:
    """The figure: a panel for each trained distance and combination of the other fields that vary."""
    trials = evaluated(frame)
    few = shown(trials) if len(trials) else trials
    if few.empty:
        return curves.nothing("no evaluation by lag in this store")
    told, facets, line = separated(few)
    found, named = lines.values(told[line]), _named(few)
    means = table(few, courses).merge(named.assign(panel=range(len(named))), on=facets)
    with style.look():
        looks = lines.looks(found, line)
        titles = named.rename(columns={"distance": "distance up to"})
        figure, axes = panels.grid(titles, X, Y, lines=len(looks), in_a_row=_across(few, len(named)))
        for panel, ax in enumerate(axes):
            rows = means[means["panel"] == panel]
            for rank, of_line in rows.groupby(lines.ranks(rows[line], found)):
                _draw_line(ax, of_line, looks[rank], BAND * min(1, FEW / len(looks)))
            _apply(ax, rows, means)
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        _signs(figure, means)
    return figure


def _across(few: pd.DataFrame, count: int) -> int:
    """Panels side by side: the distances of a setting, where they fit; of more than one, where rows are many."""
    own = int(few.groupby("task")["distance"].nunique().max())
    if own > MOST_IN_A_ROW:
        return -(-own // -(-own // MOST_IN_A_ROW))
    return own if count <= MOST_ROWS * own else own * (MOST_IN_A_ROW // own)


def _draw_line(ax: Axes, rows: pd.DataFrame, look: lines.Look, band: float) -> None:
    """The means of one line with their intervals; faded, with open points, where trials are missing."""
    missing = bool((rows["missing"] > 0).any())
    opacity, face = (FADED, "white") if missing else (1, look.colour)
    ax.fill_between(rows[LAG], rows["low"], rows["high"], color=look.colour, alpha=opacity * band, linewidth=0)
    drawn = {"color": look.colour, "linestyle": look.dash, "marker": look.marker, "markersize": 3.2}
    ax.plot(rows[LAG], rows["mean"], **drawn, markerfacecolor=face, alpha=opacity, label=look.name, linewidth=1.4)


def _apply(ax: Axes, rows: pd.DataFrame, means: pd.DataFrame) -> None:
    """Axes: the distances of the panel, and losses as far as they go in all panels; the baseline."""
    ax.axhline(1, **BASELINE, zorder=1, label="_baseline")
    least, most = min([*means["mean"], 0.3]), np.nanmax([*means["mean"], *means["high"], 1])
    ax.set_yscale("log")
    ax.set_ylim(max(np.nanmin([*means["low"], least]), least / ROOM, LEAST) / 1.15, min(most, MOST) * 1.15)
    ax.yaxis.set_major_locator(LogLocator(subs=TICKS))
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:g}")
    ax.minorticks_off()
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(rows):
        room = 0.04 * max(np.ptp(rows[LAG]), 1)
        ax.set_xlim(rows[LAG].min() - room, rows[LAG].max() + room)
    else:
        place = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.5, "no finished trial yet", color=style.GREY, backgroundcolor="white", **place)


def _signs(figure: Figure, means: pd.DataFrame) -> None:
    """Below the panels: the baseline, and the look of lines that miss trials."""
    handles = [Line2D([], [], label="baseline without memory", **BASELINE)]
    if (means["missing"] > 0).any():
        faded = {"marker": "o", "markerfacecolor": "white", "alpha": FADED, "color": style.GREY}
        handles.append(Line2D([], [], label="some trials missing", **faded))
    figure.set_figheight(figure.get_figheight() + lines.LEGEND_HEIGHT)
    figure.legend(handles=handles, ncols=2, loc="outside lower center", labelcolor=style.GREY, **lines.SPACING)


def caption(frame: pd.DataFrame, courses: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how much larger the error is where the distance is."""
    trials = evaluated(frame)
    if trials.empty:
        return "No trial of this store was evaluated by lag."
    told, facets, line = separated(trials)
    also = lines.companions(trials, line)
    reached = [f"{words.task(task)}: to {REACHED[task]}" for task in sorted(set(trials["task"])) if task in REACHED]
    each = f", one line per {words.plain(line)}" if trials[line].nunique(dropna=False) > 1 else ""
    shows = (
        "Loss of trained networks on held-out sequences, relative to the baseline without memory (dashed), against the "
        "distance that an output has to bridge: the largest lag, in steps, that it needs"
        f"{f' ({words.listed(reached)})' if reached else ''}{each}. Means over trials; bands: their "
        f"{MEAN_INTERVAL} {100 * CONFIDENCE:g} % intervals, on the logarithm."
    )
    how = captions.protocols(told, [*facets, line], "line")
    found = [lags.finding(str(task), rows, courses) for task, rows in trials.groupby("task")]
    rest = [
        *_some(trials),
        *lags.binned(lags.points_of(trials, courses)),
        *captions.sizes(trials, line),
        *captions.going_with(trials, line, also),
    ]
    account = captions.account(frame, "faded lines miss some of theirs", "Left out", early=captions.OF_EARLY)
    return " ".join([shows, *captions.findings(frame, found), *how, *rest, *account])


def _some(trials: pd.DataFrame) -> Iterator[str]:
    """Which of the panels are drawn, where not all are."""
    few = shown(trials)
    drawn, there = _named(few), _named(trials)
    lost = sorted({*there["distance"].dropna()} - {*drawn["distance"]})
    distances = "distance" if len(lost) == 1 else "distances"
    told = f"{distances} {words.listed(map(words.value, lost))}" if lost else "the others"
    if len(drawn) < len(there):
        yield f"Drawn are {len(drawn)} of {len(there)} panels; the table (CSV) alone has {told}."
