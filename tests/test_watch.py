"""Diagnostics while networks train: when they are due, what they find, and that they change nothing."""

import json
import math
from dataclasses import replace

import pytest
import torch
from builders import bits, trial
from oracles import known
from stacks import mates
from test_trajectory import RECURRENT

from rnnlab.diagnostics import observation
from rnnlab.diagnostics.activity import participation_ratio, saturation
from rnnlab.diagnostics.capacity import memory_capacity
from rnnlab.diagnostics.flow import by_lag, gradient_flow, relative
from rnnlab.diagnostics.lyapunov import lyapunov_spectrum
from rnnlab.diagnostics.matrices import spectrum
from rnnlab.diagnostics.prediction import predictions
from rnnlab.diagnostics.trajectory import trajectories
from rnnlab.draws import held_out
from rnnlab.frame import rows_of
from rnnlab.model import shapes
from rnnlab.record import DIAGNOSED, DIVERGED, EXHAUSTED
from rnnlab.registry import registry
from rnnlab.train import Stack, chunks
from rnnlab.watch import BETWEEN, DiagnosticsSettings, Watch, refusals, undiagnosed

TINY = {"hidden_size": 6, "delay": 3, "max_steps": 12, "eval_every": 2, "eval_size": 5, "batch_size": 4}
ALWAYS = DiagnosticsSettings(every=1, states=True, capacity=True)


def watched(trials, settings=ALWAYS):
    """All records of the trials in one stack, and the watch."""
    watch = Watch(settings)
    return [record for records in chunks(Stack(trials, watch=watch)) for record in records], watch


def is_diagnosed(name):
    return name.startswith(DIAGNOSED)


def undiagnosed_part(record):
    """The record without what was observed."""
    metrics = {name: value for name, value in record.metrics.items() if not is_diagnosed(name)}
    return replace(record, metrics=metrics, observed={})


# It changes nothing


@pytest.mark.parametrize("cell", RECURRENT)
def test_no_training_number_changes_to_the_bit(cell):
    trials = mates(cell=cell, **{name: TINY[name] for name in ("delay", "hidden_size")})
    plain = [record for records in chunks(Stack(trials)) for record in records]
    found, watch = watched(trials)
    assert not watch.failed
    assert [bits(undiagnosed_part(record)) for record in found] == [bits(record) for record in plain]
    assert any(is_diagnosed(name) for record in found for name in record.metrics)
    assert all(not record.observed for record in plain)


def test_settings_of_diagnostics_are_no_part_of_a_trial():
    assert not {"diagnostics"} & set(trial().mapping())


STACKS = [
    *({"cell": cell, "delay": 3} for cell in RECURRENT),
    {"task": "adding", "length": 40, "lengths": "varied", "bidirectional": True},
    {"task": "reverse", "layers": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("fields", STACKS, ids=str)
def test_what_is_observed_does_not_depend_on_the_stack(fields):
    """To the bit: five trials together, and each alone."""
    trials = mates(**fields)
    together, _ = watched(trials)
    alone = [record for one in trials for record in watched([one])[0]]
    for records in (together, alone):
        records.sort(key=lambda record: (record.key, record.step))
    assert [bits(record) for record in together] == [bits(record) for record in alone]
    assert [json.dumps(record.observed) for record in together] == [json.dumps(record.observed) for record in alone]


def test_groups_that_bounded_memory_makes_give_the_same(monkeypatch):
    trials = mates(delay=3)
    whole, _ = watched(trials)
    monkeypatch.setattr("rnnlab.watch.ELEMENTS", 1)
    found, _ = watched(trials)
    assert [bits(record) for record in found] == [bits(record) for record in whole]


# When it is due


def points(settings, **fields):
    one = trial(**fields)
    watch = Watch(settings)
    steps = range(0, one.train.max_steps, one.train.eval_every)
    return [step for step in steps if watch.due(one, step)]


@pytest.mark.parametrize("budget", [220, 400, 600, 1000, 2000, 2001, 12345])
def test_by_default_there_are_ten_points_between_the_beginning_and_the_end(budget):
    found = points(DiagnosticsSettings("auto"), max_steps=budget, eval_every=20)
    assert found[0] == 0
    assert len(found) == 1 + BETWEEN
    gaps = [later - before for before, later in zip(found, [*found[1:], budget], strict=True)]
    assert max(gaps) - min(gaps) <= 40


def test_with_few_evaluations_each_is_a_point():
    assert points(DiagnosticsSettings("auto"), max_steps=100, eval_every=20) == [0, 20, 40, 60, 80]


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [0, 20, 40, 60, 80, 100]), (40, [0, 40, 80]), (50, [0, 60, 100]), (1000, [0])],
)
def test_an_interval_counts_to_the_first_evaluation_at_or_after_it(every, expected):
    assert points(DiagnosticsSettings(every), max_steps=120, eval_every=20) == expected


def test_trials_are_observed_at_their_beginning_when_due_and_at_their_end_whatever_it_is():
    diverging = trial(**TINY, learning_rate=1e39, clip_threshold=None, seed=1)
    records, _ = watched([trial(**TINY), diverging], DiagnosticsSettings(every=6))
    steps = {}
    for record in records:
        if any(is_diagnosed(name) for name in record.metrics):
            steps.setdefault(record.key, []).append((record.step, bool(record.observed)))
    (first, second) = steps.values()
    assert first == [(0, True), (6, False), (12, True)]
    assert second[0] == (0, True)
    (last,) = [record for record in records if record.status == DIVERGED]
    assert second[-1] == (last.step, True)


# What it finds


def last_of(records):
    return next(record for record in records if record.ended)


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "adding", "length": 12, "lengths": "varied"},
        {"task": "copy", "delay": 3, "cell": "lstm", "layers": 2},
        {"task": "copy", "delay": 3, "embedding_size": 3},
    ],
    ids=str,
)
def test_it_finds_what_the_diagnostics_say_of_the_weights(fields):
    one = trial(**{"hidden_size": 6, "max_steps": 4, "eval_every": 2, "eval_size": 5, "batch_size": 4} | fields)
    last = last_of(watched([one])[0])
    assert last.status == EXHAUSTED
    own = {name: last.weights[name].unsqueeze(0).double() for name in shapes(one)}
    batch = held_out(one.task, [one.seed], observation.SEQUENCES)
    doubled = [values.double() if values is not None and values.is_floating_point() else values for values in batch]
    batch = type(batch)(*doubled)
    flows = gradient_flow(one, own, batch)
    assert list(last.observed) == [*(f"layer {level + 1}" for level in range(one.model.layers)), "network"]
    for level, flow in enumerate(flows):
        path, prefix = flow.path, f"diagnostics/layer_{level + 1}/"
        few = path.of_sequences(slice(0, observation.ALONG))
        lengths = None if batch.lengths is None else batch.lengths[:, : observation.ALONG]
        exponents = lyapunov_spectrum(few, 1, lengths=lengths).exponents[0, :, 0].tolist()
        expected = {
            "lyapunov": sum(exponents) / 2,
            "participation_ratio": participation_ratio(path, lengths=batch.lengths).item(),
            "memory_capacity": memory_capacity(path, delays=6).total.item(),
            "saturation": saturation(path, lengths=batch.lengths).item(),
        }
        if one.flat()["cell"] == "elman":
            matrix = spectrum(own["W_hh"])
            expected["spectral_radius"] = matrix.spectral_radius.item()
            expected["largest_singular_value"] = matrix.largest_singular_value.item()
            expected["departure_from_normality"] = matrix.relative_departure.item()
        expected = {prefix + name: value for name, value in expected.items() if math.isfinite(value)}
        found = {name: value for name, value in last.metrics.items() if name in expected}
        assert found == pytest.approx(expected, rel=1e-9)
        table = last.observed[f"layer {level + 1}"]["gradient/mean"]
        mean = by_lag(relative(flow)).mean[0, table["index"]]
        assert table["value"] == pytest.approx(mean.tolist(), rel=1e-5, abs=1e-6)


def test_points_between_hold_the_same_as_the_whole_would_to_single_precision():
    one = trial(**TINY)
    watch, stack = Watch(ALWAYS), Stack([one])
    parameters = {name: leaf.detach() for name, leaf in stack.leaves.items()}
    (between,), (end,) = (watch.observe([one], parameters, [2], [ended]) for ended in (False, True))
    assert between.details is None
    assert set(between.metrics) < set(end.metrics)
    for name, value in between.metrics.items():
        assert value == pytest.approx(end.metrics[name], rel=1e-3, abs=1e-5)


def test_theory_is_told_of_the_weights_as_they_were_drawn_and_never_again():
    one = trial(**TINY, spectral_radius=0.7, init="orthogonal")
    records, _ = watched([one])
    theory = {name: value for name, value in records[0].metrics.items() if name.startswith("theory/")}
    parameters = {name: leaf.detach() for name, leaf in Stack([one]).leaves.items()}
    (path,), _ = trajectories(one, parameters, held_out(one.task, [0], observation.SEQUENCES))
    (expected,) = predictions(path)
    assert theory["theory/layer_1/slope"] == pytest.approx(expected.slope)
    assert theory["theory/layer_1/gain"] == pytest.approx(0.7)
    assert theory["theory/layer_1/reach"] == pytest.approx(expected.reach())
    assert not any(name.startswith("theory/") for record in records[1:] for name in record.metrics)


@pytest.mark.parametrize("cell", ["lstm", "irnn"])
def test_theory_says_nothing_of_cells_that_it_is_not_for(cell):
    records, _ = watched([trial(cell=cell, **TINY)])
    assert not any(name.startswith("theory/") for name in records[0].metrics)


def test_the_size_of_an_update_is_that_of_the_last_step_before_the_point():
    one = trial(**TINY, momentum=0.0, learning_rate=0.1, clip_threshold=None)
    found = {record.step: record.metrics.get("diagnostics/update_ratio") for record in watched([one])[0]}
    assert found.pop(0) is None
    stack = Stack([one])
    stack.evaluate(stack.unseen())
    for step in range(1, 13):
        before = stack.parameters.clone()
        stack.slots[0].border = step  # one step at a time
        stack.train_to_border()
        if step in found:
            moved = (stack.parameters - before).double().norm() / before.double().norm()
            assert found[step] == pytest.approx(moved.item(), rel=1e-6)


def test_gradients_that_vanish_to_zero_are_counted_and_not_averaged():
    """Relu units with all biases far below zero: nothing comes back."""
    one = trial(**TINY, cell="elman", nonlinearity="relu")
    stack = Stack([one])
    parameters = {name: leaf.detach().clone() for name, leaf in stack.leaves.items()}
    parameters["b_h"] -= 100
    (found,) = Watch(ALWAYS).observe([one], parameters, [0], [False])
    assert found.metrics["diagnostics/layer_1/gradient_zero"] > 0.8
    assert found.metrics["diagnostics/layer_1/dead_units"] == 1
    table = {index: value for _, _, index, _, value in rows_of(found.details, ["gradient/mean"])}
    assert math.isnan(table[2])


def test_gradients_that_are_not_finite_are_counted_and_not_averaged():
    one = trial(**TINY | {"delay": 30}, nonlinearity="identity", spectral_radius=1e30)
    stack = Stack([one])
    parameters = {name: leaf.detach() for name, leaf in stack.leaves.items()}
    (found,) = Watch(ALWAYS).observe([one], parameters, [0], [False])
    broken = [value for *_, value in rows_of(found.details, ["gradient/broken"])]
    assert found.metrics["diagnostics/layer_1/gradient_broken"] == pytest.approx(
        sum(broken) / len(broken) / observation.SEQUENCES
    )
    assert max(broken) > 0


def test_what_lies_below_a_dead_layer_gets_gradients_that_are_zero_and_not_broken():
    one = trial(**TINY, cell="elman", nonlinearity="relu", layers=2)
    parameters = {name: leaf.detach().clone() for name, leaf in Stack([one]).leaves.items()}
    parameters["layer1.b_h"] -= 100
    (found,) = Watch(ALWAYS).observe([one], parameters, [0], [False])
    for layer in ("layer_1", "layer_2"):
        assert found.metrics[f"diagnostics/{layer}/gradient_broken"] == 0
    assert found.metrics["diagnostics/layer_1/gradient_zero"] == 1
    assert not any(value > 0 for *_, value in rows_of({"layer 1": found.details["layer 1"]}, ["gradient/counted"]))


def test_an_exponent_is_the_mean_over_sequences_and_its_error_that_of_the_mean():
    one = trial(task="adding", length=100, hidden_size=6, input_scale=1.0)
    parameters = {name: leaf.detach() for name, leaf in Stack([one]).leaves.items()}
    (found,) = Watch(ALWAYS).observe([one], parameters, [20], [False])
    (path,), _ = trajectories(one, parameters, held_out(one.task, [0], observation.SEQUENCES))
    every = 100 // observation.PERIODS
    each = [lyapunov_spectrum(path.of_sequences(slice(i, i + 1)), 1, every=every) for i in range(observation.ALONG)]
    values, errors = ([of[place].item() for of in each] for place in (0, 1))
    assert found.metrics["diagnostics/layer_1/lyapunov"] == pytest.approx(sum(values) / 2)
    assert found.metrics["diagnostics/layer_1/lyapunov_error"] == pytest.approx(math.hypot(*errors) / 2)
    assert found.metrics["diagnostics/layer_1/lyapunov_converged"] in (0, 0.5, 1)
    assert "diagnostics/layer_1/lyapunov_collapsed" not in found.metrics


def test_too_few_steps_say_nothing_of_convergence_and_a_collapsed_exponent_says_so():
    one = trial(**TINY, cell="elman", nonlinearity="relu")
    parameters = {name: leaf.detach().clone() for name, leaf in Stack([one]).leaves.items()}
    (alive,) = Watch(ALWAYS).observe([one], parameters, [2], [False])
    assert "diagnostics/layer_1/lyapunov_converged" not in alive.metrics
    parameters["b_h"] -= 100
    (dead,) = Watch(ALWAYS).observe([one], parameters, [2], [False])
    assert dead.metrics["diagnostics/layer_1/lyapunov_collapsed"] == 1
    assert "diagnostics/layer_1/lyapunov" not in dead.metrics


def test_the_ratio_of_an_update_is_told_once():
    """A trial that diverges between evaluations has none, however often it was interrupted before."""
    fields = {"nonlinearity": "identity", "learning_rate": 0.1, "eval_every": 5, "max_steps": 200}
    sizes = {"hidden_size": 16, "batch_size": 4, "eval_size": 5}
    records, _ = watched([trial(task="adding", length=20, clip_threshold=None, **fields, **sizes)])
    last = last_of(records)
    assert last.status == DIVERGED
    assert last.step % 5
    assert "diagnostics/update_ratio" not in last.metrics


# The states of a sequence


@pytest.mark.parametrize("task", registry()["task"])
def test_the_states_of_the_first_sequence_are_those_that_the_network_goes_through(task):
    one = trial(task=task, hidden_size=5, max_steps=1, eval_size=3, batch_size=3, **known(task).short)
    stack = Stack([one])
    parameters = {name: leaf.detach() for name, leaf in stack.leaves.items()}
    (found,) = Watch(ALWAYS).observe([one], parameters, [0], [False])
    assert found.metrics["diagnostics/states"] == 1
    batch = held_out(one.task, [one.seed], observation.SEQUENCES)
    paths, outputs = trajectories(one, parameters, batch)
    scored = range(one.task.length)[one.task.scored]
    asked = [step for step in scored if batch.mask[0, step, 0]]
    network = found.details["network"]
    assert network["output"]["index"] == network["target"]["index"] == asked
    kept = outputs[0, [scored.index(step) for step in asked], 0, : one.task.output_size]
    torch.testing.assert_close(torch.tensor(network["output"]["value"]), kept, rtol=1e-3, atol=1e-4)
    shown = torch.tensor(network["input"]["value"])
    assert shown.shape == (one.task.length, one.task.input_size)
    if one.task.symbolic:
        assert shown.argmax(1).tolist() == batch.inputs[0, :, 0].tolist()
    layers = [name for name in found.details if name != "network"]
    for name, path in zip(layers, paths, strict=True):
        states = torch.tensor(found.details[name]["state"]["value"])
        torch.testing.assert_close(states, path.outputs()[0, :, 0, :5], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("task", registry()["task"])
def test_a_changed_input_changes_states_from_its_step_on_and_no_other_input(task):
    one = trial(task=task, hidden_size=5, max_steps=1, eval_size=3, batch_size=3, **known(task).short)
    (found,) = Watch(ALWAYS).observe([one], {n: v.detach() for n, v in Stack([one]).leaves.items()}, [0], [False])
    batch = held_out(one.task, [one.seed], observation.SEQUENCES)
    rows = one.task.lags(type(batch)(*(None if field is None else field[0] for field in batch)))
    earliest = min((time - lag for time, sequence, lag in rows.tolist() if sequence == 0), default=None)
    network = found.details["network"]
    if "changed/input" not in network:
        assert earliest is None or task == "generate"
        return
    inputs, changed = (torch.tensor(network[name]["value"]) for name in ("input", "changed/input"))
    assert (inputs != changed).any(1).nonzero()[:, 0].tolist() == [earliest]
    for layer in [name for name in found.details if name != "network"]:
        states, others = (torch.tensor(found.details[layer][name]["value"]) for name in ("state", "changed/state"))
        differ = (states - others).abs().amax(1) > 0
        begin = found.details[layer]["state"]["index"][0]
        assert not differ[: max(0, earliest - begin)].any()
        assert differ[max(0, earliest - begin)]


def test_a_layer_that_reads_from_the_end_is_shown_in_the_order_of_time():
    one = trial(task="adding", length=30, lengths="varied", bidirectional=True, hidden_size=4, seed=1)
    parameters = {name: leaf.detach() for name, leaf in Stack([one]).leaves.items()}
    (found,) = Watch(ALWAYS).observe([one], parameters, [0], [False])
    batch = held_out(one.task, [one.seed], observation.SEQUENCES)
    paths, _ = trajectories(one, parameters, batch)
    backward = next(path for path in paths if path.part.backward)
    length = int(batch.lengths[0, 0])
    assert length < one.task.length
    states = torch.tensor(found.details["layer 1 backward"]["state"]["value"])
    read = backward.outputs()[0, :length, 0, :4].flip(0)
    torch.testing.assert_close(states[:length], read, rtol=1e-3, atol=1e-4)


# Where it cannot be


def test_what_cannot_be_diagnosed_is_refused_before_anything_trains():
    several = [trial(cell="tcn"), trial(cell="elman"), trial(cell="tcn", seed=1)]
    (line,) = refusals(several, DiagnosticsSettings("auto"))
    assert line.startswith("diagnostics.every=auto: cell=tcn has no states that could be looked at; must be null, or")
    assert refusals(several, DiagnosticsSettings()) == []
    (line,) = refusals(several, DiagnosticsSettings(states=True))
    assert line.startswith("diagnostics.states=true: has no effect without diagnostics.every")


def test_a_diagnostic_that_fails_costs_no_trial_and_is_told(monkeypatch):
    def fails(*_):
        raise MemoryError("no more")

    plain = [record for records in chunks(Stack([trial(**TINY)])) for record in records]
    monkeypatch.setattr("rnnlab.watch.observe", fails)
    found, watch = watched([trial(**TINY)], DiagnosticsSettings(every=1))
    assert [bits(undiagnosed_part(record)) for record in found] == [bits(record) for record in plain]
    (line,) = undiagnosed(watch.failed)
    assert line == "diagnostics: left out 5 times (MemoryError: no more); training is not affected"


def test_a_network_that_cannot_be_diagnosed_costs_no_other_its_observations(monkeypatch):
    whole = observation.observe

    def fails(trial, parameters, batch):
        if parameters["W_hh"][:, 0, 0].isnan().any():
            raise ArithmeticError("no convergence")
        return whole(trial, parameters, batch)

    monkeypatch.setattr("rnnlab.watch.observe", fails)
    trials = [trial(**TINY, seed=seed) for seed in range(3)]
    parameters = {name: leaf.detach().clone() for name, leaf in Stack(trials).leaves.items()}
    parameters["W_hh"][1, 0, 0] = math.nan
    watch = Watch(DiagnosticsSettings(every=1))
    found = watch.observe(trials, parameters, [2, 2, 2], [False] * 3)
    assert [bool(one.metrics) for one in found] == [True, False, True]
    assert dict(watch.failed) == {"ArithmeticError: no convergence": 1}


def test_states_beyond_measure_are_refused():
    (line,) = refusals([trial(delay=20000)], DiagnosticsSettings("auto", states=True))
    assert line == "diagnostics.states=true: 1,280,384 states of a sequence, at most 1,000,000 are kept; must be false"
