"""Launch trials from the command line: train, then say in one line how it ended."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from rnnlab import engine
from rnnlab.progress import summary
from rnnlab.record import FAILED
from rnnlab.store import StoreSettings, place_of, without_password
from rnnlab.store.reader import Reader
from rnnlab.trial import Trial


def launch(trials: Sequence[Trial], experiment: str, store: StoreSettings, execution: engine.EngineSettings) -> int:
    """Train the trials, write how it ended to stdout and what failed to stderr, and return the exit status."""
    command = without_password(shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]]))
    outcome = engine.run(trials, experiment, store, execution, command)
    line = _line_of_trial(trials[0], outcome, store) if len(trials) == 1 else _line_of_sweep(experiment, outcome)
    sys.stdout.write(line + "\n")
    sys.stderr.writelines(f"{line}\n" for line in _reasons(outcome))
    return outcome.exit_status


def _line_of_trial(trial: Trial, outcome: engine.Outcome, store: StoreSettings) -> str:
    """How one trial ended: its status, the step and the run's id."""
    record = outcome.last.get(trial.key)
    if record is None and outcome.interrupted:
        return "interrupted before the first evaluation, the same command starts again"
    run_id = outcome.run_ids[trial.key]
    if record is None:
        status, step = Reader(place_of(store)).result(run_id)
    else:
        status, step = record.status, int(record.metrics.get("steps_to_solve", record.step))
    found = "" if record else ", in the store already: engine.mode=force trains it again"
    how = status if record is None or record.ended else "interrupted"
    return f"{how} at step {step} of at most {trial.train.max_steps}, run {run_id}{found}"


def _line_of_sweep(experiment: str, outcome: engine.Outcome) -> str:
    already = f" ({outcome.skipped} were in the store already)" if outcome.skipped else ""
    how = "interrupted, the same command goes on" if outcome.interrupted else "done"
    return f"{experiment}: {how}; {summary(outcome.statuses)}{already}"


def _reasons(outcome: engine.Outcome) -> Iterator[str]:
    """Why trials failed: each reason once, with the number of trials that it cost."""
    errors = [record.error.strip().splitlines()[-1] for record in outcome.last.values() if record.status == FAILED]
    for reason, count in Counter(errors).items():
        yield f"failed, {count} of {len(outcome.last)} trials: {reason}"
    if outcome.kept_folder:
        yield f"the logs are in {outcome.kept_folder / 'logs'}; the same command tries again"
