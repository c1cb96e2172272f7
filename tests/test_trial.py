"""The identity of a trial: what is in its key, what is not, and that mappings and trials are two forms of one thing."""

import dataclasses
import json
import pickle
from typing import Any

import pytest
from builders import nested, spec_class, trial
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.build import build, conflicts
from rnnlab.registry import registry
from rnnlab.spec import build_spec, param
from rnnlab.trial import FREE_IN_STACK, KINDS, SECTIONS, Model, Train, Trial, ignored_in, shape_key


def values_of(field: dataclasses.Field, declared: str) -> st.SearchStrategy:
    """Values that a field accepts, from what its declaration allows."""
    allowed = field.metadata["allowed"]
    if allowed.choices:
        return st.sampled_from(allowed.choices)
    if declared == "bool":
        return st.booleans()
    if declared == "str":
        return st.sampled_from([field.default, f"{field.default} "])
    low = allowed.above if allowed.low is None else allowed.low
    high = 1e6 if allowed.high is None else allowed.high
    if declared.startswith("int"):
        number = st.integers(low, int(high))
    else:
        number = st.floats(
            -1e6 if low is None else low, high, exclude_min=allowed.above is not None, allow_subnormal=False
        )
    number = number.map(lambda value: value + 0)  # -0.0 and 0.0 are one value
    values = st.none() | number if declared.endswith("| None") else number
    absent = field.metadata["absent"]
    # What was added later often refuses the company of other fields
    return values if absent is dataclasses.MISSING else st.just(absent) | st.just(absent) | values


def specs(cls: type) -> st.SearchStrategy:
    return st.builds(cls, **{field.name: values_of(field, field.type) for field in dataclasses.fields(cls)})


def members(kind: str) -> st.SearchStrategy:
    return st.sampled_from(sorted(registry()[kind].values(), key=lambda cls: cls.__name__)).flatmap(specs)


TRIALS = st.builds(
    Trial, **{kind: members(kind) for kind in KINDS}, model=specs(Model), train=specs(Train), seed=st.integers(0, 2**53)
).filter(lambda one: not conflicts(one))


def old_and_new(absent: Any) -> tuple[type, type]:
    """A task as first released, and the same with a field added later."""
    fields = [("delay", int, param(5, low=1))]
    added = [*fields, ("noise", float, param(0.0, low=0, absent=absent))]
    return spec_class("lag", fields), spec_class("lag", added)


def with_task(task: Any) -> Trial:
    return dataclasses.replace(trial(), task=task)


@given(TRIALS.filter(lambda one: not conflicts(one)))
def test_a_mapping_builds_the_trial_it_came_from_also_after_json(one):
    for mapping in (one.mapping(), json.loads(json.dumps(one.mapping()))):
        assert build(mapping, registry()) == one
        assert build(mapping, registry()).key == one.key


@given(TRIALS, TRIALS)
def test_equal_keys_mean_equal_fields_but_for_the_ignored_ones(one, other):
    def ignored(each):
        found = [(section, name) for section in SECTIONS for name in ignored_in(each, section)]
        return {section if section == name else f"{section}.{name}" for section, name in found}

    def counted(each):
        return {name: value for name, value in each.flat().items() if name not in ignored(each)}

    assert (one.key == other.key) == (counted(one) == counted(other))


@given(TRIALS, TRIALS)
def test_a_trial_that_differs_in_one_field_has_another_key_unless_the_field_is_ignored(one, other):
    for name in set(vars(one.train)) - {"optimizer", "clip_threshold"}:
        value = getattr(other.train, name)
        changed = dataclasses.replace(one, train=dataclasses.replace(one.train, **{name: value}))
        same = name in one.train.ignored() or value == getattr(one.train, name)
        assert (changed.key == one.key) == same, name


def test_the_key_of_the_default_trial_is_pinned():
    # Changes only together with SCHEMA_VERSION, or the version of the copy task, the Elman cell or the gaussian init:
    # all stored trials lose their identity with it.
    assert trial().key == "6e8bbda7fc1db5c8008b16abf3869851c908e9ab7db1c92885a3d96fa8e13772"


def test_one_and_one_point_zero_are_one_value():
    integers = trial(delay=5, spectral_radius=1, clip_threshold=2, max_steps=40)
    floats = trial(delay=5.0, spectral_radius=1.0, clip_threshold=2.0, max_steps=40.0, seed=0.0)
    assert integers == floats
    assert integers.key == floats.key


def test_minus_zero_and_zero_are_one_value():
    assert trial(spectral_radius=-0.0).key == trial(spectral_radius=0.0).key == trial(spectral_radius=0).key


def test_the_order_of_a_mapping_does_not_matter():
    mapping = nested(delay=5, symbols=2)
    turned = {name: dict(reversed(part.items())) for name, part in reversed(mapping.items()) if name != "seed"}
    assert build(turned, registry()).key == build(mapping, registry()).key


def test_clipping_switched_off_is_another_trial_than_clipping_at_any_threshold():
    assert trial(clip_threshold=None).train.clip_threshold is None
    assert len({trial(clip_threshold=value).key for value in (None, 1.0, 1e30)}) == 3


def test_momentum_counts_under_sgd_only():
    keys = {name: {trial(optimizer=name, momentum=m).key for m in (0.0, 0.5)} for name in ("sgd", "rmsprop", "adam")}
    assert {name: len(found) for name, found in keys.items()} == {"sgd": 2, "rmsprop": 1, "adam": 1}


@pytest.mark.parametrize(("name", "values"), [("schedule_factor", (0.5, 1.0)), ("schedule_every", (5, 500))])
def test_factor_and_interval_count_under_the_step_schedule_only(name, values):
    schedules = ("constant", "cosine", "step")
    keys = {each: {trial(schedule=each, **{name: value}).key for value in values} for each in schedules}
    assert {schedule: len(found) for schedule, found in keys.items()} == {"constant": 1, "cosine": 1, "step": 2}
    assert len({trial(schedule=schedule).key for schedule in schedules}) == 3


def test_nesterov_counts_only_where_there_is_momentum():
    def keys(**fields) -> set[str]:
        return {trial(nesterov=nesterov, **fields).key for nesterov in (False, True)}

    assert len(keys()) == 2
    assert [len(keys(momentum=0.0)), *(len(keys(optimizer=name)) for name in ("rmsprop", "adam", "adamw"))] == [1] * 4


def test_the_clip_mode_counts_only_where_there_is_clipping():
    assert trial(clip_threshold=None, clip_mode="norm").key == trial(clip_threshold=None, clip_mode="value").key
    assert trial(clip_threshold=1.0, clip_mode="norm").key != trial(clip_threshold=1.0, clip_mode="value").key


def test_seeds_have_keys_of_their_own():
    assert len({trial(seed=seed).key for seed in (*range(50), 2**53 - 1, 2**53)}) == 52


def test_the_name_of_a_member_is_part_of_the_key():
    inits = {
        trial(init=name, spectral_radius=1, input_scale=0.1).key for name in ("gaussian", "orthogonal", "identity")
    }
    assert len(inits) == 3
    first, second = (spec_class(name, [("delay", int, param(5))]) for name in ("first", "second"))
    assert with_task(first()).key != with_task(second()).key


def test_the_version_of_a_member_is_part_of_the_key():
    first, second = (spec_class("lag", [("delay", int, param(5))], version) for version in (1, 2))
    assert with_task(first()).key != with_task(second()).key


PINNED = {  # trials of members that are built on others: their keys before that counted
    "irnn": ({"cell": "irnn"}, "cf267c32519f26d5cbceb71d50a09510406730a3f6c29ef42fe881dc9e8d4928"),
    "orthogonal": ({"cell": "orthogonal"}, "eecea173b6ba1042f869d5e238a3aabe78896e4c277546d71d67bae6c19ff0e1"),
    "chrono": (
        {"cell": "lstm", "init": "chrono"},
        "5dd904942884eb8c0d3a4ce3a59fb3edeed614c05c7490a1d8985d1ca8ef985e",
    ),
}
BUILT_ON_OTHERS = {
    (kind, name): spec.built_on
    for kind in KINDS
    for name, spec in registry()[kind].items()
    if getattr(spec, "built_on", ())
}


@pytest.mark.parametrize(("fields", "key"), PINNED.values(), ids=PINNED)
def test_a_member_built_on_others_has_the_key_it_had(fields, key):
    assert trial(**fields).key == key


def test_there_are_members_built_on_others():
    assert {("cell", "irnn"), ("cell", "orthogonal"), ("init", "chrono")} <= BUILT_ON_OTHERS.keys()


@pytest.mark.parametrize(("kind", "name"), BUILT_ON_OTHERS)
def test_a_raised_version_of_what_a_member_is_built_on_changes_its_keys(kind, name, monkeypatch):
    def keys() -> set[str]:
        one = trial(**{"cell": "gru", kind: name})  # gates, for an init that sets them
        return {one.key, one.prefix_key}

    def unrelated() -> str:
        return trial(task="parity", cell="gru").key

    before, others = keys(), unrelated()
    for part in BUILT_ON_OTHERS[kind, name]:
        with monkeypatch.context() as patched:
            patched.setattr(part, "version", part.version + 1)
            assert not keys() & before, f"{kind}={name} stands on {part.__name__}"
            assert unrelated() == others
        assert keys() == before


def test_what_a_member_is_built_on_counts_at_any_depth():
    ground = spec_class("ground", [], version=3)
    middle, top = spec_class("middle", []), spec_class("lag", [("delay", int, param(5))])
    plain = with_task(top()).key
    middle.built_on, top.built_on = (ground,), (middle,)
    assert with_task(top()).key != plain
    ground.version = 1
    assert with_task(top()).key == plain


def test_a_field_added_later_leaves_stored_keys_as_they_were():
    old, new = old_and_new(absent=0.0)
    for key in ("key", "prefix_key"):
        assert getattr(with_task(new(noise=0.0)), key) == getattr(with_task(old()), key)
        assert getattr(with_task(new(noise=0.1)), key) != getattr(with_task(old()), key)
    assert shape_key(with_task(new(noise=0.0))) == shape_key(with_task(old()))


def test_a_field_added_later_without_absent_value_changes_the_key():
    old, new = old_and_new(absent=dataclasses.MISSING)
    assert with_task(new()).key != with_task(old()).key


def test_the_absent_value_need_not_be_the_default():
    old, new = old_and_new(absent=0.5)
    assert with_task(new(noise=0.5)).key == with_task(old()).key
    assert with_task(new()).key != with_task(old()).key
    assert build_spec(new, {}, "task", []).noise == 0.0


def test_the_prefix_key_leaves_out_the_budget_and_nothing_else():
    short, long = trial(max_steps=40), trial(max_steps=80)
    assert short.key != long.key
    assert short.prefix_key == long.prefix_key
    assert short.prefix_key not in (short.key, long.key)
    for change in ({"seed": 1}, {"eval_every": 10}, {"delay": 6}, {"init": "identity"}, {"learning_rate": 0.02}):
        assert trial(max_steps=40, **change).prefix_key != short.prefix_key, change


def test_the_prefix_key_keeps_the_budget_where_the_schedule_stretches_over_it():
    for schedule, shared in (("constant", True), ("step", True), ("cosine", False)):
        short, long = (trial(max_steps=steps, schedule=schedule) for steps in (40, 80))
        assert (short.prefix_key == long.prefix_key) == shared, schedule


def test_the_settings_of_training_that_were_added_later_leave_keys_and_shapes_as_they_were():
    fields = [*dataclasses.fields(Train), *dataclasses.fields(Model)]
    added = {field.name: field for field in fields if field.metadata["absent"] is not dataclasses.MISSING}
    assert all(field.metadata["absent"] == field.default for field in added.values())
    assert {"schedule", "schedule_factor", "schedule_every", "nesterov", "weight_decay", "truncation"} <= added.keys()
    assert {"schedule", "schedule_factor", "schedule_every", "nesterov", "weight_decay"} <= FREE_IN_STACK
    assert trial().shape == "b413930cb6cfa35ee944bcab7e37747d10c38b904692eebb81be1a541ac697ef"


@given(TRIALS, TRIALS)
def test_trials_share_a_stack_whatever_their_init_seed_and_rates(one, other):
    free = {name: getattr(other.train, name) for name in FREE_IN_STACK}
    mate = dataclasses.replace(one, init=other.init, seed=other.seed, train=dataclasses.replace(one.train, **free))
    assert {"learning_rate", "momentum", "clip_threshold", "weight_decay", "schedule"} <= FREE_IN_STACK
    assert shape_key(mate) == shape_key(one)


@given(TRIALS, TRIALS)
def test_trials_that_differ_in_anything_else_do_not_share_a_stack(one, other):
    changes = [("task", other.task), ("cell", other.cell), ("model", other.model)]
    changes += [
        ("train", dataclasses.replace(one.train, **{name: value}))
        for name, value in vars(other.train).items()
        if name not in FREE_IN_STACK
    ]
    for section, value in changes:
        changed = dataclasses.replace(one, **{section: value})
        alike = changed.key == one.key if section == "model" else value == getattr(one, section)
        assert (shape_key(changed) == shape_key(one)) == alike, value


def test_what_an_init_takes_the_place_of_is_not_part_of_the_key():
    by_chrono = {trial(cell="lstm", init="chrono", forget_bias=bias).key for bias in (0.0, 1.0)}
    by_itself = {trial(cell="lstm", init="gaussian", forget_bias=bias).key for bias in (0.0, 1.0)}
    assert (len(by_chrono), len(by_itself)) == (1, 2)
    one, other = (trial(cell="gru", init=init, keep_bias=1.0) for init in ("chrono", "gaussian"))
    assert shape_key(one) == shape_key(other)


def test_equal_options_of_a_module_have_one_key_however_they_are_written():
    keys = {trial(cell="module", options=text).key for text in ('{"bias": false}', '{ "bias":false}', '{"bias": true}')}
    assert len(keys) == 2


def test_the_flat_form_names_every_field_once():
    flat = trial(delay=5, optimizer="adam", seed=3).flat()
    assert (flat["task"], flat["cell"], flat["init"], flat["seed"]) == ("copy", "elman", "gaussian", 3)
    assert (flat["task.delay"], flat["train.optimizer"], flat["model.hidden_size"]) == (5, "adam", 64)
    assert len(flat) == 3 + 1 + sum(
        len(vars(getattr(trial(), part))) for part in ("task", "model", "cell", "init", "train")
    )


def test_a_trial_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial().seed = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        trial().train.learning_rate = 1.0


def test_a_key_that_was_worked_out_changes_nothing_else_about_a_trial():
    one, other = trial(seed=3), trial(seed=3)
    key = one.key
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert dataclasses.replace(one, seed=4).key == trial(seed=4).key != key
    assert pickle.loads(pickle.dumps(one)) == other  # noqa: S301
    assert dataclasses.asdict(one) == dataclasses.asdict(other)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.seed = 5
