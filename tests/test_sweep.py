"""Plans."""

from builders import trial

from rnnlab.sweep import by_shape, plan, work
from rnnlab.trial import shape_key


def test_equal_trials_collapse_and_finished_ones_are_not_pending():
    first, second = trial(seed=0), trial(seed=1)
    planned = plan([first, second, trial(seed=0)], {second.key, "a key of another sweep"})
    assert planned.trials == (first, second)
    assert planned.pending == [first]
    assert planned.finished == {second.key}


def test_the_axes_are_the_fields_in_which_trials_differ():
    trials = [trial(delay=d, spectral_radius=1.0, seed=s) for d in (3, 5) for s in (0, 1)]
    assert plan(trials).axes() == ["task.delay", "seed"]
    assert plan([*trials, trial(task="adding", length=5)]).axes()[0] == "task"
    assert plan(trials[:1]).axes() == []


def test_groups_hold_all_trials_of_a_shape_and_the_longest_comes_first():
    trials = [trial(delay=d, seed=s, hidden_size=h) for s in (0, 1) for d in (3, 50) for h in (8, 16)]
    groups = by_shape(trials)
    assert sorted(one.key for group in groups for one in group) == sorted(one.key for one in trials)
    assert all(len({shape_key(one) for one in group}) == 1 for group in groups)
    assert len(groups) == 4
    costs = [work(group[0]) for group in groups]
    assert costs == sorted(costs, reverse=True)
    assert [one.seed for one in groups[0]] == [0, 1]
