"""The state as a bottleneck: how much fits into the hidden units.

Left the share of symbols recalled at the end, its mean over seeds, right the share of seeds that solve the task, both
against the number of symbols to recall. One line per hidden size; the other fields separate rows.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import captions, distances, lines, panels, shares, style, words
from rnnlab.analysis import CONFIDENCE, INTERVAL, mean_metric, rank_correlation, success_rate

SYMBOLS, SIZE, RECALLED = "task.symbols", "model.hidden_size", "eval/accuracy"
NEEDS = (*captions.NEEDS, "distance", "train.clip_threshold", lines.RADIUS, SYMBOLS, RECALLED)
CLAIM_OF = ("hidden_size",)


def applies(frame: pd.DataFrame) -> bool:
    """Where both the number of symbols and the hidden size are varied in one task."""
    if not {SYMBOLS, SIZE} <= {*frame.columns}:
        return False
    return bool((frame.groupby("task")[[SYMBOLS, SIZE]].nunique() > 1).all(axis=1).any())


def _told(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The trials whose task has symbols, and the columns that separate rows."""
    return panels.separated(frame.dropna(subset=SYMBOLS), drawn=(SYMBOLS, SIZE), distances=False)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """`analysis.success_rate` for each row, size and number of symbols; with `recalled`, the mean share right at the
    end, its interval (`recalled_low`, `recalled_high`) and its number of trials.
    """
    told, facets = _told(frame)
    by = [*facets, SIZE, SYMBOLS]
    means = mean_metric(told, by, RECALLED).rename(columns={"mean": "recalled", "counted": "recalled_trials"})
    means = means.rename(columns={"low": "recalled_low", "high": "recalled_high"})
    columns = ["recalled", "recalled_low", "recalled_high", "recalled_trials"]
    return pd.concat([success_rate(told, by), means[columns]], axis=1)


def draw(frame: pd.DataFrame) -> Figure:
    """The figure: two panels for each combination of the other fields that vary."""
    told, facets = _told(frame)
    by = [*facets, SIZE, SYMBOLS]
    means, rates, sizes = mean_metric(told, by, RECALLED), success_rate(told, by), lines.values(told[SIZE])
    with style.look():
        looks = lines.looks(sizes, SIZE)
        titles = panels.titles(means[facets].drop_duplicates())
        figure, axes = panels.sheet([part for title in titles for part in (title, "")], len(titles), 2)
        trials = [rows for _, rows in told.groupby(facets, dropna=False)]
        for row, (key, found) in enumerate(means.groupby(facets, dropna=False)):
            left, right = axes[2 * row : 2 * row + 2]
            axis = distances.Axis(told.loc[told["task"] == key[0], SYMBOLS], lines=len(looks))
            shares.draw(left, found, trials[row], (SIZE, SYMBOLS, RECALLED), looks, sizes, axis.place)
            _rates(right, rates.loc[found.index], axis, looks, sizes)
            for ax, label in ((left, "symbols recalled (%)"), (right, "solved (% of seeds)")):
                axis.apply(ax, found[SYMBOLS])
                ax.set_ylabel(label)
        for ax in axes[-2:]:
            ax.set_xlabel(words.label(SYMBOLS))
        lines.legend(figure, looks, words.label(SIZE))
        lines.marks(figure, rates.assign(missing=rates["unfinished"] + rates["failed"]))
    return figure


def _rates(ax: Axes, rates: pd.DataFrame, axis: distances.Axis, looks: list[lines.Look], sizes: list) -> None:
    points = rates.assign(y=rates["rate"], missing=rates["unfinished"] + rates["failed"])
    for rank, of_line in points.groupby(lines.ranks(points[SIZE], sizes)):
        lines.draw(ax, of_line.assign(x=axis.place(of_line[SYMBOLS], rank)), looks[rank])
    lines.percent_axis(ax, points)


def caption(frame: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how recall goes with the size."""
    told, facets = _told(frame)
    shown = (
        f"Against the number of symbols to recall, one line per {words.plain(SIZE)}: left the share of them right "
        f"{shares.LAST_EVALUATION}, right the share of seeds that solve the task. {shares.BARS} Right: {INTERVAL} "
        f"{100 * CONFIDENCE:g} % intervals. The dependency distance grows with the number of symbols."
    )
    how = captions.protocols(told, [*facets, SIZE, SYMBOLS])
    found = captions.findings(told, (_finding(str(task), rows) for task, rows in table(frame).groupby("task")))
    return " ".join([shown, *found, *how, *captions.account(told, early=shares.TOO_HIGH)])


def _finding(task: str, points: pd.DataFrame) -> str:
    """How the share recalled goes with the hidden size where most symbols are asked for."""
    most = points[points[SYMBOLS] == points[SYMBOLS].max()].dropna(subset="recalled")
    rho = rank_correlation(most[SIZE].tolist(), most["recalled"].tolist())
    texts = [
        f"{100 * share:.0f} % with {words.part(SIZE, size)}"
        for size, share in most.groupby(SIZE)["recalled"].mean().items()
    ]
    if not texts:
        return ""
    ranked = f" (rank correlation with the size {words.signed(rho)})" if rho == rho else ""
    name = words.task(task).capitalize()
    return f"{name}: of {words.value(points[SYMBOLS].max())} symbols were recalled {words.listed(texts)}{ranked}."
