"""Measured horizon against the reach predicted before training.

A point for each setting: the distance at which half of the seeds solve the task, against the lag at which a small share
of a gradient is left. Left mean-field theory predicts that, from the weights as they were drawn and the variance of the
inputs; right the largest Lyapunov exponent as it was measured then. A row of panels for each task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from reports import captions, distances, lines, panels, style, words
from reports.figures.horizon import LEAST_DISTANCES, LIMIT, framed, placed, ranked_horizon
from rnnlab import analysis
from rnnlab.analysis import ABOVE, CONFIDENCE, WITHIN, horizon, student
from rnnlab.theory import EPSILON

SLOPE, LYAPUNOV = "theory/layer_1/slope", "diagnostics/layer_1/lyapunov"
CONVERGED = "diagnostics/layer_1/lyapunov_converged"
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS, SLOPE)
OPTIONAL = COURSES = (LYAPUNOV, CONVERGED)
CLAIM_OF = ("prediction",)
PREDICTORS = {"theory": "mean field", "exponent": "Lyapunov exponent"}
LEAST_SETTINGS = 3
HEIGHT = 2.9  # inches
ENDLESS = 5  # a reach of more times the farthest distance tested stands with those that have no end
NEAR = 2  # a horizon within such a factor of the reach counts as near to it
EDGE, OPACITY = 0.06, 0.55  # of the span of reaches, beside it; of an interval
EQUAL: Mapping[str, Any] = {"color": style.GREY, "linewidth": 1, "linestyle": (0, (4, 2))}


def applies(frame: pd.DataFrame) -> bool:
    """Where theory predicts one thing of some settings and another of others, each tested at several distances."""
    if SLOPE not in frame or frame[SLOPE].isna().all():
        return False
    tested, settings = _tested(frame)
    told = tested.dropna(subset=SLOPE).groupby(settings, dropna=False)[SLOPE].mean().round(6)
    return bool((told.groupby("task").nunique() >= LEAST_SETTINGS).any())


def _tested(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The trials of settings that were tested at several distances, with the field of the distance blanked; and the
    fields that make a setting, all that vary but the seed, the last of them that of the colours.
    """
    line = lines.field(frame)
    blanked, settings = panels.separated(frame.dropna(subset="distance"), drawn=(line,))
    settings = [*settings, line]
    several = blanked.groupby(settings, dropna=False)["distance"].transform("nunique") >= LEAST_DISTANCES
    return blanked[several], settings


def reach(rate: float) -> float:
    """The lag at which the share `EPSILON` is left of a gradient that changes at this rate, in nats per step."""
    if math.isnan(rate):
        return math.nan
    return math.log(EPSILON) / rate if rate < 0 else math.inf


def table(frame: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """`analysis.horizon` for each setting; and for each of PREDICTORS `PREDICTOR_rate` in nats per step, the mean over
    networks, `PREDICTOR_reach` in steps, `PREDICTOR_low`, `PREDICTOR_high`: its interval, and `PREDICTOR_networks`.
    """
    tested, settings = _tested(frame)
    first = courses[(courses["step"] == 0) & (courses["metric"] == LYAPUNOV)].set_index("key")["value"]
    tested = tested.assign(theory=tested[SLOPE], exponent=tested["key"].map(first.get).astype("float64"))
    groups = [rows for _, rows in tested.groupby(settings, dropna=False)]
    predicted = [pd.DataFrame([_predicted(rows, name) for rows in groups]) for name in PREDICTORS]
    return pd.concat([horizon(tested, settings), *predicted], axis=1)


def _predicted(rows: pd.DataFrame, name: str) -> dict[str, float]:
    """What is predicted of one setting: from the network of each seed with the longest sequences of which it is known.

    For an exponent is a limit over long sequences; the networks of a seed at other distances start from the same
    weights and are no further evidence; and this choice does not look at the horizon that is to be predicted.
    """
    rates = rows.dropna(subset=name).sort_values("distance").groupby("seed")[name].last().to_numpy(dtype="float64")
    rate, (low, high) = rates.mean() if len(rates) else math.nan, student(rates)
    numbers = {"rate": rate, "reach": reach(rate), "low": reach(low), "high": reach(high), "networks": len(rates)}
    return {f"{name}_{what}": number for what, number in numbers.items()}


def draw(frame: pd.DataFrame, courses: pd.DataFrame) -> Figure:
    """The figure: for each task one row, with a panel for each of PREDICTORS."""
    points, line = table(frame, courses), lines.field(frame)
    points = points.assign(missing=points["unfinished"] + points["failed"])
    tasks = dict(iter(points.groupby("task")))
    with style.look():
        points, looks, shapes = _styled(points, line)
        ended = not captions.running(frame)
        titles = [_title(str(task), rows, name, ended) for task, rows in tasks.items() for name in PREDICTORS]
        figure, axes = panels.sheet(titles, len(tasks), len(PREDICTORS), HEIGHT)
        for place, (task, rows) in enumerate(points.groupby("task")):
            of_task = frame.loc[frame["task"] == task, "distance"]
            tested, reaches = distances.Axis(of_task, lines=1), _reaches(rows)
            for ax, name in zip(axes[2 * place :], PREDICTORS, strict=False):
                framed(ax, tested, of_task)
                _across(ax, reaches)
                _points(ax, placed(rows, tested), name, tested, reaches)
            axes[2 * place].set_ylabel("horizon (steps)")
        for ax in axes[-2:]:
            ax.set_xlabel("reach predicted before training (steps)")
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        lines.marks(figure, points, [*shapes, Line2D([], [], label="horizon = reach", **EQUAL)])
    return figure


def _styled(points: pd.DataFrame, line: str) -> tuple[pd.DataFrame, list[lines.Look], list[Line2D]]:
    """The points with a `colour` by the field `line` and a `marker` by all else that varies within a task; and what
    colours and markers mean.
    """
    found, settings = lines.values(points[line]), list(points.columns[: points.columns.get_loc(line)])
    looks, ranks = lines.looks(found, line), lines.ranks(points[line], found)
    points = points.assign(colour=[looks[rank].colour for rank in ranks], marker=[looks[rank].marker for rank in ranks])
    others = [name for name in settings[1:] if (points.groupby("task")[name].nunique(dropna=False) > 1).any()]
    kinds = [" · ".join(words.part(name, row[name]) for name in others) for row in points.to_dict("records")]
    markers = {kind: style.marker(rank) for rank, kind in enumerate(dict.fromkeys(kinds))}
    if not others or len(markers) > len(style.MARKERS):
        return points, looks, []
    dots = [replace(look, marker="o", dash="none") for look in looks]
    grey = {"color": style.GREY, "linestyle": "none"}
    shapes = [Line2D([], [], marker=marker, label=kind, **grey) for kind, marker in markers.items()]
    return points.assign(marker=[markers[kind] for kind in kinds]), dots, shapes


def _title(task: str, rows: pd.DataFrame, name: str, ended: bool) -> str:
    told = _correlation(rows, f"{name}_reach") if ended else ""
    return f"{words.task(task)} · {PREDICTORS[name]}" + (f"\nrank correlation {told}" if told else "")


def _reaches(rows: pd.DataFrame) -> distances.Axis:
    """The axis of reaches in the panels of one task: over the distances tested, and further where it is predicted."""
    most = ENDLESS * rows["farthest"].max()
    told = np.concatenate([rows[f"{name}_{end}"] for name in PREDICTORS for end in ("reach", "low", "high")])
    return distances.Axis(pd.Series([*told[told <= most], *rows["nearest"], *rows["farthest"]]), lines=1)


def _across(ax: Axes, reaches: distances.Axis) -> None:
    """The axis of reaches, in grey where they have no end; and where the horizon equals the reach."""
    (least, most), limit = reaches.beyond(EDGE), reaches.beyond(EDGE + LIMIT)[1]
    ax.set_xscale("log" if reaches.log else "linear")
    ticks = (LogLocator(subs=[1, 2, 5]) if reaches.log else MaxNLocator(5)).tick_values(least, most)
    ax.set_xticks(ticks[(ticks >= least) & (ticks <= most)])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_xlim(least, limit)
    ax.axvspan(most, limit, color=style.UNTESTED, linewidth=0, zorder=0)
    ax.annotate("no end", (1, 0), (-4, 4), "axes fraction", "offset points", color=style.GREY, fontsize=7, ha="right")
    line = np.geomspace(max(least, 1e-9), most) if reaches.log else np.linspace(least, most)
    ax.plot(line, line, zorder=1, scaley=False, **EQUAL)


def _points(ax: Axes, rows: pd.DataFrame, name: str, tested: distances.Axis, reaches: distances.Axis) -> None:
    """The points of one panel with both intervals; an arrow where the horizon lies outside the distances tested."""
    inner, outer = reaches.beyond(EDGE)[1], reaches.beyond(EDGE + LIMIT)[1]
    known = rows[rows["y"].notna() & rows[f"{name}_reach"].notna()]
    endless = known.index[known[f"{name}_reach"] > inner]
    stand = np.linspace(*reaches.scaled(np.array([inner, outer])), len(endless) + 2)[1:-1]
    places = known[f"{name}_reach"].copy()
    places[endless] = reaches.unscaled(stand)
    for x, (_, row) in zip(places, known.iterrows(), strict=True):
        bar = {"color": row["colour"], "linewidth": 1, "alpha": OPACITY, "zorder": 3}
        ax.vlines(x, row["low"], row["high"], **bar)
        ax.hlines(row["y"], min(row[f"{name}_low"], x), min(row[f"{name}_high"], outer), **bar)
        if row["outside"] != WITHIN:
            end = tested.beyond(LIMIT)[int(row["outside"] == ABOVE)]
            ax.annotate("", (x, end), (x, row["y"]), arrowprops={"arrowstyle": "->", "color": row["colour"]}, zorder=4)
        face = "white" if row["missing"] else row["colour"]
        ax.plot(x, row["y"], row["marker"], color=row["colour"], markerfacecolor=face, zorder=5, label="_points")


def caption(frame: pd.DataFrame, courses: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how well the horizon was predicted."""
    points, (tested, settings) = table(frame, courses), _tested(frame)
    told = (
        "A point for each setting. Horizon: the distance at which half of the seeds solve the task within the budget "
        f"of steps, with its {analysis.HORIZON_INTERVAL} {100 * CONFIDENCE:g} % interval (arrow: beyond the distances "
        f"tested). Reach: the lag at which {100 * EPSILON:g} % of a gradient's norm is left, which sets its size but "
        "not its rank; predicted before training, for the first layer: left by mean-field theory, from the gain of "
        "the recurrent matrix and the variance of the inputs; right from the largest Lyapunov exponent along held-out "
        "sequences. It is that of the mean rate over seeds, each with its longest sequences, with the "
        f"{analysis.MEAN_INTERVAL} interval of this mean; in the grey on the right it has no end, or one more than "
        f"{ENDLESS} times beyond the farthest distance. Rank correlations: Spearman's, {analysis.RANK_INTERVAL} "
        "intervals over settings; horizons and reaches that lie outside are tied in first or last place."
    )
    how = captions.protocols(tested, [*settings, "distance"], "setting and distance")
    found = captions.findings(frame, (_finding(str(task), rows) for task, rows in points.groupby("task")))
    missing = "open points miss some of theirs"
    return " ".join([told, *found, *how, *_convergence(tested, settings, courses), *captions.account(frame, missing)])


def _convergence(tested: pd.DataFrame, settings: Sequence[str], courses: pd.DataFrame) -> Iterator[str]:
    """In how many sequences the estimate of the exponent had converged before training, of those that count."""
    last = tested.loc[tested.groupby([*settings, "seed"], dropna=False)["distance"].idxmax(), "key"]
    own = courses[courses["key"].isin(last) & (courses["metric"] == CONVERGED) & (courses["step"] == 0)]
    if own["value"].notna().any():
        yield f"The estimate of the exponent had converged in {100 * own['value'].mean():.0f} % of these sequences."


def _finding(task: str, points: pd.DataFrame) -> str:
    """How horizon and reach go together in one task, and by what factor they differ."""
    by = {name: f"by {'the ' * (name == 'exponent')}{called}" for name, called in PREDICTORS.items()}
    ranked = {name: told for name in by if (told := _correlation(points, f"{name}_reach"))}
    if not ranked:
        return f"{words.task(task).capitalize()}: too few settings with a horizon and a prediction that differ."
    alone = _correlation(points, lines.RADIUS) if lines.RADIUS in points else ""
    radius = f"; that of horizon and initial spectral radius alone is {alone}" if alone else ""
    factors = [f"{told} {by[name]}" for name in ranked if (told := _factor(points, name))]
    correlations = words.listed(f"{told} {by[name]}" for name, told in ranked.items())
    told = f"the rank correlation of horizon and reach is {correlations}{radius}."
    mean = f" The horizon is, in the geometric mean, {words.listed(factors)}." if factors else ""
    return f"{words.task(task).capitalize()}, {words.counted(len(points), 'setting')}: {told}{mean}"


def _correlation(points: pd.DataFrame, column: str) -> str:
    """The rank correlation of the horizon with a column, with its interval, or with its p where settings are few."""
    y, x = ranked_horizon(points), points[column]
    x, y = x[x.notna() & y.notna()], y[x.notna() & y.notna()]
    rho, (low, high) = analysis.rank_correlation(x, y), analysis.rank_interval(x, y)
    if math.isnan(rho):
        return ""
    few = math.isnan(low)
    if few:
        return f"{words.signed(rho)} (p {analysis.rank_probability(x, y):.2g})"
    return f"{words.signed(rho)} [{words.signed(low)}, {words.signed(high)}]"


def _factor(points: pd.DataFrame, name: str) -> str:
    """By what factor horizons differ from reaches, where neither has to be guessed."""
    known = points[np.isfinite(points["horizon"]) & np.isfinite(points[f"{name}_reach"])]
    if known.empty:
        return ""
    ratios = np.log(known["horizon"] / known[f"{name}_reach"]).to_numpy()
    low, high = np.exp(student(ratios))
    spread = "" if np.isnan(low) else f" [{words.rounded(low)}, {words.rounded(high)}]"
    near = int((np.abs(ratios) <= math.log(NEAR)).sum())
    told = f"{near} of {words.counted(len(known), 'setting')} where both are known within a factor of {NEAR}"
    return f"{words.rounded(np.exp(ratios.mean()))}{spread} times the reach ({told})"
