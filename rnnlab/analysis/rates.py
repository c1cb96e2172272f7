"""How many trials were solved, and how all of them ended.

What counts: a trial that was solved, exhausted its budget or diverged is a result. One that still runs, or
that crashed (`failed`), is missing: it is reported beside the result and never counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import pandas as pd
from scipy.stats import binomtest

from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RESULTS, SOLVED

CONFIDENCE = 0.95  # level of all intervals
CHANCE = 0.05  # of all tests: p below it shows a difference
INTERVAL = "Wilson"  # name of the interval of a rate, for captions


def success_rate(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The share of trials that were solved, for each combination of values in the columns `by`.

    One row per combination, sorted; a missing value is a value like any other (clipping off). Columns: those
    of `by`, then

        solved       trials that were solved
        counted      trials with a result: solved, exhausted or diverged
        rate         solved / counted
        low, high    its Wilson interval at level `CONFIDENCE`
        unfinished   trials without an end so far; not counted
        failed       trials that crashed; not counted

    rate, low and high are NaN where nothing is counted.
    """
    status = frame["status"]
    flags = {"solved": status == SOLVED, "counted": status.isin(RESULTS), "failed": status == FAILED}
    flags["unfinished"] = ~(flags["counted"] | flags["failed"])  # so that no trial is left out of the account
    counts = frame[list(by)].assign(**flags).groupby(list(by), dropna=False)[list(flags)].sum().reset_index()
    pairs = list(zip(counts["solved"].astype(int), counts["counted"].astype(int), strict=True))
    counts["rate"] = [k / n if n else math.nan for k, n in pairs]
    intervals = pd.DataFrame([wilson(k, n) for k, n in pairs], columns=["low", "high"], dtype="float64")
    ordered = [*by, "solved", "counted", "rate", "low", "high", "unfinished", "failed"]
    return pd.concat([counts, intervals], axis=1)[ordered]


@cache
def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The Wilson interval of a proportion at level `CONFIDENCE`; (NaN, NaN) without trials.

    Unlike the interval of the normal approximation it keeps its level for few trials and has a width at 0 of n
    and n of n.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; Brown, Cai,
    DasGupta 2001, "Interval estimation for a binomial proportion", section 3.1.1, eq. 4.
    """
    if trials == 0:
        return math.nan, math.nan
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def endings(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How trials ended, for each combination of values in the columns `by`: solved, exhausted, diverged, unfinished,
    failed; and `counted`, the first three together.
    """
    status = frame["status"]
    flags = {name: status == name for name in (SOLVED, EXHAUSTED, DIVERGED)}
    flags |= {"unfinished": ~status.isin((*RESULTS, FAILED)), FAILED: status == FAILED}
    counts = frame[list(by)].assign(**flags).groupby(list(by), dropna=False)[list(flags)].sum().reset_index()
    return counts.assign(counted=counts[[SOLVED, EXHAUSTED, DIVERGED]].sum(axis=1))
