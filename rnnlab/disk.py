"""What a run of a trial takes in a store, in bytes, told before it is run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnlab.by_lag import bins_of
from rnnlab.evaluation import LAGS, Evaluation
from rnnlab.memory import NUMBER, parameter_rows
from rnnlab.model import all_parts, parameter_count
from rnnlab.trial import Trial
from rnnlab.watch import DiagnosticsSettings, Watch

# What MLflow's SQLite tables and their indexes take, measured on stores of 100 runs
POINT_BYTES = 280  # of a metric at one step: the row, and three indexes as large as it
PARAM_BYTES = 175
RUN_BYTES = 4200  # the run itself, its tags, and the latest value of each metric
FILE_BYTES = 700  # of a safetensors file beside its numbers, and of the course in it
# The metrics that `train.py` logs: of an evaluation; of the steps before it; at the end, at most
EVALUATION_METRICS, TRAINING_METRICS, FINAL_METRICS = 4, 3, 4
DERIVED_PARAMS = 4  # that `engine.derived` adds to the fields of a trial
LENGTH_BYTES = 3 * 2 * POINT_BYTES  # of an evaluation at another length: its metrics, and each as the latest value
LAG_METRICS, LAGS_BYTES = 3, 5 * POINT_BYTES  # of one by lag: at each, and beside these (how many, the latest values)

# What diagnostics find of a layer: metrics at every point and, at the beginning and the end, more of them; and numbers
# there, as text, for each lag (gradients, with the lags) and for each unit (eigenvalues, with their ranks)
WATCHED_METRICS, WHOLE_METRICS, GRADIENT_NUMBERS, MATRIX_NUMBERS, NUMBER_BYTES = 6, 7, 12, 4, 6

OFF = DiagnosticsSettings()


def store_bytes(
    trial: Trial, weights: bool, asked: Sequence[Evaluation] = (), diagnostics: DiagnosticsSettings = OFF
) -> int:
    """What a run of the trial adds to the store if it uses its whole budget; `weights`: its parameters are kept."""
    evaluations = math.ceil(trial.train.max_steps / trial.train.eval_every)
    points = EVALUATION_METRICS + evaluations * (EVALUATION_METRICS + TRAINING_METRICS) + FINAL_METRICS
    params = len(trial.flat()) + DERIVED_PARAMS
    artifacts = (1 + parameter_rows(trial)) * NUMBER * parameter_count(trial) + 2 * FILE_BYTES
    rows = RUN_BYTES + POINT_BYTES * points + PARAM_BYTES * params + evaluated_bytes(trial, asked)
    return rows + (artifacts if weights else 0) + diagnosed_bytes(trial, diagnostics)


def evaluated_bytes(trial: Trial, asked: Sequence[Evaluation]) -> int:
    """What evaluations at its end add to that."""
    bins = bins_of(trial.task, trial.train.eval_size) if LAGS in asked else None
    by_lag = LAGS_BYTES + LAG_METRICS * POINT_BYTES * bins.number if bins else 0
    return by_lag + LENGTH_BYTES * sum(one != LAGS for one in asked)


def diagnosed_bytes(trial: Trial, diagnostics: DiagnosticsSettings) -> int:
    """What diagnostics add to that."""
    if diagnostics.every is None:
        return 0
    layers, hidden, steps, task = len(all_parts(trial)), trial.model.hidden_size, trial.task.length, trial.task
    evaluations = range(0, trial.train.max_steps, trial.train.eval_every)
    watch = Watch(diagnostics)
    due = 1 + sum(watch.due(trial, step) for step in evaluations)
    points = due * (1 + WATCHED_METRICS * layers) + 2 * WHOLE_METRICS * layers
    numbers = layers * (GRADIENT_NUMBERS * steps + MATRIX_NUMBERS * hidden)
    numbers += 2 * hidden * layers if diagnostics.capacity else 0
    shown = 2 * (task.input_size + hidden * layers) + (1 + task.output_size) * len(range(steps)[task.scored]) / steps
    numbers += int(steps * shown) if diagnostics.states else 0
    return POINT_BYTES * points + 2 * (FILE_BYTES + NUMBER_BYTES * numbers)
