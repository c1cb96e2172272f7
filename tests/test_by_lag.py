"""The error by the distance of each output: what it measures, where a store keeps it, and that no trial lacks it."""

import contextlib
import dataclasses
import math
import shutil
import sqlite3
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import crashes
import pytest
import torch
from builders import normal, trial
from hypothesis import given
from hypothesis import strategies as st
from oracles import known
from stores import QUICK, command_line

from rnnlab import by_lag, cost, disk, engine, lengths, worker
from rnnlab.by_lag import MOST, NOWHERE, Bins, at_lags, bins_of, distances
from rnnlab.claims import Attempt, Claims
from rnnlab.draws import held_out
from rnnlab.evaluation import LAGS, EvalSettings, possible
from rnnlab.frame import MEASURED
from rnnlab.model import forward, shapes
from rnnlab.record import BY_LAG, BY_LAG_METRICS, BY_LAG_POINTS, DIVERGED, EXHAUSTED, at_lag, placed
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.store import StoreSettings
from rnnlab.store.reader import Reader
from rnnlab.tasks import at_steps, stacked
from rnnlab.tasks.adding import Adding
from rnnlab.train import fit
from rnnlab.watch import DiagnosticsSettings

SMALL = {"task": "adding", "length": 8, "hidden_size": 8}
SMALL |= {"max_steps": 6, "eval_every": 3, "eval_size": 9, "batch_size": 4}
ALIKE = {"max_steps": 6, "eval_every": 3, "eval_size": 7, "batch_size": 4, "hidden_size": 8}  # copy memory
ON, OFF = EvalSettings(by_lag=True), EvalSettings(by_lag=False)

every_task = pytest.mark.parametrize(
    "task", [task for name in registry()["task"] for task in known(name).settings], ids=repr
)
IN_STACKS = {  # fields of trials whose outputs differ in their distance: in masks, in lengths, in the form of the task
    **{name: known(name).short for name in ("adding", "multiplication", "selective_copy")},
    **{name: known(name).short for name in ("variable_delay_copy", "reverse", "generate", "associative_recall")},
    "temporal_order": {"task": "temporal_order", "length": 30},
    "adding of varied length": {"task": "adding", "length": 24, "lengths": "varied"},
    "agreement at each word": {"task": "agreement", "distance": 7, "asks": "words"},
    "parity of varied length": {"task": "parity", "length": 6, "lengths": "varied"},
}
every_spread = pytest.mark.parametrize("name", IN_STACKS)


def network(name, **fields):
    return trial(hidden_size=5, **{"task": name, "eval_size": 9, **IN_STACKS[name], **fields})


def weights_of(one, seed=0):
    return {name: normal(f"{name}{seed}", *shape, dtype=torch.float32) for name, shape in shapes(one).items()}


def run(store, trials, evaluation=ON, weights="both", **settings):
    diagnostics = settings.pop("diagnostics", engine.OFF)
    settings = engine.EngineSettings(**{"launcher": "inline", "progress": "quiet", **settings})
    kept = StoreSettings(str(store), weights)
    return engine.run(trials, "tests", kept, settings, "a command", evaluation=evaluation, diagnostics=diagnostics)


def contents(store):
    """The frame, and every point of every run by key, without what differs from launch to launch; as text."""
    frame = Reader(store).frame("tests")
    curves = {key: Reader(store).curves(run_id) for key, run_id in zip(frame["key"], frame["run_id"], strict=True)}
    shown = {key: curve[~curve["key"].isin(MEASURED)].to_csv(index=False) for key, curve in curves.items()}
    return frame.drop(columns=list(MEASURED)).to_csv(), shown


def found_by_lag(store):
    return Reader(store).courses("tests", BY_LAG_METRICS)


@pytest.fixture
def fresh(schema, tmp_path):
    """Stores of one's own: `fresh("name")`."""
    return lambda name: Path(shutil.copy(schema, tmp_path / f"{name}.db"))


# Bins


@given(nearest=st.integers(0, 300), different=st.integers(2, 400))
def test_bins_are_few_of_equal_odd_width_and_stand_in_their_middle(nearest, different):
    farthest = nearest + different - 1
    rows = [[0, place, nearest + place] for place in range(different)]
    task = SimpleNamespace(
        length=1,
        distance=farthest,
        lags=lambda batch: torch.tensor(rows),
        sample=lambda chance, size: SimpleNamespace(mask=torch.ones(1, different, dtype=torch.bool)),
    )
    bins = bins_of.__wrapped__(task, 10)
    assert bins.width % 2 == 1
    assert (bins.width == 1) == (different <= MOST)
    assert MOST / 3 < bins.number <= MOST or different <= MOST
    ranks = bins.ranks(torch.arange(nearest, farthest + 1)).tolist()
    held = Counter(ranks)
    assert sorted(held) == list(range(bins.number))
    assert {held[rank] for rank in range(bins.number - 1)} <= {bins.width}
    for distance, rank in zip(range(nearest, farthest + 1), ranks, strict=True):
        assert abs(bins.place(rank) - distance) <= bins.width // 2
    places = [bins.place(rank) for rank in range(bins.number)]
    assert places == sorted(set(places), reverse=True)
    assert nearest <= places[-1]
    assert places[0] <= farthest


def test_a_distance_too_rare_to_be_drawn_is_in_the_nearest_bin():
    bins = Bins(farthest=40, nearest=9, width=3, number=11)
    assert bins.ranks(torch.tensor([40, 38, 37, 9, 2, NOWHERE])).tolist() == [0, 0, 1, 10, 10, NOWHERE]


@every_task
def test_the_distance_of_an_output_is_its_largest_lag(task):
    batch = task.sample(generator(0, "train"), 40)
    slow = [[NOWHERE] * 40 for _ in range(task.length)]
    for t, b, lag in task.lags(batch).tolist():
        slow[t][b] = max(slow[t][b], abs(lag))
    found = distances(task, batch)
    assert found.tolist() == slow
    assert (found[~batch.mask] == NOWHERE).all()
    assert found.max() <= task.distance


def test_what_is_to_come_counts_as_far_as_what_was():
    """Of a network that reads in both directions an output needs up to `ahead` steps after its own."""
    rows = torch.tensor([[0, 0, -3], [0, 0, 1], [1, 0, -1], [1, 0, 2], [0, 1, 0], [0, 1, -5]])
    task = SimpleNamespace(lags=lambda batch: rows)
    found = distances(task, SimpleNamespace(mask=torch.ones(2, 2, dtype=torch.bool)))
    assert found.tolist() == [[3, 5], [2, NOWHERE]]


@every_task
def test_bins_hold_every_output_that_needs_an_input_once(task):
    bins = bins_of(task, 100)
    found = distances(task, task.sample(generator(3, "eval"), 40))
    if bins is None:
        assert set(found[found != NOWHERE].tolist()) == {task.distance}
        return
    ranks = bins.ranks(found)
    assert torch.equal(ranks == NOWHERE, found == NOWHERE)
    assert sum((ranks == rank).sum().item() for rank in range(bins.number)) == (found != NOWHERE).sum()
    assert bins.farthest == task.distance
    near = [bins.place(rank) for rank in ranks[found >= bins.nearest].tolist()]
    assert all(abs(place - d) <= bins.width // 2 for place, d in zip(near, found[found >= bins.nearest], strict=True))


def test_bins_do_not_depend_on_a_seed_so_that_seeds_can_be_averaged():
    trials = [trial(**SMALL | {"length": 90, "eval_size": 200}, seed=seed) for seed in range(3)]
    rows = at_lags(trials, [weights_of(one) for one in trials])
    assert len({frozenset(row) for row in rows}) == 1
    assert rows[0][BY_LAG_POINTS] == 15  # of three distances each: 45 to 89
    assert {int(name.split("/")[1]) for name in rows[0] if name.endswith("/loss")} == set(range(46, 89, 3))


@pytest.mark.parametrize("one", ["copy", "noiseless_memorization", "random_permutation", "digits", "sensor", "tagging"])
def test_nothing_is_told_apart_where_all_outputs_have_one_distance(one):
    one = trial(hidden_size=5, **{"task": one, "eval_size": 7, **known(one).short})
    assert bins_of(one.task, 7) is None
    assert at_lags([one], [weights_of(one)]) == [{}]
    assert possible(one, [LAGS, 40]) == (40,)


# What is measured


def output_by_output(one, weights):
    """Distance of the bin -> (loss, accuracy) of each output in it, each output scored by itself."""
    task, bins = one.task, bins_of(one.task, one.train.eval_size)
    sample = getattr(task, "held_out", task.sample)
    batch = sample(generator(one.seed, "eval", 0), one.train.eval_size)
    whole = stacked([batch])
    outputs = forward(one, {name: own[None] for name, own in weights.items()}, whole.inputs, task.scored, whole.lengths)
    found = {}
    for t, b in (distances(task, batch) != NOWHERE).nonzero().tolist():
        far = max(abs(lag) for time, sequence, lag in task.lags(batch).tolist() if (time, sequence) == (t, b))
        alone = torch.zeros_like(whole.mask)
        alone[0, t, b] = True
        metrics = task.metrics(outputs, at_steps(whole._replace(mask=alone), task.scored))
        rank = min((bins.farthest - far) // bins.width, bins.number - 1)
        found.setdefault(bins.place(rank), []).append((metrics["loss"].item(), metrics["accuracy"].item()))
    return found


@every_spread
def test_it_is_the_mean_over_the_outputs_of_a_distance(name):
    one = network(name)
    weights = weights_of(one)
    expected = {}
    for place, pairs in output_by_output(one, weights).items():
        losses, right = zip(*pairs, strict=True)
        means = {"outputs": len(pairs), "loss": sum(losses) / len(pairs), "accuracy": sum(right) / len(pairs)}
        expected |= {at_lag(place, metric): value for metric, value in means.items()}
    (found,) = at_lags([one], [weights])
    assert found.pop(BY_LAG_POINTS) == len(expected) / 3 >= 2
    assert found == pytest.approx(expected, rel=1e-5)


@every_spread
def test_the_means_weighted_by_outputs_are_the_loss_of_all_that_need_an_input(name):
    one = network(name, eval_size=50)
    weights = weights_of(one)
    (found,) = at_lags([one], [weights])
    places = {int(key.split("/")[1]) for key in found if key.endswith("/loss")}
    counts = {place: found[at_lag(place, "outputs")] for place in places}
    batch = held_out(one.task, [one.seed], 50)
    outputs = forward(
        one, {key: own[None] for key, own in weights.items()}, batch.inputs, one.task.scored, batch.lengths
    )
    needing = distances(one.task, one.task.sample(generator(one.seed, "eval", 0), 50)) != NOWHERE
    metrics = one.task.metrics(outputs, at_steps(batch._replace(mask=needing[None]), one.task.scored))
    assert sum(counts.values()) == needing.sum().item()
    for metric in ("loss", "accuracy"):
        mean = sum(found[at_lag(place, metric)] * counts[place] for place in places) / sum(counts.values())
        assert mean == pytest.approx(metrics[metric].item(), rel=1e-5)


def test_at_the_end_the_mean_of_adding_is_its_last_evaluation():
    one = trial(**SMALL | {"eval_size": 100})
    *_, last = fit([one])
    (found,) = at_lags([one], [last.weights])
    pairs = [(found[at_lag(lag, "loss")], found[at_lag(lag, "outputs")]) for lag in range(4, 8)]
    mean = sum(loss * count for loss, count in pairs) / 100
    assert mean == pytest.approx(last.metrics["eval/loss"], rel=1e-5)
    assert found[BY_LAG_POINTS] == 4


@every_spread
@pytest.mark.parametrize("elements", [1, 2000, 2**24])
def test_trials_that_are_evaluated_together_do_not_change_each_other(name, elements, monkeypatch):
    """To the bit, whatever the groups that bounded memory makes of them."""
    monkeypatch.setattr(lengths, "ELEMENTS", elements)
    trials = [network(name, seed=seed, spectral_radius=radius) for seed in range(3) for radius in (0.5, 1.5)]
    weights = [weights_of(one, place) for place, one in enumerate(trials)]
    weights[1]["W_hy"][0, 0] = math.nan
    alone = [at_lags([one], [own])[0] for one, own in zip(trials, weights, strict=True)]
    for order in (range(6), (4, 1, 0, 5, 2, 3)):
        found = at_lags([trials[i] for i in order], [weights[i] for i in order])
        assert repr(found) == repr([alone[i] for i in order])
    assert "nan" in repr(alone[1])
    assert "nan" not in repr(alone[0])


def test_at_a_distance_that_no_sequence_has_nothing_is_said():
    trials = [trial(**SMALL | {"eval_size": 1}, seed=seed) for seed in range(4)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(by_lag, "bins_of", lambda task, size: Bins(7, 4, 1, 4))
        rows = at_lags(trials, [weights_of(one) for one in trials])
    for one, row in zip(trials, rows, strict=True):
        (place,) = {
            d for d in distances(one.task, one.task.sample(generator(one.seed, "eval"), 1)).flatten().tolist() if d > 0
        }
        assert set(row) == {at_lag(place, metric) for metric in ("loss", "accuracy", "outputs")} | {BY_LAG_POINTS}
    assert len({frozenset(row) for row in rows}) > 1


# In a store


def test_the_lag_stands_in_the_place_of_the_step():
    assert placed(at_lag(39, "loss"), 800) == ("by_lag/loss", 39)
    assert {placed(at_lag(39, name), 800)[0] for name in ("loss", "accuracy", "outputs")} == set(BY_LAG_METRICS)
    for name in (BY_LAG_POINTS, "eval/loss", "at_length/40/loss"):
        assert placed(name, 800) == (name, 800)


def test_it_changes_no_key_and_no_number_and_is_no_column(fresh):
    trials = [trial(seed=seed, spectral_radius=radius, **SMALL) for seed in range(2) for radius in (0.8, 1.1)]
    plain, asked = fresh("plain"), fresh("asked")
    run(plain, trials, OFF)
    run(asked, trials)
    frames = [Reader(store).frame("tests").drop(columns=list(MEASURED)) for store in (plain, asked)]
    assert set(frames[1]) - set(frames[0]) == {BY_LAG_POINTS}
    assert frames[1].drop(columns=BY_LAG_POINTS).equals(frames[0])
    assert found_by_lag(plain).empty
    found = found_by_lag(asked)
    counted = found[found["metric"] == "by_lag/loss"].groupby("key").size()
    assert counted.to_dict() == frames[1].set_index("key")[BY_LAG_POINTS].to_dict()
    *_, last = fit([trials[0]])
    (expected,) = at_lags([trials[0]], [last.weights])
    own = found[found["key"] == trials[0].key]
    told = {at_lag(int(row.step), row.metric.removeprefix(BY_LAG)): row.value for row in own.itertuples()}
    assert told | {BY_LAG_POINTS: expected[BY_LAG_POINTS]} == expected
    assert Reader(asked).result(Reader(asked).finished()[trials[0].key]) == (EXHAUSTED, 6)


@pytest.mark.slow
def test_workers_and_stacks_do_not_change_it(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    one, two = fresh("one"), fresh("two")
    run(one, trials, stack_size=1)
    run(two, trials, launcher="local", workers=2)
    assert contents(one) == contents(two)


def test_a_launch_that_is_cut_off_ends_with_the_same_points(fresh, monkeypatch):
    trials = [trial(seed=seed, **SMALL | {"length": length}) for seed in range(2) for length in (6, 8)]
    whole, cut = fresh("whole"), fresh("cut")
    run(whole, trials)
    for borders in (2, 1):
        with monkeypatch.context() as patched:
            crashes.interrupt_after(patched, borders)
            with pytest.raises(crashes.Interrupted):
                run(cut, trials, checkpoint_seconds=0)
    run(cut, trials)
    assert contents(cut) == contents(whole)


def test_a_larger_budget_has_its_own_and_not_those_of_the_smaller_one(fresh):
    small, large = (trial(**SMALL | {"max_steps": steps}) for steps in (6, 12))
    store, alone = fresh("store"), fresh("alone")
    run(store, [small])
    run(store, [large])
    run(alone, [large])
    assert contents(store)[1][large.key] == contents(alone)[1][large.key]
    assert not found_by_lag(store).duplicated(["key", "metric", "step"]).any()


def test_lags_beyond_the_steps_of_a_smaller_budget_do_not_seem_to_be_its_end(fresh):
    """What diagnostics find at its end is no part of the course of the larger one."""
    small, large = (trial(**SMALL | {"max_steps": steps, "length": 12}) for steps in (6, 12))
    curves = []
    for name, evaluation in (("on", ON), ("off", OFF)):
        store = fresh(name)
        for one in (small, large):
            run(store, [one], evaluation, diagnostics=DiagnosticsSettings(every=3))
        curve = Reader(store).curves(Reader(store).finished()[large.key])
        kept = curve[~curve["key"].str.startswith(BY_LAG) & ~curve["key"].isin(MEASURED)]
        curves.append(kept.reset_index(drop=True))
    assert curves[0].equals(curves[1])
    assert curves[0]["key"].str.startswith("diagnostics/").any()


def test_a_diverged_trial_has_none_and_lacks_none(fresh):
    wild = trial(cell="irnn", learning_rate=1e30, clip_threshold=None, **SMALL)
    store = fresh("store")
    assert run(store, [wild]).statuses == {DIVERGED: 1}
    assert found_by_lag(store).empty
    assert run(store, [wild]).notes == []


# What finished without it


DONE = "eval.by_lag: {} finished before without it; evaluated now, from the stored weights"


def test_finished_trials_that_lack_it_are_evaluated_once_from_their_stored_weights(fresh, monkeypatch):
    trials = [trial(seed=seed, **SMALL | {"length": length}) for seed in range(2) for length in (6, 8)]
    late, early = fresh("late"), fresh("early")
    run(early, trials)
    run(late, trials, OFF)
    run(late, trials[:1])
    with monkeypatch.context() as patched:
        patched.setattr(worker, "chunks", None)  # nothing is trained
        assert run(late, trials).notes == [DONE.format(3)]
    assert contents(late) == contents(early)
    assert run(late, trials).notes == []
    assert contents(late) == contents(early)
    assert set(Reader(late).trials()["mlflow_status"]) == {"FINISHED"}


def test_where_outputs_are_alike_nothing_is_asked_for(fresh, monkeypatch):
    trials = [trial(seed=seed, **ALIKE) for seed in range(2)]
    store = fresh("store")
    run(store, trials)
    assert BY_LAG_POINTS not in Reader(store).frame("tests")
    monkeypatch.setattr("rnnlab.make_up.weights_of", lambda *_: pytest.fail("there is nothing to evaluate"))
    monkeypatch.setattr(Reader, "metrics", lambda *_: pytest.fail("there is nothing to look for"))
    assert run(store, trials).notes == []


def test_both_kinds_of_evaluation_are_made_up_and_told_each_by_its_key(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(2)]
    both = EvalSettings((5, 12), by_lag=True)
    late, early = fresh("late"), fresh("early")
    run(early, trials, both)
    run(late, trials, OFF)
    run(late, trials[:1])
    lengths_done = "eval.lengths: 2 finished before without them; evaluated now, from the stored weights"
    assert sorted(run(late, trials, both).notes) == [DONE.format(1), lengths_done]
    assert contents(late) == contents(early)


def test_without_stored_weights_one_line_says_so(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(3)]
    store = fresh("store")
    run(store, trials[:2], OFF, weights="none")
    outcome = run(store, trials, weights="none")
    (note,) = outcome.notes
    assert note.startswith("eval.by_lag: 2 finished without it, and the weights are not in the store (store.weights")
    assert note.endswith("; engine.mode=force trains all again")
    assert (outcome.exit_status, outcome.statuses) == (0, {EXHAUSTED: 1})
    assert found_by_lag(store)["key"].unique().tolist() == [trials[2].key]
    assert run(store, trials, OFF, weights="none").notes == []


def test_what_was_trained_under_other_numerics_is_told(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(2)]
    store = fresh("store")
    run(store, trials, OFF)
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE tags SET value = 'torch 1.0, cpu' WHERE key = 'rnnlab.numerics'")
    done, others = run(store, trials).notes
    assert done == DONE.format(2)
    assert others.startswith("eval.by_lag: 2 of them were trained under other numerics (torch 1.0, cpu), evaluated now")


def test_an_evaluation_that_fails_costs_no_trial_anything_and_is_made_up_later(fresh, monkeypatch):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    store, whole, plain = fresh("store"), fresh("whole"), fresh("plain")
    run(whole, trials)
    run(plain, trials, OFF)
    found = by_lag._by_rank

    def broken(task, bins, outputs, batch, ranks):
        if len(outputs) > 1 or (ranks == told).all():
            raise MemoryError("no room\nfor now")
        return found(task, bins, outputs, batch, ranks)

    told = by_lag._ranks(Adding(8), bins_of(Adding(8), 9), held_out(Adding(8), [2], 9), [2])[:, Adding(8).scored]
    with monkeypatch.context() as patched:
        patched.setattr(by_lag, "_by_rank", broken)
        outcome = run(store, trials, stack_size=4)
    left_out = "eval.by_lag: could not be evaluated, trials without it: 1 (MemoryError: no room)"
    assert (outcome.exit_status, outcome.notes, outcome.statuses) == (0, [left_out], {EXHAUSTED: 4})
    frame = Reader(store).frame("tests")
    assert frame.loc[frame[BY_LAG_POINTS].isna(), "seed"].tolist() == [2]
    kept = frame.drop(columns=[BY_LAG_POINTS, *MEASURED])
    assert kept.equals(Reader(plain).frame("tests").drop(columns=list(MEASURED)))
    assert run(store, trials).notes == [DONE.format(1)]
    assert contents(store) == contents(whole)


def test_a_trial_whose_worker_died_alone_is_not_evaluated_again(fresh, monkeypatch):
    one, store = trial(**SMALL), fresh("store")
    take = Claims.take

    def after_a_death(self, key):
        taken = take(self, key)
        if taken:
            self.attempts[key] = [Attempt(1, "", "")]
        return taken

    with monkeypatch.context() as patched:
        patched.setattr(Claims, "take", after_a_death)
        outcome = run(store, [one, trial(**ALIKE)])
    reason = "its worker process died; the next launch tries it again"
    assert outcome.statuses == {EXHAUSTED: 2}
    assert outcome.notes == [f"eval.by_lag: could not be evaluated, trials without it: 1 ({reason})"]
    assert found_by_lag(store).empty
    assert run(store, [one]).notes == [DONE.format(1)]


def test_a_user_gets_it_unasked_and_can_leave_it_out(monkeypatch, store, capsys):
    words = (*QUICK, "-m", "task=adding", "seed=0,1", "engine=inline", "engine.progress=plain", f"store.path={store}")
    assert command_line(monkeypatch, *words, "eval.by_lag=false") == 0
    assert "by_lag" not in capsys.readouterr().err
    assert command_line(monkeypatch, *words, "engine.dry_run=true") == 0
    assert "2 finished without" in capsys.readouterr().err
    assert command_line(monkeypatch, *words) == 0
    assert DONE.format(2) in capsys.readouterr().err
    assert command_line(monkeypatch, *words, "eval.lengths=[5]") == 0
    said = capsys.readouterr().err
    assert "5; 2 finished without" in said
    assert "by_lag" not in said
    assert (Reader(store).frame("adhoc")[BY_LAG_POINTS] >= 2).all()


# What it costs


def test_an_estimate_counts_it_where_there_is_something_to_tell():
    one, alike = trial(**SMALL), trial(**ALIKE)
    bins = bins_of(one.task, one.train.eval_size)
    assert disk.evaluated_bytes(one, [LAGS]) == disk.POINT_BYTES * (3 * bins.number + 5)
    assert cost.steps_worth(one, [LAGS]) == cost.steps_worth(one, [one.task.length]) > 0
    assert disk.evaluated_bytes(alike, [LAGS]) == cost.steps_worth(alike, [LAGS]) == 0
    assert disk.store_bytes(one, True, [LAGS]) - disk.store_bytes(one, True) == disk.evaluated_bytes(one, [LAGS])
    pending = cost.Estimate(0.0, 0, 0)
    made_up = cost.with_made_up(pending, [(one, (LAGS,))], {cost.shape_key(one): 2.0})
    assert made_up.store == disk.evaluated_bytes(one, [LAGS])
    assert made_up.seconds == pytest.approx(2 * cost.steps_worth(one, [LAGS]) + cost.MAKE_UP_SECONDS)


def test_a_task_of_any_size_is_looked_at_in_bounded_memory():
    assert bins_of(dataclasses.replace(Adding(), length=10**6), 200).farthest == 10**6 - 1
