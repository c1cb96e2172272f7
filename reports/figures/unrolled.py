"""What a trained network remembers: its states over one sequence.

Inputs, hidden states and outputs of one network of each task over a held-out sequence, before training and after it;
where it was observed, also what another input at one step would change in the states.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports import captions, panels, sheets, style, unrolling, words
from reports.unrolling import ACCURACY, KEPT, Unrolled
from rnnlab.record import EXHAUSTED, SOLVED

LOSS = "eval/loss"
OBSERVATIONS = unrolling.QUANTITIES
NEEDS = (*captions.NEEDS, "key", "distance", "train.clip_threshold", ACCURACY, LOSS, "baseline", KEPT)
CLAIM_OF = ("unrolled",)
RANK = 7
MOST_TASKS = 3  # more would not fit on a page
RIGHT = "scored outputs of this sequence that are right (mean probability of the target):"
ERROR = "error of the output on this sequence:"
STATES = "root mean square of the states one step before outputs are scored:"
CHANGE = "distance of the states where that input is another (Euclidean norm), at this step → at the end:"
MISSING = "one of them is shown only where nothing else is left"


def applies(frame: pd.DataFrame) -> bool:
    """Where states were kept."""
    return KEPT in frame and bool((frame[KEPT] == 1).any())


def _shown(frame: pd.DataFrame, observations: pd.DataFrame) -> Iterator[tuple[dict[str, Any], dict[str, Unrolled]]]:
    """The rows of the frame whose networks are shown; each network before training, and after it if there is one."""
    for row in unrolling.to_show(frame, observations)[:MOST_TASKS]:
        found = {when: unrolling.unrolled(row["key"], when, observations) for when in unrolling.WHEN}
        yield row, {when: network for when, network in found.items() if network}


def table(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """For each network shown and each step `unrolling.told`; the maps themselves are in the store."""
    rows = [
        {name: row[name] for name in ("task", "key", "seed", "status")} | {"when": when} | told
        for row, networks in _shown(frame, observations)
        for when, network in networks.items()
        for told in unrolling.told(network)
    ]
    return pd.DataFrame(rows, columns=["task", "key", "seed", "status", "when", *unrolling.TOLD])


def draw(frame: pd.DataFrame, observations: pd.DataFrame) -> Figure:
    """The figure: for each task blocks upon each other, the network before training left, after it right."""
    shown = list(_shown(frame, observations))
    with style.look():
        heights = [sheets.height(next(iter(networks.values()))) for _, networks in shown] or [1.0]
        figure = Figure(figsize=(sheets.WIDTH, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, (row, networks) in zip(parts, shown, strict=False):
            part.suptitle(_title(row, frame), x=0.01, ha="left", fontsize=9.5, parse_math=False)
            sheets.draw(part, list(networks.values()), [_when(row, *item) for item in networks.items()])
        if not shown:
            figure.text(0.5, 0.5, "no states observed yet", ha="center", color=style.GREY)
    return figure


def _title(row: dict[str, Any], frame: pd.DataFrame) -> str:
    """The task, what tells the network's setting apart from others, and its seed."""
    told, facets = panels.separated(frame, drawn=(), distances=False)
    own_first = told.assign(other=told["key"] != row["key"]).sort_values("other", kind="stable")
    title = panels.titles(own_first.drop_duplicates(facets)[facets])[0]
    return f"{title.replace(chr(10), ' · ')} · seed {words.value(row['seed'])}"


def _when(row: dict[str, Any], when: str, network: Unrolled) -> str:
    if when == "initial":
        return "before training"
    return f"after {words.counted(network.step, 'training step')}: {row['status']}"


def caption(frame: pd.DataFrame, observations: pd.DataFrame) -> str:
    """What the figure shows, which networks these are, and how much of its past each tells."""
    shown = list(_shown(frame, observations))
    networks = [network for _, found in shown for network in found.values()]
    told = table(frame, observations)
    what = (
        "Inputs, hidden states and outputs of one network over one held-out sequence, before and after training: an "
        "example, with no statistics over networks. Dashed: where outputs begin to be scored; grey triangles: steps at "
        "which an input channel leaves the value that it has at most steps. In each map units with a like course are "
        "neighbours (hierarchical clustering)."
    )
    parts = [
        what,
        *_blocks(networks),
        *[_network(frame, row, found, told[told["key"] == row["key"]]) for row, found in shown],
        *captions.account(frame, MISSING, "Shown only where no other ended", "Left aside", ""),
    ]
    return " ".join(parts)


def _blocks(networks: list[Unrolled]) -> Iterator[str]:
    """What blocks hold that not every network has."""
    if any(network.classes for network in networks):
        yield "Outputs of classes: their softmax probabilities, targets circled."
    if any(not network.classes for network in networks):
        yield "Outputs of values: dots, targets circled."
    if any(network.differences() for network in networks):
        yield (
            "The maps of changes: what the states would be with another input at the step of the dark triangle, minus "
            "what they are."
        )


def _network(frame: pd.DataFrame, row: dict[str, Any], networks: dict[str, Unrolled], told: pd.DataFrame) -> str:
    """Which network it is, and what was measured of it."""
    title, distance, network = _title(row, frame), words.value(row["distance"]), next(reversed(networks.values()))
    chosen = {
        SOLVED: f"of those that solved the task at the largest distance, {distance}, by smallest seed and most steps",
        EXHAUSTED: f"none solved the task; the most accurate of those whose budget ended, at distance {distance}",
    }.get(
        row["status"] if "final" in networks else "", f"none ended otherwise; {row['status']}, at distance {distance}"
    )
    quality = _quality(row, network) if "final" in networks else ()
    parts = [f"{title[0].upper()}{title[1:]} ({chosen})", *quality]
    for lead, tell in ((_lead(network), _of_outputs), (STATES, _of_states), (CHANGE, _of_changes)):
        found = [(when, tell(told[told["when"] == when], networks[when])) for when in reversed(networks)]
        values = [f"{text} {'before' if when == 'initial' else 'after'} training" for when, text in found if text]
        parts += [f"{lead} {words.listed(values)}"] if values else []
    return f"{'; '.join(parts)}."


def _quality(row: dict[str, Any], network: Unrolled) -> Iterator[str]:
    """How good the trained network is on all its held-out sequences."""
    if network.classes and not np.isnan(row[ACCURACY]):
        yield f"accuracy over all held-out sequences {100 * row[ACCURACY]:.1f} %"
    if not network.classes and not np.isnan(row[LOSS]):
        yield f"loss over all held-out sequences {row[LOSS]:.2g} (without memory {row['baseline']:.2g})"


def _lead(network: Unrolled) -> str:
    return RIGHT if network.classes else ERROR


def _of_outputs(told: pd.DataFrame, network: Unrolled) -> str:
    outputs = told[told["layer"] == "output"]
    if network.classes and outputs["probability"].notna().any():
        return f"{outputs['right'].sum():.0f} of {outputs['right'].count()} ({outputs['probability'].mean():.2f})"
    return f"{outputs['error'].mean():.3f}" if outputs["error"].notna().any() else ""


def _of_states(told: pd.DataFrame, network: Unrolled) -> str:
    """The size of the states one step before outputs are scored, in the last layer; else in the first scored step."""
    layer = told[told["layer"] == list(network.states)[-1]].dropna(subset="size")
    first = network.scored.min() if len(network.scored) else np.inf
    before = layer[layer["time"] < max(first, 1)]
    return f"{before['size'].iloc[-1]:.2f}" if len(before) else ""


def _of_changes(told: pd.DataFrame, network: Unrolled) -> str:
    """How far the states are apart, at the changed input and in the last step, in the last layer."""
    step, layer = network.changed_step, told[told["layer"] == list(network.states)[-1]].dropna(subset="difference")
    apart = layer.loc[layer["time"] >= step, "difference"] if step is not None else []
    return f"{apart.iloc[0]:.2g} → {apart.iloc[-1]:.2g}" if len(apart) else ""
