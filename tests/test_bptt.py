"""Full and truncated backpropagation through time, and the regulariser Omega, against slow obvious twins."""

import math

import pytest
import torch
from builders import normal, trial
from torch import Tensor

from rnnlab import bptt
from rnnlab.bptt import gradients
from rnnlab.model import forward, initial, run, shapes
from rnnlab.seeding import generator
from rnnlab.tasks import Batch, at_steps, stacked
from rnnlab.trial import Trial
from rnnlab.unroll import ALL

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
CELLS = ["elman", "lstm", "gru", "lru", "cornn"]


def leaves_of(one: Trial, models: int = 2) -> dict[str, Tensor]:
    return {
        name: (normal(name, models, *shape) / math.sqrt(shape[-1])).requires_grad_()
        for name, shape in shapes(one).items()
    }


def batch_of(one: Trial, models: int = 2, size: int = 3) -> Batch:
    found = stacked([one.task.sample(generator(seed, "train"), size) for seed in range(models)])
    if found.inputs.is_floating_point():
        return found._replace(inputs=found.inputs.double(), targets=found.targets.double())
    return found


def windows_by_hand(one: Trial, leaves: dict[str, Tensor], batch: Batch, window: int) -> tuple[Tensor, list[Tensor]]:
    """The network step by step; the state is detached where a window begins, counted from the last scored step."""
    steps = range(one.task.length)[one.task.scored]
    states, outputs = None, []
    for t in range(steps.stop):
        if states is not None and (steps.stop - t) % window == 0:
            states = [tuple(values.detach() for values in state) for state in states]
        values, states = run(one, leaves, batch.inputs[:, t : t + 1], ALL, start=states)
        outputs.append(values)
    losses = one.task.loss(torch.cat(outputs, 1)[:, one.task.scored], at_steps(batch, one.task.scored))
    found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True)
    return losses.detach(), list(found)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("window", [1, 3, 5, 40])
@pytest.mark.parametrize("shape", [{"delay": 5, "symbols": 2, "score": "all"}, {"delay": 5, "symbols": 2}], ids=str)
def test_truncated_gradients_are_those_of_detached_windows(cell, layers, window, shape):
    one = trial(**shape, cell=cell, layers=layers, hidden_size=5, truncation=window)
    leaves, batch = leaves_of(one), batch_of(one)
    losses, found = gradients(one, leaves, batch)
    expected_losses, expected = windows_by_hand(one, leaves, batch, window)
    torch.testing.assert_close(losses, expected_losses, **CLOSE)
    for name, gradient, wanted in zip(leaves, found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, **CLOSE, msg=name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("window", [1, 3, 4, 7])
def test_no_gradient_reaches_further_back_than_the_window(cell, window, monkeypatch):
    """The single scored step is the last one: the inputs of exactly `window` steps have a gradient, which is not 0."""
    one = trial(task="adding", length=9, cell=cell, hidden_size=5, truncation=window)
    leaves, batch = leaves_of(one), batch_of(one)
    inputs = batch.inputs.requires_grad_()
    seen = []

    def noted(trial, leaves, batch, *rest):
        values, states = run_window(trial, leaves, batch, *rest)
        if values.requires_grad and values.shape[1]:
            (gradient,) = torch.autograd.grad(values.sum(), inputs, retain_graph=True)
            seen.append(gradient)
        return values, states

    run_window = bptt._run_window
    monkeypatch.setattr(bptt, "_run_window", noted)
    gradients(one, leaves, batch)
    (gradient,) = seen
    reached = (gradient != 0).any(-1).any(-1).all(0)
    assert reached.tolist() == [False] * (9 - window) + [True] * window


@pytest.mark.parametrize("cell", CELLS)
def test_the_forward_pass_is_not_truncated(cell):
    """The loss of truncated training is that of the whole sequence, whatever the window."""
    full, cut = (trial(delay=6, cell=cell, hidden_size=5, truncation=window) for window in (None, 2))
    leaves, batch = leaves_of(full), batch_of(full)
    torch.testing.assert_close(gradients(cut, leaves, batch)[0], gradients(full, leaves, batch)[0], **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_a_window_over_the_whole_sequence_is_full_bptt(cell):
    full = trial(delay=6, cell=cell, hidden_size=5)
    leaves, batch = leaves_of(full), batch_of(full)
    expected = gradients(full, leaves, batch)[1]
    for window in (full.task.length, 1000):
        found = gradients(trial(delay=6, cell=cell, hidden_size=5, truncation=window), leaves, batch)[1]
        for gradient, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(gradient, wanted, **CLOSE)


def test_windows_are_counted_from_the_end():
    assert bptt._windows(10, 4) == [range(2), range(2, 6), range(6, 10)]
    assert bptt._windows(8, 4) == [range(4), range(4, 8)]
    assert bptt._windows(3, 4) == [range(3)]
    assert bptt._windows(1, 1) == [range(1)]


def omega_by_hand(one: Trial, leaves: dict[str, Tensor], batch: Batch, model: int) -> Tensor:
    """dOmega/dW_hh of one model, by autograd of equation 9 with delta_t and f' held fixed."""
    W_xh, W_hh, b_h, W_hy, b_y = (leaves[name][model].detach() for name in ("W_xh", "W_hh", "b_h", "W_hy", "b_y"))
    if batch.inputs.is_floating_point():
        vectors = batch.inputs[model]
    else:
        vectors = torch.nn.functional.one_hot(batch.inputs[model], one.task.input_size).double()
    f = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda a: a}[one.cell.nonlinearity]
    activations, state = [], torch.zeros(vectors.shape[1], len(b_h), dtype=torch.float64)
    for x in vectors:
        activations.append((x @ W_xh.T + state @ W_hh.T + b_h).requires_grad_())
        state = f(activations[-1])
    states = [f(a) for a in activations]
    outputs = torch.stack(states) @ W_hy.T + b_y
    loss = one.task.loss(outputs[one.task.scored], at_steps(Batch(*(v[model] for v in batch[:3])), one.task.scored))
    deltas = torch.autograd.grad(loss, activations)
    slopes = [torch.autograd.grad(f(a).sum(), a)[0] for a in (a.detach().requires_grad_() for a in activations)]
    matrix = W_hh.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for t in range(len(deltas) - 1):
        back = (deltas[t + 1] @ matrix) * slopes[t]
        for row, after in zip(back, deltas[t + 1], strict=True):
            if after.norm() > 0 and row.norm() > 0:
                total = total + (row.norm() / after.norm() - 1) ** 2
    count = (len(deltas) - 1) * vectors.shape[1]
    return torch.autograd.grad(total / count, matrix)[0]


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "identity"])
@pytest.mark.parametrize("shape", [{"task": "adding", "length": 6}, {"delay": 3, "symbols": 2}], ids=str)
def test_omega_adds_its_gradient_to_that_of_the_recurrent_matrix(nonlinearity, shape):
    shape = shape | {"nonlinearity": nonlinearity, "hidden_size": 4}
    plain, regularised = trial(**shape), trial(**shape, omega=0.7)
    leaves, batch = leaves_of(plain), batch_of(plain)
    without, found = (dict(zip(leaves, gradients(one, leaves, batch)[1], strict=True)) for one in (plain, regularised))
    for name in leaves:
        if name != "W_hh":
            torch.testing.assert_close(found[name], without[name], **CLOSE)
    for model in range(2):
        expected = omega_by_hand(plain, leaves, batch, model)
        assert expected.abs().max() > 1e-3, "the test asks for little"
        added = (found["W_hh"] - without["W_hh"])[model] / 0.7
        torch.testing.assert_close(added, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("radius", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_omega_stays_finite_where_errors_vanish_in_float32(radius, nonlinearity):
    one = trial(delay=80, hidden_size=16, nonlinearity=nonlinearity, spectral_radius=radius, omega=1.0, batch_size=4)
    leaves = {name: values[None].requires_grad_() for name, values in initial(one).items()}
    found = gradients(one, leaves, stacked([one.task.sample(generator(0, "train"), 4)]))[1]
    assert all(gradient.isfinite().all() for gradient in found)


def test_omega_vanishes_where_the_error_keeps_its_size():
    """Identity units and an orthogonal matrix: every ratio is 1."""
    one = trial(delay=3, nonlinearity="identity", hidden_size=4, omega=1.0)
    leaves, batch = leaves_of(one), batch_of(one)
    rotation, _ = torch.linalg.qr(leaves["W_hh"].detach())
    leaves["W_hh"] = rotation.requires_grad_()
    with_omega = gradients(one, leaves, batch)[1]
    plain = gradients(trial(delay=3, nonlinearity="identity", hidden_size=4), leaves, batch)[1]
    for gradient, wanted in zip(with_omega, plain, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-12)


def test_the_gradient_is_that_of_the_loss():
    one = trial(delay=4, hidden_size=4, cell="gru")
    leaves, batch = leaves_of(one), batch_of(one)
    losses, found = gradients(one, leaves, batch)
    outputs = forward(one, leaves, batch.inputs, one.task.scored)
    expected = one.task.loss(outputs, at_steps(batch, one.task.scored))
    assert torch.equal(losses, expected.detach())
    for gradient, wanted in zip(found, torch.autograd.grad(expected.sum(), list(leaves.values())), strict=True):
        assert torch.equal(gradient, wanted)
