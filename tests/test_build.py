"""`build` refuses what is not possible: one line for each problem, with the key, the value and what is allowed."""

import math

import pytest
from builders import nested, spec_class, trial
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.build import build
from rnnlab.refusal import BadInput, show
from rnnlab.registry import registry
from rnnlab.spec import build_spec, param

WRONG = {
    "an unknown key": (
        {"task": {"dealy": 5}},
        "task.dealy=5: unknown key; did you mean task.delay? allowed of task copy: ",
    ),
    "an unknown section": ({"trian": {}}, "trian={}: unknown key; did you mean train? allowed: task, model, cell, "),
    "a section that is no group": ({"train": 5}, "train=5: must be a group of keys"),
    "text for a number": ({"task": {"delay": "5"}}, "task.delay=5: must be an integer >= 1"),
    "a fraction for an integer": ({"task": {"delay": 5.5}}, "task.delay=5.5: must be an integer >= 1"),
    "true for an integer": ({"task": {"delay": True}}, "task.delay=true: must be an integer >= 1"),
    "true for a number": ({"train": {"learning_rate": True}}, "train.learning_rate=true: must be a finite number > 0"),
    "a list": ({"model": {"hidden_size": [8]}}, "model.hidden_size=[8]: must be an integer >= 1"),
    "null": ({"task": {"delay": None}}, "task.delay=null: must be an integer >= 1"),
    "too small": ({"task": {"alphabet": 1}}, "task.alphabet=1: must be an integer >= 2"),
    "at an open bound": ({"train": {"learning_rate": 0}}, "train.learning_rate=0: must be a finite number > 0"),
    "too large": ({"train": {"momentum": 1.5}}, "train.momentum=1.5: must be a finite number >= 0 and <= 1"),
    "not a number": ({"init": {"spectral_radius": math.nan}}, "init.spectral_radius=nan: must be a finite number >= 0"),
    "infinite": (
        {"train": {"clip_threshold": math.inf}},
        "train.clip_threshold=inf: must be a finite number > 0, or null",
    ),
    "no such choice": ({"train": {"optimizer": "sdg"}}, "train.optimizer=sdg: must be one of sgd, rmsprop, adam"),
    "a number for text": ({"train": {"clip_mode": 1}}, "train.clip_mode=1: must be one of norm, value"),
    "no such task": ({"task": {"name": "kopy"}}, "task=kopy: must be one of "),
    "no such cell": ({"cell": {"name": "elmann"}}, "cell=elmann: must be one of "),
    "no such init": ({"init": {"name": ""}}, "init=: must be one of "),
    "a field of another task": (
        {"task": {"name": "adding", "delay": 5}},
        "task.delay=5: unknown key; allowed of task adding: ",
    ),
    "a negative seed": ({"seed": -1}, "seed=-1: must be an integer >= 0"),
    "a seed that is text": ({"seed": "0"}, "seed=0: must be an integer >= 0"),
}


def problems(changes: dict) -> tuple[str, ...]:
    """What `build` says of the default trial with these changes; nothing if it builds."""
    mapping = nested()
    for key, value in changes.items():
        mapping[key] = mapping[key] | value if isinstance(value, dict) and key in mapping else value
    try:
        build(mapping, registry())
    except BadInput as refusal:
        return refusal.problems
    return ()


@pytest.mark.parametrize(("changes", "line"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused_with_its_key_the_value_and_what_is_allowed(changes, line):
    (said,) = problems(changes)
    assert said.startswith(line)


def test_all_problems_are_named_at_once():
    changes = {
        "task": {"delay": 0, "nonsense": 1},
        "cell": {"name": "none"},
        "model": {"hidden_size": 0.5},
        "train": {"learning_rate": -1, "clip_mode": "both"},
        "seed": None,
        "extra": 1,
    }
    keys = [line.partition("=")[0] for line in problems(changes)]
    wrong = ["task.delay", "task.nonsense", "cell", "model.hidden_size", "train.learning_rate", "train.clip_mode"]
    assert sorted(keys) == sorted([*wrong, "seed", "extra"])


def test_the_message_of_a_refusal_is_its_lines():
    refusal = BadInput("a=1: wrong", "b=2: wrong too")
    assert str(refusal) == "a=1: wrong\nb=2: wrong too"
    assert refusal.problems == ("a=1: wrong", "b=2: wrong too")


def test_a_trial_without_task_is_refused():
    mapping = nested()
    del mapping["task"]
    with pytest.raises(BadInput, match=r"^task=\w+: must be one of .*\bcopy\b.*$"):
        build(mapping, registry())


@given(st.sampled_from([name for name in trial().flat() if "." in name]), st.data())
def test_any_value_in_any_field_either_builds_or_is_refused_by_its_key(name, data):
    section, _, field = name.partition(".")
    value = data.draw(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text() | st.lists(st.integers())
    )
    said = problems({section: {field: value}})
    assert len(said) <= 1
    assert all(line.startswith(f"{name}={show(value)}: must be ") for line in said)
    if not said:
        assert getattr(getattr(trial(**{field: value}), section), field) == value


@pytest.mark.parametrize("changes", [{"seed": 10**400}, {"train": {"learning_rate": 10**400}}], ids=["seed", "rate"])
def test_an_integer_beyond_every_float_does_not_crash(changes):
    problems(changes)


def test_a_key_that_is_not_text_is_refused():
    assert len(problems({5: 1})) == 1


def test_a_truth_value_is_neither_a_number_nor_text():
    cls = spec_class("switch", [("on", bool, param(False))])
    for value, fine in ((True, True), (False, True), (1, False), (0.0, False), ("true", False), (None, False)):
        found: list[str] = []
        built = build_spec(cls, {"on": value}, "task", found)
        assert (built is not None) == fine
        assert found == ([] if fine else [f"task.on={show(value)}: must be true or false"])
