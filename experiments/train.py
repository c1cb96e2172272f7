"""Train one trial, or with -m (or experiment=NAME) a sweep.

python -m experiments.train task=copy task.delay=20 init.spectral_radius=1.0 seed=0
python -m experiments.train -m task.delay=10,30,60 init.spectral_radius=0.5,0.8,1.0,1.2 'seed=range(5)'
python -m experiments.train experiment=demo_copy
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rnnlab import config, engine, overrides
from rnnlab.explain import HYDRA_ERRORS, explain
from rnnlab.launch import launch
from rnnlab.refusal import BadInput
from rnnlab.store import without_password
from rnnlab.store.writer import StoreFailure

EXPECTED = (BadInput, StoreFailure, *HYDRA_ERRORS)  # errors that a line explains; others are ours

config.register()


@hydra.main(version_base="1.3", config_path=str(config.CHECKOUT / "conf"), config_name="config")
def app(settings: DictConfig) -> None:
    """One trial; Hydra calls the launcher instead where there are several."""
    try:
        trial, chosen = config.all_of(lambda: config.single_trial(settings), lambda: config.settings_of(settings))
        outcome = launch([trial], config.experiment_of(HydraConfig.get()), *chosen)
    except EXPECTED as error:  # Hydra would print the command line beside it
        refuse(error)
    sys.exit(outcome.exit_status)


def refuse(error: BaseException) -> NoReturn:
    """Print each problem of the input as one line and end with exit status 2; a store that failed gives 1."""
    if isinstance(error, StoreFailure):
        print(f"{error}; the same command goes on when the cause is gone", file=sys.stderr)
        sys.exit(1)
    for line in explain(error, sys.argv[1:]):
        print(without_password(" ".join(line.split("\n"))), file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """As `app`, for the command line."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: not word.startswith("-"))  # argparse wants them first
    try:
        overrides.check(sys.argv[1:])
        app()
    except EXPECTED as error:
        refuse(error)
    except KeyboardInterrupt:  # outside of training, which ends by itself
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(engine.INTERRUPTED)


if __name__ == "__main__":
    main()
