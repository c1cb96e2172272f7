"""Jacobians along a trajectory, and the singular values of their products, against autograd's."""

import math

import pytest
import torch
from builders import trial
from test_networks import batches, parameters_of
from test_trajectory import NETWORKS, RECURRENT

from rnnlab.diagnostics.jacobians import identity, log_singular_values, push, step_jacobian
from rnnlab.diagnostics.trajectory import Trajectory, trajectories
from rnnlab.unroll import step


def paths_of(**fields) -> list[Trajectory]:
    one = trial(**{"hidden_size": 5} | fields)
    return [path.detached() for path in trajectories(one, parameters_of(one), batches(one, size=3))[0]]


def by_autograd(path: Trajectory, t: int, model: int, sequence: int) -> torch.Tensor:
    """(N, N) the Jacobian of one step of one sequence, the slow way."""

    def advance(state: torch.Tensor) -> torch.Tensor:
        joined = path.states[t].clone()
        joined[model, sequence] = state
        after = torch.cat(step(path.cell, path.projected[:, t], path.split(joined), path.weights), dim=-1)
        if path.active is not None:
            after = torch.where(path.active[:, t].unsqueeze(-1), after, joined)
        return after[model, sequence]

    whole = torch.autograd.functional.jacobian(advance, path.states[t][model, sequence])
    return whole[path.coordinates][:, path.coordinates]


@pytest.mark.parametrize("cell", RECURRENT)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_jacobian_of_a_step_is_that_of_autograd(cell, network):
    for path in paths_of(cell=cell, **NETWORKS[network]):
        t = len(path.states) // 2
        found = step_jacobian(path, t)
        torch.testing.assert_close(found[1, 2], by_autograd(path, t, 1, 2), rtol=1e-10, atol=1e-12)


def test_elman_has_the_jacobian_of_the_textbook():
    (path,) = paths_of(delay=6)
    recurrent = path.weights.recurrent[:, :5, :5]
    after = path.outputs()[:, 3, :, :5]
    expected = (1 - after**2).unsqueeze(-1) * recurrent.unsqueeze(1)
    torch.testing.assert_close(step_jacobian(path, 3), expected)


@pytest.mark.parametrize("cell", RECURRENT)
def test_padding_stays_out_of_it(cell):
    (path,) = paths_of(cell=cell, delay=6)
    moved = push(path, 2, identity(path))
    outside = torch.ones(moved.shape[-1], dtype=bool)
    outside[path.coordinates] = False
    assert outside.any()
    assert not moved[..., outside].any()


@pytest.mark.parametrize("cell", ["elman", "lstm", "lru"])
def test_products_have_the_singular_values_of_the_whole_derivative(cell):
    one = trial(cell=cell, delay=6, hidden_size=5)
    (path,), _ = trajectories(one, parameters_of(one), batches(one, size=3))
    lags, places = [0, 1, 4, 9], path.coordinates
    found = log_singular_values(path.detached(), lags)
    for lag, values in zip(lags, found, strict=True):
        rows = [
            torch.autograd.grad(path.states[-1][1, 2, place], path.states[-1 - lag], retain_graph=True)[0][1, 2, places]
            for place in places
        ]
        expected = torch.linalg.svdvals(torch.stack(rows)).log()
        known = expected > expected[0] - 20  # an LSTM's h and c depend on each other: the rest is rounding
        assert known.sum() >= 4
        torch.testing.assert_close(values[1, 2][known], expected[known], rtol=0, atol=1e-6)


def test_products_of_an_orthogonal_matrix_shrink_by_its_scale_to_any_lag():
    """0.5^1500 is far below the smallest number: the size is kept apart."""
    one = trial(delay=1495, symbols=3, hidden_size=4, nonlinearity="identity")
    parameters = {name: values.detach() for name, values in parameters_of(one, models=1).items()}
    parameters["W_hh"] = 0.5 * torch.linalg.qr(parameters["W_hh"])[0]
    (path,), _ = trajectories(one, parameters, batches(one, models=1, size=1))
    found = log_singular_values(path.detached(), [1, 1500])
    torch.testing.assert_close(found[:, 0, 0], math.log(0.5) * torch.tensor([[1.0], [1500.0]]).double().expand(2, 4))


def test_what_rounding_hides_is_not_known_and_what_vanished_is_said():
    one = trial(delay=20, hidden_size=4, nonlinearity="identity")
    parameters = {name: values.detach() for name, values in parameters_of(one, models=3).items()}
    parameters["W_hh"] = torch.stack(
        [torch.diag(torch.tensor([1.0, 0.5, 0.1, 0.01])), torch.zeros(4, 4), torch.full((4, 4), torch.nan)]
    ).double()
    (path,), _ = trajectories(one, parameters, batches(one, models=3, size=1))
    logs = log_singular_values(path.detached(), [12])[0, :, 0]
    torch.testing.assert_close(logs[0, :3], 12 * torch.tensor([1.0, 0.5, 0.1]).double().log())
    assert logs[0, 3].isnan()  # 1e-24 beside 1
    assert (logs[1] == -math.inf).all()
    assert logs[2].isnan().all()


@pytest.mark.parametrize("lags", [[3, 2], [1, 1], [-1], [99]])
def test_lags_that_no_trajectory_has_are_refused(lags):
    (path,) = paths_of(delay=6)
    with pytest.raises(ValueError, match="must rise, from 0 to"):
        log_singular_values(path, lags)
