"""Laws of every cell in `rnnlab/cells`, and of the unrolling over time with its own backward pass."""

import math

import pytest
import torch
from builders import normal, variants
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnlab.cells import State, Weights
from rnnlab.cells.elman import Elman
from rnnlab.cells.gru import Gru
from rnnlab.cells.lstm import Lstm
from rnnlab.registry import registry
from rnnlab.unroll import ALL, unroll, unroll_by_steps

CELLS = [
    cell for spec in registry()["cell"].values() if not hasattr(spec, "module") for cell in variants(spec)
]  # those that are modules have laws of their own: tests/test_modules.py
KEEPS = [ALL, slice(0, 1), slice(2, 4), slice(3, None), slice(-1, None), slice(1, -2), slice(0, 0)]

every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)
every_keep = pytest.mark.parametrize("keep", KEEPS, ids=str)


class Arguments:
    """Random arguments of `unroll` in float64, ready for gradients; tanh is neither linear nor saturated."""

    def __init__(self, cell, models: int = 2, steps: int = 6, batch: int = 3, hidden: int = 4) -> None:
        self.parameters = {
            name: (normal(name, models, *shape) / math.sqrt(shape[-1])).requires_grad_()
            for name, shape in cell.shapes(3, hidden).items()
        }
        weights = cell.weights(self.parameters)
        self.projected = normal("projected", models, steps, batch, weights.bias.shape[1]).requires_grad_()
        self.state: State = tuple(
            normal(f"state.{place}", models, batch, hidden).requires_grad_() for place in range(cell.states)
        )
        tensors = [weights.recurrent, weights.recurrent_bias, *weights.gains]
        self.leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in tensors]

    @property
    def weights(self) -> Weights:
        recurrent, bias, *gains = self.leaves
        nothing = torch.empty(0)
        return Weights(nothing, nothing, recurrent, bias, tuple(gains))

    @property
    def tensors(self) -> list[Tensor]:
        return [self.projected, *self.state, *(leaf for leaf in self.leaves if leaf is not None)]

    def run(self, cell, function=unroll, keep: slice = ALL, active: Tensor | None = None) -> tuple[Tensor, ...]:
        """The kept states, and the last one."""
        states, last = function(cell, self.projected, self.state, self.weights, keep, active)
        return states, *last


def results(cell, given: Arguments, function=unroll, keep: slice = ALL, active: Tensor | None = None) -> list[Tensor]:
    """What `function` returns, and the gradients of a random linear loss of all of it."""
    found = given.run(cell, function, keep, active)
    loss = sum((values * normal(f"loss.{place}", *values.shape)).sum() for place, values in enumerate(found))
    by_all = torch.autograd.grad(loss, given.tensors, allow_unused=True, materialize_grads=True)
    return [*found, *by_all]


def assert_equal_all(found, expected, tolerance: float = 1e-10) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@every_cell
@pytest.mark.parametrize("t", range(5))
def test_the_loss_at_a_step_does_not_see_inputs_after_it(cell, t):
    given = Arguments(cell)
    states, *_ = given.run(cell)
    (gradient,) = torch.autograd.grad(states[:, t].square().sum(), given.projected)
    assert (gradient[:, t + 1 :] == 0).all()
    assert (gradient[:, t] != 0).any()


@every_cell
def test_a_change_of_an_input_reaches_all_later_states_and_no_earlier_one(cell):
    given = Arguments(cell)
    before, *_ = given.run(cell)
    given.projected = given.projected.detach().clone()
    given.projected[:, 2] += 1
    moved = given.run(cell)[0] != before
    assert moved.any(-1).any(-1).all(0).tolist() == [False, False, True, True, True, True]


@every_cell
def test_streaming_one_step_at_a_time_equals_the_whole_sequence(cell):
    given = Arguments(cell)
    whole, *last = given.run(cell)
    state = given.state
    for t in range(given.projected.shape[1]):
        found, state = unroll(cell, given.projected[:, t : t + 1], state, given.weights)
        assert torch.equal(found[:, 0], whole[:, t])
    assert all(map(torch.equal, state, last))


@every_cell
@every_keep
def test_keeping_some_steps_gives_a_part_of_all_states(cell, keep):
    given = Arguments(cell)
    assert torch.equal(given.run(cell, keep=keep)[0], given.run(cell)[0][:, keep])


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
    keep = slice(start, data.draw(st.integers(start, steps), label="stop"))
    lengths = data.draw(st.none() | st.lists(st.integers(0, steps), min_size=batch, max_size=batch), label="lengths")
    active = None if lengths is None else torch.arange(steps)[None, :, None] < torch.tensor([[lengths]] * models)
    given = Arguments(cell, models, steps, batch, hidden)
    found, expected = (results(cell, given, function, keep, active) for function in (unroll, unroll_by_steps))
    assert_equal_all(found, expected, 1e-12)


@every_cell
def test_a_sequence_that_has_ended_keeps_its_state(cell):
    given = Arguments(cell, models=1, steps=5, batch=3)
    lengths = torch.tensor([[2, 5, 0]])
    states, *last = given.run(cell, active=torch.arange(5)[None, :, None] < lengths.unsqueeze(1))
    whole, *_ = given.run(cell)
    assert torch.equal(states[:, :2, 0], whole[:, :2, 0])
    assert torch.equal(states[:, 1:2, 0].expand(-1, 4, -1), states[:, 1:, 0])
    assert torch.equal(states[:, :, 1], whole[:, :, 1])
    assert all(torch.equal(ended[:, 2], begun[:, 2]) for ended, begun in zip(last, given.state, strict=True))


@every_cell
@every_keep
def test_the_gradient_agrees_with_finite_differences(cell, keep):
    given = Arguments(cell, models=2, steps=5, batch=2, hidden=3)
    present = [leaf is not None for leaf in given.leaves]

    def function(projected, *rest):
        state, leaves = rest[: cell.states], iter(rest[cell.states :])
        recurrent, bias, *gains = [next(leaves) if there else None for there in present]
        weights = Weights(torch.empty(0), torch.empty(0), recurrent, bias, tuple(gains))
        states, last = unroll(cell, projected, state, weights, keep)
        return states, *last

    assert torch.autograd.gradcheck(function, given.tensors, eps=1e-6, atol=1e-7, rtol=1e-6)


@every_cell
def test_the_gradient_with_respect_to_one_input_alone_is_the_same(cell):
    given = Arguments(cell)
    states, *_ = given.run(cell)
    loss = (states * normal("loss", *states.shape)).sum()
    together = torch.autograd.grad(loss, given.tensors, allow_unused=True, materialize_grads=True)
    for tensor, gradient in zip(given.tensors, together, strict=True):
        for other in given.tensors:
            other.requires_grad_(other is tensor)
        states, *_ = given.run(cell)
        (alone,) = torch.autograd.grad((states * normal("loss", *states.shape)).sum(), tensor)
        torch.testing.assert_close(alone, gradient, rtol=1e-12, atol=1e-12)


@every_cell
def test_the_models_of_a_stack_do_not_see_each_other(cell):
    given = Arguments(cell, models=3)
    states, *_ = given.run(cell)
    loss = states[1].square().sum()
    for gradient in torch.autograd.grad(loss, given.tensors, allow_unused=True, materialize_grads=True):
        assert (gradient[[0, 2]] == 0).all()


@every_cell
def test_the_padding_of_a_layer_stays_at_zero(cell):
    given = Arguments(cell, hidden=5)
    weights = cell.weights(given.parameters).padded(5)
    width = 16
    projected = torch.zeros(2, 6, 3, weights.bias.shape[1])
    blocks = projected.unflatten(-1, (-1, width))
    blocks[..., :5] = normal("blocks", *blocks[..., :5].shape)
    state = tuple(torch.zeros(2, 3, width, dtype=torch.float64) for _ in range(cell.states))
    states, last = unroll(cell, projected.double(), state, weights)
    assert not states.unflatten(-1, (-1, width))[..., 5:].any()
    assert not any(values[..., 5:].any() for values in last)


# Against torch's own cells


def torch_peer(cell, size: int, hidden: int) -> torch.nn.Module:
    peers = {Elman: torch.nn.RNN, Lstm: torch.nn.LSTM, Gru: torch.nn.GRU}
    options = {"nonlinearity": cell.nonlinearity} if isinstance(cell, Elman) else {}
    return peers[type(cell)](size, hidden, dtype=torch.float64, **options)


@pytest.mark.parametrize("cell", [Elman("tanh"), Elman("relu"), Lstm(), Gru()], ids=repr)
def test_a_cell_equals_torch_with_the_same_weights(cell):
    """The inputs are projected by W_xh x + b_h; torch's second bias is 0, but for that of the candidate in GRU."""
    steps, batch, size, hidden = 9, 4, 3, 5
    parameters = {name: normal(name, 1, *shape).requires_grad_() for name, shape in cell.shapes(size, hidden).items()}
    inputs = normal("inputs", steps, batch, size).requires_grad_()
    state = tuple(normal(f"state.{i}", batch, hidden).requires_grad_() for i in range(cell.states))
    weights = cell.weights(parameters)
    peer = torch_peer(cell, size, hidden)
    second = torch.zeros(len(peer.bias_hh_l0), dtype=torch.float64)
    if "b_hn" in parameters:
        second[2 * hidden :] = parameters["b_hn"][0].detach()
    copied = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h"}
    peer.load_state_dict({name: parameters[own][0].detach() for name, own in copied.items()} | {"bias_hh_l0": second})
    begun = tuple(values[None] for values in state)
    theirs, _ = peer(inputs, begun if len(begun) > 1 else begun[0])
    projected = (inputs @ weights.inputs[0].T + weights.bias)[None]
    ours, _ = unroll(cell, projected, tuple(values[None] for values in state), weights)
    torch.testing.assert_close(ours[0], theirs, rtol=1e-10, atol=1e-10)
    loss = normal("loss", steps, batch, hidden)
    found = torch.autograd.grad((ours[0] * loss).sum(), (*parameters.values(), inputs, *state))
    of_peer = [peer.weight_ih_l0, peer.weight_hh_l0, peer.bias_ih_l0, inputs, *state]
    *expected, by_second = torch.autograd.grad((theirs * loss).sum(), (*of_peer, peer.bias_hh_l0))
    expected = dict(zip(["W_xh", "W_hh", "b_h", "inputs", *state], expected, strict=True))
    names = [*parameters, "inputs", *state]
    for name, gradient in zip(names, found, strict=True):
        wanted = by_second[2 * hidden :] if isinstance(name, str) and name == "b_hn" else expected[name]
        torch.testing.assert_close(gradient.reshape(wanted.shape), wanted, rtol=1e-10, atol=1e-10)


# Worked by hand


def only(recurrent: Tensor) -> Weights:
    """Weights of which W_hh alone is used."""
    return Weights(torch.empty(0), torch.empty(0), recurrent)


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
    projected.requires_grad_()
    recurrent.requires_grad_()
    for function in (unroll, unroll_by_steps):
        states, _ = function(Elman("tanh"), projected, (state,), only(recurrent))
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
        found, _ = unroll(Elman(nonlinearity), projected, (torch.full((1, 1, 1), start),), only(recurrent))
        assert found.flatten().tolist() == states, nonlinearity


def test_relu_has_one_derivative_at_zero_however_it_is_unrolled():
    projected = torch.zeros(1, 1, 1, 1, requires_grad=True)
    arguments = projected, (torch.zeros(1, 1, 1),), only(torch.zeros(1, 1, 1))
    at_zero = [
        torch.autograd.grad(function(Elman("relu"), *arguments)[0].sum(), projected)[0].item()
        for function in (unroll, unroll_by_steps)
    ]
    assert at_zero == [0, 0]
