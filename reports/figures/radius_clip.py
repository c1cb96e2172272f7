"""Initial spectral radius against clip threshold.

A cell for each pair of spectral radius and clip threshold, coloured by the horizon; by the share of trials solved where
too few distances were tested for a horizon. The share of trials that diverged stands below. Unlike trials stand in
panels of their own.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from reports import captions, lines, panels, style, words
from reports.figures.horizon import LEAST_DISTANCES, ranked_horizon
from rnnlab.analysis import ABOVE, BELOW, endings, horizon

RADIUS, CLIP = lines.RADIUS, "train.clip_threshold"
NEEDS = (*captions.NEEDS, "distance", CLIP, RADIUS)
RANK = 3
LEAST_PANEL = 1.35  # inches
ROW, FRAME = 0.36, 0.75  # inches of height: a row of cells, what is above and below them
SMALL = 6.3  # points: what stands below the number of a cell
MOST_NAMED, MOST_TOLD = 3, 6  # in the caption: pairs of a panel, panels of a task
WHOLE = 9.95  # steps: horizons from there on have no decimals
CORNER = 0.4  # from the middle of a cell


def applies(frame: pd.DataFrame) -> bool:
    """Where both are varied in one task."""
    if not {RADIUS, CLIP} <= {*frame.columns}:
        return False
    of_task = frame.groupby("task")[[RADIUS, CLIP]].nunique(dropna=False)
    return bool((of_task > 1).all(axis=1).any())


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.horizon` for each panel, radius and threshold; with `rate`, the share solved over all distances tested,
    and `diverged`, the trials that diverged.
    """
    blanked, facets = panels.separated(frame, drawn=(RADIUS, CLIP))
    by = [*facets, RADIUS, CLIP]
    found, ends = horizon(blanked, by), endings(blanked.dropna(subset="distance"), by)  # of the same trials
    return found.assign(rate=ends["solved"] / ends["counted"].where(ends["counted"] > 0), diverged=ends["diverged"])


def by_horizon(frame: pd.DataFrame) -> bool:
    """Whether every cell was tested at enough distances."""
    blanked, facets = panels.separated(frame, drawn=(RADIUS, CLIP))
    tested = blanked.groupby([*facets, RADIUS, CLIP], dropna=False)["distance"].nunique()
    return bool(tested.min() >= LEAST_DISTANCES)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: a panel for each combination of the other fields that vary."""
    points = table(frame)
    points["missing"] = points["unfinished"] + points["failed"]
    facets = list(points.columns[: points.columns.get_loc(RADIUS)])
    radii, clips = (lines.values(points[field]) for field in (RADIUS, CLIP))
    with style.look():
        colours = _colours(points, by_horizon(frame))
        named, height = points[facets].drop_duplicates(), max(LEAST_PANEL, FRAME + ROW * len(clips))
        labels = words.label(RADIUS), words.label(CLIP)
        figure, axes = panels.grid(named, *labels, lines=len(radii), height=height)
        for ax, (_, rows) in zip(axes, points.groupby(facets, dropna=False), strict=True):
            _frame(ax, words.aligned(radii), [words.value(clip, CLIP) for clip in clips])
            places = zip(lines.ranks(rows[RADIUS], radii), lines.ranks(rows[CLIP], clips), strict=True)
            for (x, y), row in zip(places, rows.to_dict("records"), strict=True):
                _cell(ax, x, y, row, colours)
        _scale(figure, axes, points, colours)
        lines.marks(figure, points)
    return figure


def _colours(points: pd.DataFrame, horizons: bool) -> ScalarMappable:
    """The colour of a number: a horizon, between the distances tested, or a share."""
    norm = Normalize(0, 1)
    if horizons and points["nearest"].notna().any():
        norm = LogNorm(points["nearest"].min(), points["farthest"].max())
    return ScalarMappable(norm, style.ordered_map())


def _frame(ax: Axes, radii: list[str], clips: list[str]) -> None:
    ax.set_xlim(-0.5, len(radii) - 0.5)
    ax.set_ylim(-0.5, len(clips) - 0.5)
    ax.set_xticks(range(len(radii)), radii)
    ax.set_yticks(range(len(clips)), clips)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _cell(ax: Axes, x: int, y: int, row: dict, colours: ScalarMappable) -> None:
    """One pair: its colour, its number, and what must be said about its trials."""
    if not row["counted"]:
        ax.plot(x, y, "x", color=style.GREY, markersize=4.5)
        return
    value, text = _value(row, isinstance(colours.norm, LogNorm))
    fill = colours.to_rgba(value)
    ink = "white" if style.is_dark(fill) else "black"
    ax.fill_between([x - 0.48, x + 0.48], y - 0.47, y + 0.47, color=fill, linewidth=0)
    said = f"{100 * row['diverged'] / row['counted']:.0f} % div." if row["diverged"] else ""
    ax.text(x, y + 0.14 * bool(said), text, color=ink, ha="center", va="center")
    ax.text(x, y - 0.25, said, color=ink, ha="center", va="center", fontsize=SMALL)
    if row["missing"]:
        ax.plot(x + CORNER, y + CORNER * 0.8, "o", markersize=3, markerfacecolor="white", markeredgecolor=style.GREY)


def _value(row: dict, horizons: bool) -> tuple[float, str]:
    """The number that a cell's colour shows, and the text for it."""
    if not horizons:
        return row["rate"], f"{100 * row['rate']:.0f}"
    edges = {BELOW: row["nearest"], ABOVE: row["farthest"]}
    if row["outside"] in edges:
        edge = edges[row["outside"]]
        return edge, f"{row['outside']}{words.value(float(edge))}"
    return row["horizon"], f"{row['horizon']:.{0 if row['horizon'] >= WHOLE else 1}f}"


def _scale(figure: Figure, axes: list[Axes], points: pd.DataFrame, colours: ScalarMappable) -> None:
    """The bar that says what the colours mean."""
    horizons = isinstance(colours.norm, LogNorm)
    bar = figure.colorbar(colours, ax=axes, aspect=16, pad=0.03, shrink=0.9)
    bar.set_label("horizon (steps)" if horizons else "solved (% of trials)")
    bar.solids.set(rasterized=False, edgecolor="face")  # else a bitmap within the SVG file
    bar.outline.set_visible(False)
    bar.ax.minorticks_off()
    ticks = [colours.norm.vmin, colours.norm.vmax]
    if horizons:
        ticks = sorted({ticks[0], *points["horizon"].quantile([0.5]).dropna().round(), ticks[1]})
        bar.set_ticks(ticks, labels=[words.value(float(tick)) for tick in ticks])
    else:
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and where it is best."""
    blanked, facets = panels.separated(frame, drawn=(RADIUS, CLIP))
    points, horizons = table(frame), by_horizon(frame)
    number = (
        "the horizon in steps, the distance at which half of the seeds solve the task (< and >: nearer or farther than "
        "any distance tested)"
        if horizons
        else "the share of trials solved (%), over the distances tested, each counted alike"
    )
    below = "; below it the share that diverged" if points["diverged"].any() else ""
    intervals = " Intervals of the horizons: the table (CSV)." if horizons else ""
    shown = f"For each pair of initial spectral radius and clip threshold: {number}{below}.{intervals}"
    told = captions.protocols(blanked, [*facets, RADIUS, CLIP, "distance"], "pair and distance")
    points["score"] = ranked_horizon(points) if horizons else points["rate"]
    found = [_finding(str(task), rows, facets, horizons) for task, rows in points.groupby("task")]
    missing = "a small circle marks pairs that miss some of theirs, a cross those that have no result yet"
    return " ".join([shown, *told, *filter(None, found), *captions.account(frame, missing)])


def _finding(task: str, points: pd.DataFrame, facets: list[str], horizons: bool) -> str:
    """The best pairs of each panel of one task, as measured; nothing while trials run, of which the best end first."""
    if points["unfinished"].any():
        return ""
    named = panels.parts(points[facets].drop_duplicates())
    groups = [rows for _, rows in points.groupby(facets, dropna=False)]
    told = [_best(parts[1:], rows, horizons) for parts, rows in zip(named, groups, strict=True)]
    told = [one for one in told if one]
    if not told:
        return ""
    more = f"; {words.counted(len(told) - MOST_TOLD, 'more panel')}" if len(told) > MOST_TOLD else ""
    return f"{words.task(task).capitalize()}, the largest number: {'; '.join(told[:MOST_TOLD])}{more}."


def _best(name: list[str], rows: pd.DataFrame, horizons: bool) -> str:
    """The pairs with the largest number of one panel, and that number; nothing where nothing was solved."""
    best = rows[(rows["score"] == rows["score"].max()) & (rows["score"] > 0)]
    if best.empty:
        return ""
    number = _value(best.iloc[0].to_dict(), horizons)[1] + ("" if horizons else " %")
    pairs = [
        f"radius {words.value(radius)} with clip {words.listed(words.distinct(of_radius[CLIP]), 'or')}"
        for radius, of_radius in best.groupby(RADIUS, dropna=False)
    ]
    where = words.listed(pairs, "or") if len(best) <= MOST_NAMED else f"{len(best)} pairs alike"
    return f"{', '.join([*name, where])} ({number})"
