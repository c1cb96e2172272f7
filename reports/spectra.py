"""Eigenvalues of recurrent matrices as observed before and after training: of single networks, and over a setting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports import lines, panels
from rnnlab.analysis import student
from rnnlab.record import RESULTS, SOLVED

REAL, IMAGINARY = PARTS = ("eigenvalue/real", "eigenvalue/imaginary")
UNSOLVED, OPEN = "not solved", "not finished"
OUTCOMES = {SOLVED: SOLVED} | dict.fromkeys((end for end in RESULTS if end != SOLVED), UNSOLVED)  # by status, else OPEN
UNIT = 1.001  # moduli above it are outside the unit circle: at an initial radius of 1 they are 1 but for rounding
AHEAD = 45  # degrees around the positive real axis
COUNTS = ("outside_initial", "outside_final", "beyond", "ahead")
MEASURED = {  # columns made of the metrics diagnostics/LAYER/NAME, of which the frame holds the last value
    "singular_value": "largest_singular_value",
    "departure": "departure_from_normality",
}


def eigenvalues(observations: pd.DataFrame) -> pd.DataFrame:
    """One row per eigenvalue that is a number: key, layer, when, index, its parts, modulus, outside; and `beyond`.

    `outside` says whether it lies outside the unit circle, `beyond` whether after training outside this circle and
    that of the network's spectral radius before, `ahead` whether it does so in a direction within `AHEAD` of 1.
    """
    wanted = observations[observations["quantity"].isin(PARTS)]
    found = wanted.pivot(index=["key", "layer", "when", "index"], columns="quantity", values="value")
    found = found.reindex(columns=list(PARTS)).dropna().reset_index()
    found = found.assign(modulus=np.hypot(found[REAL], found[IMAGINARY]))
    found = found.assign(outside=found["modulus"] > UNIT)
    before = found[found["when"] == "initial"].groupby(["key", "layer"])["modulus"].max()
    reached = found[["key", "layer"]].merge(before.rename("reached").reset_index(), how="left")["reached"]
    beyond = (found["when"] == "final") & found["outside"] & (found["modulus"] > UNIT * reached)
    angle = np.degrees(np.arctan2(found[IMAGINARY], found[REAL])).abs()
    return found.assign(beyond=beyond, ahead=beyond & (angle <= AHEAD))


def networks(frame: pd.DataFrame, values: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row per recurrent matrix, and the columns that make its setting, the radius last; `values`: `eigenvalues`.

    Columns: those of the frame, layer, outcome, radius_initial, radius_final, `COUNTS` (eigenvalues), those of
    `MEASURED`, panel (the number of the setting).
    """
    told, facets = panels.separated(frame, drawn=(lines.RADIUS,), distances=False)
    setting = [*facets, "layer", lines.RADIUS]
    sums = dict.fromkeys(("outside", "beyond", "ahead"), "sum")
    each = values.groupby(["key", "layer", "when"]).agg({"modulus": "max"} | sums).astype("float64")
    wide = each.rename(columns={"modulus": "radius"}).unstack("when")
    wide = wide.reindex(columns=pd.MultiIndex.from_product([["radius", *sums], ["initial", "final"]]))
    wide.columns = ["_".join(names) for names in wide.columns]
    wide = wide.rename(columns={"beyond_final": "beyond", "ahead_final": "ahead"})
    found = wide.drop(columns=["beyond_initial", "ahead_initial"]).reset_index().merge(told, on="key")
    found = found.assign(**{column: _measured(found, name) for column, name in MEASURED.items()})
    found = found.assign(outcome=found["status"].map(OUTCOMES).fillna(OPEN))
    return found.assign(panel=found.groupby(setting, dropna=False).ngroup()), setting


def _measured(found: pd.DataFrame, name: str) -> list[float]:
    rows = found.to_dict("records")
    return [row.get(f"diagnostics/{row['layer'].replace(' ', '_')}/{name}", np.nan) for row in rows]


def means(found: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Over the networks that agree in `by`: their number, radii and their change with intervals, sums and means."""
    found = found.assign(change=found["radius_final"] - found["radius_initial"])
    rows = [dict(zip(by, key, strict=True)) | _means(each) for key, each in found.groupby(list(by), dropna=False)]
    return pd.DataFrame(rows, columns=[*by, *_means(found.iloc[:0])])


def _means(rows: pd.DataFrame) -> dict[str, float]:
    told: dict[str, float] = {"networks": len(rows)}
    for name in ("radius_initial", "radius_final", "change"):
        low, high = student(rows[name].dropna().to_numpy())
        told |= {name: rows[name].mean(), f"{name}_low": low, f"{name}_high": high}
    return told | {name: rows[name].mean() for name in (*COUNTS, *MEASURED)}


def larger(values: pd.DataFrame, moduli: np.ndarray) -> np.ndarray:
    """(3, moduli) how many eigenvalues of a network have a larger modulus: mean over networks and its interval."""
    each = [own["modulus"].to_numpy() for _, own in values.groupby(["key", "layer"])]
    counts = np.array([(own[:, None] > moduli).sum(0) for own in each]).astype("float64")
    return np.array([counts.mean(0), *np.transpose([student(column) for column in counts.T])])
