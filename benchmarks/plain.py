"""Hydra without rnnlab's plug-ins: the configuration of `experiments.train`, the stock launcher, an empty job.

    python -m benchmarks.plain -m hydra.sweep.dir=DIR seed=0,1

`benchmarks.planning` measures it: this is what composing the cells of a sweep one by one costs.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from rnnlab import config

config.register()


@hydra.main(version_base="1.3", config_path=str(config.CHECKOUT / "conf"), config_name="config")
def app(settings: DictConfig) -> None:
    """Composed, and that is all."""


if __name__ == "__main__":
    app()
