"""The stacked network: the same numbers as torch's modules, one model after another; and its layout in memory."""

import math

import pytest
import torch
from builders import normal, torch_modules, trial
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnlab.aligned import ALIGNMENT, granule, padded
from rnnlab.model import Layout, forward, initial, parameter_count, shapes
from rnnlab.seeding import generator

SIZES = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple), min_size=1
)


def stacked(one, models: int) -> dict[str, Tensor]:
    """Random parameters of `models` models of this trial's shape, in float64; no bias is 0."""
    return {
        name: (normal(name, models, *shape) / math.sqrt(shape[-1])).requires_grad_()
        for name, shape in shapes(one).items()
    }


def symbols(one, models: int, batch: int) -> Tensor:
    drawn = generator(0, "test.symbols").integers(0, one.task.input_size, (models, one.task.length, batch))
    return torch.from_numpy(drawn)


@pytest.mark.parametrize("hidden", [1, 16, 33])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("scored", [slice(None), slice(-3, None), slice(2, 5)], ids=str)
def test_forward_and_its_gradients_equal_those_of_torch_for_every_model(hidden, nonlinearity, scored):
    one = trial(hidden_size=hidden, nonlinearity=nonlinearity, delay=4, alphabet=3)
    parameters, inputs = stacked(one, 3), symbols(one, 3, batch=5)
    outputs = forward(one, parameters, inputs, scored)
    weights = normal("loss", *outputs.shape)
    gradients = torch.autograd.grad((outputs * weights).sum(), list(parameters.values()))
    for model in range(3):
        rnn, readout = torch_modules(one, {name: values[model].detach() for name, values in parameters.items()})
        one_hot = torch.nn.functional.one_hot(inputs[model], one.task.input_size).double()
        expected = readout(rnn(one_hot)[0])[scored]
        torch.testing.assert_close(outputs[model], expected, rtol=1e-10, atol=1e-10)
        theirs = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, readout.weight, readout.bias)
        by_theirs = torch.autograd.grad((expected * weights[model]).sum(), theirs)
        for ours, of_peer in zip(gradients, by_theirs, strict=True):
            torch.testing.assert_close(ours[model], of_peer, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [1, 8, 33])
def test_integer_symbols_equal_their_one_hot_vectors(hidden):
    one = trial(hidden_size=hidden, delay=3)
    parameters, inputs = stacked(one, 2), symbols(one, 2, batch=7)
    one_hot = torch.nn.functional.one_hot(inputs, one.task.input_size).double()
    scored = slice(None)
    assert torch.equal(forward(one, parameters, inputs, scored), forward(one, parameters, one_hot, scored))


@pytest.mark.parametrize("task", ["copy", "adding"])
@pytest.mark.parametrize("hidden", [1, 33])
def test_the_parameter_count_is_that_of_torch_less_its_second_bias(task, hidden):
    one = trial(task=task, hidden_size=hidden)
    rnn = torch.nn.RNN(one.task.input_size, hidden)
    readout = torch.nn.Linear(hidden, one.task.output_size)
    theirs = sum(values.numel() for module in (rnn, readout) for values in module.parameters())
    assert parameter_count(one) == theirs - hidden
    assert parameter_count(one) == sum(values.numel() for values in initial(one).values())


def test_initial_weights_depend_on_the_seed_and_not_on_how_they_are_trained():
    one = initial(trial(seed=1))
    alike = initial(trial(seed=1, learning_rate=0.5, optimizer="adam", max_steps=7, delay=9))
    other = initial(trial(seed=2))
    assert all(torch.equal(one[name], alike[name]) for name in one)
    assert {name for name in one if torch.equal(one[name], other[name])} == {"b_h", "b_y"}


def test_the_three_matrices_of_a_model_have_streams_of_their_own():
    weights = initial(trial(hidden_size=8, input_scale=1, symbols=1, alphabet=6))  # W_xh is 8 x 8 as W_hh
    directions = [weights[name].flatten()[:8] / weights[name].flatten()[:8].norm() for name in ("W_xh", "W_hh", "W_hy")]
    overlaps = [abs(directions[i] @ directions[j]).item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert max(overlaps) < 0.95, "two matrices are one up to scale"


@given(SIZES, st.integers(1, 4))
def test_rows_and_stacked_parameters_are_two_forms_of_one_thing(sizes, models):
    layout = Layout(sizes)
    tensors = {name: normal(name, models, *shape) for name, shape in sizes.items()}
    rows = layout.join(list(tensors.values()))
    assert rows.shape == (models, layout.width)
    views = layout.views(rows)
    assert list(views) == list(sizes)
    for name, values in tensors.items():
        assert torch.equal(views[name], values)
    for model in range(models):
        assert torch.equal(layout.pack({name: values[model] for name, values in tensors.items()}), rows[model])


@given(SIZES)
def test_a_row_is_a_multiple_of_the_alignment_and_zero_after_the_parameters(sizes):
    layout = Layout(sizes)
    used = sum(math.prod(shape) for shape in sizes.values())
    assert layout.width % ALIGNMENT == 0
    assert 0 <= layout.width - used < ALIGNMENT
    row = layout.pack({name: torch.ones(shape) for name, shape in sizes.items()})
    assert (row[:used] == 1).all()
    assert (row[used:] == 0).all()


def test_views_share_memory_with_their_rows():
    one = trial(hidden_size=3)
    layout = Layout(shapes(one))
    rows = torch.zeros(2, layout.width)
    for view in layout.views(rows).values():
        view += 1
    assert rows.sum() == 2 * parameter_count(one)


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_granule_is_the_least_width_that_fills_aligned_rows(steps, batch):
    width = granule(torch.empty(1, steps, batch))
    assert steps * batch * width % ALIGNMENT == 0
    assert all(steps * batch * less % ALIGNMENT for less in range(1, width))


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_padding_appends_zeros_up_to_the_next_multiple(rows, columns, of_rows, of_columns):
    tensor = normal("tensor", rows, columns)
    found = padded(tensor, (0, of_rows), (1, of_columns))
    assert found.shape == (math.ceil(rows / of_rows) * of_rows, math.ceil(columns / of_columns) * of_columns)
    assert torch.equal(found[:rows, :columns], tensor)
    assert found.count_nonzero() == tensor.count_nonzero()
