"""Laws of the cells that are `torch.nn.Module`s, of this folder or any package; and what a class must be to be one."""

import math
import os
import subprocess
import sys
from pathlib import Path

import layers
import pytest
import torch
from builders import allocations, courses, normal, trial
from stacks import LONG, long, mates, short, solo
from torch import Tensor

from rnnlab.bptt import gradients
from rnnlab.cells import template
from rnnlab.cells.module import Module, problems
from rnnlab.cells.tcn import Tcn
from rnnlab.cells.transformer import Transformer
from rnnlab.looped import saved_numbers, unroll_modules
from rnnlab.model import Layout, forward, initial, run, shapes
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.store.reader import Reader
from rnnlab.tasks import Batch, stacked
from rnnlab.train import Stack, fit, one_thread

CELLS = [
    {"cell": "tcn", "kernel": 2, "blocks": 2},
    {"cell": "tcn", "kernel": 3, "blocks": 3},
    {"cell": "transformer", "heads": 1, "context": 3},  # sequences are longer than the context
    {"cell": "transformer", "heads": 3, "blocks": 1},
    {"cell": "module", "path": "torch.nn.GRU"},
    {"cell": "module", "path": "torch.nn.LSTM", "options": '{"num_layers": 2}'},
    {"cell": "module", "path": "layers.Leaky", "options": '{"rate": 0.3}'},
]
BATCHED = [{"cell": "module", "path": "layers.Leaky", "batching": "vmap"}]
ALL = slice(None)

every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
every_way = pytest.mark.parametrize("cell", CELLS + BATCHED, ids=str)


def stacked_weights(one, models: int = 2) -> dict[str, Tensor]:
    """Random parameters in float64, ready for gradients; none is 0."""
    return {
        name: (normal(name, models, *shape) / math.sqrt(shape[-1])).requires_grad_()
        for name, shape in shapes(one).items()
    }


def small(cell: dict, hidden: int = 6, length: int = 8, **fields):
    return trial(**cell, task="adding", length=length, hidden_size=hidden, **fields)


def real_inputs(one, models: int = 2, batch: int = 3) -> Tensor:
    return normal("inputs", models, one.task.length, batch, one.task.input_size).requires_grad_()


def test_every_module_cell_is_tested_here():
    assert {cell["cell"] for cell in CELLS} == {
        name for name, spec in registry()["cell"].items() if hasattr(spec, "module")
    }


# Laws


@every_way
@pytest.mark.parametrize("t", range(8))
def test_the_output_at_a_step_does_not_see_inputs_after_it(cell, t):
    one = small(cell)
    inputs = real_inputs(one)
    outputs = forward(one, stacked_weights(one), inputs, ALL)
    (gradient,) = torch.autograd.grad(outputs[:, t].square().sum(), inputs)
    assert (gradient[:, t + 1 :] == 0).all()
    assert (gradient[:, t] != 0).any()


@every_way
@pytest.mark.parametrize("stretches", [[1] * 8, [3, 1, 4], [5, 3]], ids=str)
@pytest.mark.parametrize("levels", [1, 2])
def test_going_on_from_the_returned_states_equals_the_whole_sequence(cell, stretches, levels):
    one = small(cell, layers=levels)
    weights, inputs = stacked_weights(one), real_inputs(one)
    whole, _ = run(one, weights, inputs, ALL)
    states, found = None, []
    for part in inputs.split(stretches, dim=1):
        outputs, states = run(one, weights, part, ALL, start=states)
        found.append(outputs)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-10, atol=1e-10)


@every_way
def test_going_on_without_gradients_changes_nothing(cell):
    one = small(cell)
    weights, inputs = {name: values.detach() for name, values in stacked_weights(one).items()}, real_inputs(one)
    start, states = run(one, weights, inputs[:, :5].detach(), ALL)
    rest, _ = run(one, weights, inputs[:, 5:].detach(), ALL, start=states)
    whole = forward(one, stacked_weights(one), inputs, ALL)
    torch.testing.assert_close(torch.cat([start, rest], 1), whole.detach(), rtol=1e-10, atol=1e-10)


@every_way
def test_the_models_of_a_stack_do_not_see_each_other(cell):
    one = small(cell)
    weights, inputs = stacked_weights(one, 3), real_inputs(one, 3)
    outputs = forward(one, weights, inputs, ALL)
    found = torch.autograd.grad(outputs[1].square().sum(), [*weights.values(), inputs], materialize_grads=True)
    for gradient in found:
        assert (gradient[[0, 2]] == 0).all()


@every_way
@pytest.mark.parametrize("scored", [ALL, slice(-1, None), slice(1, 3)], ids=str)
def test_gradients_agree_with_finite_differences(cell, scored):
    one = small(cell, hidden=3, length=4)
    weights = stacked_weights(one)

    def outputs(inputs, *values):
        return forward(one, dict(zip(weights, values, strict=True)), inputs, scored)

    inputs = real_inputs(one, batch=2)
    assert torch.autograd.gradcheck(outputs, (inputs, *weights.values()), atol=1e-6, fast_mode=True)


@pytest.mark.slow
@every_cell
@pytest.mark.parametrize("hidden_size", [3, 33, 48])
@pytest.mark.parametrize("task", ["copy", "adding"])
def test_a_trial_trains_in_a_stack_as_it_does_alone(cell, hidden_size, task):
    trials = mates(**cell, **short(task), hidden_size=hidden_size, optimizer="adam")
    assert courses(fit(trials)) == solo(trials)


@pytest.mark.parametrize("hidden_size", [16, 33])
@pytest.mark.parametrize("cell", [CELLS[1], CELLS[4], CELLS[5]], ids=str)
def test_a_trial_of_long_sequences_trains_in_a_stack_as_it_does_alone(cell, hidden_size):
    trials = mates(**LONG | cell | long("copy") | {"hidden_size": hidden_size})
    assert courses(fit(trials)) == solo(trials)


@pytest.mark.slow
@pytest.mark.parametrize(("hidden_size", "heads"), [(16, 4), (33, 3), (33, 11)])
@pytest.mark.parametrize("context", [20, 256])
def test_a_transformer_of_long_sequences_trains_in_a_stack_as_it_does_alone(hidden_size, heads, context):
    cell = {"cell": "transformer", "hidden_size": hidden_size, "heads": heads, "context": context}
    trials = mates(**LONG | long("copy") | cell)
    assert courses(fit(trials)) == solo(trials)


def test_all_that_a_module_sees_begins_where_that_of_a_single_model_does():
    """The bits of a matrix product can depend on where in memory its operands begin."""
    trials = mates(cell="module", path="layers.Noting", delay=3, layers=2)
    layers.Notes.begins.clear()
    list(fit(trials))
    assert set(layers.Notes.begins) == {0}
    assert len(layers.Notes.begins) > 100


@every_cell
def test_two_layers_with_embedding_in_both_directions_train_in_a_stack_as_they_do_alone(cell):
    form = {"layers": 2, "bidirectional": True, "embedding_size": 5, "dropout": 0.2}
    trials = mates(**short("agreement") | form | cell, hidden_size=9)[:3]
    assert courses(fit(trials)) == solo(trials)


@every_way
def test_nothing_is_read_of_the_init(cell):
    one = trial(**cell, hidden_size=6, input_scale=0.1, spectral_radius=0.9)
    other = trial(**cell, hidden_size=6, init="orthogonal", input_scale=0.7)
    assert one.key == other.key
    assert all(map(torch.equal, initial(one).values(), initial(other).values()))


@every_way
def test_initial_weights_depend_on_the_seed_alone_and_leave_global_chance_as_it_was(cell):
    one, other = trial(**cell, hidden_size=6, seed=1), trial(**cell, hidden_size=6, seed=2)
    before = torch.get_rng_state()
    first = initial(one)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert all(map(torch.equal, initial(one).values(), first.values()))
    assert any(not torch.equal(values, first[name]) for name, values in initial(other).items())


@every_cell
def test_layers_start_from_weights_of_their_own(cell):
    weights = initial(small(cell, length=6, layers=3, hidden=3))  # layers 1 and 2 read 3 values each
    pairs = [(name, f"layer2.{name.removeprefix('layer1.')}") for name in weights if name.startswith("layer1.")]
    assert any(not torch.equal(weights[one], weights[other]) for one, other in pairs)


# Against torch's own layers


def own_gru_as_module(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of `cell=gru` under the names of `torch.nn.GRU`, whose second bias is 0 but for the candidate."""
    second = torch.cat([torch.zeros_like(weights["b_h"])[:, : -weights["b_hn"].shape[1]], weights["b_hn"]], 1)
    names = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h"}
    renamed = {f"module.{name}": weights[own] for name, own in names.items()}
    return renamed | {"module.bias_hh_l0": second} | {name: weights[name] for name in ("W_hy", "b_y")}


def test_the_gru_of_torch_equals_our_own_in_outputs_and_gradients():
    ours, theirs = trial(cell="gru", delay=6, hidden_size=7), trial(cell="module", delay=6, hidden_size=7)
    weights = stacked_weights(ours)
    copied = own_gru_as_module(weights)
    inputs = stacked([ours.task.sample(generator(seed, "test"), 5) for seed in range(2)]).inputs
    one, other = forward(ours, weights, inputs, ALL), forward(theirs, copied, inputs, ALL)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    loss = normal("loss", *one.shape)
    found, expected = (torch.autograd.grad((outputs * loss).sum(), list(weights.values())) for outputs in (one, other))
    for name, gradient, wanted in zip(weights, found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize("layer", [torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM])
def test_training_equals_a_plain_loop_in_torch(layer):
    """The same data, SGD with momentum and clipping by norm, ten steps."""
    fields = {"delay": 5, "hidden_size": 12, "batch_size": 8, "learning_rate": 0.1, "clip_threshold": 0.5}
    one = trial(cell="module", path=f"torch.nn.{layer.__name__}", max_steps=10, eval_every=10, seed=3, **fields)
    peer, readout = layer(one.task.input_size, 12), torch.nn.Linear(12, one.task.output_size)
    start = initial(one)
    peer.load_state_dict({name: start[f"module.{name}"] for name in peer.state_dict()})
    readout.load_state_dict({"weight": start["W_hy"], "bias": start["b_y"]})
    parameters = [*peer.parameters(), *readout.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    with one_thread():
        for step in range(10):
            batch = one.task.sample(generator(3, "train", step), 8)
            outputs = readout(peer(torch.nn.functional.one_hot(batch.inputs, one.task.input_size).float())[0])
            loss = torch.nn.functional.cross_entropy(outputs[batch.mask], batch.targets[batch.mask])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 0.5)
            optimizer.step()
    final = list(fit([one]))[-1].weights
    for name, values in peer.state_dict().items():
        torch.testing.assert_close(final[f"module.{name}"], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("path", ["torch.nn.LSTM", "layers.Leaky"])
def test_truncation_goes_on_from_a_state_and_a_long_window_is_none(path):
    fields = {"cell": "module", "path": path, "delay": 5, "hidden_size": 6}
    whole = trial(**fields)
    batch = Batch(*stacked([whole.task.sample(generator(0, "test"), 4)])[:3])
    leaves = stacked_weights(whole, 1)
    losses, expected = gradients(whole, leaves, batch)
    for window, equal in ((whole.task.length, True), (3, False)):
        cut = trial(**fields, truncation=window)
        found_losses, found = gradients(cut, leaves, batch)
        torch.testing.assert_close(found_losses, losses)
        close = [torch.allclose(one, other, rtol=1e-6, atol=1e-9) for one, other in zip(found, expected, strict=True)]
        assert all(close) == equal


# Slow twins


def test_the_tcn_equals_explicit_loops_over_taps():
    cell, steps, inputs, hidden = Tcn(kernel=3, blocks=3), 9, 2, 4
    weights = {name: normal(name, *shape) for name, shape in cell.shapes(inputs, hidden).items()}
    given = normal("inputs", 1, steps, 1, inputs)

    def convolution(name: str, rows: list[Tensor], dilation: int) -> list[Tensor]:
        found = []
        for t in range(steps):
            total = weights[f"{name}.bias"].clone()
            for lag in range(3):
                if t - lag * dilation >= 0:
                    total += weights[f"{name}.weight"][lag].T @ rows[t - lag * dilation]
            found.append(total)
        return found

    rows = list(given[0, :, 0])
    for block in range(3):
        inner = [row.relu() for row in convolution(f"blocks.{block}.first", rows, 2**block)]
        inner = [row.relu() for row in convolution(f"blocks.{block}.second", inner, 2**block)]
        if block == 0:
            rows = [weights["blocks.0.skip.weight"] @ row + weights["blocks.0.skip.bias"] for row in rows]
        rows = [(row + more).relu() for row, more in zip(rows, inner, strict=True)]
    found, _ = unroll_modules(cell, {name: values[None] for name, values in weights.items()}, given, hidden, None)
    torch.testing.assert_close(found[0, :, 0], torch.stack(rows), rtol=1e-12, atol=1e-12)


def test_the_transformer_equals_explicit_loops_over_steps_and_heads():
    cell, steps, inputs, hidden = Transformer(blocks=2, heads=2, context=3), 7, 3, 6
    weights = {name: normal(name, *shape) for name, shape in cell.shapes(inputs, hidden).items()}
    given = normal("inputs", 1, steps, 1, inputs)

    def norm(name: str, row: Tensor) -> Tensor:
        centred = row - row.mean()
        return centred / (centred.square().mean() + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name: str, row: Tensor) -> Tensor:
        return weights[f"{name}.weight"] @ row + weights[f"{name}.bias"]

    def position(t: int) -> Tensor:
        angles = [t / 10000 ** (2 * (unit // 2) / hidden) for unit in range(hidden)]
        found = [math.cos(angle) if unit % 2 else math.sin(angle) for unit, angle in enumerate(angles)]
        return torch.tensor(found, dtype=torch.float64)

    rows = [linear("embedding", row) + position(t) for t, row in enumerate(given[0, :, 0])]
    for block in ("blocks.0", "blocks.1"):
        read = [linear(f"{block}.attention.read", norm(f"{block}.attention_norm", row)) for row in rows]
        for t in range(steps):
            joined = []
            for head in (slice(0, 3), slice(3, 6)):
                seen = range(max(0, t - 3), t + 1)
                scores = [read[t][:6][head] @ read[s][6:12][head] / math.sqrt(3) for s in seen]
                shares = [math.exp(score) / sum(math.exp(other) for other in scores) for score in scores]
                joined.append(sum(share * read[s][12:][head] for share, s in zip(shares, seen, strict=True)))
            rows[t] = rows[t] + linear(f"{block}.attention.write", torch.cat(joined))
        inner = [linear(f"{block}.inner", norm(f"{block}.inner_norm", row)).relu() for row in rows]
        rows = [row + linear(f"{block}.outer", more) for row, more in zip(rows, inner, strict=True)]
    found, _ = unroll_modules(cell, {name: values[None] for name, values in weights.items()}, given, hidden, None)
    expected = torch.stack([norm("norm", row) for row in rows])
    torch.testing.assert_close(found[0, :, 0], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("cell", "reach"),
    [
        (Tcn(kernel=2, blocks=1), 3),
        (Tcn(kernel=3, blocks=2), 13),
        (Tcn(kernel=4, blocks=3), 43),
        (Tcn(kernel=1, blocks=4), 1),
        (Transformer(heads=1, blocks=2, context=5), 11),
        (Transformer(heads=2, blocks=3, context=1), 4),
    ],
    ids=str,
)
def test_an_output_sees_exactly_its_reach(cell, reach):
    assert cell.reach == reach
    weights = {name: normal(name, 1, *shape).abs() for name, shape in cell.shapes(2, 4).items()}  # no ReLU is shut
    inputs = normal("inputs", 1, 50, 1, 2).abs().requires_grad_()
    outputs, _ = unroll_modules(cell, weights, inputs, 4, None)
    (gradient,) = torch.autograd.grad(outputs[:, -1].square().sum(), inputs)
    seen = gradient[0, :, 0].abs().sum(-1).nonzero().flatten()
    assert len(inputs[0]) - seen.min() == reach


@pytest.mark.parametrize("cell", [{"cell": "tcn"}, {"cell": "transformer", "heads": 2}], ids=str)
def test_a_yardstick_starts_with_signals_of_size_one_and_biases_of_zero(cell):
    one = trial(**cell, delay=60, hidden_size=64)
    weights = initial(one)
    for name, values in weights.items():
        if name.endswith("bias"):
            assert not values.any(), name
        elif name.endswith("norm.weight"):
            assert (values == 1).all(), name
        elif values.ndim == 2 and name not in ("W_hy", "b_y"):
            assert values.std().item() == pytest.approx(values.shape[1] ** -0.5, rel=0.15), name
        elif values.ndim == 3:
            share = one.cell.blocks if ".second." in name else 1
            expected = math.sqrt(2 / (values.shape[0] * values.shape[1] * share))
            assert values.std().item() == pytest.approx(expected, rel=0.1), name
    inputs = torch.stack([one.task.sample(generator(0, "test"), 10).inputs])
    hidden, _ = unroll_modules(
        one.cell,
        {name: values[None] for name, values in weights.items() if name not in ("W_hy", "b_y")},
        torch.nn.functional.one_hot(inputs, one.task.input_size).float(),
        64,
        None,
    )
    assert 0.2 < hidden.square().mean().sqrt() < 3


# Classes of other packages


def line_of(**fields) -> str:
    """The one line with which a trial is refused."""
    with pytest.raises(BadInput) as refused:
        trial(hidden_size=6, **fields)
    (line,) = refused.value.problems
    return line


LIKE = "must be like torch.nn.GRU"
CLASS = "must be an importable torch.nn.Module class, such as torch.nn.GRU"
UNFIT = {
    "nosuch.Layer": f"cannot be imported (ModuleNotFoundError: No module named 'nosuch'); {CLASS}",
    "torch.nn.Grue": f"cannot be imported (AttributeError: module 'torch.nn' has no attribute 'Grue'); {CLASS}",
    "Layer": f"cannot be imported (ValueError: Empty module name); {CLASS}",
    "torch.tanh": f"is no torch.nn.Module class; {CLASS}",
    "json.JSONDecoder": f"is no torch.nn.Module class; {CLASS}",
    "layers.NeedsMore": "cannot be built with (4, 6, **{}) (TypeError: NeedsMore.__init__() missing 1 required "
    "positional argument: 'heads'); must take input_size, hidden_size and cell.options",
    "layers.Frozen": "its parameter inner.bias is not to be trained; must be a buffer",
    "layers.Spectral": "its parameter poles is complex; must be real",
    "layers.DrawsByNumpy": "draws its parameters elsewhere; must draw them from torch's generator",
    "layers.Reservoir": "draws buffers, which would be the same for all seeds; must draw parameters alone",
    "torch.nn.Linear": "its forward does not return a pair; must return (outputs, state)",
    "layers.OutputsAlone": "its forward does not return a pair; must return (outputs, state)",
    "layers.NoState": "cannot be called with the state that it returns "
    f"(TypeError: NoState.forward() takes 2 positional arguments but 3 were given); {LIKE}",
    "layers.Forgets": f"does not go on from the state that it returns; {LIKE}",
    "layers.Noisy": "draws random numbers in forward; must draw none: no dropout",
    "layers.Counts": "its buffer calls changes in forward; must stay as it is",
    "layers.Keeps": "a second call gives other outputs; must keep nothing between calls",
    "layers.Mixes": f"mixes the sequences of a batch; {LIKE}",
    "layers.LooksAhead": "looks ahead in time; must be causal",
    "layers.Normalised": "its buffer norm.running_mean changes in forward; must stay as it is",
}
OPTIONS = {
    '{"bidirectional": true}': "its outputs for 4 steps of 3 sequences are (4, 3, 12); "
    "must be (4, 3, 6): one direction, no projection",
    '{"batch_first": true}': "its batch comes first; must take time first: batch_first false",
    '{"num_layers": 2, "dropout": 0.5}': "draws random numbers in forward; must draw none: no dropout",
    '{"depth": 2}': 'cannot be built with (4, 6, **{"depth": 2}) (TypeError: RNNBase.__init__() got an unexpected '
    "keyword argument 'depth'); must take input_size, hidden_size and cell.options",
}


@pytest.mark.parametrize("path", UNFIT)
def test_a_class_that_does_not_fit_is_refused_in_one_line(path):
    assert line_of(cell="module", path=path) == f"cell.path={path}: {UNFIT[path]}"


@pytest.mark.parametrize("options", OPTIONS)
def test_options_with_which_a_class_does_not_fit_are_refused_in_one_line(options):
    assert line_of(cell="module", options=options) == f"cell.path=torch.nn.GRU: {OPTIONS[options]}"


@pytest.mark.parametrize("options", ["", "bias", "[1]", "3", "{bias: false}"])
def test_options_that_are_no_object_are_refused(options):
    line = f"cell.options={options}: must be a JSON object in quotes, such as '{{\"bias\": false}}'"
    assert line_of(cell="module", options=options) == line


def test_path_and_options_are_refused_at_once():
    with pytest.raises(BadInput) as refused:
        trial(cell="module", path="nosuch.Layer", options="3")
    assert [line.partition("=")[0] for line in refused.value.problems] == ["cell.path", "cell.options"]


@pytest.mark.parametrize("path", ["torch.nn.GRU", "torch.nn.LSTM", "torch.nn.RNN"])
def test_torchs_fused_recurrences_have_no_batching_rule(path):
    line = f"cell.batching=vmap: {path} has one of torch's fused recurrences, for which there is no batching rule"
    assert line_of(cell="module", path=path, batching="vmap") == f"{line}; must be loop"


def test_what_else_cannot_be_batched_is_refused():
    assert not problems(Module("layers.WritesInPlace"), 3, 6)
    line = line_of(cell="module", path="layers.WritesInPlace", batching="vmap")
    assert line.startswith("cell.batching=vmap: layers.WritesInPlace cannot run under torch.vmap (RuntimeError: ")
    assert line.endswith("; must be loop")


def test_what_needs_a_recurrent_state_is_refused():
    handed = "has no recurrent state for an encoder to hand over; must be a recurrent cell for task=reverse"
    cut = "has no recurrent state to cut at; must be null"
    for cell in ("tcn", "transformer"):
        assert line_of(cell=cell, task="reverse", **({"heads": 2} if cell == "transformer" else {})) == (
            f"cell={cell}: {handed}"
        )
    assert line_of(cell="tcn", truncation=5) == f"train.truncation=5: cell=tcn {cut}"
    assert line_of(cell="transformer", heads=2, truncation=5) == f"train.truncation=5: cell=transformer {cut}"
    assert line_of(cell="module", task="reverse") == (
        "cell=module: its state cannot be kept where a shorter sequence ends; must be another cell for task=reverse"
    )


def test_heads_must_divide_the_units():
    assert line_of(cell="transformer", heads=4) == "model.hidden_size=6: must be a multiple of cell.heads=4"


def test_a_sweep_tries_a_class_once_for_each_setting():
    problems.cache_clear()
    template.cache_clear()
    trial(cell="module", path="layers.Leaky", hidden_size=5)
    before = layers.Leaky.built
    for seed in range(300):
        trial(cell="module", path="layers.Leaky", hidden_size=5, seed=seed)
    assert layers.Leaky.built == before
    trial(cell="module", path="layers.Leaky", hidden_size=5, options='{"rate": 0.1}')
    assert layers.Leaky.built > before


def test_a_layer_too_large_to_be_tried_is_not_built():
    before = layers.Leaky.built
    trial(cell="module", path="layers.Leaky", hidden_size=100_000)
    assert layers.Leaky.built == before


def test_path_and_options_are_part_of_the_key():
    settings = [{}, {"path": "torch.nn.LSTM"}, {"options": '{"bias": false}'}]
    assert len({trial(cell="module", **fields).key for fields in settings}) == 3


def test_every_layer_is_tried_at_its_own_size():
    assert not problems(Module("layers.Widens"), 10, 6)
    line = line_of(cell="module", path="layers.Widens", layers=2)
    assert line.startswith("cell.path=layers.Widens: cannot be built with (6, 6, **{}) (ValueError: ")


@pytest.mark.parametrize("levels", [1, 2])
def test_batched_models_equal_models_one_after_another_to_rounding(levels):
    fields = {"path": "layers.Leaky", "layers": levels, "optimizer": "adam"}
    found = []
    for batching in ("loop", "vmap"):
        one, *rest = mates(cell="module", batching=batching, delay=3, **fields)
        records = list(fit([one, *rest]))
        found.append([record.metrics["eval/loss"] for record in records if "eval/loss" in record.metrics])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("name", ["IndRNN", "JANET", "LEM", "MGU", "UnICORNN"])
def test_layers_of_torchrecurrent_are_cells(name):
    package = pytest.importorskip("torchrecurrent", reason="an optional package of recurrent layers")
    one = trial(cell="module", path=f"torchrecurrent.{name}", delay=3, hidden_size=6, max_steps=4, eval_every=2)
    layer = getattr(package, name)(one.task.input_size, 6)
    weights = initial(one)
    layer.load_state_dict(
        layer.state_dict() | {key[7:]: values for key, values in weights.items() if key.startswith("module.")}
    )
    batch = one.task.sample(generator(0, "test"), 5)
    one_hot = torch.nn.functional.one_hot(batch.inputs, one.task.input_size).float()
    expected = layer(one_hot)[0] @ weights["W_hy"].T + weights["b_y"]
    found = forward(one, {key: values[None] for key, values in weights.items()}, batch.inputs[None], ALL)[0]
    torch.testing.assert_close(found, expected)
    trials = mates(cell="module", path=f"torchrecurrent.{name}", delay=3, hidden_size=9)[:2]
    assert courses(fit(trials)) == solo(trials)


PACKAGE = """
import torch


class MyCell(torch.nn.Module):
    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__()
        self.layer = torch.nn.RNN(input_size, hidden_size, bias=bias)

    def forward(self, inputs, state=None):
        return self.layer(inputs, state)
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_a_class_of_ones_own_is_swept_from_the_command_line(store, tmp_path, launcher):
    """As in a shell: PYTHONPATH reaches the workers, which import the class in processes of their own."""
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").write_text(PACKAGE)
    words = ["cell=module", "cell.path=mypkg.MyCell", "cell.options='{\"bias\": false}'", "seed=0,1"]
    quick = ["task.delay=3", "train.max_steps=2", "train.eval_every=2", "train.eval_size=8", "model.hidden_size=8"]
    command = [sys.executable, "-m", "experiments.train", "-m", *words, *quick]
    done = subprocess.run(
        [*command, f"store.path={store}", f"engine={launcher}", "engine.progress=quiet"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    frame = Reader(store).frame("adhoc")
    assert set(frame["status"]) == {"exhausted"}
    assert list(frame["cell.options"]) == ['{"bias": false}'] * 2


# Memory


@pytest.mark.parametrize(
    "cell",
    [Tcn(), Tcn(kernel=5, blocks=2), Transformer(), Transformer(context=20), Module(), Module("torch.nn.LSTM")],
    ids=str,
)
@pytest.mark.parametrize(("steps", "batch", "hidden"), [(100, 20, 64), (40, 7, 32)])
def test_a_forward_keeps_as_many_numbers_as_is_said(cell, steps, batch, hidden):
    """What torch still holds after a forward: beside what is kept, the outputs of the stack."""
    weights = {
        name: values[None].requires_grad_()
        for name, values in {key: torch.zeros(shape) for key, shape in cell.shapes(10, hidden).items()}.items()
    }
    inputs = torch.zeros(1, steps, batch, 10)
    kept = []
    measured = sum(allocations(lambda: kept.extend(unroll_modules(cell, weights, inputs, hidden, None))))
    said = saved_numbers(cell, 10, hidden, steps, batch) + kept[0].numel()
    assert 4 * said == pytest.approx(measured, rel=0.25)


def test_saved_numbers_are_those_of_the_batch_asked_for():
    for cell in (Tcn(), Transformer(), Module()):
        few, more, most = (saved_numbers(cell, 10, 16, 30, batch) for batch in (4, 8, 12))
        assert most - more == more - few > 0


def test_a_stack_joins_modules_of_any_package_by_the_names_of_their_parameters():
    one = trial(cell="module", path="layers.Leaky", hidden_size=4, layers=2)
    names = ["module.spare", "module.inner.weight", "module.inner.bias"]
    assert list(shapes(one)) == [*names, *(f"layer1.{name}" for name in names), "W_hy", "b_y"]
    row = Layout(shapes(one)).pack(initial(one))
    assert row.shape == (Layout(shapes(one)).width,)
    assert not Stack([one]).checkpoints()[one.key].tensors["velocity.layer1.module.spare"].any()
