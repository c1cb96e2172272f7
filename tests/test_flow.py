"""Gradient flow: against one sequence at a time without padding, against the product of Jacobians, against theory."""

import math

import pytest
import torch
from builders import trial
from test_networks import batches, parameters_of
from test_trajectory import RECURRENT

from rnnlab import theory
from rnnlab.diagnostics.flow import ByLag, Flow, by_lag, gradient_flow, relative, slope
from rnnlab.diagnostics.jacobians import step_jacobian
from rnnlab.diagnostics.trajectory import trajectories
from rnnlab.model import initial
from rnnlab.seeding import generator
from rnnlab.tasks import MANY_TO_ONE, Batch, at_steps, stacked

NETWORKS = {
    "one answer": {"task": "adding", "length": 12, "lengths": "varied", "layers": 2},
    "many answers": {"task": "copy", "delay": 5, "score": "all"},
    "one answer, in two directions": {"task": "agreement", "embedding_size": 4, "bidirectional": True},
    "many answers, in two directions": {"task": "tagging", "bidirectional": True, "layers": 2},
    "encoder and decoder": {"task": "reverse", "layers": 2},
}


def alone(one, batch: Batch, model: int, sequence: int) -> Batch:
    """One sequence of one model; without its padding, where nothing but the sequence itself needs the length."""
    length = batch.inputs.shape[1]
    if batch.lengths is not None and not hasattr(one.task, "source_length"):
        length = int(batch.lengths[model, sequence])
    places = (slice(model, model + 1), slice(0, length), slice(sequence, sequence + 1))
    lengths = batch.lengths[model : model + 1, sequence : sequence + 1] if batch.lengths is not None else None
    return Batch(batch.inputs[places], batch.targets[places], batch.mask[places], lengths)


@pytest.mark.parametrize("cell", ["elman", "lstm", "lru"])
@pytest.mark.parametrize("network", NETWORKS)
def test_norms_stand_at_their_lags(cell, network):
    one = trial(**NETWORKS[network], cell=cell, hidden_size=5)
    parameters, batch = parameters_of(one), batches(one, size=4)
    flows = gradient_flow(one, parameters, batch)
    for model in range(2):
        for sequence in range(4):
            single = alone(one, batch, model, sequence)
            own = {name: values[model : model + 1] for name, values in parameters.items()}
            steps = single.mask[0, :, 0].nonzero()[-1].item()
            mask = torch.zeros_like(single.mask)
            mask[0, steps] = True
            paths, outputs = trajectories(one, own, single)
            loss = one.task.loss(outputs, at_steps(single._replace(mask=mask), one.task.scored))
            for path, flow in zip(paths, flows, strict=True):
                found = torch.autograd.grad(loss, path.states[1:], retain_graph=True)
                expected = {}
                below = one.model.bidirectional and path.part.level < one.model.layers - 1  # read from both sides
                for place, gradient in enumerate(() if below else found):
                    time = len(found) - 1 - place if path.part.backward else path.begin + place
                    lag = time if path.part.backward and one.task.form == MANY_TO_ONE else abs(steps - time)
                    if (time >= steps or one.task.form == MANY_TO_ONE) if path.part.backward else time <= steps:
                        expected[lag] = float(gradient.norm())
                there = flow.there[model, sequence].nonzero()[:, 0].tolist()
                assert there == sorted(expected)
                assert flow.norms[model, sequence, there].tolist() == pytest.approx(
                    [expected[lag] for lag in there], rel=1e-9, abs=1e-18
                )


@pytest.mark.parametrize("cell", RECURRENT)
def test_a_gradient_goes_back_through_the_product_of_jacobians(cell):
    one = trial(task="adding", length=9, cell=cell, hidden_size=5)
    parameters, batch = parameters_of(one), batches(one, size=3)
    (flow,) = gradient_flow(one, parameters, batch)
    (path,), outputs = trajectories(one, parameters, batch)
    loss = one.task.loss(outputs, at_steps(batch, one.task.scored)).sum() * 3
    gradient = torch.autograd.grad(loss, path.states[-1])[0][1, 2, path.coordinates]
    bare = path.detached()
    for lag in range(9):
        assert float(flow.norms[1, 2, lag]) == pytest.approx(float(gradient.norm()), rel=1e-9)
        if lag < 8:
            gradient = step_jacobian(bare, 8 - lag)[1, 2].T @ gradient


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1.0, 1e150])
def test_norms_are_numbers_wherever_the_gradient_is(size):
    """Their squares would not be."""
    one = trial(task="adding", length=6, cell="elman", nonlinearity="identity", hidden_size=5)
    parameters = {name: values.detach().clone() for name, values in parameters_of(one, models=1).items()}
    (flow,) = gradient_flow(one, parameters, batches(one, models=1, size=1))
    parameters["W_hy"] *= size
    (scaled,) = gradient_flow(one, parameters, batches(one, models=1, size=1))
    ratios = scaled.norms / scaled.norms[..., :1]
    torch.testing.assert_close(ratios, flow.norms / flow.norms[..., :1], rtol=1e-6, atol=0)
    assert by_lag(scaled).counted.tolist() == [[1] * 6]


def test_norms_relative_to_the_first_lag_of_each_sequence():
    found = relative(flow_of([[2.0, 1.0, 0.0], [None, 5.0, 10.0]]))
    assert found.norms[0].tolist() == [[1, 0.5, 0], [0, 1, 2]]


def flow_of(norms: list[list[float]]) -> Flow:
    """A flow of one model; None: there is no such state."""
    values = torch.tensor([[[0.0 if norm is None else norm for norm in row] for row in norms]], dtype=torch.float64)
    return Flow(None, values, torch.tensor([[[norm is not None for norm in row] for row in norms]]))


def test_what_vanished_or_broke_is_told_and_not_averaged_away():
    found = by_lag(flow_of([[1.0, 1.0, math.nan, 2.0], [math.e**2, 0.0, math.inf, None], [math.e**4, 0.0, 1.0, None]]))
    assert isinstance(found, ByLag)
    assert found.mean[0].tolist() == pytest.approx([2, 0, 0, math.log(2)])
    assert found.spread[0, 0] == pytest.approx(2)
    assert found.spread[0, 1:].isnan().all()
    assert found.counted[0].tolist() == [3, 1, 1, 1]
    assert found.zero[0].tolist() == [0, 2, 0, 0]
    assert found.broken[0].tolist() == [0, 0, 2, 0]
    nothing = by_lag(flow_of([[0.0, None]]))
    assert nothing.mean.isnan().all()
    assert nothing.zero.tolist() == [[1, 0]]


def test_the_slope_is_that_of_a_line():
    mean = torch.stack([3 - 0.25 * torch.arange(30.0), torch.randn(30, generator=torch.Generator().manual_seed(0))])
    found = slope(mean.double(), range(5, 25))
    assert found[0] == pytest.approx(-0.25)
    design = torch.stack([torch.ones(20), torch.arange(5.0, 25)], dim=1).double()
    assert found[1] == pytest.approx(float(torch.linalg.lstsq(design, mean[1, 5:25, None].double()).solution[1]))
    mean[0, 7] = math.nan
    assert slope(mean, range(5, 25))[0].isnan()
    with pytest.raises(ValueError, match="must be two or more, from 0 to 29"):
        slope(mean, range(5, 31))


def stack_of(parameters: list[dict]) -> dict:
    return {name: torch.stack([one[name] for one in parameters]).double() for name in parameters[0]}


# Gains and variances of what comes in, those of the grid where chi lies between 0.3 and 0.9
POINTS = [
    (gain, variance)
    for gain in (0.6, 0.7, 0.8, 0.9, 1.0)
    for variance in (0.01, 0.1)
    if 0.3 < theory.mean_field(gain, variance).chi < 0.9
]


def measured_slope(gain: float, variance: float, hidden: int = 256, networks: int = 6) -> float:
    """The mean over orthogonal networks, T = 200; each step reads one of 2000 symbols: white Gaussian input."""
    shape = {"task": "random_permutation", "between": "independent", "alphabet": 2000, "length": 200}
    drawn = {"init": "orthogonal", "spectral_radius": gain, "input_scale": math.sqrt(variance)}
    ones = [trial(**shape, **drawn, hidden_size=hidden, seed=seed) for seed in range(networks)]
    batch = stacked([one.task.sample(generator(one.seed, "train"), 10) for one in ones])
    (flow,) = gradient_flow(ones[0], stack_of([initial(one) for one in ones]), batch)
    return float(slope(by_lag(flow).mean, range(10, 61)).mean())


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.3])
def test_without_inputs_a_gradient_goes_as_the_spectral_radius_to_the_power_of_the_lag(radius):
    one = trial(task="adding", length=101, init="orthogonal", spectral_radius=radius, input_scale=0.0, hidden_size=16)
    parameters = {name: values.double()[None] for name, values in initial(one).items()}
    batch = stacked([one.task.sample(generator(0, "test.law"), 3)])
    batch = batch._replace(inputs=batch.inputs.double(), targets=batch.targets.double())
    (flow,) = gradient_flow(one, parameters, batch)
    found = by_lag(relative(flow)).mean[0]
    assert found.tolist() == pytest.approx([lag * math.log(radius) for lag in range(101)], abs=1e-5)  # weights: float32


def test_at_least_eight_points_of_theory_are_measured():
    assert len(POINTS) >= 8


@pytest.mark.parametrize(("gain", "variance"), POINTS)
def test_gradients_of_wide_orthogonal_networks_fall_as_mean_field_theory_says(gain, variance):
    assert measured_slope(gain, variance) == pytest.approx(theory.mean_field(gain, variance).slope, rel=0.01)


def test_what_theory_leaves_out_goes_with_the_width():
    """Where gradients depend on few units, narrow networks lose them faster than wide ones: by 2.8 % at H = 64 and
    gain 1.2, by 0.6 % at H = 256 (measured with 48 and 16 networks, within 0.2 %)."""
    expected = theory.mean_field(1.2, 0.5).slope
    narrow, wide = (measured_slope(1.2, 0.5, hidden, networks=12) / expected - 1 for hidden in (32, 256))
    assert 0.03 < narrow < 0.1
    assert abs(wide) < 0.02
