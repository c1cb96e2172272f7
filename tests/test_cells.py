"""Laws of every cell in `rnnlab/cells`, and of the unrolling over time with its own backward pass."""

import math

import pytest
import torch
from builders import normal, variants
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnlab.cells.elman import Elman
from rnnlab.registry import registry
from rnnlab.unroll import ALL, unroll, unroll_by_steps

CELLS = [cell for spec in registry()["cell"].values() for cell in variants(spec)]
KEEPS = [ALL, slice(0, 1), slice(2, 4), slice(3, None), slice(-1, None), slice(1, -2)]

every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)
every_keep = pytest.mark.parametrize("keep", KEEPS, ids=str)


def arguments(models: int = 2, steps: int = 6, batch: int = 3, hidden: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Random (projected, state, recurrent) in float64, ready for gradients; tanh is neither linear nor saturated."""
    projected = normal("projected", models, steps, batch, hidden)
    state = normal("state", models, batch, hidden)
    recurrent = normal("recurrent", models, hidden, hidden) / math.sqrt(hidden)
    return projected.requires_grad_(), state.requires_grad_(), recurrent.requires_grad_()


def gradients(function, cell, inputs: tuple[Tensor, ...], keep: slice = ALL) -> tuple[Tensor, ...]:
    """The states that `function` returns, and the gradients of a random linear loss of them."""
    states = function(cell, *inputs, keep)
    loss = (states * normal("loss", *states.shape)).sum()
    return states, *torch.autograd.grad(loss, inputs)


def assert_equal_all(found, expected, tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@every_cell
@pytest.mark.parametrize("t", range(5))
def test_the_loss_at_a_step_does_not_see_inputs_after_it(cell, t):
    projected, state, recurrent = arguments()
    states = unroll(cell, projected, state, recurrent)
    (gradient,) = torch.autograd.grad(states[:, t].square().sum(), projected)
    assert (gradient[:, t + 1 :] == 0).all()
    assert (gradient[:, t] != 0).any()


@every_cell
def test_a_change_of_an_input_reaches_all_later_states_and_no_earlier_one(cell):
    projected, state, recurrent = (values.detach() for values in arguments())
    changed = projected.clone()
    changed[:, 2] += 1
    moved = unroll(cell, changed, state, recurrent) != unroll(cell, projected, state, recurrent)
    assert moved.any(-1).any(-1).all(0).tolist() == [False, False, True, True, True, True]


@every_cell
def test_streaming_one_step_at_a_time_equals_the_whole_sequence(cell):
    projected, state, recurrent = (values.detach() for values in arguments())
    whole = unroll(cell, projected, state, recurrent)
    for t in range(projected.shape[1]):
        state = cell.step(projected[:, t], state, recurrent)
        assert torch.equal(state, whole[:, t])


@every_cell
@every_keep
def test_keeping_some_steps_gives_a_part_of_all_states(cell, keep):
    inputs = arguments()
    assert torch.equal(unroll(cell, *inputs, keep), unroll(cell, *inputs)[:, keep])


@every_cell
@given(
    models=st.integers(1, 4),
    steps=st.integers(1, 7),
    batch=st.integers(1, 5),
    hidden=st.integers(1, 6),
    data=st.data(),
)
def test_unroll_equals_one_step_after_another_in_states_and_gradients(cell, models, steps, batch, hidden, data):
    start = data.draw(st.integers(0, steps - 1), label="start")
    stop = data.draw(st.integers(start + 1, steps), label="stop")
    inputs = arguments(models, steps, batch, hidden)
    keep = slice(start, stop)
    assert_equal_all(gradients(unroll, cell, inputs, keep), gradients(unroll_by_steps, cell, inputs, keep), 1e-12)


@every_cell
@every_keep
def test_the_gradient_agrees_with_finite_differences(cell, keep):
    inputs = arguments(models=2, steps=5, batch=2, hidden=3)
    assert torch.autograd.gradcheck(lambda *values: unroll(cell, *values, keep), inputs, eps=1e-6, atol=1e-8, rtol=1e-6)


@every_cell
def test_the_gradient_with_respect_to_one_input_alone_is_the_same(cell):
    inputs = arguments()
    for place, together in enumerate(gradients(unroll, cell, inputs)[1:]):
        alone = [values if other == place else values.detach() for other, values in enumerate(inputs)]
        states = unroll(cell, *alone)
        (gradient,) = torch.autograd.grad((states * normal("loss", *states.shape)).sum(), alone[place])
        torch.testing.assert_close(gradient, together, rtol=1e-12, atol=1e-12)


@every_cell
def test_the_models_of_a_stack_do_not_see_each_other(cell):
    projected, state, recurrent = arguments(models=3)
    states = unroll(cell, projected, state, recurrent)
    for gradient in torch.autograd.grad(states[1].square().sum(), (projected, state, recurrent)):
        assert (gradient[1] != 0).any()
        assert (gradient[[0, 2]] == 0).all()


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_elman_equals_torch_with_the_same_weights(nonlinearity):
    """The inputs are projected by W_xh x + b_h; torch has the second bias b_hh, here 0."""
    steps, batch, size, hidden = 9, 4, 3, 5
    W_xh, W_hh, b_h, inputs, state = (
        normal(name, *shape).requires_grad_()
        for name, shape in {
            "W_xh": (hidden, size),
            "W_hh": (hidden, hidden),
            "b_h": (hidden,),
            "inputs": (steps, batch, size),
            "state": (batch, hidden),
        }.items()
    )
    peer = torch.nn.RNN(size, hidden, nonlinearity=nonlinearity, dtype=torch.float64)
    copied = {"weight_ih_l0": W_xh, "weight_hh_l0": W_hh, "bias_ih_l0": b_h, "bias_hh_l0": torch.zeros(hidden)}
    peer.load_state_dict({name: values.detach() for name, values in copied.items()})
    theirs, _ = peer(inputs, state[None])
    ours = unroll(Elman(nonlinearity), (inputs @ W_xh.T + b_h)[None], state[None], W_hh[None])[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    weights = normal("loss", steps, batch, hidden)
    found = torch.autograd.grad((ours * weights).sum(), (W_xh, W_hh, b_h, inputs, state))
    of_peer = (peer.weight_ih_l0, peer.weight_hh_l0, peer.bias_ih_l0, inputs, state)
    assert_equal_all(found, torch.autograd.grad((theirs * weights).sum(), of_peer))


def test_three_steps_of_two_tanh_units_worked_by_hand():
    """h_t = tanh(x_t + W h_{t-1}) with W = [[0.5, -1], [0.25, 2]]; dL/dx_1 for L = the first unit of h_3."""
    a1, b1 = math.tanh(1.0 + 0.5 * 0.1 - 1 * 0.2), math.tanh(-0.5 + 0.25 * 0.1 + 2 * 0.2)
    a2, b2 = math.tanh(0.0 + 0.5 * a1 - 1 * b1), math.tanh(0.3 + 0.25 * a1 + 2 * b1)
    a3, b3 = math.tanh(0.7 + 0.5 * a2 - 1 * b2), math.tanh(-0.1 + 0.25 * a2 + 2 * b2)
    at_a2, at_b2 = (1 - a3**2) * 0.5 * (1 - a2**2), (1 - a3**2) * -1 * (1 - b2**2)  # dL / pre-activations of step 2
    by_a1 = (at_a2 * 0.5 + at_b2 * 0.25) * (1 - a1**2)
    by_b1 = (at_a2 * -1 + at_b2 * 2) * (1 - b1**2)
    by_W = [  # dL/dW_ij = sum over t of dL/d(pre-activation i at t) times unit j at t - 1
        [(1 - a3**2) * a2 + at_a2 * a1 + by_a1 * 0.1, (1 - a3**2) * b2 + at_a2 * b1 + by_a1 * 0.2],
        [at_b2 * a1 + by_b1 * 0.1, at_b2 * b1 + by_b1 * 0.2],
    ]
    projected = torch.tensor([[1.0, -0.5], [0.0, 0.3], [0.7, -0.1]], dtype=torch.float64).reshape(1, 3, 1, 2)
    state = torch.tensor([[[0.1, 0.2]]], dtype=torch.float64)
    recurrent = torch.tensor([[[0.5, -1.0], [0.25, 2.0]]], dtype=torch.float64)
    inputs = projected.requires_grad_(), state, recurrent.requires_grad_()
    for function in (unroll, unroll_by_steps):
        states = function(Elman("tanh"), *inputs)
        assert states[0, :, 0].tolist() == [pytest.approx(pair, rel=1e-14) for pair in ([a1, b1], [a2, b2], [a3, b3])]
        by_projected, by_recurrent = torch.autograd.grad(states[0, 2, 0, 0], (projected, recurrent))
        assert by_projected[0, 0, 0].tolist() == pytest.approx([by_a1, by_b1], rel=1e-13)
        assert by_recurrent[0].tolist() == [pytest.approx(row, rel=1e-13) for row in by_W]


def test_three_steps_of_one_unit_worked_by_hand_for_relu_and_identity():
    """h_t = f(1 - 2 h_{t-1}), from 0.25 and from 1."""
    projected, recurrent = torch.ones(1, 3, 1, 1), torch.full((1, 1, 1), -2.0)
    expected = {
        ("identity", 0.25): [0.5, 0.0, 1.0],
        ("relu", 0.25): [0.5, 0.0, 1.0],
        ("identity", 1.0): [-1.0, 3.0, -5.0],
        ("relu", 1.0): [0.0, 1.0, 0.0],
    }
    for (nonlinearity, start), states in expected.items():
        found = unroll(Elman(nonlinearity), projected, torch.full((1, 1, 1), start), recurrent)
        assert found.flatten().tolist() == states, nonlinearity


def test_relu_has_one_derivative_at_zero_however_it_is_unrolled():
    inputs = [torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)]
    inputs[0].requires_grad_()
    at_zero = [
        torch.autograd.grad(function(Elman("relu"), *inputs).sum(), inputs[0])[0].item()
        for function in (unroll, unroll_by_steps)
    ]
    assert at_zero == [0, 0]
