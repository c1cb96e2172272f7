"""Eigenvalues of the recurrent matrix, before and after training.

Above the eigenvalues of W_hh in the complex plane, those of all seeds of a setting together, with the unit circle and
the circle of the initial spectral radius; below, how many of a network's eigenvalues have more than a modulus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import captions, lines, panels, planes, spectra, style, words
from reports.spectra import AHEAD, MEASURED, UNIT
from rnnlab.analysis import CONFIDENCE, MEAN_INTERVAL
from rnnlab.record import SOLVED

OBSERVATIONS = spectra.PARTS
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", lines.RADIUS)
OPTIONAL = ("diagnostics/",)
CLAIM_OF = ("spectrum", "diagnosis")
RANK = 6

MOST_PANELS = 12  # more could not be compared
MOST_TOLD = 6  # planes whose radii the caption tells
NAMES = {
    "singular_value": "largest singular value",
    "departure": "departure from normality (Henrici; 0: normal, 1: nilpotent)",
}
MISSING = "of the unfinished the eigenvalues before training are drawn"


def applies(frame: pd.DataFrame) -> bool:
    """Where recurrent matrices were diagnosed."""
    names = [name for name in frame if name.startswith(OPTIONAL) and name.endswith("/spectral_radius")]
    return bool(frame[names].notna().any(axis=None))


def table(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """`spectra.means` for each setting, the networks that solved the task apart; and whether its panel is shown."""
    found, setting = spectra.networks(frame, spectra.eigenvalues(observations))
    points = spectra.means(found, [*setting, "distance", "panel", "outcome"])
    return points.assign(shown=points["panel"].isin(_shown(found))).drop(columns="panel")


def _shown(found: pd.DataFrame) -> list[int]:
    """The panels to draw: all; where they are too many, those at one distance of each task, and of these some."""
    if found["panel"].nunique() > MOST_PANELS:
        farthest = found[found["outcome"] == SOLVED].groupby("task")["distance"].max()
        chosen = found["task"].map(farthest).fillna(found.groupby("task")["distance"].transform("min"))
        found = found[found["distance"] == chosen]
    there = np.unique(found["panel"])
    places = np.linspace(0, len(there) - 1, min(len(there), MOST_PANELS)).round().astype(int)
    return there[places].tolist()


def _titles(found: pd.DataFrame, setting: Sequence[str], columns: int = 2) -> dict[int, str]:
    """What each panel holds, told apart from all others, be they drawn or not."""
    named = found.drop_duplicates("panel").sort_values("panel")
    return dict(zip(named["panel"], panels.titles(named[list(setting)], columns), strict=True))


def draw(frame: pd.DataFrame, observations: pd.DataFrame) -> Figure:
    """The figure: for each setting a plane, and below it a curve."""
    values = spectra.eigenvalues(observations)
    found, setting = spectra.networks(frame, values)
    shown = _shown(found)
    values, limits = _drawn(values, found)
    largest = min(limits[0], 1.06 * np.nanmax([1, values["modulus"].max()]))
    with style.look():
        named = found.drop_duplicates("panel").set_index("panel").loc[shown, setting]
        columns = _columns(named)
        titles = _titles(found, setting, columns + 1)  # planes have less room, beside the names of their axes
        figure, axes = planes.sheet([titles[panel] for panel in shown], columns)
        for (plane, strip), panel in zip(axes, shown, strict=True):
            drawn, rows = (one[one["panel"] == panel] for one in (values, found))
            planes.plane(plane, drawn, rows[lines.RADIUS].iloc[0], limits)
            planes.strip(strip, drawn, rows, largest)
        if not shown:
            figure.text(0.5, 0.5, "no eigenvalues observed yet", ha="center", color=style.GREY)
        _legend(figure, values)
    return figure


def _drawn(values: pd.DataFrame, found: pd.DataFrame) -> tuple[pd.DataFrame, tuple[float, float]]:
    """The eigenvalues in the panels to draw, and where the planes end."""
    values = values.merge(found[["key", "layer", "panel", "outcome"]], on=["key", "layer"])
    values = values[values["panel"].isin(_shown(found))]
    return values, planes.limits(values, found[lines.RADIUS].max())


def _columns(named: pd.DataFrame) -> int:
    """As `panels.column_count`, but for fields that vary with the task alone."""
    within = named.groupby("task").nunique(dropna=False).max() > 1
    return panels.column_count(named[["task", *within.index[within]]]) if len(named) else 1


def _legend(figure: Figure, values: pd.DataFrame) -> None:
    dot = {"marker": "o", "markersize": 4.5, "linestyle": "none"}
    after = values[values["when"] == "final"]
    handles = [Line2D([], [], color=planes.PALE, label="before training", **dot)]
    for outcome, colour in planes.COLOURS.items():
        if (after["outcome"] == outcome).any():
            handles.append(Line2D([], [], color=colour, label=f"after training, {outcome}", **dot))
    handles.append(Line2D([], [], label="unit circle", **planes.CIRCLE))
    handles.append(Line2D([], [], label="initial spectral radius", **planes.OF_INIT))
    columns = 3 if figure.get_figwidth() > 2.2 * planes.WIDTH else 2
    figure.legend(handles=handles, ncols=columns, loc="outside upper center", **lines.SPACING)


def caption(frame: pd.DataFrame, observations: pd.DataFrame) -> str:
    """What the figure shows, how the data were made, and how training changed the eigenvalues."""
    values = spectra.eigenvalues(observations)
    found, setting = spectra.networks(frame, values)
    shown = (
        "Eigenvalues of the recurrent matrix before and after training, those of all seeds of a setting in one plane; "
        "large points lie outside the unit circle. Numbers: networks, and their mean spectral radius before → after "
        "training. Curves: how many eigenvalues of a network have more than a modulus, mean over networks; bands: "
        f"{MEAN_INTERVAL} {100 * CONFIDENCE:g} % intervals."
    )
    told = captions.protocols(frame, panels.separated(frame, drawn=(), distances=False)[1], "setting")
    found_of = [_finding(str(task), rows, setting) for task, rows in found.groupby("task")]
    parts = [
        shown,
        *told,
        *_selection(found),
        *_cut_off(*_drawn(values, found)),
        *_radii(found, setting),
        *filter(None, found_of),
    ]
    return " ".join([*parts, *captions.account(frame, MISSING, "Among those not solved", early=captions.OF_EARLY)])


def _selection(found: pd.DataFrame) -> Iterator[str]:
    """Which settings are drawn, where not all are."""
    shown, count = found[found["panel"].isin(_shown(found))], found["panel"].nunique()
    if (drawn := shown["panel"].nunique()) < count:
        at = [f"{words.value(rows['distance'].max())} of {words.task(task)}" for task, rows in shown.groupby("task")]
        yield (
            f"Drawn are {drawn} of {count} settings, at the largest distance at which a network solved the task (the "
            f"least if none did), {words.listed(at)}{'' if drawn < MOST_PANELS else ', and evenly chosen of these'}."
        )


def _cut_off(values: pd.DataFrame, limits: tuple[float, float]) -> Iterator[str]:
    x, y = limits
    if away := int(((values[spectra.REAL].abs() > x) | (values[spectra.IMAGINARY].abs() > y)).sum()):
        yield f"Beyond the picture: {words.counted(away, 'eigenvalue')}."


def _radii(found: pd.DataFrame, setting: Sequence[str]) -> Iterator[str]:
    """The spectral radii in each plane, where they are few."""
    shown, titles = _shown(found), _titles(found, setting)
    points = spectra.means(found[found["radius_final"].notna() & found["panel"].isin(shown)], ["panel", "outcome"])
    if points.empty or len(shown) > MOST_TOLD:
        return
    told = [
        f"{titles[panel].replace(chr(10), ' ')}: {words.listed(map(_of_outcome, rows.to_dict('records')))}"
        for panel, rows in points.groupby("panel")
    ]
    yield (
        f"Spectral radius before → after training [{100 * CONFIDENCE:g} % interval], and how many eigenvalues are "
        f"outside the unit circle (modulus > {UNIT}), means over networks; {'; '.join(told)}."
    )


def _of_outcome(row: dict) -> str:
    interval = f" [{row['radius_final_low']:.2f}, {row['radius_final_high']:.2f}]" if row["networks"] > 1 else ""
    radii = f"{row['radius_initial']:.2f} → {row['radius_final']:.2f}{interval}"
    return f"{row['networks']} {row['outcome']} {radii}, {row['outside_initial']:.1f} → {row['outside_final']:.1f}"


def _finding(task: str, rows: pd.DataFrame, setting: Sequence[str]) -> str:
    """In how many settings of a task the radius changed, where the eigenvalues went, and what else is known of W_hh."""
    trained = rows[rows["radius_final"].notna()]
    points = spectra.means(trained, [*setting, "distance"])
    if points.empty:
        return ""
    told, known = [], points[points["change_low"].notna()]
    if len(known):
        larger, smaller = (known["change_low"] > 0).sum(), (known["change_high"] < 0).sum()
        of_all = f"of {words.counted(len(known), 'setting')} (by the interval of the change)"
        told.append(f"the spectral radius grew in {larger} and shrank in {smaller} {of_all}")
    if beyond := int(trained["beyond"].sum()):
        told.append(
            f"of {words.counted(beyond, 'eigenvalue')} outside both the unit circle and the circle of the network's "
            f"radius before, {100 * trained['ahead'].sum() / beyond:.0f} % lie within {AHEAD}° of the positive "
            f"real axis (uniform directions: {100 * AHEAD / 180:.0f} %)"
        )
    measured = [column for column in MEASURED if points[column].notna().any()]
    told += [f"{NAMES[column]} after training {_span(points[column])}" for column in measured]
    return f"{words.task(task).capitalize()}: {'; '.join(told)}." if told else ""


def _span(column: pd.Series) -> str:
    least, most = f"{column.min():.2f}", f"{column.max():.2f}"
    return least if least == most else f"{least} to {most}"
