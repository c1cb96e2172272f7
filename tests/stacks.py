"""Stacks for the tests of the laws: five trials that differ in all they may, alone and with a mate that diverges."""

from builders import courses, trial
from oracles import known

from rnnlab.train import fit
from rnnlab.trial import Trial

RAGGED = {"hidden_size": 33, "batch_size": 7, "eval_size": 7, "eval_every": 3, "max_steps": 7}
LONG = {"hidden_size": 33, "batch_size": 20, "eval_size": 20, "eval_every": 2, "max_steps": 2}  # T x B = 2400
FREE = [
    {"seed": 0, "spectral_radius": 0.9, "learning_rate": 0.05, "clip_threshold": 0.1},
    {"seed": 1, "spectral_radius": 1.3, "learning_rate": 0.01, "momentum": 0.0, "clip_threshold": None},
    {
        "seed": 2,
        "spectral_radius": 0.5,
        "learning_rate": 0.2,
        "momentum": 0.5,
        "clip_threshold": 1e-3,
        "init": "identity",
    },
    {"seed": 0, "spectral_radius": 1.0, "learning_rate": 0.003, "clip_threshold": 1.0, "init": "orthogonal"},
    {"seed": 3, "spectral_radius": 0.0, "learning_rate": 0.1, "clip_threshold": 10.0, "input_scale": 1.0},
]
OPTIONS = [
    {},
    {"weight_decay": 0.1, "schedule": "cosine"},
    {"weight_decay": 1.0, "nesterov": True, "schedule": "step", "schedule_every": 2, "schedule_factor": 0.5},
    {"nesterov": True, "schedule": "cosine"},
    {"weight_decay": 1e-3, "schedule": "step", "schedule_every": 3},
]


def mates(**shape) -> list[Trial]:
    """Five trials that differ in all that may differ within a stack."""
    return [trial(**RAGGED | shape | _suited(free, shape)) for free in FREE]


def _suited(free: dict, shape: dict) -> dict:
    """An antisymmetric cell makes nothing of the identity: it refuses it."""
    if shape.get("cell") == "antisymmetric" and free.get("init") == "identity":
        return free | {"init": "uniform"}
    return free


def optioned_mates(**shape) -> list[Trial]:
    """As `mates`; their schedules, weight decays and ways of momentum differ too."""
    return [trial(**RAGGED | shape | free | options) for free, options in zip(FREE, OPTIONS, strict=True)]


def solo(trials: list[Trial]) -> dict[str, list[tuple]]:
    return {key: course for each in trials for key, course in courses(fit([each])).items()}


def wild(**shape) -> Trial:
    """A trial that diverges in its second step, unless tanh bounds it: the first has thrown its weights to 1e30."""
    return trial(**RAGGED | shape | {"seed": 9, "learning_rate": 1e30, "init": "orthogonal"})


def short(task: str) -> dict:
    return {"task": task, **known(task).short}


def long(task: str) -> dict:
    return {"task": task, **known(task).long}
