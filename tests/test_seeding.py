"""Random streams: named, equal for equal names, and apart from all global state."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnnlab.seeding import generator

NAMES = st.tuples(st.integers(0, 2**70), st.sampled_from(["train", "eval", "init.recurrent"]), st.integers(0, 10**9))


def draws(*name) -> list[int]:
    return generator(*name).integers(0, 2**63, 4).tolist()


@given(NAMES, NAMES)
def test_streams_are_equal_exactly_where_their_names_are(one, other):
    assert (draws(*one) == draws(*other)) == (one == other)


@given(NAMES)
def test_another_seed_purpose_or_step_is_another_stream(name):
    seed, purpose, step = name
    neighbours = [(seed + 1, purpose, step), (seed, purpose + ".", step), (seed, purpose, step + 1)]
    assert len({tuple(draws(*each)) for each in [name, *neighbours]}) == 4


def test_the_streams_of_many_steps_do_not_meet():
    drawn = [value for step in range(2000) for value in draws(0, "train", step)]
    assert len(set(drawn)) == len(drawn)


def test_digits_do_not_wander_between_seed_and_step():
    assert draws(1, "train", 11) != draws(11, "train", 1)
    assert draws(1, "train", 1) != draws(11, "train", 0)


def test_the_step_is_zero_unless_given():
    assert draws(3, "eval") == draws(3, "eval", 0)


def test_the_first_draws_are_pinned():
    # The data of every stored trial comes from these streams: a change here changes all results.
    assert generator(0, "train", 1).integers(0, 1000, 6).tolist() == [284, 591, 278, 60, 783, 465]


def test_global_state_has_no_influence_on_a_stream_and_is_left_alone():
    def states() -> tuple:
        name, keys, *rest = np.random.get_state()
        return random.getstate(), (name, keys.tobytes(), *rest), torch.get_rng_state().numpy().tobytes()

    expected = draws(5, "train", 7)
    before = states()
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.random(), np.random.random(), torch.rand(1)  # noqa: S311 (moves the global states)
        moved = states()
        assert all(ours != theirs for ours, theirs in zip(before, moved, strict=True))
        assert draws(5, "train", 7) == expected
        assert states() == moved
    finally:
        random.setstate(kept[0]), np.random.set_state(kept[1]), torch.set_rng_state(kept[2])
