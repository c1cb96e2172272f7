"""Evaluation at other lengths than trained: what it measures, what it leaves as it was, and that no trial lacks it."""

import contextlib
import dataclasses
import re
import shutil
import sqlite3
import weakref
from pathlib import Path

import crashes
import pytest
import torch
from builders import bits, normal, peak_of, trial
from oracles import known
from stores import QUICK, command_line

from rnnlab import engine, lengths, worker
from rnnlab.claims import Attempt, Claims
from rnnlab.cost import PROCESS_BYTES
from rnnlab.evaluation import EvalSettings, attempt
from rnnlab.forecast import resources
from rnnlab.frame import MEASURED
from rnnlab.frame import lengths as lengths_in
from rnnlab.lengths import at_lengths, needed_bytes, refusals
from rnnlab.model import forward, shapes
from rnnlab.provenance import numerics
from rnnlab.record import AT_LENGTH, DIVERGED, EXHAUSTED, RUNNING, SOLVED
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.store import StoreSettings
from rnnlab.store.reader import Reader
from rnnlab.tasks import at_steps, stacked
from rnnlab.tasks.generate import table
from rnnlab.train import fit

SMALL = {"max_steps": 6, "eval_every": 3, "eval_size": 7, "batch_size": 4, "hidden_size": 8}
ASKED = (3, 9)


def run(store, trials, asked=ASKED, weights="both", **settings):
    settings = engine.EngineSettings(**{"launcher": "inline", "progress": "quiet", **settings})
    evaluation = EvalSettings(tuple(asked), by_lag=False)
    return engine.run(trials, "tests", StoreSettings(str(store), weights), settings, "a command", evaluation=evaluation)


def columns(store, keep=lambda name: True):
    """The frame without what differs from launch to launch, as text."""
    frame = Reader(store).frame("tests").set_index("key").drop(columns=list(MEASURED))
    return frame[[name for name in sorted(frame) if keep(name)]].to_csv()


def weights_of(one, seed=0):
    return {name: normal(f"{name}{seed}", *shape, dtype=torch.float32) for name, shape in shapes(one).items()}


@pytest.fixture
def fresh(schema, tmp_path):
    """Stores of one's own: `fresh("name")`."""
    return lambda name: Path(shutil.copy(schema, tmp_path / f"{name}.db"))


# What is measured


def by_hand(one, weights, value):
    """The metrics of one trial where the dial has this value: the whole batch at once, one model."""
    task = dataclasses.replace(one.task, **{one.task.dial: value})
    sample = getattr(task, "held_out", task.sample)
    batch = stacked([sample(generator(one.seed, "eval", 0), one.train.eval_size)])
    parameters = {name: values.unsqueeze(0) for name, values in weights.items()}
    changed = dataclasses.replace(one, task=task)
    outputs = forward(changed, parameters, batch.inputs, task.scored, batch.lengths)
    found = {name: values.item() for name, values in task.metrics(outputs, at_steps(batch, task.scored)).items()}
    found["relative_loss"] = found["loss"] / task.baseline
    return {f"at_length/{value}/{name}": number for name, number in found.items()}


def values_of(one):
    """Two values of the dial that the task takes, above its own where it can, else below."""
    own = getattr(one.task, one.task.dial)
    others = [*range(own + 1, own + 40), *range(own - 1, 0, -1)]
    return [value for value in others if not refusals([one], [value])][:2]


@pytest.mark.parametrize("task", registry()["task"])
def test_it_is_the_loss_of_the_same_network_on_the_same_stream_at_another_length(task):
    one = trial(hidden_size=5, **{"task": task, "eval_size": 7, **known(task).short})
    weights, values = weights_of(one), values_of(one)
    assert len(values) == 2, "the dial of a task sets no sizes of inputs and outputs"
    (found,) = at_lengths([one], [weights], values)
    assert found == by_hand(one, weights, values[0]) | by_hand(one, weights, values[1])


@pytest.mark.parametrize("task", ["sensor", "reverse", "copy"])
def test_a_few_sequences_at_a_time_give_the_same_to_the_last_digits(task, monkeypatch):
    one = trial(hidden_size=5, **{"task": task, "eval_size": 7, **known(task).short})
    weights, values = weights_of(one), values_of(one)
    (whole,) = at_lengths([one], [weights], values)
    longest = max(dataclasses.replace(one.task, **{one.task.dial: value}).length for value in values)
    for sequences in (1, 3):
        monkeypatch.setattr(lengths, "ELEMENTS", sequences * longest * 5)
        (found,) = at_lengths([one], [weights], values)
        assert found == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("elements", [1, 2000, 2**24])
def test_trials_that_are_evaluated_together_do_not_change_each_other(elements, monkeypatch):
    """To the bit, whatever the groups that bounded memory makes of them."""
    monkeypatch.setattr(lengths, "ELEMENTS", elements)
    trials = [trial(seed=seed, spectral_radius=radius, **SMALL) for seed in range(3) for radius in (0.5, 1.5)]
    weights = [weights_of(one, place) for place, one in enumerate(trials)]
    weights[1]["W_hh"][0, 0] = float("nan")
    alone = [at_lengths([one], [own], ASKED)[0] for one, own in zip(trials, weights, strict=True)]
    for order in (range(6), (4, 1, 0, 5, 2, 3)):
        found = at_lengths([trials[i] for i in order], [weights[i] for i in order], ASKED)
        assert repr(found) == repr([alone[i] for i in order])
    assert "nan" in repr(alone[1])


def test_at_its_own_length_a_trial_has_its_last_evaluation():
    one = trial(delay=4, **SMALL)
    *_, last = fit([one])
    (found,) = at_lengths([one], [last.weights], [4])
    for name in ("loss", "accuracy", "relative_loss"):
        assert found[f"at_length/4/{name}"] == last.metrics[f"eval/{name}"]


def test_what_a_task_cannot_be_is_refused_with_each_reason_once():
    trials = [trial(delay=delay, seed=seed) for delay in (3, 5) for seed in (0, 1)]
    assert refusals(trials, [1, 40]) == []
    assert refusals(trials, [0, 7, 0]) == ["eval.lengths=0: task.delay=0: must be an integer >= 1"]
    wider = type("Wider", (type(trials[0].task),), {"input_size": property(lambda task: task.delay)})
    widening = dataclasses.replace(trials[0], task=wider(delay=3))
    (line,) = refusals([widening], [4])
    assert line.startswith("eval.lengths=4: ")


@pytest.mark.parametrize(("melodies", "alphabet"), [(8, 4), (9, 3), (2, 2), (64, 8)])
def test_what_is_learnt_by_heart_is_evaluated_at_no_more_than_was_learnt(melodies, alphabet):
    """Below, it is the beginning of the same melodies; above, notes that were never shown."""
    one = trial(task="generate", notes=10, melodies=melodies, alphabet=alphabet)
    assert refusals([one], range(1, 11)) == []
    assert refusals([one], [11]) == [
        "eval.lengths=11: task=generate is learnt by heart, up to task.notes=10; must be <= 10"
    ]
    for value in range(1, 11):
        assert (table(value, melodies, alphabet) == table(10, melodies, alphabet)[:value]).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"eval_size": 200},
        {"eval_size": 200, "score": "all"},
        {"eval_size": 3, "hidden_size": 64, "cell": "lstm"},
        {"eval_size": 100, "task": "adding"},
        {"eval_size": 50, "task": "reverse"},
    ],
    ids=str,
)
def test_an_evaluation_takes_about_the_memory_that_is_said(fields):
    one = trial(**{"hidden_size": 8, **fields})
    value = 3000 if fields["eval_size"] > 3 else 10_000
    weights = weights_of(one)
    assert 0.9 < needed_bytes(one, value) / peak_of(lambda: at_lengths([one], [weights], [value])) < 4


@pytest.mark.parametrize("value", [2 * 10**8, 10**12, 2**53])
def test_a_length_that_fits_into_no_memory_is_refused_before_training(value, fresh):
    store = fresh("store")
    for trials in ([trial(**SMALL)], [trial(seed=seed, **SMALL) for seed in range(2)]):
        with pytest.raises(BadInput) as refused:
            run(store, trials, (5, value), memory_gb=2.0)
        (line,) = refused.value.problems
        assert re.fullmatch(
            rf"eval\.lengths={value}: needs about \S+ GB for the evaluation of one trial; must be smaller", line
        )
    assert Reader(store).trials().empty


def test_workers_that_evaluate_at_once_fit_into_the_memory():
    trials = [trial(seed=seed, **SMALL) for seed in range(8)]
    value = 10**6
    needed = PROCESS_BYTES + needed_bytes(trials[0], value)
    assert resources(trials, 4, 2.5 * needed / 1e9, None, [5, value]).workers == 2
    assert resources(trials, 4, 2.5 * needed / 1e9, None, [5]).workers > 2


# In a launch


def broken(monkeypatch, value, seed=None):
    """Evaluation at this length raises, where a trial with this seed is among those evaluated."""
    whole = lengths._measured

    def measured(task, trials, weights):
        if task.delay == value and seed in (None, *(one.seed for one in trials)):
            raise MemoryError(f"no room for {value}\nfor now")
        return whole(task, trials, weights)

    monkeypatch.setattr(lengths, "_measured", measured)


LEFT_OUT = "eval.lengths={}: could not be evaluated, trials without it: {} (MemoryError: no room for {})"


NO_MEMORY = {  # how it shows that there is none -> what is told of it
    "numpy": (MemoryError("Unable to allocate 9. GiB"), "MemoryError: Unable to allocate 9. GiB"),
    "python": (MemoryError(), "MemoryError"),
    "torch": (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes\nframe"),
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["held_out", "forward", "_measured"])
@pytest.mark.parametrize("how", NO_MEMORY)
def test_a_trial_in_this_process_ends_with_its_result_and_a_line_where_the_memory_does_not_suffice(
    how, where, store, monkeypatch, capsys
):
    error, reason = NO_MEMORY[how]

    def fail(*_):
        raise error

    words = (*QUICK, "engine=inline", "eval.lengths=[5,30]", f"store.path={store}")
    left_out = "".join(
        f"eval.lengths={value}: could not be evaluated, trials without it: 1 ({reason})\n" for value in (5, 30)
    )
    for again in ("", ", in the store already: engine.mode=force trains it again"):
        with monkeypatch.context() as patched:
            patched.setattr(lengths, where, fail)
            assert command_line(monkeypatch, *words) == 0
        said = capsys.readouterr()
        assert re.fullmatch(rf"exhausted at step 4 of at most 4, run \w+{again}\n", said.out)
        assert said.err == left_out
    frame = Reader(store).frame("adhoc")
    assert list(frame["status"]) == [EXHAUSTED]
    assert lengths_in(frame) == []
    assert command_line(monkeypatch, *words) == 0
    assert lengths_in(Reader(store).frame("adhoc")) == [5, 30]


@pytest.mark.parametrize("how", NO_MEMORY)
def test_weights_that_do_not_fit_into_the_memory_are_told_too(how, store, monkeypatch, capsys):
    error, reason = NO_MEMORY[how]

    def fail(*_):
        raise error

    words = (*QUICK, "engine=inline", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 0
    capsys.readouterr()
    monkeypatch.setattr("rnnlab.make_up.weights_of", fail)
    assert command_line(monkeypatch, *words, "eval.lengths=[5]") == 0
    assert capsys.readouterr().err == f"eval.lengths=5: could not be evaluated, trials without it: 1 ({reason})\n"


def test_what_a_failed_evaluation_held_is_free_before_trials_are_evaluated_alone(monkeypatch):
    trials = [trial(seed=seed, **SMALL) for seed in range(2)]
    weights = [weights_of(one) for one in trials]
    whole, held = lengths._measured, []

    def measured(task, chosen, own):
        if len(chosen) > 1:
            large = torch.zeros(9)
            held.append(weakref.ref(large))
            raise MemoryError
        assert held[0]() is None, "the memory is still taken"
        return whole(task, chosen, own)

    monkeypatch.setattr(lengths, "_measured", measured)
    found = attempt(trials, weights, [3])
    assert not found.failed
    assert all(found.metrics)


@pytest.mark.parametrize("stack_size", [1, 4])
def test_an_evaluation_that_fails_changes_nothing_that_was_trained_and_is_told(stack_size, fresh, monkeypatch):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    plain, asked, whole = fresh("plain"), fresh("asked"), fresh("whole")
    run(plain, trials, ())
    run(whole, trials)
    with monkeypatch.context() as patched:
        broken(patched, 9)
        outcome = run(asked, trials, stack_size=stack_size)
    assert outcome.notes == [LEFT_OUT.format(9, 4, 9)]
    assert (outcome.exit_status, outcome.statuses) == (0, {EXHAUSTED: 4})
    assert columns(asked, lambda name: not name.startswith(AT_LENGTH)) == columns(plain)
    assert lengths_in(Reader(asked).frame("tests")) == [3]
    run(asked, trials)
    assert columns(asked) == columns(whole), "the same command makes up for it"


def test_a_trial_that_cannot_be_evaluated_costs_its_stack_mates_nothing(fresh, monkeypatch):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    broken(monkeypatch, 9, seed=2)
    store = fresh("store")
    outcome = run(store, trials, stack_size=4)
    assert outcome.notes == [LEFT_OUT.format(9, 1, 9)]
    frame = Reader(store).frame("tests")
    assert set(frame.loc[frame["at_length/9/loss"].isna(), "seed"]) == {2}
    assert frame["at_length/3/loss"].notna().all()


def test_what_cannot_be_made_up_is_told_and_the_launch_goes_on(fresh, monkeypatch):
    trials = [trial(seed=seed, delay=delay, **SMALL) for seed in range(2) for delay in (3, 5)]
    store, whole = fresh("store"), fresh("whole")
    run(whole, trials)
    run(store, trials, ())
    with monkeypatch.context() as patched:
        broken(patched, 9)
        assert run(store, trials, (9,)).notes == [LEFT_OUT.format(9, 4, 9)]
        outcome = run(store, trials)
    done = "eval.lengths: 4 finished before without them; evaluated now, from the stored weights"
    assert (outcome.exit_status, outcome.notes) == (0, [done, LEFT_OUT.format(9, 4, 9)])
    assert lengths_in(Reader(store).frame("tests")) == [3]
    run(store, trials)
    assert columns(store) == columns(whole)


def test_a_trial_whose_worker_died_alone_is_trained_to_its_end_and_not_evaluated_again(fresh, monkeypatch):
    """It may be the evaluation that ended it, for want of memory: a second death would be a failure."""
    one = trial(**SMALL)
    plain, store = fresh("plain"), fresh("store")
    run(plain, [one], ())
    take = Claims.take

    def after_a_death(self, key):
        taken = take(self, key)
        if taken:
            self.attempts[key] = [Attempt(1, "", "")]
        return taken

    with monkeypatch.context() as patched:
        patched.setattr(Claims, "take", after_a_death)
        outcome = run(store, [one])
    assert outcome.statuses == {EXHAUSTED: 1}
    reason = "(its worker process died; the next launch tries it again)"
    expected = [f"eval.lengths={value}: could not be evaluated, trials without it: 1 {reason}" for value in ASKED]
    assert outcome.notes == expected
    assert columns(store) == columns(plain)


def test_it_changes_no_key_and_no_training_number(fresh):
    trials = [trial(seed=seed, spectral_radius=radius, **SMALL) for seed in range(2) for radius in (0.8, 1.1)]
    plain, asked = fresh("plain"), fresh("asked")
    run(plain, trials, ())
    run(asked, trials)
    assert columns(asked, lambda name: not name.startswith(AT_LENGTH)) == columns(plain)
    frame = Reader(asked).frame("tests")
    assert lengths_in(frame) == list(ASKED)
    assert lengths_in(Reader(plain).frame("tests")) == []
    named = {f"at_length/{value}/{name}" for value in ASKED for name in ("loss", "accuracy", "relative_loss")}
    assert named == {name for name in frame if name.startswith(AT_LENGTH)}
    assert frame[sorted(named)].notna().all(axis=None)
    *_, last = fit([trials[0]])
    row = frame.set_index("key").loc[trials[0].key]
    assert {name: row[name] for name in named} == at_lengths([trials[0]], [last.weights], ASKED)[0]


@pytest.mark.slow
def test_workers_and_stacks_do_not_change_it(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    one, two = fresh("one"), fresh("two")
    run(one, trials, stack_size=1)
    run(two, trials, launcher="local", workers=2)
    assert columns(one) == columns(two)


def test_finished_trials_that_lack_it_are_evaluated_from_their_stored_weights(fresh, monkeypatch):
    trials = [trial(seed=seed, delay=delay, **SMALL) for seed in range(2) for delay in (3, 5)]
    late, early = fresh("late"), fresh("early")
    run(early, trials)
    run(late, trials, ())
    run(late, trials[:2], ASKED[:1])
    with monkeypatch.context() as patched:
        patched.setattr(worker, "chunks", None)  # nothing is trained
        outcome = run(late, trials)
    assert outcome.notes == ["eval.lengths: 4 finished before without them; evaluated now, from the stored weights"]
    assert columns(late) == columns(early)
    curves = [Reader(late).curves(run_id) for run_id in Reader(late).finished().values()]
    assert run(late, trials).notes == []
    again = [Reader(late).curves(run_id) for run_id in Reader(late).finished().values()]
    assert all(one.equals(other) for one, other in zip(curves, again, strict=True))
    assert not any(curve.duplicated(["key", "step"]).any() for curve in curves)
    assert set(Reader(late).trials()["mlflow_status"]) == {"FINISHED"}


def test_what_is_made_up_under_other_numerics_than_it_was_trained_under_is_told(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(4)]
    store = fresh("store")
    run(store, trials, ())
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        of_run = "key = 'rnnlab.numerics' AND run_uuid IN (SELECT run_uuid FROM tags WHERE value = ?)"
        connection.execute(f"UPDATE tags SET value = 'torch 1.0, cpu' WHERE {of_run}", (trials[0].key,))
        connection.execute(f"UPDATE tags SET value = 'torch 1.0, cpu' WHERE {of_run}", (trials[1].key,))
        connection.execute(f"DELETE FROM tags WHERE {of_run}", (trials[2].key,))  # it is not known
    done = "eval.lengths: 4 finished before without them; evaluated now, from the stored weights"
    other = "eval.lengths: 2 of them were trained under other numerics (torch 1.0, cpu), evaluated now under "
    assert run(store, trials).notes == [done, other + numerics()]
    assert run(store, trials).notes == []


def test_interrupted_while_it_makes_up_the_same_command_goes_on(fresh, monkeypatch):
    trials = [trial(seed=seed, delay=delay, **SMALL) for seed in range(2) for delay in (3, 5)]
    late, early = fresh("late"), fresh("early")
    run(early, trials)
    run(late, trials, ())
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return attempt(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr("rnnlab.make_up.attempt", interrupted)
        assert run(late, trials).exit_status == 130
    assert run(late, trials).exit_status == 0
    assert columns(late) == columns(early)


def test_a_launch_that_is_cut_off_ends_with_the_same_frame(fresh, monkeypatch):
    trials = [trial(seed=seed, delay=delay, **SMALL) for seed in range(2) for delay in (3, 5)]
    whole, cut = fresh("whole"), fresh("cut")
    run(whole, trials)
    for borders in (2, 1):
        with monkeypatch.context() as patched:
            crashes.interrupt_after(patched, borders)
            with pytest.raises(crashes.Interrupted):
                run(cut, trials, checkpoint_seconds=0)
    run(cut, trials)
    assert columns(cut) == columns(whole)


def test_without_stored_weights_a_line_says_what_to_do(fresh):
    trials = [trial(seed=seed, **SMALL) for seed in range(3)]
    store = fresh("store")
    run(store, trials[:2], (), weights="none")
    outcome = run(store, trials, weights="none")
    (note,) = outcome.notes
    assert note.startswith("eval.lengths: 2 finished without them, and the weights are not in the store (store.weights")
    assert note.endswith("; engine.mode=force trains all again")
    assert Reader(store).frame("tests")["at_length/9/loss"].notna().sum() == 1
    assert run(store, trials, weights="none", mode="force").notes == []
    assert Reader(store).frame("tests")["at_length/9/loss"].notna().all()


def test_a_larger_budget_has_its_own_and_not_those_of_the_smaller_one(fresh):
    small = trial(**SMALL)
    large = trial(**SMALL | {"max_steps": 12})
    store = fresh("store")
    run(store, [small])
    run(store, [large])
    finished = Reader(store).finished()
    curve = Reader(store).curves(finished[large.key])
    assert set(curve.loc[curve["key"].str.startswith(AT_LENGTH), "step"]) == {12}


def test_a_diverged_trial_has_none_and_lacks_none(fresh):
    wild = trial(cell="irnn", learning_rate=1e30, clip_threshold=None, **SMALL)
    store = fresh("store")
    assert run(store, [wild]).statuses == {DIVERGED: 1}
    assert lengths_in(Reader(store).frame("tests")) == []
    assert run(store, [wild]).notes == []


def test_records_that_have_not_ended_are_left_as_they_are(fresh, monkeypatch):
    one = trial(**SMALL)
    seen = []
    whole = worker._Worker._evaluated

    def noted(self, records):
        found = whole(self, records)
        seen.extend(zip(records, found, strict=True))
        return found

    monkeypatch.setattr(worker._Worker, "_evaluated", noted)
    run(fresh("store"), [one])
    assert {before.status for before, _ in seen} == {RUNNING, EXHAUSTED}
    for before, after in seen:
        kept = {name: value for name, value in after.metrics.items() if not name.startswith(AT_LENGTH)}
        assert bits(dataclasses.replace(after, metrics=kept)) == bits(before)
        assert (len(after.metrics) > len(before.metrics)) == (before.status in (SOLVED, EXHAUSTED))


def test_the_command_takes_a_list_and_tells_what_finished_without(monkeypatch, store, capsys):
    words = (*QUICK, "-m", "seed=0,1", "engine=inline", "engine.progress=plain", f"store.path={store}")
    assert command_line(monkeypatch, *words) == 0
    capsys.readouterr()
    assert command_line(monkeypatch, *words, "eval.lengths=[5, 30]", "engine.dry_run=true") == 0
    assert "5, 30; 2 finished without" in capsys.readouterr().err
    assert command_line(monkeypatch, *words, "eval.lengths=[5, 30]") == 0
    assert "2 finished before without them; evaluated now" in capsys.readouterr().err
    frame = Reader(store).frame("adhoc")
    assert lengths_in(frame) == [5, 30]
    assert frame["at_length/30/accuracy"].between(0, 1).all()
