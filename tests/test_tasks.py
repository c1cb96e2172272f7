"""Laws of every task in `rnnlab/tasks`. What a task claims is recomputed by its oracle, from `inputs` alone."""

import dataclasses
import math

import pytest
import torch
from builders import trial
from oracles import known
from torch import Tensor

from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.spec import name_of
from rnnlab.tasks import FORMS, MANY_TO_ONE, ONE_TO_MANY, SEQUENCE_TO_SEQUENCE, Batch, Task, at_steps, stacked
from rnnlab.tasks.adding import Adding
from rnnlab.tasks.copy import Copy
from rnnlab.tasks.multiplication import Multiplication
from rnnlab.tasks.noiseless_memorization import NoiselessMemorization
from rnnlab.tasks.parity import Parity
from rnnlab.tasks.random_permutation import RandomPermutation
from rnnlab.tasks.selective_copy import SelectiveCopy
from rnnlab.tasks.temporal_order import TemporalOrder
from rnnlab.tasks.variable_delay_copy import VariableDelayCopy

every_task = pytest.mark.parametrize(
    "task", [task for name in registry()["task"] for task in known(name).settings], ids=repr
)


def sample(task: Task, size: int = 40, purpose: str = "train", step: int = 0) -> Batch:
    return task.sample(generator(0, purpose, step), size)


def is_classes(batch: Batch) -> bool:
    return not batch.targets.is_floating_point()


def certain(task: Task, targets: Tensor) -> Tensor:
    """(T, B, O) outputs that say `targets`, with certainty where they are classes."""
    if targets.is_floating_point():
        return targets
    return 100.0 * torch.nn.functional.one_hot(targets, task.output_size).float()


def sequence_losses(task: Task, outputs: Tensor, batch: Batch) -> Tensor:
    """(B,) the loss of each sequence by itself: sequences take the place of models."""
    apart = batch._replace(
        **{name: getattr(batch, name).transpose(0, 1).unsqueeze(2) for name in ("inputs", "targets", "mask")},
        lengths=None if batch.lengths is None else batch.lengths.unsqueeze(1),
    )
    outputs = outputs.transpose(0, 1).unsqueeze(2)
    return task.loss(outputs[:, task.scored], at_steps(apart, task.scored))


@every_task
def test_the_same_generator_gives_the_same_batch(task):
    pairs = [pair for pair in zip(sample(task), sample(task), strict=True) if pair != (None, None)]
    assert all(torch.equal(one, other) for one, other in pairs)


@every_task
def test_train_and_eval_and_the_steps_of_training_have_data_of_their_own(task):
    drawn = [sample(task), sample(task, step=1), sample(task, purpose="eval")]
    assert len({batch.inputs.numpy().tobytes() for batch in drawn}) == 3
    if hasattr(task, "held_out"):
        kept = task.held_out(generator(0, "eval"), 400).inputs.unbind(1)
        assert not {values.numpy().tobytes() for values in kept} & {
            values.numpy().tobytes() for values in sample(task, 4000).inputs.unbind(1)
        }


@every_task
def test_a_batch_has_the_shapes_and_types_of_the_contract(task):
    batch = sample(task, 5)
    assert batch.mask.shape == (task.length, 5)
    assert batch.mask.dtype == torch.bool
    for values, size in ((batch.inputs, task.input_size), (batch.targets, task.output_size)):
        if values.is_floating_point():
            assert (values.dtype, values.shape) == (torch.float32, (task.length, 5, size))
            assert values.isfinite().all()
        else:
            assert (values.dtype, values.shape) == (torch.int64, (task.length, 5))
            assert values.min() >= 0
            assert values.max() < size
    assert task.symbolic == (not batch.inputs.is_floating_point())


@every_task
def test_the_mask_lies_within_the_scored_steps(task):
    mask = sample(task).mask
    assert mask[task.scored].any(dim=0).all(), "a sequence without a scored output"
    mask[task.scored] = False
    assert not mask.any()


@every_task
def test_the_dial_is_a_parameter_that_sets_the_distance(task):
    assert task.dial in {field.name for field in dataclasses.fields(task)}
    further = dataclasses.replace(task, **{task.dial: max(1, 2 * getattr(task, task.dial))})
    assert further.distance > task.distance
    assert (further.input_size, further.output_size) == (task.input_size, task.output_size)


@every_task
def test_the_settings_of_the_tests_are_ones_that_a_launch_accepts(task):
    for fields in (vars(task), known(task).short, known(task).long):
        assert trial(task=name_of(task), **fields)


@every_task
def test_the_form_says_which_outputs_are_asked_for(task):
    batch = sample(task, 60)
    assert task.form in FORMS
    lengths = torch.full((60,), task.length) if batch.lengths is None else batch.lengths
    if task.form == MANY_TO_ONE:
        assert (batch.mask.sum(0) == 1).all()
        assert batch.mask[lengths - 1, torch.arange(60)].all(), "the output is not at the sequence's own end"
    elif task.form == ONE_TO_MANY:
        assert not batch.inputs[1:].any()
    elif task.form == SEQUENCE_TO_SEQUENCE:
        assert not batch.inputs[task.source_length :].any()
        assert not batch.mask[: task.source_length].any()
        assert lengths.max() <= task.source_length
    else:
        assert not (batch.mask & (torch.arange(task.length)[:, None] >= lengths)).any(), "a scored step of padding"


@every_task
def test_padding_fills_what_follows_a_short_sequence(task):
    batch = sample(task, 60)
    if batch.lengths is None:
        return
    assert (batch.lengths.shape, batch.lengths.dtype) == ((60,), torch.int64)
    assert batch.lengths.min() >= 1
    beyond = torch.arange(task.length)[:, None] >= batch.lengths
    padding = batch.inputs[beyond]
    assert (padding == getattr(task, "padding", 0)).all()
    assert batch.lengths.unique().numel() > 1, "lengths that do not vary need not be told"


@every_task
def test_an_oracle_that_sees_only_the_inputs_solves_the_task(task):
    for draw in (task.sample, getattr(task, "held_out", task.sample)):
        batch = draw(generator(0, "eval"), 200)
        expected = known(task).oracle(task, batch.inputs)
        assert torch.equal(expected[batch.mask], batch.targets[batch.mask])
        outputs = certain(task, expected)[task.scored]
        metrics = {name: value.item() for name, value in task.metrics(outputs, at_steps(batch, task.scored)).items()}
        assert metrics["accuracy"] == 1
        assert metrics["loss"] == pytest.approx(0, abs=1e-6)
        assert metrics["loss"] == task.loss(outputs, at_steps(batch, task.scored)).item()
        assert task.solved(metrics)


@every_task
def test_the_best_predictor_without_memory_has_the_baseline_as_its_loss_and_does_not_solve_the_task(task):
    batch = sample(task, 20_000)
    outputs = known(task).blind(task, batch)
    losses = sequence_losses(task, outputs, batch).double()
    shares = batch.mask.sum(0) / batch.mask.sum()  # a batch is scored by the mean over outputs, not over sequences
    mean = (shares * losses).sum()
    error = (shares * (losses - mean)).square().sum().sqrt()
    assert abs(mean - task.baseline) <= 3 * error + 1e-6
    metrics = task.metrics(outputs[task.scored], at_steps(batch, task.scored))
    assert metrics["loss"].item() == pytest.approx(mean.item(), rel=1e-4)
    assert not task.solved({name: value.item() for name, value in metrics.items()})


@every_task
def test_no_constant_output_does_better_than_the_baseline(task):
    """The best one in hindsight, chosen for each time step: class frequencies, or means."""
    batch = sample(task, 20_000)
    counted = batch.mask.unsqueeze(-1).double()
    values = torch.nn.functional.one_hot(batch.targets, task.output_size) if is_classes(batch) else batch.targets
    means = (values * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True).clamp(min=1)
    outputs = (means.log() if is_classes(batch) else means).expand(-1, 20_000, -1)
    loss = task.loss(outputs[task.scored], at_steps(batch, task.scored)).item()
    assert loss >= 0.98 * task.baseline


@every_task
def test_a_scored_output_changes_with_the_input_at_each_of_its_lags_and_with_no_other(task):
    batch = sample(task, 30)
    inputs, changed = batch.inputs, known(task).changed(task, batch.inputs)
    rows = task.lags(batch)
    needed: dict[tuple[int, int], set[int]] = {tuple(place): set() for place in batch.mask.nonzero().tolist()}
    for t, b, lag in rows.tolist():
        needed[t, b].add(t - lag)
    places = list(needed)
    columns = torch.tensor([b for _, b in places])
    outputs_at = (torch.tensor([t for t, _ in places]), torch.arange(len(places)))

    def outputs(spliced: list[set[int]]) -> Tensor:
        """The output at each place, from inputs that are changed at the steps of its set."""
        mixed = inputs[:, columns].clone()
        for column, steps in enumerate(spliced):
            mixed[list(steps), column] = changed[list(steps), columns[column]]
        return known(task).oracle(task, mixed)[outputs_at]

    original = outputs([set() for _ in places])
    elsewhere = [set(range(task.length)) - steps for steps in needed.values()]
    assert torch.equal(outputs(elsewhere), original), "an output needs an input that is not among its lags"
    for rank in range(max(map(len, needed.values()))):
        single = [set(sorted(steps)[rank : rank + 1]) for steps in needed.values()]
        differs = (outputs(single) != original).reshape(len(places), -1).any(1)
        assert differs.tolist() == [bool(steps) for steps in single], "an output does not need one of its lags"


@every_task
def test_the_distance_is_the_largest_lag_that_occurs(task):
    lags = torch.cat([task.lags(sample(task, 500, step=step))[:, 2] for step in range(4)])
    assert lags.abs().max() == task.distance
    assert max(0, -lags.min()) == getattr(task, "ahead", 0), "what is to come is needed, and the task does not say so"


@every_task
def test_lags_name_scored_outputs_and_inputs_within_the_sequence(task):
    batch = sample(task)
    rows = task.lags(batch)
    assert (rows.ndim, rows.shape[1], rows.dtype) == (2, 3, torch.int64)
    t, b, lag = rows.unbind(1)
    assert batch.mask[t, b].all()
    assert (t - lag >= 0).all()
    assert (t - lag < (task.length if batch.lengths is None else batch.lengths[b])).all(), "a lag into padding"
    assert len(rows) == len(set(map(tuple, rows.tolist())))


@every_task
def test_the_loss_of_stacked_models_is_that_of_each(task):
    batches = [at_steps(sample(task, 6, step=step), task.scored) for step in range(3)]
    shape = (*batches[0].mask.shape, task.output_size)
    outputs = torch.from_numpy(generator(0, "test.outputs").standard_normal((3, *shape)))
    together = task.metrics(outputs, stacked(batches)) | {"only loss": task.loss(outputs, stacked(batches))}
    for place, batch in enumerate(batches):
        alone = task.metrics(outputs[place], batch) | {"only loss": task.loss(outputs[place], batch)}
        assert {name: value[place].item() for name, value in together.items()} == pytest.approx(
            {name: value.item() for name, value in alone.items()}, rel=1e-12
        )


@every_task
def test_outputs_that_are_not_scored_do_not_count(task):
    """Each loss and metric is the mean over the mask alone: here that of the first of two sequences."""
    batch = at_steps(sample(task, 2), task.scored)
    outputs = torch.from_numpy(generator(0, "test.outputs").standard_normal((*batch.mask.shape, task.output_size)))
    half = batch._replace(mask=batch.mask & torch.tensor([True, False]))
    alone = {name: getattr(batch, name)[:, :1] for name in ("inputs", "targets", "mask")}
    first = Batch(**alone, lengths=None if batch.lengths is None else batch.lengths[:1])
    for name, value in task.metrics(outputs, half).items():
        assert value.item() == pytest.approx(task.metrics(outputs[:, :1], first)[name].item(), rel=1e-12), name
    assert task.loss(outputs, half).item() == pytest.approx(task.loss(outputs[:, :1], first).item(), rel=1e-12)


@pytest.mark.parametrize(
    ("delay", "published"), [(100, 0.1733), (200, 0.0945), (300, 0.0650), (500, 0.0400), (1000, 0.0204)]
)
def test_the_baseline_of_copy_is_that_of_arjovsky_et_al(delay, published):
    task = Copy(delay=delay, symbols=10, alphabet=8, score="all")
    assert task.baseline == pytest.approx(10 * math.log(8) / (delay + 20), rel=1e-12)
    assert task.baseline == pytest.approx(published, abs=5e-5)
    assert (task.length, task.input_size, task.output_size, task.distance) == (delay + 20, 10, 9, delay + 10)


def test_the_baseline_of_copy_is_ln_8_where_only_the_recall_counts():
    assert Copy(delay=300, symbols=10, alphabet=8, score="recall").baseline == pytest.approx(math.log(8), rel=1e-12)


def test_the_baseline_of_adding_is_a_sixth_and_that_of_the_mean_a_quarter_of_it():
    assert Adding(length=50).baseline == pytest.approx(1 / 6, rel=1e-12)
    assert Adding(length=50, target="mean").baseline == pytest.approx(1 / 24, rel=1e-12)


@pytest.mark.parametrize(("symbols", "classes"), [(2, 4), (3, 8)])
def test_the_baselines_of_temporal_order_are_ln_4_and_ln_8(symbols, classes):
    task = TemporalOrder(length=100, symbols=symbols)
    assert task.baseline == pytest.approx(math.log(classes), rel=1e-12)
    assert (task.input_size, task.output_size, task.distance) == (6, classes, 89)


@pytest.mark.parametrize(
    ("choice", "sizes", "baseline"),
    [
        ({}, (15, 4, 3, 10), 5 * math.log(2) / 15),
        ({"delay": 100, "symbols": 10, "alphabet": 5, "patterns": "random"}, (120, 7, 6, 110), math.log(5) / 12),
        ({"delay": 100, "score": "recall"}, (110, 4, 3, 105), math.log(2)),
    ],
)
def test_the_forms_of_noiseless_memorization_have_the_sizes_worked_by_hand(choice, sizes, baseline):
    task = NoiselessMemorization(**choice)
    assert (task.length, task.input_size, task.output_size, task.distance) == sizes
    assert task.baseline == pytest.approx(baseline, rel=1e-12)


def test_noiseless_memorization_with_random_patterns_is_copy_memory():
    memorization = sample(NoiselessMemorization(delay=7, symbols=3, alphabet=4, patterns="random", score="recall"))
    copy = sample(Copy(delay=7, symbols=3, alphabet=4, score="recall"))
    assert all(torch.equal(one, other) for one, other in zip(memorization[:3], copy[:3], strict=True))


@pytest.mark.parametrize(
    ("variant", "drawn"), [("urnn", "ab....>.."), ("exprnn", "ab.....>."), ("tcn", "ab....>>>"), ("s4", "ab.....>>")]
)
def test_a_copy_sequence_looks_as_its_source_draws_it(variant, drawn):
    task = Copy(delay=5, symbols=2, alphabet=2, variant=variant)
    batch = sample(task)
    for inputs, targets in zip(batch.inputs.T.tolist(), batch.targets.T.tolist(), strict=True):
        assert "".join(".ab>"[symbol] for symbol in inputs)[2:] == drawn[2:]
        assert targets == [0] * 7 + inputs[:2]


def test_an_adding_sequence_has_one_marker_in_each_half():
    for length in (2, 3, 8, 9):
        markers = sample(Adding(length), 400).inputs[..., 1]
        assert (markers[: length // 2].sum(0) == 1).all()
        assert (markers[length // 2 :].sum(0) == 1).all()
        assert (markers.sum(1) > 0).all(), "a step that is never marked"


@pytest.mark.parametrize(
    ("task", "places"),
    [
        (Adding(40, markers="pascanu"), [set(range(4)), set(range(4, 20))]),
        (Multiplication(10, markers="pascanu"), [{0}, {1, 2, 3, 4}]),
        (Multiplication(5), [{0, 1}, {2, 3, 4}]),
        (Adding(4, markers="anywhere"), [{0, 1, 2}, {1, 2, 3}]),
    ],
    ids=repr,
)
def test_the_first_and_the_second_marker_stand_where_the_source_has_them(task, places):
    _, steps = torch.nonzero(sample(task, 1000).inputs[..., 1].T, as_tuple=True)
    assert [set(steps[rank::2].tolist()) for rank in (0, 1)] == places


def test_any_two_steps_are_marked_equally_often_where_they_stand_anywhere():
    markers = sample(Adding(4, markers="anywhere"), 6000).inputs[..., 1]
    pairs, counts = markers.T.unique(dim=0, return_counts=True)
    assert len(pairs) == 6
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


@pytest.mark.parametrize(
    ("task", "lengths"),
    [
        (Adding(110, lengths="varied"), range(100, 111)),
        (Multiplication(22, lengths="varied"), range(20, 23)),
        (Parity(5, lengths="varied"), range(2, 6)),
        (VariableDelayCopy(delay=4, symbols=3), range(7, 11)),
    ],
    ids=repr,
)
def test_lengths_that_vary_take_every_value_of_their_range(task, lengths):
    assert set(sample(task, 2000).lengths.tolist()) == set(lengths)


@pytest.mark.parametrize(
    ("symbols", "windows"),
    [(2, [{4, 5, 6, 7}, {20, 21, 22, 23}]), (3, [{4, 5, 6, 7}, {12, 13, 14, 15}, {24, 25, 26, 27}])],
)
def test_the_symbols_of_temporal_order_stand_in_their_tenths_of_the_sequence(symbols, windows):
    _, steps = torch.nonzero(sample(TemporalOrder(40, symbols), 500).inputs.T < 2, as_tuple=True)
    assert [set(steps[rank::symbols].tolist()) for rank in range(symbols)] == windows


def test_a_temporal_order_target_reads_as_a_binary_number():
    batch = sample(TemporalOrder(20, symbols=3), 50)
    for inputs, target in zip(batch.inputs.T.tolist(), batch.targets[-1].tolist(), strict=True):
        assert "".join(str(symbol) for symbol in inputs if symbol < 2) == f"{target:03b}"


def test_no_symbol_comes_twice_in_a_permutation():
    for sequence in sample(RandomPermutation(length=9, alphabet=10)).inputs.T.tolist():
        assert sequence[0] in (0, 1)
        assert sorted(sequence[1:]) == list(range(2, 10))
    repeated = sample(RandomPermutation(length=9, alphabet=10, between="independent")).inputs.T.tolist()
    assert any(len(set(sequence)) < 9 for sequence in repeated)


def test_a_balanced_batch_holds_every_pattern_equally_often_up_to_one():
    for size in (32, 50, 64, 200):
        patterns, counts = sample(NoiselessMemorization(), size).inputs[:5].unique(dim=1, return_counts=True)
        assert patterns.shape[1] == 32
        assert set(counts.tolist()) == {size // 32, -(-size // 32)}


def test_any_places_of_a_selective_copy_are_equally_likely():
    task = SelectiveCopy(span=4, symbols=2)
    places, counts = (sample(task, 6000).inputs[:4] > 0).T.unique(dim=0, return_counts=True)
    assert len(places) == 6
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


def test_parity_has_no_partial_credit():
    """Among strings that agree in all bits but one, wherever that is, as many are odd as even."""
    batch = sample(Parity(4), 4000)
    for hidden in range(4):
        others = [step for step in range(4) if step != hidden]
        for group in batch.inputs[others].unique(dim=1).T:
            alike = (batch.inputs[others] == group[:, None]).all(0)
            odd = batch.targets[-1, alike].double()
            assert abs(odd.mean() - 0.5) < 5 * 0.5 / len(odd) ** 0.5


@pytest.mark.parametrize("name", registry()["task"])
def test_the_tasks_that_the_tests_take_are_not_refused(name):
    for task in known(name).settings:
        fields = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
        assert trial(task=name, **fields).task == task


@pytest.mark.parametrize(
    ("name", "fields", "line"),
    [
        ("adding", {"length": 9, "markers": "pascanu"}, "task.length=9: must be >= 10 with task.markers=pascanu, "),
        ("adding", {"length": 10, "lengths": "varied"}, "task.length=10: must be >= 11 with task.lengths=varied, "),
        ("multiplication", {"length": 9, "markers": "pascanu"}, "task.length=9: must be >= 10 with task.markers=pasc"),
        ("parity", {"length": 2, "lengths": "varied"}, "task.length=2: must be >= 3 with task.lengths=varied"),
        ("selective_copy", {"span": 2, "symbols": 3}, "task.span=2: must be >= task.symbols=3, "),
        ("random_permutation", {"length": 100}, "task.length=100: must be <= 99 with task.alphabet=100: "),
        ("associative_recall", {"pairs": 5}, "task.keys=4: must be >= task.pairs=5, "),
        ("noiseless_memorization", {"symbols": 13}, "task.patterns=balanced: must be random with task.alphabet=2 and "),
    ],
)
def test_fields_that_do_not_go_together_are_refused_in_one_line(name, fields, line):
    with pytest.raises(BadInput) as refusal:
        trial(task=name, **fields)
    (said,) = refusal.value.problems
    assert said.startswith(line)
