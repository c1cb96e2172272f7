"""Spectral radius, Lyapunov exponent and accuracy over training.

Of the first recurrent layer: the spectral radius of W_hh, the largest Lyapunov exponent, and below them the accuracy on
held-out data. One line per initial spectral radius, or per value of another field where that is varied instead; the
other fields, and up to three of the distances, stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import captions, lines, panels, style, words
from rnnlab.analysis import CONFIDENCE, INTERVAL, MEAN_INTERVAL, mean_course, student, wilson
from rnnlab.record import RESULTS, SOLVED

SPECTRAL, LYAPUNOV, ACCURACY = "diagnostics/layer_1/spectral_radius", "diagnostics/layer_1/lyapunov", "eval/accuracy"
CONVERGED = "diagnostics/layer_1/lyapunov_converged"
COURSES = (SPECTRAL, LYAPUNOV, CONVERGED, ACCURACY)
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", "trained_steps", lines.RADIUS, LYAPUNOV, ACCURACY)
OPTIONAL = (SPECTRAL, CONVERGED)
CLAIM_OF = ("dynamics", "diagnosis")
ROWS = {SPECTRAL: "spectral radius", LYAPUNOV: "Lyapunov exponent\n(nats per step)", ACCURACY: "accuracy (%)"}
CRITICAL = {SPECTRAL: 1, LYAPUNOV: 0}  # between what fades and what grows
MOST_DISTANCES, MOST_PANELS = 3, 10  # side by side; where that is too many, the middle distance alone
HEIGHT, BAND = 1.25, 0.16  # inches of a row; opacity of an interval
HALF = 0.5  # of the seeds still train; of the sequences agree
MOST_MARKS = 6  # on a line, to say whether exponents have converged
DOTTED, DASHED = (0, (1, 1.2)), (0, (4, 2))


def applies(frame: pd.DataFrame) -> bool:
    """Where exponents were measured of trials that have ended, in few enough settings to stand side by side."""
    if not {LYAPUNOV, ACCURACY} <= {*frame.columns} or frame.loc[frame["status"].isin(RESULTS), LYAPUNOV].isna().all():
        return False
    return _panels(_at_few(frame, 1)) <= MOST_PANELS


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials of the distances shown: of each task the nearest, a middle one and the farthest, or the middle one."""
    few = _at_few(frame, MOST_DISTANCES)
    return few if _panels(few) <= MOST_PANELS else _at_few(frame, 1)


def _at_few(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """The trials of at most so many distances of each task, evenly among those tested."""
    kept = pd.Series(False, index=frame.index)
    for _, rows in frame.groupby("task"):
        tested = np.unique(rows["distance"].dropna())
        ends = np.linspace(0, 1, most) if most > 1 else np.array([0.5])
        places = np.floor(ends * (len(tested) - 1)).astype(int)
        kept |= frame.index.isin(rows.index[rows["distance"].isin(tested[places])])
    return frame[kept]


def separated(few: pd.DataFrame) -> tuple[pd.DataFrame, list[str], str]:
    """The trials with the field of the distance blanked, the columns that separate panels, and the field of lines."""
    line = lines.field(few)
    blanked, facets = panels.separated(few, drawn=(line, *lines.companions(few, line)))
    return blanked, [*facets, "distance"], line


def _panels(few: pd.DataFrame) -> int:
    blanked, facets, _ = separated(few)
    return len(blanked[facets].drop_duplicates())


def table(frame: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """`analysis.mean_course` for each panel and line; of shares the interval is cut off at 0 and 1."""
    blanked, facets, line = separated(shown(frame))
    found = mean_course(blanked, courses, [*facets, line])
    shares = found["metric"].isin((ACCURACY, CONVERGED))
    cut = {end: found[end].mask(shares, found[end].clip(0, 1)) for end in ("low", "high")}
    return found.assign(**cut)


def draw(frame: pd.DataFrame, courses: pd.DataFrame) -> Figure:
    """The figure: three rows for each combination of the other fields that vary."""
    blanked, facets, line = separated(shown(frame))
    means, found = table(frame, courses), lines.values(blanked[line])
    named = blanked[facets].sort_values(facets).drop_duplicates()
    means = named.assign(panel=range(len(named))).merge(means.astype(named.dtypes), on=facets)
    means = means.assign(rank=lines.ranks(means[line], found))
    with style.look():
        looks = lines.looks(found, line)
        figure, columns = panels.stacked(panels.titles(named), list(ROWS.values()), "training steps", HEIGHT)
        for panel, axes in enumerate(columns):
            for ax, metric in zip(axes, ROWS, strict=True):
                _course(ax, means[means["panel"] == panel], metric, looks)
        _limits(columns, means)
        if len(looks) > 1:
            lines.legend(figure, looks, words.label(line))
        _signs(figure, means)
    return figure


def _course(ax: Axes, rows: pd.DataFrame, metric: str, looks: Sequence[lines.Look]) -> None:
    """One row of one panel: the lines, dotted from where most seeds have ended, with their intervals."""
    if metric in CRITICAL:
        ax.axhline(CRITICAL[metric], color=style.GREY, linewidth=1, linestyle=DASHED, zorder=1, label="_critical")
    of_metric = rows[rows["metric"] == metric]
    for rank, means in of_metric.groupby("rank"):
        look, many = looks[rank], means[means["training"] > HALF]
        ax.fill_between(means["step"], means["low"], means["high"], color=look.colour, alpha=BAND, linewidth=0)
        ax.plot(means["step"], means["mean"], color=look.colour, linestyle=DOTTED, linewidth=1.3, label="_few")
        ax.plot(many["step"], many["mean"], color=look.colour, linestyle=look.dash, label=look.name)
        if metric == LYAPUNOV:
            _marks(ax, means, rows[(rows["metric"] == CONVERGED) & (rows["rank"] == rank)], look)
    if of_metric.empty:
        told = "no finished trial yet" if rows.empty else "not measured"
        place = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.5, told, color=style.GREY, backgroundcolor="white", **place)


def _marks(ax: Axes, means: pd.DataFrame, converged: pd.DataFrame, look: lines.Look) -> None:
    """Some points of a line of exponents: filled where most of the sequences' estimates have converged, else open."""
    marked = means.iloc[np.unique(np.linspace(0, len(means) - 1, MOST_MARKS).round().astype(int))]
    known = converged if len(converged) else pd.DataFrame({"step": [0], "mean": [0]})
    shares = np.interp(marked["step"], known["step"], known["mean"])
    for step, mean, share in zip(marked["step"], marked["mean"], shares, strict=True):
        face = {"color": look.colour, "markerfacecolor": look.colour if share >= HALF else "white", "markersize": 4}
        ax.plot(step, mean, look.marker, label="_marks", zorder=5, **face)


def _limits(columns: Sequence[Sequence[Axes]], means: pd.DataFrame) -> None:
    """The same axes in all panels: steps from 0 to the last, shares from 0 to 1, the others as far as they reach."""
    last = max(means["step"].max(), 1) if len(means) else 1
    for metric, axes in zip(ROWS, zip(*columns, strict=True), strict=True):
        least, most = _reached(means[means["metric"] == metric], CRITICAL.get(metric, 0))
        for ax in axes:
            ax.set_xlim(-0.02 * last, 1.02 * last)
            ax.set_ylim(least, most)
            ax.spines["left"].set_visible(False)
            if metric == ACCURACY:
                ax.set_ylim(-0.04, 1.04)
                ax.set_yticks([0, 0.5, 1], ["0", "50", "100"])


def _reached(rows: pd.DataFrame, critical: float) -> tuple[float, float]:
    """Limits for means and their intervals; those of two or three seeds, which may be vast, end outside."""
    means = np.append(rows["mean"], critical).astype("float64")
    room = float(np.ptp(means)) / 2 or 1.0
    ends = np.append(means, rows[["low", "high"]].to_numpy(dtype="float64"))
    return (
        max(float(np.nanmin(ends)), means.min() - room) - room / 8,
        min(float(np.nanmax(ends)), means.max() + room) + room / 8,
    )


def _signs(figure: Figure, means: pd.DataFrame) -> None:
    """Below the panels: what the marks mean that are there."""
    signs = [("radius 1, exponent 0", {"linewidth": 1, "linestyle": DASHED})]
    if (means["training"] <= HALF).any():
        signs.append(("half of the seeds or more have ended", {"linestyle": DOTTED}))
    judged = means[means["metric"] == CONVERGED]
    exponents = means[means["metric"] == LYAPUNOV]
    lines_of, known = (set(zip(of["panel"], of["rank"], strict=True)) for of in (exponents, judged))
    if lines_of - known or (judged["mean"] < HALF).any():
        signs.append(("exponent not converged", {"marker": "o", "markerfacecolor": "white", "markersize": 4}))
    handles = [Line2D([], [], color=style.GREY, label=name, **looks) for name, looks in signs]
    figure.set_figheight(figure.get_figheight() + lines.LEGEND_HEIGHT)
    figure.legend(handles=handles, ncols=3, loc="outside lower center", labelcolor=style.GREY, **lines.SPACING)


def caption(frame: pd.DataFrame, courses: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and where training took the exponent."""
    few = shown(frame)
    blanked, facets, line = separated(few)
    also = lines.companions(few, line)
    each = f", one line per {words.plain(line)}" if few[line].nunique(dropna=False) > 1 else ""
    told = (
        "Over training: the spectral radius of the recurrent matrix and the largest Lyapunov exponent (nats per step, "
        "along held-out sequences), both of the first layer, and the accuracy on held-out data; means over seeds"
        f"{each}. Bands: {MEAN_INTERVAL} {100 * CONFIDENCE:g} % intervals of the mean. A solved trial ends "
        f"{captions.when_solved(few)} and keeps its last values from there on (of one that diverged, the last that "
        "were finite), so that means are over the same seeds at every step; dotted: half of them or more have ended."
    )
    how = captions.protocols(blanked, [*facets, line], "line")
    found = [_finding(str(task), rows, courses, line) for task, rows in few.groupby("task")]
    rest = [*_convergence(few, courses), *filter(None, found), *captions.going_with(few, line, also)]
    where = "" if len(few) == len(frame) else ", at all distances"
    kept, missing = f"Kept up to their last values{where}", f"Not counted{where}"
    account = captions.account(frame, "they are in no mean", kept, missing, captions.OF_EARLY)
    return " ".join([told, *_some(few, frame), *how, *rest, *account])


def _some(few: pd.DataFrame, frame: pd.DataFrame) -> Iterator[str]:
    """Which of the distances are drawn, where not all are."""
    drawn, tested = (int(trials.groupby("task")["distance"].nunique().sum()) for trials in (few, frame))
    if drawn < tested:
        of_tasks = few.groupby("task")["distance"]
        told = [f"{words.task(str(task))} {words.listed(words.distinct(found))}" for task, found in of_tasks]
        yield f"Drawn are {drawn} of the {tested} distances tested: {'; '.join(told)} steps."


def _convergence(few: pd.DataFrame, courses: pd.DataFrame) -> Iterator[str]:
    """In how many sequences the estimate of the exponent had converged."""
    own = courses[courses["key"].isin(few["key"]) & (courses["metric"] == CONVERGED)]["value"].dropna()
    share = f"in {100 * own.mean():.0f} % of the sequences that are long enough to tell"
    share = share if len(own) else "in no sequence, as far as is known"
    yield (
        f"The estimate of the exponent had converged {share}, over all points of all trials; open markers: in fewer "
        "than half of those at this point, or in none that could tell, where it is a mean over what happened rather "
        "than a limit."
    )


def _finding(task: str, rows: pd.DataFrame, courses: pd.DataFrame, line: str) -> str:
    """The exponent before and after training by line, and in how many networks it came nearer to 0."""
    ends = _ends(rows, courses)
    if ends.empty:
        return ""
    told = []
    for value in lines.values(ends[line]):
        of_line = ends[ends[line].isin([value])].groupby("seed")[["before", "after"]].mean()
        told.append(f"{_mean(of_line['before'])} to {_mean(of_line['after'])} with {words.part(line, value)}")
    several = ", averaged over the panels of a seed" if len(ends) > len(ends[["seed", line]].drop_duplicates()) else ""
    course = f"in training the exponent went{several}, from {words.listed(told)}"
    return f"{words.task(task).capitalize()}: {course}. It came nearer to 0 in {words.listed(_nearer(ends))}."


def _nearer(ends: pd.DataFrame) -> Iterator[str]:
    """The share of networks whose exponent came nearer to 0, of those that solved the task and of the others."""
    came, solved = ends["after"].abs() < ends["before"].abs(), ends["status"] == SOLVED
    for name, chosen in {"that solved the task": solved, "that did not": ~solved}.items():
        if count := int(chosen.sum()):
            low, high = wilson(int(came[chosen].sum()), count)
            share = f"{100 * came[chosen].mean():.0f} % [{100 * low:.0f}, {100 * high:.0f}; {INTERVAL}]"
            yield f"{share} of the {words.counted(count, 'network')} {name}"


def _ends(rows: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """The trials with a result, and their exponent `before` and `after` training."""
    points = courses[courses["metric"] == LYAPUNOV].dropna(subset="value").sort_values("step")
    ends = {"before": points[points["step"] == 0].set_index("key"), "after": points.groupby("key").last()}
    ended = rows[rows["status"].isin(RESULTS)]
    found = ended.assign(**{name: ended["key"].map(of["value"].get).astype("float64") for name, of in ends.items()})
    return found.dropna(subset=list(ends))


def _mean(values: pd.Series) -> str:
    low, high = student(values.to_numpy(dtype="float64"))
    return f"{values.mean():.2f}" + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]")
