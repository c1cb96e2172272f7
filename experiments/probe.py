"""Why a network learns or not: its gradients, its dynamics, and what theory predicts of it.

python -m experiments.probe task=copy init.spectral_radius=0.9      fresh networks; the words of experiments.train
python -m experiments.probe run=RUN_ID                              a stored run, with its final weights
python -m experiments.probe run=RUN_ID weights=initial              the same before training

networks=8      how many fresh networks, with the seeds seed, seed + 1, ...
sequences=50    on which they are looked at, held out from training
out=FILE        all numbers as JSON, too
store.path=FILE | store.uri=URI    where the run is
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from torch import Tensor

from experiments.probe_tables import show
from experiments.train import EXPECTED, refuse
from rnnlab import config, engine, overrides
from rnnlab.checkpoints import replace_synced
from rnnlab.collector import run_name
from rnnlab.diagnostics.probe import probe
from rnnlab.diagnostics.trajectory import doubled
from rnnlab.draws import held_out
from rnnlab.memory import width_of_step
from rnnlab.model import initial
from rnnlab.processes import free_memory
from rnnlab.refusal import BadInput, unknown_key
from rnnlab.store import DEFAULT_PATH, Place, StoreSettings, place_of, settings_of_uri
from rnnlab.store.reader import Reader
from rnnlab.stored import FINAL, INITIAL, network
from rnnlab.trial import Trial

OWN = {"networks": "8", "sequences": "50", "out": ""}  # words of this command alone, with their defaults
IDLE = ("store", "engine", "eval", "diagnostics")  # groups of settings that say nothing of a fresh network
OF_RUN = ("run", "weights", "store.path", "store.uri")
GRAPH = 8 * 8  # bytes for each value that a step is fed with: float64, of which 5.9 to 7.4 were measured
WIDE = 160  # characters in a line where no terminal says how many fit
MOST = 10000  # networks or sequences; more is a slip of the pen
WEIGHTS = {"final": FINAL, "initial": INITIAL}


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    sequences: int
    networks: int
    out: Path | None
    run: str = ""  # the beginning of its id; "": fresh networks
    artifact: str = FINAL  # its weights
    place: Place | None = None
    words: list[str] = field(default_factory=list)  # of a trial


def parse(words: Sequence[str]) -> Request:
    """The request; `BadInput` names every word that is wrong but those of a trial."""
    values, rest, problems = dict(OWN), [], []
    of_run = any(word.startswith("run=") for word in words)
    known = [*OWN, *OF_RUN] if of_run else list(OWN)
    given: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key in given:
            problems.append(f"{key}: is given twice; must be given once")
        elif key in known:
            values[key] = value
            given.append(key)
        elif of_run:
            problems.append(unknown_key(key, known, value))
        elif word in ("run", *OWN):
            problems.append(f"{word}: has no value; must be {word}=VALUE")
        elif key.split(".")[0] in IDLE:
            problems.append(f"{word}: has no effect on fresh networks; must be left out or stand with run=RUN_ID")
        elif key == "weights":
            problems.append(f"weights={value}: fresh networks have no other; must stand with run=RUN_ID")
        elif word.startswith("-"):
            problems.append(f"{word}: unknown word; allowed: the keys of one trial, {', '.join(known)}, run, --help")
        else:
            rest.append(word)
    problems += [
        f"{key}={values[key]}: must be an integer >= 1 and <= {MOST}"
        for key in ("networks", "sequences")
        if not values[key].isdecimal() or len(values[key]) > len(str(MOST)) or not 1 <= int(values[key]) <= MOST
    ]
    if of_run and "networks" in given:
        problems.append(f"networks={values['networks']}: a run has one network; must stand without run")
    if of_run and values.get("weights", "final") not in WEIGHTS:
        problems.append(f"weights={values['weights']}: must be one of {', '.join(WEIGHTS)}")
    out = Path(os.path.expanduser(values["out"])) if values["out"] else None  # noqa: PTH111 - leaves ~nobody as it is
    if out and (out.is_dir() or not out.absolute().parent.is_dir()):
        problems.append(f"out={out}: must be a file in a folder that exists")
    if {"store.path", "store.uri"} <= set(given):
        problems.append("store.path: is given beside store.uri; must be one of them")
    if problems:
        raise BadInput(*problems)
    own = {"sequences": int(values["sequences"]), "networks": int(values["networks"]), "out": out}
    if not of_run:
        return Request(**own, words=rest)
    uri, path = values.get("store.uri"), values.get("store.path", str(DEFAULT_PATH))
    place = place_of(StoreSettings(path) if uri is None else settings_of_uri(uri))
    return Request(**own, run=values["run"], artifact=WEIGHTS[values.get("weights", "final")], place=place)


def networks_of(request: Request) -> tuple[list[Trial], list[Mapping[str, Tensor]], str]:
    """The trials and their parameters, without model axis, and in words which they are. Raises `BadInput`."""
    if request.place is not None:
        run, trial, weights = network(Reader(request.place), request.run, request.artifact)
        _refuse_too_large(trial, 1, request.sequences)
        when = f"after training, {run['status']}" if request.artifact == FINAL else "before training"
        return [trial], [weights], f"run {run['run_id'][:8]} {when}"
    first, count = fresh_trial(request.words), request.networks
    _refuse_too_large(first, count, request.sequences)
    trials = [dataclasses.replace(first, seed=first.seed + place) for place in range(count)]
    many = f"{count} networks with the seeds {first.seed} to {trials[-1].seed}" if count > 1 else "a network"
    return trials, [initial(trial) for trial in trials], f"{many} before training"


def fresh_trial(words: Sequence[str]) -> Trial:
    """The trial that words of `experiments.train` describe. Raises `BadInput`, and Hydra's errors."""
    overrides.check(words)
    problems = [f"{word}: several values make a sweep; must be one" for word in words if _several(word)]
    if problems:
        raise BadInput(*problems)
    if named := [word for word in words if word.startswith("experiment=") and word != "experiment=null"]:
        raise BadInput(f"{named[0]}: is a sweep of many trials; must be left out, a probe looks at one")
    config.register()
    with initialize_config_dir(str(config.CHECKOUT / "conf"), version_base="1.3"):
        composed = compose("config", overrides=list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(composed)
    return config.single_trial(composed)


def _several(word: str) -> bool:
    """Whether Hydra takes a word for a sweep."""
    return OverridesParser.create().parse_override(word).is_sweep_override()


def findings(request: Request) -> dict[str, Any]:
    """All numbers of a probe, as plain values: what `out` holds."""
    trials, weights, which = networks_of(request)
    parameters = {name: torch.stack([one[name] for one in weights]).double() for name in weights[0]}
    batch = doubled(held_out(trials[0].task, [trial.seed for trial in trials], request.sequences))
    return {
        "networks": [run_name(trial) for trial in trials],
        "which": which,
        "sequences": request.sequences,
        "layers": probe(trials[0], parameters, batch),
    }


def _refuse_too_large(trial: Trial, networks: int, sequences: int) -> None:
    """Raise `BadInput` where the states and what their gradients need would not fit into memory."""
    numbers = trial.task.length * networks * sequences * trial.model.hidden_size * width_of_step(trial)
    needed, free = GRAPH * numbers, free_memory()
    if needed > free:
        raise BadInput(
            f"networks={networks} sequences={sequences}: would take about {needed / 1e9:.2g} GB of the "
            f"{free / 1e9:.2g} GB that are free; must be fewer"
        )


def main() -> None:
    """Probe and show; 2 is the exit status where the input is not possible."""
    if {"--help", "-h"} & {*sys.argv[1:]}:
        print(__doc__)
        return
    torch.set_num_threads(1)  # small products: threads would wait for each other
    try:
        request = parse(sys.argv[1:])
        found = findings(request)
        console = Console(highlight=False)
        show(found, console if console.is_terminal else Console(highlight=False, width=WIDE))
        if request.out:
            write(request.out, found)
    except EXPECTED as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.exit(engine.INTERRUPTED)


def write(file: Path, found: Mapping[str, Any]) -> None:
    """The findings as JSON. Raises `BadInput` where the file cannot be written."""
    try:
        replace_synced(file, (json.dumps(found) + "\n").encode())
    except OSError as error:
        raise BadInput(f"out={file}: {error.strerror}; must be a file that can be written") from error


if __name__ == "__main__":
    main()
