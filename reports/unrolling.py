"""A network unrolled over one sequence, as observed: which one to show, and its numbers as arrays over time.

Shapes: T time steps, U units, channels or outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage

from rnnlab.record import EXHAUSTED, SOLVED

KEPT = "diagnostics/states"  # 1 for trials whose states were kept
INPUT, STATE, OUTPUT, TARGET = SEEN = ("input", "state", "output", "target")
CHANGED_INPUT, CHANGED_STATE = CHANGED = ("changed/input", "changed/state")  # where one input is another
QUANTITIES = (*SEEN, *CHANGED)
ACCURACY = "eval/accuracy"
WHEN = ("initial", "final")
TOLD = ("layer", "time", "size", "difference", "probability", "right", "error")
MOST_SYMBOLS = 12  # an input of one channel with so many whole numbers is drawn as symbols
USUAL = 0.5  # a channel has a usual value where more than this share of its steps have it
EVENTS = 0.5  # steps are told apart by their inputs where at most this share of them is unusual


@dataclass(frozen=True)
class Unrolled:
    """One network on one sequence. Arrays (U, T); NaN where nothing was observed."""

    step: int  # training steps done
    inputs: np.ndarray
    states: dict[str, np.ndarray]  # by layer, in the order of the network
    outputs: np.ndarray
    targets: np.ndarray
    changed_inputs: np.ndarray  # where one input is another; empty if that was not observed
    changed_states: dict[str, np.ndarray]

    @property
    def classes(self) -> bool:
        """Whether outputs are the logits of classes: then a target is the number of one, else it has its own value."""
        return len(self.outputs) > len(self.targets)

    @property
    def scored(self) -> np.ndarray:
        """Steps whose outputs are scored."""
        return np.flatnonzero(~np.isnan(self.outputs).all(0)) if self.outputs.size else np.array([], dtype=int)

    def probabilities(self) -> np.ndarray:
        """(U, T) softmax of the outputs."""
        powers = np.exp(self.outputs - self.outputs.max(0))
        return powers / powers.sum(0)

    def differences(self) -> dict[str, np.ndarray]:
        """What the changed input changes in the states, by layer."""
        both = self.states.keys() & self.changed_states.keys()
        return {layer: self.changed_states[layer] - self.states[layer] for layer in self.states if layer in both}

    @property
    def changed_step(self) -> int | None:
        """The step whose input is changed; None where none is."""
        if self.changed_inputs.shape != self.inputs.shape:
            return None
        steps = np.flatnonzero((self.changed_inputs != self.inputs).any(0))
        return int(steps[0]) if len(steps) else None


def to_show(frame: pd.DataFrame, observations: pd.DataFrame) -> list[dict]:
    """The rows of the frame whose networks are shown: for each task one with states.

    The solved trial of the largest distance, then of the smallest seed, then of the most steps; if none was solved,
    the exhausted one of the best accuracy; if none ended so, another of the largest distance.
    """
    states = observations[observations["quantity"] == STATE]
    trained = states[states["when"] == "final"].groupby("key")["step"].max()
    there = frame[(frame[KEPT] == 1) & frame["key"].isin(states["key"])]
    ranks = there["status"].map({SOLVED: 0, EXHAUSTED: 1}).fillna(2).where(there["key"].isin(trained.index), 3)
    best = {"worse": -there[ACCURACY].where(ranks == 1), "nearer": -there["distance"]}
    ranked = there.assign(rank=ranks, **best, sooner=-there["key"].map(trained).astype("float64"))
    ranked = ranked.sort_values(["rank", "worse", "nearer", "seed", "sooner", "key"], kind="stable")
    return ranked.drop_duplicates("task").sort_values("task").to_dict("records")


def unrolled(key: str, when: str, observations: pd.DataFrame) -> Unrolled | None:
    """One network before training (`initial`) or after it (`final`); None where its states were not observed."""
    rows = observations[(observations["key"] == key) & (observations["when"] == when)]
    if not (rows["quantity"] == STATE).any():
        return None
    length = int(rows["index"].max()) + 1
    of = {name: rows[rows["quantity"] == name] for name in QUANTITIES}
    inputs, changed = _symbols(_array(of[INPUT], length), _array(of[CHANGED_INPUT], length))
    states, differing = (
        {str(layer): _array(own, length) for layer, own in of[name].groupby("layer")} for name in (STATE, CHANGED_STATE)
    )
    outputs, targets = _array(of[OUTPUT], length), _array(of[TARGET], length)
    return Unrolled(int(rows["step"].max()), inputs, states, outputs, targets, changed, differing)


def _array(rows: pd.DataFrame, length: int) -> np.ndarray:
    """(U, length) the values by place and index."""
    places = int(rows["place"].max()) + 1 if len(rows) else 0
    values = np.full((places, length), np.nan)
    values[rows["place"].astype(int), rows["index"].astype(int)] = rows["value"]
    return values


def _symbols(*inputs: np.ndarray) -> list[np.ndarray]:
    """One-hot rows in place of the numbers of symbols; other inputs as they are."""
    numbers = np.unique(np.concatenate([values.ravel() for values in inputs]))
    numbers = numbers[~np.isnan(numbers)]
    whole = len(numbers) and (numbers == numbers.round()).all() and numbers[0] >= 0 and numbers[-1] < MOST_SYMBOLS
    if len(inputs[0]) != 1 or not whole:
        return list(inputs)
    return [(np.arange(numbers[-1] + 1)[:, None] == values[:1]).astype("float64") for values in inputs]


def order(states: np.ndarray) -> np.ndarray:
    """(U,) units such that those with a like course are neighbours, the ones that are larger on average first.

    The leaves of a hierarchical clustering (average linkage of Euclidean distances), turned so that neighbours are as
    near as they can be.

    Source: Bar-Joseph, Gifford, Jaakkola 2001, "Fast optimal leaf ordering for hierarchical clustering".
    """
    courses = np.nan_to_num(states, posinf=0, neginf=0)
    if len(courses) < 2:
        return np.arange(len(courses))
    leaves = leaves_list(linkage(courses, "average", optimal_ordering=True))
    means, half = courses[leaves].mean(1), len(leaves) // 2
    return leaves if means[:half].mean() >= means[-half:].mean() else leaves[::-1]


def events(inputs: np.ndarray) -> np.ndarray:
    """The steps at which a channel leaves its usual value; none where that tells no steps apart."""
    unusual = np.zeros(inputs.shape[1], dtype=bool)
    for channel in inputs:
        values, counts = np.unique(channel, return_counts=True)
        if len(values) and counts.max() > USUAL * len(channel):
            unusual |= channel != values[counts.argmax()]
    return np.flatnonzero(unusual) if unusual.mean() <= EVENTS else np.array([], dtype=int)


def told(network: Unrolled) -> Iterator[dict]:
    """The numbers of each step, as far as they are known, under the names `TOLD`.

    layer is that of the states, or `output`; size the root mean square of the states, difference the Euclidean norm of
    what a changed input changes in them; probability that of the target, right whether it is the largest; error that
    of a value.
    """
    differences = network.differences()
    for layer, states in network.states.items():
        apart = np.linalg.norm(differences[layer], axis=0) if layer in differences else np.full(states.shape[1], np.nan)
        sizes = np.sqrt((states**2).mean(0))
        for time in np.flatnonzero(~np.isnan(states).all(0)):
            yield {"layer": layer, "time": time, "size": sizes[time], "difference": apart[time]}
    for time in network.scored:
        yield {"layer": "output", "time": time} | _output(network, time)


def _output(network: Unrolled, time: int) -> dict[str, float]:
    output, target = network.outputs[:, time], network.targets[:, time]
    if not network.classes:
        return {"error": float(np.abs(output - target).max())}
    if np.isnan(output).any() or np.isnan(target).any():
        return {"probability": np.nan, "right": np.nan}
    wanted = int(target[0])
    return {"probability": network.probabilities()[wanted, time], "right": float(output.argmax() == wanted)}
