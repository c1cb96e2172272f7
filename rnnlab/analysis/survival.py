"""Time to solve: how many trials have solved their task by each training step, those without an end accounted for."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf

from rnnlab.analysis.rates import CONFIDENCE, wilson
from rnnlab.record import DIVERGED, FAILED, RESULTS, SOLVED

SURVIVAL_INTERVAL = "log-log; Wilson where all have solved"  # names of the interval of a share, for captions
COLUMNS = ("step", "solved", "low", "high", "at_risk", "events", "censored", "failed")


def time_to_solve(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The share of trials that have solved their task by each training step, for each combination of values in `by`.

    One row per combination and step at which a trial solved its task or was last seen, one at step 0, and one at the
    end of the budget where all have solved before it. Columns: those of `by`, then

        step            training steps
        solved          share of trials that have solved by then: one minus the Kaplan-Meier estimate
        low, high       its interval at level `CONFIDENCE`
        at_risk         trials that had neither solved nor left before this step
        events          trials that solved at it
        censored        trials that left at it, unsolved
        failed          trials that crashed, over all steps; they are in no other number

    A trial that exhausted its budget leaves at its last step and one that still runs at the last that is known of it,
    else at 0. One that diverged would never have solved: it stays at risk until the end of its budget, or the
    estimate would tell how fast networks learn that do not diverge. All who leave count as at risk at that step.

    The interval is symmetric on the scale of log(-log) with Greenwood's variance, which keeps it between 0 and 1. It
    is not defined while nobody has solved, nor once all have. Before the first event `low` is 0 and `high` that of the
    Wilson interval for none of those at risk. Once all have solved, `low` is that of the Wilson interval for all of
    them. If some left before that, unsolved, they are no such evidence: then the share is no less than it was before
    the last event, and no less than the share of those at risk who solve at it, and `low` the larger lower end.

    Steps that are infinite are unknown.

    Trials count as independent: by it single curves are drawn, not settings compared (`comparisons.compare`).

    Source: Kaplan, Meier 1958, "Nonparametric estimation from incomplete observations"; Kalbfleisch, Prentice 1980,
    "The statistical analysis of failure time data" (the interval).
    """
    (time, event), failed = last_seen(frame), (frame["status"] == FAILED).to_numpy()
    budget = frame["train.max_steps"].to_numpy(dtype="float64")
    ends = time.to_numpy(dtype="float64"), event.to_numpy(dtype=bool), failed, budget
    numbers = frame.groupby(list(by), dropna=False).ngroup().to_numpy()
    groups = [np.flatnonzero(numbers == number) for number in range(numbers.max(initial=-1) + 1)]
    found = [_steps(*(end[rows] for end in ends)) for rows in groups]
    columns = {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else dict[str, Any]()
    firsts = np.repeat([rows[0] for rows in groups], [len(part["step"]) for part in found]).astype(int)
    return frame[list(by)].iloc[firsts].reset_index(drop=True).assign(**columns).reindex(columns=[*by, *COLUMNS])


def last_seen(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """For each trial the step at which it solved its task, or else until which it is known not to have; and which."""
    event, budget = frame["status"] == SOLVED, frame["train.max_steps"]
    known = frame.reindex(columns=["trained_steps", "steps_to_solve"]).replace([np.inf, -np.inf], np.nan)
    trained, result = known["trained_steps"], frame["status"].isin(RESULTS)
    unsolved = trained.mask(result, trained.fillna(budget)).mask(frame["status"] == DIVERGED, budget).fillna(0)
    return known["steps_to_solve"].where(event, unsolved).fillna(unsolved), event


def _steps(time: np.ndarray, event: np.ndarray, failed: np.ndarray, budget: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of one setting, as columns."""
    time, event, budget = time[~failed], event[~failed], budget[~failed]
    steps = np.unique([0.0, *time])
    if len(time) and event[time == steps[-1]].all():
        steps = np.unique([*steps, np.nanmax([steps[-1], *budget])])
    at_risk = (time >= steps[:, None]).sum(axis=1)
    events, censored = ((time[those] == steps[:, None]).sum(axis=1) for those in (event, ~event))
    shares = np.tile([0.0, 0.0, 1.0], (len(steps), 1))
    if len(time):
        shares = _estimate(steps, at_risk, events, CensoredData(uncensored=time[event], right=time[~event]))
    crashed = np.full(len(steps), failed.sum())
    return dict(zip(COLUMNS, (steps, *shares.T, at_risk, events, censored, crashed), strict=True))


def _estimate(steps: np.ndarray, at_risk: np.ndarray, events: np.ndarray, times: CensoredData) -> np.ndarray:
    """Share solved, low and high (steps, 3)."""
    survivors = ecdf(times).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where it is not defined, which is mended below
        interval = survivors.confidence_interval(CONFIDENCE, method="log-log")
    curves = [1 - curve.evaluate(steps) for curve in (survivors, interval.high, interval.low)]
    solved, low, high = curves
    first, last = solved <= 0, solved >= 1
    low = np.where(first, 0.0, low)
    high = np.where(first, [wilson(0, int(n))[1] for n in at_risk], high)
    if last.any():
        end = int(np.argmax(last))
        left = at_risk[0] > events.sum()  # some did, unsolved
        count = int(at_risk[end if left else 0])
        low[end:] = max(low[end - 1] if left and end else 0.0, wilson(count, count)[0])
        high[end:] = 1.0
    return np.column_stack([solved, low, high])
