"""Launch trials from the command line: train, then say in one line how it ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence

from rnnlab import engine
from rnnlab.collector import Outcome, run_name
from rnnlab.evaluation import EvalSettings
from rnnlab.forecast import counted
from rnnlab.progress import print_failures, summary
from rnnlab.store import StoreSettings, place_of, without_password
from rnnlab.store.reader import Reader
from rnnlab.trial import Trial
from rnnlab.watch import DiagnosticsSettings


def launch(
    trials: Sequence[Trial],
    experiment: str,
    store: StoreSettings,
    execution: engine.EngineSettings,
    evaluation: EvalSettings,
    diagnostics: DiagnosticsSettings,
    files: Mapping[str, str] | None = None,
) -> Outcome:
    """Train the trials, write how it ended to stdout and what failed to stderr.

    `files` are kept with the sweep's run, by name.
    """
    kept = {name: without_password(text) for name, text in (files or {}).items()}
    outcome = engine.run(trials, experiment, store, execution, command_line(), kept, evaluation, diagnostics)
    line = _line_of_trial(trials[0], outcome, store) if len(trials) == 1 else None
    sys.stdout.write((line or _line_of_sweep(experiment, outcome, execution)) + "\n")
    sys.stderr.writelines(f"{note}\n" for note in outcome.notes)
    _tell_failures(trials, outcome)
    return outcome


def complete(outcome: Outcome, execution: engine.EngineSettings) -> bool:
    """Whether all that was planned has been trained, now or before; failures are an end too."""
    return not (outcome.interrupted or execution.dry_run or execution.mode == "read_only")


def command_line() -> str:
    """The command that was given, so that it can be given again."""
    return without_password(shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]]))


def _line_of_trial(trial: Trial, outcome: Outcome, store: StoreSettings) -> str | None:
    """How one trial ended: its status, the step and the run's id; None where it was only looked at."""
    record = outcome.last
    if trial.key not in outcome.run_ids:
        return "interrupted before the first evaluation, the same command starts again" if outcome.interrupted else None
    run_id = outcome.run_ids[trial.key]
    if record is None:
        status, step = Reader(place_of(store)).result(run_id)
    else:
        status, step = record.status, int(record.metrics.get("steps_to_solve", record.step))
    found = "" if record else ", in the store already: engine.mode=force trains it again"
    how = status if record is None or record.ended else "interrupted"
    return f"{how} at step {step} of at most {trial.train.max_steps}, run {run_id}{found}"


def _line_of_sweep(experiment: str, outcome: Outcome, execution: engine.EngineSettings) -> str:
    if execution.dry_run:
        return f"{experiment}: a dry run, nothing was trained or written"
    if execution.mode == "failed" and not outcome.statuses and not outcome.interrupted:
        return f"{experiment}: done; no trial of this sweep has failed"
    if outcome.missing:
        return f"{experiment}: {outcome.missing} trials have no result, and engine.mode=read_only trains none"
    already = f" ({outcome.skipped} were in the store already)" if outcome.skipped else ""
    how = "interrupted, the same command goes on" if outcome.interrupted else "done"
    elsewhere = f"{counted(outcome.elsewhere, 'trial')} by another launch" if outcome.elsewhere else ""
    found = ", ".join(filter(None, [summary(outcome.statuses), elsewhere]))
    none = "no trial has ended" if outcome.interrupted else "nothing to train"
    return f"{experiment}: {how}; {found or none}{already}"


def _tell_failures(trials: Sequence[Trial], outcome: Outcome) -> None:
    """Every failed trial with its reason, on stderr."""
    if not outcome.failures:
        return
    names = {trial.key: run_name(trial) for trial in trials if trial.key in outcome.failures}
    print_failures([(names[key], reason.strip().splitlines()[-1]) for key, reason in outcome.failures.items()])
    sys.stderr.write(f"the logs are in {outcome.kept_folder}; the same command tries again\n")
