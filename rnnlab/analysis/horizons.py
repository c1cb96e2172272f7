"""The horizon: the distance at which half of the seeds solve a task within the budget of steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from rnnlab.analysis import likelihood
from rnnlab.analysis.rates import endings
from rnnlab.record import FAILED, RESULTS, SOLVED

HORIZON_INTERVAL = "profile likelihood"  # name of its interval, for captions
NOTHING = (math.nan, math.nan)
HALF = 0.5  # of the seeds solve the task at its horizon
ROUNDING = 1e-9  # what a fitted rate may be off by
WITHIN, BELOW, ABOVE, UNKNOWN = "", "<", ">", "?"  # where a horizon lies, seen from the distances tested


def horizon(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The distance at which half of the seeds solve the task, for each combination of values in the columns `by`.

    Columns: those of `by`, then

        horizon             steps; NaN where it lies outside the distances tested: nothing is extrapolated
        outside             "" within them, "<" below the nearest, ">" above the farthest, "?" without a result
        low, high           its interval at level `CONFIDENCE`; 0 and inf where an end lies outside, NaN: no result
        nearest, farthest   the least and the largest distance with a result
        distances           how many there are
        counted, unfinished, failed   trials, over all distances

    The estimate (`crossing`) takes for granted that farther is not easier. It is a point of a curve through the rates
    at the distances tested: with no rates between 0 and 1 it is the geometric middle of two of them, no better known
    than that. It depends on the budget of steps like every rate. It is not the likeliest horizon: this one can be
    checked with a ruler.

    The interval (`likelihood.intervals`) is that of a profile likelihood over many shapes of the curve, for seeds that
    are independent of each other and share luck across distances; it is widened to hold the estimate. By simulation
    (`benchmarks.coverage`: 1,000 sweeps for each of 168 combinations of seven truths, 3 to 20 seeds, three degrees of
    shared luck and two sets of distances) it holds the horizon in at least 94 % of sweeps in every combination, 93 %
    where luck is not shared in the way taken for granted; with 10 seeds or more and a horizon within the distances its
    median width is at most 1.38 times that of the likelihood interval of who knows the truth's shape, an interval
    without an end being wider than any other. Three seeds leave it open.

    It fails where seeds are of two kinds with a wide gap between their horizons, so that the share rests on a shelf
    near a half (65 to 90 % with 10 or 20 seeds), and holds less often than it says, 86 to 97 %, where some seeds solve
    the task at any distance; shapes with shelves among the others would make all intervals wider. A test at each
    distance, inverted, holds there too, but is elsewhere up to 4.1 times as wide as what it is compared with;
    percentiles of a bootstrap over whole seeds hold in 0 (a step) to 97 %.
    """
    tested = frame.dropna(subset="distance")
    setting = tested.groupby(list(by), dropna=False).ngroup()
    result = tested["status"].isin(RESULTS)
    intervals = _intervals({int(number): rows for number, rows in tested[result].groupby(setting[result])})
    rates = endings(tested, [*by, "distance"]).groupby(list(by), dropna=False)
    found = [
        dict(zip(by, key, strict=True)) | _horizon_of(rows, intervals.get(number, NOTHING))
        for number, (key, rows) in enumerate(rates)
    ]
    return pd.DataFrame(found, columns=[*by, *_horizon_of(rates.obj.iloc[:0], NOTHING)])


def _horizon_of(rates: pd.DataFrame, interval: tuple[float, float]) -> dict[str, object]:
    """The numbers of one setting, from the rows of `endings`, one per distance."""
    told = rates[rates["counted"] > 0].sort_values("distance")
    told = told.assign(rate=told[SOLVED] / told["counted"])
    row: dict[str, object] = {"horizon": math.nan, "outside": UNKNOWN, "low": math.nan, "high": math.nan}
    if len(told):
        place = crossing(*told[["distance", "rate", "counted"]].to_numpy(dtype="float64").T)
        row["outside"] = BELOW if place == 0 else ABOVE if place == math.inf else WITHIN
        row |= {"low": min(interval[0], place), "high": max(interval[1], place)}
        row |= {"horizon": place} if row["outside"] == WITHIN else {}
    row |= {"nearest": told["distance"].min(), "farthest": told["distance"].max(), "distances": len(told)}
    return row | {name: int(rates[name].sum()) for name in ("counted", "unfinished", FAILED)}


def _intervals(settings: Mapping[int, pd.DataFrame]) -> dict[int, tuple[float, float]]:
    """The interval of each setting's horizon, from its trials; those tested at the same distances go together."""
    alike: dict[tuple[float, ...], dict[int, bytes]] = {}
    for name, trials in settings.items():
        distances, outcomes = _outcomes(trials)
        alike.setdefault(distances, {})[name] = outcomes.tobytes()
    return {
        name: interval
        for distances, those in alike.items()
        for name, interval in zip(those, _likelihood(distances, tuple(those.values())), strict=True)
    }


def _outcomes(trials: pd.DataFrame) -> tuple[tuple[float, ...], np.ndarray]:
    """The distances, ascending; and for each seed (seeds, 2 J) how many of its trials were solved at each distance,
    then how many were not.
    """
    distances, place = np.unique(trials["distance"].to_numpy(dtype="float64"), return_inverse=True)
    seed, seeds = pd.factorize(trials["seed"], use_na_sentinel=False)
    table = np.zeros((len(seeds), 2 * len(distances)))
    np.add.at(table, (seed, place + len(distances) * (trials["status"] != SOLVED).to_numpy()), 1)
    return tuple(distances), table[np.lexsort(table.T)]


@functools.lru_cache(maxsize=256)
def _likelihood(distances: tuple[float, ...], outcomes: tuple[bytes, ...]) -> list[tuple[float, float]]:
    """`likelihood.intervals`, once for what the table, the drawing and the caption of a figure ask for alike."""
    tables = [np.frombuffer(one).reshape(-1, 2 * len(distances)) for one in outcomes]
    return likelihood.intervals(np.array(distances), tables)


def crossing(distances: np.ndarray, rates: np.ndarray, weights: np.ndarray) -> float:
    """Where rates that can only fall with the distance pass `HALF`; 0 before the first distance, inf after the last.

    The rates that fit best (weighted least squares) among those that nowhere rise, with lines between them over the
    logarithm of the distance; of a stretch at exactly a half, its middle. `distances` must increase.

    Source: Barlow, Bartholomew, Bremner, Brunk 1972, "Statistical inference under order restrictions", section 1.2
    (isotonic regression by pooling adjacent violators).
    """
    fitted = isotonic_regression(rates, weights=weights, increasing=False).x
    places = np.log(distances)
    above, reached = int((fitted > HALF + ROUNDING).sum()), int((fitted >= HALF - ROUNDING).sum())
    if reached > above:
        return float(np.exp((places[above] + places[reached - 1]) / 2))
    if above in (0, len(fitted)):
        return math.inf if above else 0.0
    share = (fitted[above - 1] - HALF) / (fitted[above - 1] - fitted[above])
    return float(np.exp(places[above - 1] + share * (places[above] - places[above - 1])))
