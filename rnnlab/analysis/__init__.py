"""From the frame of trials to the numbers that a figure shows. Frame in, frame out; nothing else.

    rates.py        success rates, and how trials ended
    survival.py     time to solve
    means.py        means of metrics over trials at their end
    courses.py      means and medians of metrics over training
    horizons.py     the distance at which half of the seeds solve the task
    likelihood.py   its interval
    comparisons.py  settings that were tried with the same seeds
    ranks.py        rank correlations
    fields.py       which columns vary

What counts: a trial that was solved, exhausted its budget or diverged is a result. One that still runs, or
that crashed (`failed`), is missing: it is reported beside the result and never counted.
"""

from rnnlab.analysis.comparisons import CORRECTION, RATIO_INTERVAL, TEST, compare, exchanges, least_probability
from rnnlab.analysis.courses import mean_course, median_course
from rnnlab.analysis.fields import varying
from rnnlab.analysis.horizons import (
    ABOVE,
    BELOW,
    HALF,
    HORIZON_INTERVAL,
    UNKNOWN,
    WITHIN,
    crossing,
    horizon,
)
from rnnlab.analysis.means import MEAN_INTERVAL, mean_metric, student
from rnnlab.analysis.ranks import LEAST_RANKED, RANK_INTERVAL, rank_correlation, rank_interval, rank_probability
from rnnlab.analysis.rates import CHANCE, CONFIDENCE, INTERVAL, endings, success_rate, wilson
from rnnlab.analysis.survival import SURVIVAL_INTERVAL, time_to_solve

__all__ = [
    "ABOVE",
    "BELOW",
    "CHANCE",
    "CONFIDENCE",
    "CORRECTION",
    "HALF",
    "HORIZON_INTERVAL",
    "INTERVAL",
    "LEAST_RANKED",
    "MEAN_INTERVAL",
    "RANK_INTERVAL",
    "RATIO_INTERVAL",
    "SURVIVAL_INTERVAL",
    "TEST",
    "UNKNOWN",
    "WITHIN",
    "compare",
    "crossing",
    "endings",
    "exchanges",
    "horizon",
    "least_probability",
    "mean_course",
    "mean_metric",
    "median_course",
    "rank_correlation",
    "rank_interval",
    "rank_probability",
    "student",
    "success_rate",
    "time_to_solve",
    "varying",
    "wilson",
]
