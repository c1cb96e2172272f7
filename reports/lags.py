"""The error by lag, as numbers: the loss of each trial by the distance of its outputs, and how it depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports import words
from rnnlab.analysis import CONFIDENCE, MEAN_INTERVAL, student
from rnnlab.record import RESULTS, SOLVED

LOSS, OUTPUTS = "by_lag/loss", "by_lag/outputs"
LAG, RELATIVE = "lag", "relative_loss"
LEAST = 1e-4  # baselines: a smaller loss counts as that
FEWEST = 3  # distances of a trial, from which on the far ones are compared with the near ones
ENDS = 3  # the farthest and the nearest of so many parts of the distances are compared


def points_of(trials: pd.DataFrame, courses: pd.DataFrame) -> pd.DataFrame:
    """The trials with a result, a row for each and each lag: `LAG`, `RELATIVE` and `outputs`."""
    known = courses[courses["metric"].isin([LOSS, OUTPUTS])].dropna(subset="value")
    wide = known.pivot(index=["key", "step"], columns="metric", values="value").reindex(columns=[LOSS, OUTPUTS])
    wide = wide.reset_index().rename(columns={"step": LAG, OUTPUTS: "outputs"})
    found = trials[trials["status"].isin(RESULTS)].merge(wide, on="key")
    return found.assign(**{RELATIVE: found[LOSS] / found["baseline"]})


def mean_of(rows: pd.DataFrame) -> tuple[float, ...]:
    """The mean of `RELATIVE`, its interval, the trials and the outputs that are in it.

    The interval is the `student` one, which the delta method takes to the logarithm: it is never below 0. Not the
    geometric mean: of the few outputs at a distance it would put networks that have learnt nothing below 1.
    """
    values = rows[RELATIVE].to_numpy(dtype="float64")
    mean = max(values.mean(), LEAST)
    ends = mean * np.exp((np.array(student(values)) - values.mean()) / mean)
    return mean, *ends, len(values), rows["outputs"].sum()


def binned(points: pd.DataFrame) -> Iterator[str]:
    """What a point stands for, where there were more distances than points."""
    apart = [np.diff(np.unique(of[LAG])) for _, of in points.groupby(["task", "distance"])]
    if any(len(steps) and steps.min() > 1 for steps in apart):
        yield "Points more than a step apart are means over the distances around them."


def finding(task: str, rows: pd.DataFrame, courses: pd.DataFrame) -> str:
    """How many times as large the loss is at the far distances as at the near ones, of unsolved trials and solved; and
    at the farthest trained distance as at the nearest.
    """
    points = points_of(rows, courses)
    ratios, told = _ratios(points), []
    for name, chosen in (("not solved", ratios["status"] != SOLVED), ("solved", ratios["status"] == SOLVED)):
        if times := _times(ratios[chosen].groupby("seed")["ratio"].mean()):
            told.append(f"{times} ({int(chosen.sum())} {name})")
    if not told:
        return ""
    return (
        f"{words.task(task).capitalize()}: loss in the far third of the distances over that in the near third, where a "
        f"trial has {FEWEST} or more: {', '.join(told)}.{_from_task_to_task(points)} Geometric means, {MEAN_INTERVAL} "
        f"{100 * CONFIDENCE:g} % intervals over seeds; 1: the error does not depend on the distance."
    )


def _times(logarithms: pd.Series) -> str:
    """The geometric mean of ratios with its interval; `logarithms`: one for each seed."""
    if len(logarithms) < 2:
        return ""
    low, high = np.exp(student(logarithms.to_numpy(dtype="float64")))
    return f"{rounded(np.exp(logarithms.mean()))} [{rounded(low)}, {rounded(high)}]"


def rounded(ratio: float) -> str:
    """A ratio with two decimals below 2, else with two digits."""
    return f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _from_task_to_task(points: pd.DataFrame) -> str:
    """How many times as large the loss is where the largest distance is the farthest as where it is the nearest."""
    near, far = points["distance"].min(), points["distance"].max()
    sums = points.assign(sum=points[RELATIVE] * points["outputs"]).groupby(["key", "seed", "distance"])
    sums = sums[["sum", "outputs"]].sum()
    means = (sums["sum"] / sums["outputs"]).clip(lower=LEAST)
    losses = np.log(means).groupby(["seed", "distance"]).mean().unstack()
    times = _times((losses[far] - losses[near]).dropna()) if near < far else ""
    return f" Sequences of distance {far:g} against {near:g}: {times} times the loss." if times else ""


def _ratios(points: pd.DataFrame) -> pd.DataFrame:
    """The trials with enough distances, and the logarithm of the loss in their far third over that in the near one.

    Each loss counts as `LEAST` at least: a trial with none left is not left out.
    """
    ends = points.groupby("key")[LAG].agg(["min", "max", "nunique"]).reindex(points["key"])
    third = ((ends["max"] - ends["min"]) / ENDS).to_numpy()
    weighted = points.assign(sum=points[RELATIVE] * points["outputs"])
    parts = {
        "far": points[LAG].to_numpy() >= ends["max"].to_numpy() - third,
        "near": points[LAG].to_numpy() <= ends["min"].to_numpy() + third,
    }
    enough = ends["nunique"].to_numpy() >= FEWEST
    sums = {name: weighted[part & enough].groupby("key")[["sum", "outputs"]].sum() for name, part in parts.items()}
    means = {name: (of["sum"] / of["outputs"]).clip(lower=LEAST) for name, of in sums.items()}
    ratio = np.log(means["far"] / means["near"]).dropna()
    trials = points.drop_duplicates("key").set_index("key")[["status", "seed"]]
    return trials.loc[ratio.index].assign(ratio=ratio)
