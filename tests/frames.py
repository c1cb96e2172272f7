"""Synthetic frames for the tests of reports: real trials, invented outcomes.

The columns are those that real trials have (`Trial.flat`); the outcomes follow a horizon that grows with the
spectral radius, the size and the cell, and that a window of truncation bounds; each seed has its own luck.
"""

import hashlib
import itertools
import math
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType

import numpy as np
import pandas as pd
from builders import trial

from reports.figures import extras
from reports.panels import trial_fields
from rnnlab.frame import COURSE, OBSERVATION, tidy
from rnnlab.record import BY_LAG_POINTS, DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED
from rnnlab.seeding import generator
from rnnlab.store.origins import LAUNCH, ORIGIN, SWEEPS, Provenance
from rnnlab.tasks import label
from rnnlab.trial import Trial

DELAYS = (5, 10, 20, 40, 60, 100)
LENGTHS = (10, 20, 40, 80)
RADII = (0.5, 0.8, 1.0, 1.2)
INITS = ("gaussian", "orthogonal")
HORIZON = {0.5: 6, 0.8: 22, 1.0: 55, 1.2: 90}  # steps, by spectral radius
CELL_FACTOR = {"lstm": 1.6, "gru": 1.4, "lru": 2.0, "orthogonal": 1.5, "antisymmetric": 0.7}  # of the horizon
LUCK = 0.4  # standard deviation of the logarithm of a seed's time to solve


def sweep(**axes) -> list[Trial]:
    """The grid over all fields that are given as a list or tuple; others hold for every trial."""
    lists = {name: values if isinstance(values, list | tuple | range) else [values] for name, values in axes.items()}
    return [trial(**dict(zip(lists, point, strict=True))) for point in itertools.product(*lists.values())]


def copy_sweep(**axes) -> list[Trial]:
    return sweep(**{"task": "copy", "delay": DELAYS, "init": INITS, "spectral_radius": RADII, "seed": range(5)} | axes)


def adding_sweep(**axes) -> list[Trial]:
    return sweep(
        **{"task": "adding", "length": LENGTHS, "init": INITS, "spectral_radius": RADII, "seed": range(5)} | axes
    )


def truncation_sweep(**axes) -> list[Trial]:
    windows = [5, 10, 20, 40, None]
    return sweep(**{"task": "copy", "delay": DELAYS, "truncation": windows, "seed": range(4)} | axes)


def architecture_sweep(**axes) -> list[Trial]:
    cells = ["elman", "irnn", "orthogonal", "antisymmetric", "cornn", "lstm", "gru", "lru"]
    return [
        *sweep(**{"task": "copy", "cell": cells, "delay": DELAYS, "seed": range(3)} | axes),
        *sweep(**{"task": "adding", "cell": cells, "length": LENGTHS, "seed": range(3)} | axes),
    ]


def capacity_sweep(**axes) -> list[Trial]:
    return sweep(
        **{"task": "copy", "symbols": [2, 4, 8, 16, 32], "delay": 10, "hidden_size": [8, 16, 32], "seed": range(4)}
        | axes
    )


def clipping_sweep(**axes) -> list[Trial]:
    clips = [0.1, 1.0, 10.0, None]
    return sweep(
        **{"task": "adding", "length": [20, 40], "clip_threshold": clips, "spectral_radius": RADII, "seed": range(4)}
        | axes
    )


def sensor_sweep(**axes) -> list[Trial]:
    distances = [10, 20, 40, 80]
    return sweep(
        **{"task": "sensor", "distance": distances, "cell": ["elman", "gru"], "bidirectional": [False, True]}
        | {"seed": range(4)}
        | axes
    )


def flow_sweep(**axes) -> list[Trial]:
    """For the flow of gradients: they vanish, or in part are zero, or break after training."""
    return copy_sweep(**{"delay": [10, 20, 40], "spectral_radius": [0.5, 0.9, 1.2], "init": "gaussian"} | axes)


def scale_sweep(**axes) -> list[Trial]:
    radii = {"spectral_radius": [0.9, 1.0, 1.1]}
    return adding_sweep(**{"length": [10, 20, 40], "input_scale": [0.0, 0.1, 1.0], "init": "orthogonal"} | radii | axes)


def input_sweep(**axes) -> list[Trial]:
    """Radii and strengths of the inputs, in two tasks."""
    scales, radii = {"input_scale": [0.1, 0.5, 2.0], "init": "gaussian"}, {"spectral_radius": [0.5, 1.0, 1.2]}
    shown = {"task": "random_permutation", "length": [10, 20, 40], "seed": range(4)}
    return [*copy_sweep(**scales | radii | {"seed": range(4)} | axes), *sweep(**shown | scales | radii | axes)]


def with_lengths(frame: pd.DataFrame, lengths: Iterable[int]) -> pd.DataFrame:
    """A copy with the accuracy of each trial at other values of its dial, as if networks forgot slowly."""
    dial = frame["task.delay"].fillna(frame.get("task.length", math.nan))
    gated = frame["cell"].isin(["lstm", "gru"])
    columns = {}
    for length in lengths:
        beyond = (dial / length).clip(upper=1) ** gated.map({True: 0.4, False: 1.2})
        columns[f"at_length/{length}/accuracy"] = 0.5 + (frame["eval/accuracy"] - 0.5) * beyond
    return frame.assign(**columns)


def with_lags(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which adding was evaluated by lag; `Diagnosed` has the courses."""
    ended = (frame["task"] == "adding") & frame["status"].isin([SOLVED, EXHAUSTED])
    return frame.assign(**{BY_LAG_POINTS: (frame["distance"] // 2 + 1).clip(upper=16).where(ended)})


def by_lag(row: dict) -> Iterator[tuple[str, float, float]]:
    """(metric, lag, value) of one trial of `with_lags`: the farther, the worse."""
    points = row.get(BY_LAG_POINTS, math.nan)
    for lag in np.linspace(row["distance"] - row["distance"] // 2, row["distance"], int(points if points > 0 else 0)):
        yield (
            "by_lag/loss",
            float(round(lag)),
            row["eval/loss"] * (0.4 + 0.5 * lag / row["distance"] + row["seed"] / 50),
        )
        yield "by_lag/outputs", float(round(lag)), 10 + row["seed"]


def diagnosed(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with what diagnostics and theory say of each trial's layers, as if radii and inputs were all there is."""
    radius, scale = frame["init.spectral_radius"], frame["init.input_scale"]
    slope = np.log(_held(scale) * radius).clip(upper=0.1)
    finished = ~frame["status"].isin([FAILED])
    columns = {
        "diagnostics/layer_1/lyapunov": slope / 2,
        "diagnostics/layer_1/lyapunov_converged": (1.2 - radius / 2).clip(0, 1),
        "diagnostics/layer_1/spectral_radius": radius * 1.05,
        "diagnostics/layer_1/largest_singular_value": radius * 1.7,
        "diagnostics/layer_1/departure_from_normality": 0.7 - 0.1 * radius,
        "diagnostics/states": (frame["seed"] == frame["seed"].min()).astype("float64"),
        "diagnostics/layer_1/saturation": 0.3 * radius / (1 + radius),
        "theory/layer_1/gain": radius,
        "theory/layer_1/input_variance": 2 * scale**2,
        "theory/layer_1/chi": np.exp(2 * slope),
        "theory/layer_1/slope": slope,
        "theory/layer_1/e_fold": (-1 / slope).where(slope < 0, math.inf),
        "theory/layer_1/reach": (math.log(100) / -slope).where(slope < 0, math.inf),
    }
    deep = {
        name.replace("layer_1", f"layer_{layer}"): values.where(frame["model.layers"] >= layer)
        for layer in range(2, int(frame["model.layers"].max()) + 1)
        for name, values in columns.items()
        if "layer_1" in name
    }
    return frame.assign(**{name: values.where(finished) for name, values in (columns | deep).items()})


def _held(input_scale):
    """What inputs leave of a gradient at each step."""
    return 0.95 ** (10 * input_scale)


def undiagnosed(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which exponents and theory of some trials are not known, nor whether exponents had converged."""
    unknown = (frame["seed"] == 1) | (frame["init.spectral_radius"] == RADII[0])
    names = ["diagnostics/layer_1/lyapunov", "theory/layer_1/slope"]
    gone = frame[names].mask(unknown).assign(**{"diagnostics/layer_1/lyapunov_converged": math.nan})
    return frame.assign(**gone).drop(columns="diagnostics/layer_1/spectral_radius")


class Diagnosed:
    """What a store would hold beside a frame of `diagnosed`; a trial that failed has nothing."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.trials = [row for row in frame.to_dict("records") if row["status"] != FAILED]

    def courses(self, experiment: str, metrics: Collection[str]) -> pd.DataFrame:
        """Each metric goes in a straight line to its last value, from nearer to zero."""
        points = [
            (row["key"], name, share * row.get("trained_steps", 100), row[name] * (0.6 + 0.4 * share))
            for row in self.trials
            for name in metrics
            for share in np.linspace(0, 1, 12)
            if name in row
        ]
        points += [(row["key"], *point) for row in self.trials for point in by_lag(row) if point[0] in metrics]
        return pd.DataFrame(points, columns=list(COURSE)).sort_values(["key", "metric", "step"], ignore_index=True)

    def observations(self, experiment: str, quantities: Collection[str]) -> pd.DataFrame:
        """At the beginning, and at the end where there is one; states where they were kept."""
        points = [
            (row["key"], when, 0.0 if when == "initial" else row["trained_steps"], _where(point[0], layer), *point)
            for row in self.trials
            for when in ("initial", "final")[: 1 + (row["status"] != RUNNING)]
            for layer in range(1, int(row["model.layers"]) + 1)
            for point in _observed(row, when == "final", layer)
            if point[0] in quantities
        ]
        return pd.DataFrame(points, columns=list(OBSERVATION)).sort_values(
            list(OBSERVATION[:-1]), ignore_index=True, kind="stable"
        )

    def planned(self, experiment: str) -> pd.DataFrame:
        """The trials of the frame, and those of its first seed with another one, which nothing has begun."""
        rows = self.frame[["key", "distance", "seed", *trial_fields(self.frame)]]
        more = rows[rows["seed"] == rows["seed"].min()]
        keys = [hashlib.sha256(key.encode()).hexdigest() for key in more["key"]]
        return pd.concat([rows, more.assign(key=keys, seed=100.0)]).sort_values("key", ignore_index=True)


def origin_of(frame: pd.DataFrame) -> Provenance:
    """Where the trials of a frame could come from: two launches of one sweep, on one machine."""
    launches = ["20260102-030405-aaaaaaaa", "20260102-040506-bbbbbbbb"]
    known = {"commit": "c0ffee" * 6, "dirty": "false", "versions": "torch 2.13.0", "python": "3.11", "device": "cpu"}
    trials = frame[["key", "numerics"]].assign(**known, host="a machine", launch=launches[0])
    rows = [
        {**known, "launch": launch, "numerics": "here", "host": "a machine", "command": command, "trials": count}
        for launch, command, count in zip(launches, ("train one", "train two"), (len(frame), 0), strict=True)
    ]
    found = pd.DataFrame(rows, columns=list(LAUNCH)).assign(started="2026-01-02 03:04")
    sweeps = pd.DataFrame([("a run", "FINISHED", len(frame))], columns=list(SWEEPS))
    return Provenance("What is asked?", found, sweeps, trials[list(ORIGIN)], {})


def given(module: ModuleType, frame: pd.DataFrame) -> list[pd.DataFrame]:
    """What the functions of a figure take: the frame, and where they need it what else a store would hold."""
    return [frame, *extras(module, Diagnosed(frame), "synthetic")]


def _where(quantity: str, layer: int) -> str:
    return "network" if quantity in ("input", "changed/input", "output", "target") else f"layer {layer}"


def _observed(row: dict, trained: bool, layer: int = 1) -> Iterator[tuple[str, float, float, float]]:
    """(quantity, index, place, value) of one layer; 20 sequences, of which some gradients are 0 or broken.

    What diverged has no eigenvalues.
    """
    chance = generator(int(row["seed"]), f"observed {row['init.spectral_radius']} {trained}", layer - 1)
    radius = row["init.spectral_radius"] * (1.1 if trained else 1)
    slope, noise = math.log(_held(row["init.input_scale"]) * radius) * layer, min(1, 10 * row["init.input_scale"])
    level = row["seed"] - 3 + (row["model.layers"] - layer) * (math.log(0.8 if trained else 0.5) + 0.02 * row["seed"])
    steps = int(min(row["distance"] + 2, 40))
    broken = 20 * (radius >= 1.3)
    for lag in range(steps):
        zero = int(radius < 0.6 and lag > 20)
        mean = lag * slope + noise * 0.1 * lag**0.5 * chance.standard_normal()
        yield "gradient/mean", lag, 0, math.nan if broken else mean
        yield "gradient/log_norm", lag, 0, math.nan if broken else mean + level
        yield "gradient/spread", lag, 0, 0.2 * lag**0.5
        yield "gradient/counted", lag, 0, 0 if broken else 20 - zero
        yield "gradient/zero", lag, 0, 0 if broken else zero
        yield "gradient/broken", lag, 0, broken
    for rank, angle in enumerate(chance.uniform(0, 2 * math.pi, 8)):
        size = math.nan if trained and row["status"] == DIVERGED else radius * (1 - rank / 20)
        yield "eigenvalue/real", rank, 0, size * math.cos(angle)
        yield "eigenvalue/imaginary", rank, 0, size * math.sin(angle)
    for delay in range(16):
        yield "memory_capacity", delay, 0, max(0.0, 1 - delay / 10)
    if row.get("diagnostics/states") == 1:
        yield from _states(steps, trained, chance)
        if layer == 1:
            yield from _in_and_out(steps, trained, row["task"] == "adding", chance)


def _states(steps: int, trained: bool, chance: np.random.Generator) -> Iterator[tuple[str, float, float, float]]:
    """Six units. Another input at the first step changes them, and less the later it is, if nothing was trained."""
    for step, unit in itertools.product(range(steps), range(6)):
        state = math.tanh(chance.standard_normal())
        yield "state", step, unit, state
        yield "changed/state", step, unit, state + (0.1 if trained else 0.1 * 0.5**step)


def _in_and_out(
    steps: int, trained: bool, sums: bool, chance: np.random.Generator
) -> Iterator[tuple[str, float, float, float]]:
    """Four channels, of which the first is marked in two steps; outputs in the last steps."""
    marked = {0: 1.0, steps - 1: 1.0}
    for step, channel in itertools.product(range(steps), range(4)):
        shown = marked.get(step, 0.0) if channel == 0 else chance.random()
        yield "input", step, channel, shown
        yield "changed/input", step, channel, shown + 0.5 * (step == 0)
    for step in range(steps - 1 if sums else max(steps - 3, 0), steps):
        yield "target", step, 0, 0.8 if sums else float(step % 3)
        for place in range(1 if sums else 3):
            yield "output", step, place, (0.7 if sums else 3.0 * (place == step % 3)) if trained else 0.1 * place


def frame_of(trials: Iterable[Trial], experiment: str = "synthetic") -> pd.DataFrame:
    """The frame that a finished sweep of these trials could have left."""
    return tidy(pd.DataFrame([_row(one, experiment) for one in trials])).sort_values("key", ignore_index=True)


def with_status(frame: pd.DataFrame, status: str, where: pd.Series | slice = slice(None)) -> pd.DataFrame:
    """A copy in which the trials chosen by `where` ended otherwise."""
    changed = frame.copy()
    changed.loc[where, "status"] = status
    changed.loc[where, "steps_to_solve"] = math.nan
    return changed


def unlucky(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy in which some trials diverged, some failed and some still run, at one point all of them."""
    seed, radius, distance = frame["seed"], frame["init.spectral_radius"], frame["distance"]
    frame = with_status(frame, DIVERGED, (seed == 0) & (radius == 1.2) & (distance > 15))
    frame = with_status(frame, FAILED, (seed == 1) & (radius == 0.8) & (distance > 15))
    frame = with_status(frame, RUNNING, (seed == 2) & (radius == 1.0) & (distance > 15))
    return with_status(frame, RUNNING, (radius == 1.0) & (distance == distance.max()))


def ended_badly(frame: pd.DataFrame) -> pd.DataFrame:
    """As `unlucky`, for sweeps over other fields: at far distances seeds diverged, failed or still run."""
    far = frame["distance"] >= frame["distance"].median()
    for seed, status in enumerate((DIVERGED, FAILED, RUNNING)):
        frame = with_status(frame, status, far & (frame["seed"] == seed))
    last = (frame["distance"] == frame["distance"].max()) & (frame["seed"] > 0)
    frame = with_status(frame, RUNNING, last)
    return frame.assign(**{"eval/accuracy": frame["eval/accuracy"].mask(last & (frame["status"] == RUNNING))})


def _row(one: Trial, experiment: str) -> dict[str, object]:
    steps = _steps_to_solve(one)
    solved = steps <= one.train.max_steps and not _diverges(one)
    fields = {name: str(value).lower() if isinstance(value, bool) else value for name, value in one.flat().items()}
    steps_kept = min(one.train.truncation or one.task.length, one.task.length)
    accuracy = 0.995 if solved else 0.5 + 0.49 * min(1, one.train.max_steps / steps) ** 0.5
    return fields | {
        "run_id": one.key[:8],
        "run_name": f"{one.flat()['task']} {label(one.task)} seed={one.seed}",
        "experiment": experiment,
        "key": one.key,
        "status": DIVERGED if _diverges(one) else SOLVED if solved else EXHAUSTED,
        "numerics": "torch 2.13.0, cpu, torch, AVX2",
        "host": "somewhere",
        "distance": one.task.distance,
        "baseline": one.task.baseline,
        "parameters": 4547 * {"lstm": 4, "gru": 3}.get(fields["cell"], 1),
        "train_bytes": 4 * one.train.batch_size * one.model.hidden_size * (one.task.length + 3 * steps_kept),
        "trained_steps": steps + 40 if solved else one.train.max_steps,
        "seconds": 1e-4 * one.task.length * (steps + 40 if solved else one.train.max_steps),
        "steps_to_solve": steps if solved else None,
        "first_passage": steps if solved else None,
        "eval/loss": 0.004 if solved else one.task.baseline,
        "eval/accuracy": accuracy,
        "eval/relative_loss": 0.006 if solved else 1.0,
    }


def _diverges(one: Trial) -> bool:
    """Invented: without a low threshold, large radii blow up in every other seed."""
    return (one.train.clip_threshold or math.inf) > 5 and one.init.spectral_radius > 1.1 and one.seed % 2 == 0


def _steps_to_solve(one: Trial) -> int:
    """Invented: 2000 steps at the horizon, more beyond it, give or take the luck of the seed."""
    init, task, radius = one.flat()["init"], one.flat()["task"], one.init.spectral_radius
    horizon = HORIZON.get(radius, 30) * {"orthogonal": 1.8}.get(init, 1) * {"adding": 0.5}.get(task, 1)
    horizon *= {0.1: 0.6, 0.3: 0.8}.get(one.train.clip_threshold, 1)
    horizon *= CELL_FACTOR.get(one.flat()["cell"], 1) * one.model.layers**0.5
    horizon = min(horizon * (one.model.hidden_size / 64) ** 0.5, 1.5 * (one.train.truncation or math.inf))
    luck = LUCK * generator(one.seed, f"{task} {one.task.distance} {init} {radius}").standard_normal()
    return 20 * round(100 * math.exp(1.5 * (math.log(one.task.distance / horizon) + luck))) + 20
