"""Launch trials from the command line: train, then say in one line how it ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from rnnlab import engine
from rnnlab.progress import summary
from rnnlab.store import StoreSettings
from rnnlab.trial import Trial


def launch(trials: Sequence[Trial], experiment: str, store: StoreSettings, execution: engine.EngineSettings) -> int:
    """Train the trials, write how it ended to stdout, and return the exit status."""
    command = shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]])
    outcome = engine.run(trials, experiment, store, execution, command)
    line = _line_of_trial(trials[0], outcome) if len(trials) == 1 else _line_of_sweep(experiment, outcome)
    sys.stdout.write(line + "\n")
    return outcome.exit_status


def _line_of_trial(trial: Trial, outcome: engine.Outcome) -> str:
    """How one trial ended: its status, the step and the run's id."""
    run_id = outcome.run_ids.get(trial.key, "none")
    record = outcome.last.get(trial.key)
    if record is None:
        if outcome.interrupted:
            return "interrupted before the first evaluation"
        return f"already in the store, run {run_id} (engine.mode=force trains it again)"
    if not record.ended:
        return f"interrupted at step {record.step}, run {run_id}"
    step = int(record.metrics.get("steps_to_solve", record.step))
    return f"{record.status} at step {step} of at most {trial.train.max_steps}, run {run_id}"


def _line_of_sweep(experiment: str, outcome: engine.Outcome) -> str:
    already = f" ({outcome.skipped} were in the store already)" if outcome.skipped else ""
    how = "interrupted, the same command goes on" if outcome.interrupted else "done"
    return f"{experiment}: {how}; {summary(outcome.statuses)}{already}"
