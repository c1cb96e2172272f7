"""What single tasks show and ask for, beyond the laws of every task: their sequences, and the settings they refuse."""

import math

import pytest
import torch
from builders import nested, trial
from torch import Tensor

from rnnlab.build import build
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.tasks import MANY_TO_MANY, MANY_TO_ONE, Batch, Task
from rnnlab.tasks.agreement import ADJECTIVE, DETERMINER, PLURAL, PREPOSITION, SINGULAR, Agreement
from rnnlab.tasks.digits import CLASSES, HELD_OUT, Digits, images
from rnnlab.tasks.generate import Generate, table
from rnnlab.tasks.reverse import Reverse
from rnnlab.tasks.sensor import JAMMING, NORMAL, SLIPPING, Sensor
from rnnlab.tasks.tagging import Tagging


def sample(task: Task, size: int = 300) -> Batch:
    return task.sample(generator(0, "train"), size)


def sentences(batch: Batch) -> list[list[int]]:
    return [words[:length] for words, length in zip(batch.inputs.T.tolist(), batch.lengths.tolist(), strict=True)]


# Digits


def test_held_out_digits_are_all_shown_once_before_any_is_shown_again():
    train, kept = images()
    assert (len(train.digits) + len(kept.digits), len(kept.digits)) == (1797, HELD_OUT)
    batch = Digits().held_out(generator(0, "eval"), HELD_OUT + 40)
    shown = [image.numpy().tobytes() for image in batch.inputs.unbind(1)]
    assert len(set(shown[:HELD_OUT])) == HELD_OUT
    assert shown[HELD_OUT:] == shown[:40]
    assert batch.targets[-1, :HELD_OUT].bincount().tolist() == torch.tensor(kept.digits).bincount().tolist()


def test_the_orders_of_digits_show_the_same_pixels():
    rows, pixels, permuted = (sample(Digits(wait=3, order=order)).inputs for order in ("rows", "pixels", "permuted"))
    assert torch.equal(rows[:8].transpose(0, 1).flatten(1), pixels[:64, :, 0].T)
    assert not torch.equal(pixels, permuted)
    assert torch.equal(pixels.sort(0).values, permuted.sort(0).values)
    assert not rows[8:].any()
    assert not pixels[64:].any()


def test_the_baseline_of_digits_is_just_below_that_of_equally_likely_classes():
    assert math.log(CLASSES) - 0.001 < Digits().baseline < math.log(CLASSES)


# Sensor


def longest_runs(item: Tensor, length: int) -> tuple[int, int]:
    """Steps of the longest gap, and of the longest item."""
    runs = {False: 0, True: 0}
    steps = 0
    for t in range(length):
        steps = steps + 1 if t and item[t] == item[t - 1] else 1
        runs[bool(item[t])] = max(runs[bool(item[t])], steps)
    return runs[False], runs[True]


@pytest.mark.parametrize("task", [Sensor(), Sensor(distance=30, period=12, jitter=2, noise=0.6, drift=0.3)])
def test_the_longest_gap_and_item_of_a_signal_tell_its_class(task):
    """With no regard to where they are: what happens is an event of the signal, not of its clock."""
    batch = sample(task)
    usual = task.period // 2 + task.jitter
    found = []
    for signal, length in zip(batch.inputs[..., 0].T, batch.lengths.tolist(), strict=True):
        gap, item = longest_runs(signal > 0, length)
        found.append(SLIPPING if gap > usual else JAMMING if item > usual else NORMAL)
    assert found == batch.targets.sum(0).tolist()


def test_noise_and_drift_of_a_signal_are_bounded_and_vary_its_readings():
    clear, noisy = (sample(Sensor(noise=noise, drift=drift)) for noise, drift in ((0.0, 0.0), (0.5, 0.4)))
    assert clear.inputs.unique().tolist() == [-1, 0, 1]
    readings = noisy.inputs[noisy.inputs != 0].abs()
    assert 0.1 <= readings.min() < 0.3
    assert 1.7 < readings.max() <= 1.9
    drifts = sample(Sensor(noise=0.0, drift=0.4, varied=False)).inputs[..., 0]
    offsets = drifts - drifts.sign()
    assert torch.allclose(offsets.diff(dim=0), offsets.diff(dim=0).mean(0), atol=1e-6)


# Agreement


def test_a_sentence_is_a_subject_with_phrases_of_preposition_determiner_adjectives_and_noun():
    task = Agreement(distance=11, words=3)
    for words in sentences(sample(task)):
        kinds = [min((word - 1) // 3, SINGULAR) for word in words]
        subject = len(words) - 1 - task.distance
        assert kinds[: subject + 1] == [DETERMINER] + [ADJECTIVE] * (subject - 1) + [SINGULAR]
        assert kinds[subject + 1] == PREPOSITION
        for before, kind in zip(kinds[subject:], kinds[subject + 1 :], strict=False):
            assert (
                kind
                in {
                    SINGULAR: (PREPOSITION,),
                    PREPOSITION: (DETERMINER,),
                    DETERMINER: (ADJECTIVE, SINGULAR),
                    ADJECTIVE: (ADJECTIVE, SINGULAR),
                }[before]
            )
        assert kinds[-1] == SINGULAR


def test_the_last_noun_disagrees_with_the_subject_in_half_of_the_sentences():
    task = Agreement()
    batch = sample(task, 4000)
    last = torch.tensor([(words[-1] - 1) // task.words == PLURAL for words in sentences(batch)])
    verb = batch.targets.sum(0) == 1
    assert abs((last != verb).double().mean() - 0.5) < 0.03
    assert abs(verb.double().mean() - 0.5) < 0.03


def test_misled_is_the_share_of_outputs_that_wrongly_go_with_their_own_noun():
    task = Agreement(distance=3, words=1)
    inputs = torch.tensor([[1, 4, 3, 1, 5, 0, 0]]).T  # the KEY near the doors
    mask = (torch.arange(7) == 4).unsqueeze(1)
    batch = Batch(inputs, torch.zeros(7, 1, dtype=torch.int64), mask, torch.tensor([5]))
    plural = torch.tensor([0.0, 1.0]).expand(7, 1, 2)
    assert task.metrics(plural, batch)["misled"] == 1
    assert task.metrics(-plural, batch)["misled"] == 0
    agreeing = batch._replace(inputs=torch.where(inputs == 5, 4, inputs), targets=torch.ones_like(inputs))
    assert task.metrics(-plural, agreeing)["misled"] == 1
    assert task.metrics(plural, agreeing)["misled"] == 0


def test_the_form_of_agreement_is_that_of_what_it_asks():
    assert [Agreement(asks=asks).form for asks in ("verb", "words")] == [MANY_TO_ONE, MANY_TO_MANY]
    mask, lengths = sample(Agreement(distance=6, asks="words"))[2:]
    assert (mask.sum(0) == 6).all()
    assert (mask.sum(1) > 0).tolist() == [False, False, *[True] * 8]
    assert lengths.unique().tolist() == [8, 9, 10]


# Tagging


@pytest.mark.parametrize(("context", "before", "after"), [("right", 0, 3), ("left", 3, 0), ("both", 3, 3)])
def test_all_words_but_those_that_lack_their_context_have_a_tag(context, before, after):
    task = Tagging(distance=3, tagged=6, context=context)
    batch = sample(task)
    steps = torch.arange(task.length).unsqueeze(1)
    assert torch.equal(batch.mask, (steps >= before) & (steps < batch.lengths - after))
    assert batch.mask.sum(0).unique().tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("context", ["right", "both"])
def test_what_was_read_so_far_does_not_tell_a_tag_that_needs_what_is_to_come(context):
    """Sequences that agree up to a word: its tag has either digit of the later word."""
    task = Tagging(distance=1, tagged=2, kinds=2, context=context)
    batch = sample(task, 2000)
    step = task.before
    tags: dict[tuple, set] = {}
    for words, tag in zip(batch.inputs[: step + 1].T.tolist(), batch.targets[step].tolist(), strict=True):
        tags.setdefault(tuple(words), set()).add(tag)
    assert {len(found) for found in tags.values()} == {2}


# Reverse


@pytest.mark.parametrize(("order", "lags"), [("reverse", [1, 3, 5, 7]), ("copy", [4, 4, 4, 4])])
def test_reversing_a_source_makes_its_lags_start_at_one_and_leaves_their_mean(order, lags):
    task = Reverse(symbols=4, order=order)
    batch = sample(task)
    full = (batch.lengths == 4).nonzero()[0].item()
    rows = task.lags(batch)
    assert rows[rows[:, 1] == full][:, 2].tolist() == lags
    source = batch.inputs[:4, full]
    assert batch.targets[4:8, full].tolist() == (source if order == "copy" else source.flip(0)).tolist()
    assert (batch.mask.sum(0) == batch.lengths + 1).all()


# Generate


def test_every_note_occurs_equally_often_at_every_step_and_once_in_every_group():
    notes = torch.from_numpy(table(50, 12, 4))
    for step in notes:
        assert step.bincount().tolist() == [3, 3, 3, 3]
        assert step.reshape(3, 4).sort(1).values.tolist() == [[0, 1, 2, 3]] * 3
    assert len(set(map(tuple, notes.T.tolist()))) == 12


def test_a_melody_is_the_same_for_every_seed():
    task = Generate(notes=6)
    melodies = {}
    for seed in range(3):
        batch = task.sample(generator(seed, "train"), 40)
        for name, notes in zip(batch.inputs[0].tolist(), batch.targets.T.tolist(), strict=True):
            assert melodies.setdefault(name, notes) == notes
    assert len(melodies) == task.melodies


# Refusals


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"task": "sensor", "jitter": 4}, "task.jitter=4: must be below half of task.period=8"),
        ({"task": "sensor", "distance": 3}, "task.distance=3: must be >= 4, half of task.period=8"),
        (
            {"task": "sensor", "noise": 0.6, "drift": 0.4},
            "task.noise=0.6: must be below 1 - task.drift=0.4, or no reading is sure",
        ),
        ({"task": "generate", "alphabet": 3}, "task.melodies=8: must be a multiple of task.alphabet=3"),
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(fields, line):
    with pytest.raises(BadInput) as refusal:
        build(nested(**fields), registry())
    assert refusal.value.problems == (line,)
    assert trial(task=fields["task"]).task.baseline > 0
