"""Gradients by lag, as observed of networks before and after training, beside what theory says of them.

One number for each network, layer and lag: the mean over its sequences of ln of the gradient's norm at that lag over
that at the first, where the last scored output reads. Gradients that are exactly zero or not finite have no logarithm:
they are in no mean, and are counted beside it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pandas as pd

from reports import lines, words
from rnnlab.analysis import CONFIDENCE, MEAN_INTERVAL, student
from rnnlab.frame import WHEN as TIMES
from rnnlab.record import RESULTS

OBSERVED = ("gradient/mean", "gradient/counted", "gradient/zero", "gradient/broken")
THEORIES = "theory/"  # begins the columns of the frame with what mean-field theory says of a layer
WHEN, LAYER, LAG, LOG, SPREAD = "when", "layer", "lag", "ln_factor", "spread"
THEORY, LAW = "theory", "zero_state_law"
COUNTS = ("sequences", "zero", "broken")
NETWORKS = "networks"
INITIAL, FINAL = TIMES
INPUT_SCALE = "init.input_scale"
ENDS = 0.1  # our choice: share of the lags at either end that slopes leave out, where states have not settled
MOST_PANELS = 24
THEORY_SAYS = (
    "mean-field theory of the untrained networks, from the gain of W_hh and the mean variance of what comes in over "
    "all steps; it is of the root mean square, which a geometric mean does not exceed."
)
SLOPES_ARE = (
    "Slopes are of the natural logarithm of the norm per step of lag, by least squares over the lags but for the first "
    f"and last {100 * ENDS:g} %; brackets: {MEAN_INTERVAL} {100 * CONFIDENCE:g} % intervals of the mean over networks, "
    "where their ends differ in the digits shown."
)
DECADE = math.log(10)


def measured(reference: str = "that at lag 0") -> str:
    """What lines and bands are, in words."""
    return (
        f"of the loss of the last scored output, as a factor of {reference}: for each network the geometric mean over "
        "its held-out sequences; lines: the geometric mean of networks, bands: one standard deviation between them, of "
        "the logarithm"
    )


def of_networks(trials: pd.DataFrame, fields: Sequence[str], observations: pd.DataFrame) -> pd.DataFrame:
    """A row for each trial, `WHEN`, layer and lag.

    Columns: key, distance, the `fields` of the trial, `WHEN`, `LAYER`, `LAG`, `LOG`, `COUNTS`; and `THEORY` and `LAW`,
    the slopes of `LOG` by mean-field theory and at the state 0, NaN after training and where they say nothing.
    """
    names = ["key", WHEN, LAYER, "index"]
    wide = observations.pivot(index=names, columns="quantity", values="value").reindex(columns=list(OBSERVED))
    wide = wide.set_axis([LOG, *COUNTS], axis=1).reset_index().rename(columns={"index": LAG})
    wide[LOG] = wide[LOG].replace([-math.inf, math.inf], math.nan)
    wide[list(COUNTS)] = wide[list(COUNTS)].fillna(0)
    told = trials[["key", *dict.fromkeys([*fields, "distance"])]].merge(wide, on="key")
    told = told.merge(_slopes_in_theory(trials, wide[LAYER].unique()), on=["key", LAYER], how="left")
    told[[THEORY, LAW]] = told[[THEORY, LAW]].where(told[WHEN] == INITIAL)
    return told


def _slopes_in_theory(trials: pd.DataFrame, layers: Collection[str]) -> pd.DataFrame:
    """What theory and the law of the state 0 say of each trial's layers, at the beginning.

    Where theory says nothing of a cell, neither does the law of its W_hh. Without inputs the states stay 0: then the
    law holds, and theory, which is of the state that small inputs lead to, says nothing.
    """
    none = trials["key"].iloc[:0]
    parts = [pd.DataFrame({"key": none, LAYER: none, THEORY: none, LAW: none}).astype({THEORY: float, LAW: float})]
    for layer in layers:
        of_layer = f"{THEORIES}{layer.replace(' ', '_')}/"
        if f"{of_layer}slope" in trials:
            slope = trials[f"{of_layer}slope"].replace([-math.inf, math.inf], math.nan)
            silent = trials[f"{of_layer}input_variance"] == 0 if f"{of_layer}input_variance" in trials else False
            law = np.log(trials[lines.RADIUS].where(trials[lines.RADIUS] > 0)).where(slope.notna())
            parts.append(pd.DataFrame({"key": trials["key"], LAYER: layer, THEORY: slope.mask(silent), LAW: law}))
    return pd.concat(parts, ignore_index=True)


def by_lag(networks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means over the networks that agree in `by`, for each lag, sorted.

    Columns: `by`, `LAG`; `LOG`, the mean over networks, and `SPREAD`, their standard deviation; `NETWORKS` in
    the mean, and `observed`, with those that have nothing but zero or broken gradients at the lag; `COUNTS`, over all
    of them; `THEORY` and `LAW`, ln of the factor that they predict; distance.
    """
    found = (
        networks.groupby([*by, LAG], dropna=False)
        .agg(
            **{LOG: (LOG, "mean"), SPREAD: (LOG, "std"), NETWORKS: (LOG, "count"), "observed": (LOG, "size")},
            **{name: (name, "sum") for name in COUNTS},
            **{name: (name, "mean") for name in (THEORY, LAW)},
            distance=("distance", "max"),
        )
        .reset_index()
    )
    first = found.groupby(list(by), dropna=False)[LAG].transform("min") if len(found) else 0
    found[[THEORY, LAW]] = found[[THEORY, LAW]].mul(found[LAG] - first, axis=0)
    return found


def slopes(networks: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The slope of `LOG` per step of each network, by least squares over the lags from `first` to `last`.

    Columns: `by`, `WHEN`, key, slope, `THEORY`, `LAW`, first, last. NaN for a network of which one gradient in this
    range is zero or not finite: a slope of what is left would be that of the sequences that vanish least.
    """
    ends = networks.groupby([*by, WHEN, "key"], dropna=False)[LAG].transform
    panels = networks.assign(low=ends("min"), high=ends("max")).groupby(list(by), dropna=False)
    least, most = panels["low"].transform("max"), panels["high"].transform("min")  # lags that all networks have
    cut = (ENDS * (most - least)).astype(int)
    rows = networks.assign(first=(least + cut).astype(int), last=(most - cut).astype(int))
    rows = rows[rows[LAG].between(rows["first"], rows["last"])]
    centred = rows[LAG] - (rows["first"] + rows["last"]) / 2
    whole = rows[LOG].mask((rows["zero"] > 0) | (rows["broken"] > 0))
    rows = rows.assign(product=centred * whole, square=centred**2, lags=rows["last"] - rows["first"] + 1)
    sums = rows.groupby([*by, WHEN, "key"], dropna=False).agg(
        **{name: (name, "sum") for name in ("product", "square")},
        known=("product", "count"),
        **{name: (name, "first") for name in (THEORY, LAW, "first", "last", "lags")},
    )
    fitted = (sums["product"] / sums["square"]).where((sums["known"] == sums["lags"]) & (sums["square"] > 0))
    return sums.assign(slope=fitted).reset_index()[[*by, WHEN, "key", "slope", THEORY, LAW, "first", "last"]]


def in_order(facets: Sequence[str], *last: str) -> list[str]:
    """The columns that separate panels, those `last` at the end: panels that differ in these stand side by side."""
    return [*(name for name in facets if name not in last), *(name for name in last if name in facets)]


def drawn(
    points: pd.DataFrame, facets: Sequence[str], most: int = MOST_PANELS, each: str = "panel"
) -> tuple[pd.DataFrame, str]:
    """The rows of what is drawn, `most` of `each`, and in words which they are, where there are too many of them."""
    count = points.groupby(list(facets), dropna=False).ngroups if len(points) else 0
    if count <= most:
        return points, ""
    kept = points[points["distance"] == points.groupby("task")["distance"].transform("max")]
    places = kept.groupby(list(facets), dropna=False).ngroup()
    few = places.max() >= most
    which = f"the first {most} of those" if few else "those"
    return kept[places < most], f"Drawn of {words.counted(count, each)} are {which} at each task's largest distance."


def factor(log: float) -> str:
    """e^log in words: 0.52, 130, 2.7e-5."""
    if not math.isfinite(log):
        return "unknown"
    exponent = math.floor(log / DECADE)
    if -3 < exponent < 4:
        return f"{float(f'{math.exp(log):.2g}'):g}"
    mantissa = f"{10 ** (log / DECADE - exponent):.1f}"
    return f"1.0e{exponent + 1}" if mantissa == "10.0" else f"{mantissa}e{exponent}"


def rate(number: float) -> str:
    """A slope in words; never -0.000."""
    return f"{round(number, 3) + 0:.3f}"


def with_interval(values: pd.Series, told=rate) -> str:
    """The mean of numbers, one per network, and its interval, in the words that `told` finds for a number.

    Without the interval where it is not known, or where its ends read the same.
    """
    numbers = values.dropna().to_numpy(dtype="float64")
    if len(numbers) == 0:
        return "unknown"
    low, high = student(numbers)
    width = "" if math.isnan(low) or told(low) == told(high) else f" ({told(low)} to {told(high)})"
    return told(numbers.mean()) + width


def against_theory(groups: Sequence[pd.DataFrame], each: str) -> Iterator[str]:
    """In how many groups of `slopes`, a line or panel `each`, theory's slope is within the interval of the measured."""
    known = [rows.dropna(subset=["slope", THEORY]) for rows in groups]
    ends = [(*student(rows["slope"].to_numpy()), rows[THEORY].mean()) for rows in known if len(rows) > 1]
    if ends:
        slower, faster = sum(low > theory for low, _, theory in ends), sum(high < theory for _, high, theory in ends)
        yield (
            "Before training theory's slope lies within the interval of the measured one in "
            f"{len(ends) - slower - faster} of {words.counted(len(ends), each)}; gradients fade more slowly in "
            f"{slower}, faster in {faster}."
        )


def of_layers(networks: pd.DataFrame, compared: bool = False) -> Iterator[str]:
    """What lags and gradients mean in deep networks, whose layers may be `compared`, and in encoders."""
    if networks[LAYER].str.contains("layer 2").any():
        yield (
            "Below the top layer gradients also come from the layers above, at every lag; theory is of the steps of a "
            "layer alone."
        )
    if networks[LAYER].str.startswith("encoder").any():
        relative = "" if compared else "; its gradients are relative to the first of them"
        yield f"The lags of an encoder go on where the decoder begins{relative}."


def unobserved(trials: pd.DataFrame, networks: pd.DataFrame) -> list[str]:
    """A sentence about the trials with a result whose networks have not been observed, where there are any."""
    count = int((trials["status"].isin(RESULTS) & ~trials["key"].isin(networks["key"])).sum())
    return [f"Not observed: the networks of {words.counted(count, 'trial')}."] if count else []


def lost(networks: pd.DataFrame) -> list[str]:
    """A sentence for each kind of gradient that is in no mean, before and after training."""
    told = []
    for name, what, edge in (("zero", "exactly zero", "lower"), ("broken", "not finite", "upper")):
        parts = [
            f"{when} {rows[name].sum():,.0f} of {rows[list(COUNTS)].sum().sum():,.0f}"
            for when, rows in ((_word(one), networks[networks[WHEN] == one]) for one in TIMES)
            if rows[name].sum() > 0
        ]
        if parts:
            told.append(
                f"Gradients that were {what}, over all lags, sequences and networks: {words.listed(parts)}; they are "
                f"in no mean, and triangles at the {edge} edge mark their lags."
            )
    return told


def _word(when: str) -> str:
    return {INITIAL: "before training", FINAL: "after training"}[when]
