"""The sweeper hands the whole grid over at once; the launcher trains it as stacks. Both only call rnnlab."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """A product of axes (`params`), or a union of products (`grids`)."""

    def __init__(self, params: DictConfig, grids: Any) -> None:
        self.params = _plain(params)
        self.grids = _plain(grids)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from rnnlab.config import grid, refuse_other_launchers, wrong_settings
        from rnnlab.refusal import BadInput

        refuse_other_launchers(self.config.hydra)
        loader, members = self.hydra_context.config_loader, self.config.hydra.runtime.choices
        try:
            cells = grid(arguments, self.params, self.grids, loader, members)
        except BadInput as error:
            raise BadInput(*error.problems, *wrong_settings(self.config)) from None
        return self.launcher.launch(cells, initial_job_idx=0)


class StackLauncher(Launcher):
    """Trains all cells of a sweep in one go."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from rnnlab.config import (
            ADHOC,
            all_of,
            experiment_of,
            refuse_other_launchers,
            resolved,
            settings_of,
            source_of,
            trials_of,
        )
        from rnnlab.launch import complete, launch

        refuse_other_launchers(self.config.hydra)
        loader = self.hydra_context.config_loader
        settings, trials = all_of(
            lambda: settings_of(self.config), lambda: trials_of(job_overrides, self.config, loader)
        )
        experiment, (store, execution, *_) = experiment_of(self.config.hydra), settings
        files = {"config.yaml": resolved(self.config), **source_of(self.config.hydra)}
        outcome = launch(trials, experiment, *settings, files)
        if execution.report and experiment != ADHOC and len(trials) > 1 and complete(outcome, execution):
            from reports.attach import at_the_end

            keys, trained = {trial.key for trial in trials}, bool(outcome.statuses)
            at_the_end(experiment, store, keys, anew=trained, quiet=execution.progress == "quiet")
        if outcome.exit_status:
            sys.exit(outcome.exit_status)
        return []


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _register() -> None:
    here = "hydra_plugins.rnnlab.grid"
    store = ConfigStore.instance()
    sweeper = {"_target_": f"{here}.GridSweeper", "params": {}, "grids": None}
    store.store(group="hydra/sweeper", name="rnnlab", node=sweeper, provider="rnnlab")
    store.store(group="hydra/launcher", name="rnnlab", node={"_target_": f"{here}.StackLauncher"}, provider="rnnlab")


_register()
