"""Train one trial, or with -m (or experiment=NAME) a sweep.

python -m experiments.train task=copy task.delay=20 init.spectral_radius=1.0 seed=0
python -m experiments.train -m task.delay=10,30,60 init.spectral_radius=0.5,0.8,1.0,1.2 'seed=range(5)'
python -m experiments.train experiment=demo_copy
"""

from __future__ import annotations

import os
import sys

import hydra
from omegaconf import DictConfig

from rnnlab import config
from rnnlab.launch import launch
from rnnlab.trial import BadInput

config.register()


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def app(settings: DictConfig) -> None:
    """One trial; Hydra calls the launcher instead where there are several."""
    store, execution = config.settings_of(settings)
    status = launch([config.trial_of(settings)], config.current_experiment(), store, execution)
    if status:
        sys.exit(status)


def main() -> None:
    """As `app`, with each problem of the input as one line and exit status 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing them
    try:
        app()
    except (BadInput, *config.HYDRA_ERRORS) as error:
        for line in config.explain(error, sys.argv[1:]):
            print(line, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
