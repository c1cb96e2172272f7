"""The Lyapunov spectrum: of linear maps in closed form, of networks by a plain loop over autograd's Jacobians."""

import math

import numpy as np
import pytest
import torch
from builders import normal, trial
from paths import driven, linear
from test_jacobians import by_autograd, paths_of
from test_networks import batches, parameters_of
from test_trajectory import NETWORKS, RECURRENT

from rnnlab import theory
from rnnlab.cells.elman import Elman
from rnnlab.diagnostics.jacobians import step_jacobian
from rnnlab.diagnostics.lyapunov import BATCHES, DRIFT, LyapunovSpectrum, _start, lyapunov_spectrum
from rnnlab.diagnostics.trajectory import Trajectory, trajectories
from rnnlab.inits.orthogonal import Orthogonal
from rnnlab.seeding import generator
from rnnlab.theory import edge

TANH, RELU = Elman("tanh"), Elman("relu")


def orthogonal(hidden: int, seed: int = 0) -> torch.Tensor:
    return Orthogonal(1.0).recurrent(generator(seed, "test.orthogonal"), hidden)


def plainly(path: Trajectory, model: int, sequence: int, every: int, warmup: int) -> np.ndarray:
    """(P, N) ln |R_kk| of one sequence by whole periods, one Jacobian after another."""
    places = path.coordinates
    columns = _start(path, len(places))[model, :, sequence][:, places].T.numpy()
    logs = []
    for t in range(len(path.states) - 1):
        columns = by_autograd(path, t, model, sequence).numpy() @ columns
        if (t + 1 - warmup) % every == 0:
            columns, upper = np.linalg.qr(columns)
            if t + 1 > warmup:
                logs.append(np.log(np.abs(np.diag(upper))))
    return np.array(logs)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "cornn", "antisymmetric"])
@pytest.mark.parametrize(("every", "warmup"), [(1, 0), (1, 6), (5, 3)])
def test_the_spectrum_is_that_of_a_plain_loop(cell, every, warmup):
    """With the standard error of ten batches of means, the drift and the verdict counted anew."""
    (path,) = paths_of(cell=cell, delay=52)
    found = lyapunov_spectrum(path, every=every, warmup=warmup)
    logs = plainly(path, 1, 2, every, warmup)
    exponents = logs.mean(0) / every
    order = np.argsort(-exponents)
    width = len(logs) // 10
    means = logs[len(logs) - 10 * width :].reshape(10, width, -1).mean(1) / every
    error = means.std(0, ddof=1) / math.sqrt(10)
    drift = logs[: len(logs) // 2].mean(0) / every - exponents
    close = {"abs": 1e-9, "rel": 3e-5}  # the least of an LSTM shrinks by e^-29 in a period: 1e-13 of the largest
    assert found.exponents[1, 2].tolist() == pytest.approx(exponents[order].tolist(), **close)
    assert found.standard_error[1, 2].tolist() == pytest.approx(error[order].tolist(), **close)
    assert found.drift[1, 2].tolist() == pytest.approx(drift[order].tolist(), **close)
    assert found.converged[1, 2].tolist() == (np.abs(drift) <= DRIFT * error)[order].tolist()


@pytest.mark.parametrize("cell", sorted(set(RECURRENT) - {"lru"}))
@pytest.mark.parametrize("network", NETWORKS)
def test_exponents_add_up_to_the_rate_at_which_volumes_change(cell, network):
    for path in paths_of(cell=cell, **NETWORKS[network]):
        steps = path.steps()
        found = lyapunov_spectrum(path, warmup=0).exponents.sum(-1)
        logs = [step_jacobian(path, t).det().abs().log() for t in range(len(path.states) - 1)]
        expected = torch.stack(logs).sum(0) / steps
        known = expected > -50  # a determinant near 0: some exponents are below rounding
        torch.testing.assert_close(found[known], expected[known], rtol=1e-6, atol=1e-6)


def test_the_exponents_of_a_linear_map_are_those_of_its_eigenvalues():
    values = torch.tensor([1.2, -0.7, 0.3, 0.1], dtype=torch.float64)
    frames = normal("frames", 3, 4, 4)
    matrices = frames @ torch.diag(values) @ torch.linalg.inv(frames)
    found = lyapunov_spectrum(linear(*matrices, steps=200), warmup=100)
    expected = values.abs().log().expand(3, 1, 4)
    torch.testing.assert_close(found.exponents, expected, rtol=0, atol=1e-9)
    assert found.converged.all()


def test_the_largest_exponents_are_found_alone_whatever_the_axes():
    """On a diagonal matrix columns along the axes would never turn."""
    matrix = torch.diag(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    path = linear(matrix, steps=200)
    whole = lyapunov_spectrum(path, warmup=100)
    for count in (1, 2, 3):
        found = lyapunov_spectrum(path, count, warmup=100)
        assert found.exponents.shape == (1, 1, count)
        torch.testing.assert_close(found.exponents, whole.exponents[..., :count])
    assert whole.exponents.flatten().tolist() == pytest.approx([math.log(of) for of in (0.9, 0.5, 0.1)], abs=1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1.5])
@pytest.mark.parametrize("hidden", [5, 16])
def test_a_scaled_orthogonal_matrix_has_one_exponent(scale, hidden):
    found = lyapunov_spectrum(linear(scale * orthogonal(hidden), steps=100))
    torch.testing.assert_close(
        found.exponents, torch.full((1, 1, hidden), math.log(scale), dtype=torch.float64), rtol=0, atol=1e-10
    )
    assert found.standard_error.max() < 1e-10
    assert found.converged.all()


@pytest.mark.parametrize("cell", ["elman", "gru"])
def test_the_period_of_the_decompositions_makes_no_difference(cell):
    (path,) = paths_of(cell=cell, delay=52, hidden_size=3)
    one, five = (lyapunov_spectrum(path, every=every, warmup=3) for every in (1, 5))
    torch.testing.assert_close(one.exponents, five.exponents, rtol=0, atol=1e-8)
    torch.testing.assert_close(one.standard_error, five.standard_error, rtol=0, atol=1e-8)


@pytest.mark.parametrize("variance", [0.01, 0.3])
@pytest.mark.parametrize(("share", "sign"), [(0.8, -1), (1.25, 1)])
def test_large_tanh_networks_turn_unstable_at_the_edge_of_mean_field_theory(variance, share, sign):
    hidden, gain = 200, share * edge(variance)
    recurrent = torch.stack([gain * orthogonal(hidden, seed) for seed in range(2)])
    path = driven(recurrent, math.sqrt(variance) * normal("inputs", 2, 150, 1, hidden), TANH)
    found = lyapunov_spectrum(path, 1, warmup=50)
    assert (found.exponents.sign() == sign).all()
    slope = theory.mean_field(gain, variance).slope
    assert found.exponents.mean().item() == pytest.approx(slope, abs=0.05)


def test_what_stands_still_in_a_finished_sequence_does_not_count():
    """A sequence of 30 steps has the exponents that it has by itself, wherever its end is known from."""
    (encoder, _) = paths_of(cell="elman", task="reverse", symbols=40, hidden_size=5)
    lengths = encoder.active.sum(1)
    assert lengths.unique().numel() > 1
    found = lyapunov_spectrum(encoder, warmup=4)
    told = lyapunov_spectrum(encoder, warmup=4, lengths=lengths)
    for model in range(2):
        for sequence in range(3):
            stop = int(lengths[model, sequence])
            logs = plainly(encoder, model, sequence, 1, 4)[: stop - 4]
            assert sorted(found.exponents[model, sequence]) == pytest.approx(sorted(logs.mean(0)), abs=1e-9)
    for one, other in zip(found, told, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# Where it is not known


@pytest.mark.parametrize(("measured", "known"), [(49, False), (50, True)])
def test_too_few_steps_have_no_error_and_have_not_converged(measured, known):
    found = lyapunov_spectrum(linear(0.5 * orthogonal(3), steps=measured + 7), warmup=7)
    assert found.exponents.isfinite().all()
    assert (found.standard_error.isfinite() == known).all()
    assert (found.converged == known).all()


@pytest.mark.parametrize("warmup", [10, 11, 1000])
def test_without_a_period_nothing_is_known(warmup):
    found = lyapunov_spectrum(linear(orthogonal(3), steps=10), warmup=warmup)
    assert all(values.isnan().all() for values in found[:3])
    assert not found.converged.any()


def test_a_drift_is_seen():
    """Gains that fall over time: no limit, whatever the mean."""
    shrinking = torch.linspace(1, 3, 200).double()[None, :, None, None].expand(1, -1, 1, 4)
    path = driven(torch.zeros(1, 4, 4).double() + 0.5 * orthogonal(4), shrinking, TANH)
    found = lyapunov_spectrum(path, 1, warmup=20)
    assert (found.drift > DRIFT * found.standard_error).all()
    assert not found.converged.any()


def test_the_drift_of_stationary_networks_is_as_large_as_the_standard_error_says():
    recurrent = torch.stack([orthogonal(8, seed) for seed in range(20)])
    path = driven(recurrent, normal("inputs", 20, 400, 10, 8), TANH)
    found = lyapunov_spectrum(path, 1, warmup=50)
    normalised = (found.drift / found.standard_error).flatten()
    assert normalised.square().mean().sqrt().item() == pytest.approx(math.sqrt(9 / 7), rel=0.15)  # t, 9 degrees
    assert 0.88 < found.converged.double().mean() < 0.97


def test_the_standard_error_covers_what_other_inputs_give():
    recurrent = orthogonal(8)[None]
    path = driven(recurrent, normal("inputs", 1, 400, 100, 8), TANH)
    found = lyapunov_spectrum(path, 1, warmup=50)
    spread = found.exponents.std().item()
    assert found.standard_error.square().mean().sqrt().item() == pytest.approx(spread, rel=0.2)


def test_a_direction_that_collapses_is_lost_for_good_and_the_others_are_not():
    """Exactly: a unit that nothing leads to. Below rounding: a product of thin matrices, which may be 0 or not."""
    line = torch.diag(torch.tensor([0.5, 0.9, 0.0])).double()
    thin = normal("thin", 3, 2) @ normal("thin", 2, 3)
    found = lyapunov_spectrum(linear(line, 0 * line, thin, steps=200), warmup=100)
    assert found.exponents[0, 0].tolist() == pytest.approx([math.log(0.9), math.log(0.5), -math.inf])
    assert (found.exponents[1] == -math.inf).all()
    assert found.exponents[2, 0].isnan().tolist() == [False, False, True]
    assert found.converged[:2].all()
    assert found.converged[2, 0].tolist()[2] is False
    assert found.standard_error[0, 0].isnan().tolist() == [False, False, True]


def test_states_that_do_not_depend_on_the_last_ones_have_no_exponent():
    """The third tensor of a linear recurrent unit is made of inputs alone."""
    (path,) = paths_of(cell="lru", delay=20, hidden_size=5)
    found = lyapunov_spectrum(path, warmup=0)
    assert found.exponents[..., :10].isfinite().all()
    assert (found.exponents[..., 10:] == -math.inf).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("cell", [TANH, RELU], ids=["tanh", "relu"])
def test_a_state_that_is_not_finite_is_not_averaged_away(wrong, cell):
    path = driven(orthogonal(4).expand(3, -1, -1), 1 + normal("inputs", 3, 80, 2, 4).square(), cell)
    expected = lyapunov_spectrum(path, 2, warmup=5)
    path.states[30][1, 0, 2] = wrong
    found = lyapunov_spectrum(path, 2, warmup=5)
    for values, before in zip(found[:3], expected[:3], strict=True):
        assert values[1, 0].isnan().all()
        for model, sequence in ((0, 0), (0, 1), (1, 1), (2, 0), (2, 1)):
            assert values[model, sequence].numpy().tobytes() == before[model, sequence].numpy().tobytes()
    assert not found.converged[1, 0].any()


def test_products_that_overflow_are_not_known():
    found = lyapunov_spectrum(linear(1e200 * orthogonal(3), 0.5 * orthogonal(3), steps=100), every=2)
    assert found.exponents[0].isnan().all()
    assert not found.converged[0].any()
    assert found.exponents[1].flatten().tolist() == pytest.approx([math.log(0.5)] * 3)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru"])
@pytest.mark.parametrize("hidden", [33, 16])
def test_bits_do_not_depend_on_the_stack(cell, hidden):
    one = trial(cell=cell, delay=10, hidden_size=hidden)
    parameters, batch = parameters_of(one, models=5), batches(one, models=5, size=3)
    parameters = {name: values.detach().float() for name, values in parameters.items()}

    def found(models: slice) -> LyapunovSpectrum:
        own = {name: values[models] for name, values in parameters.items()}
        (path,), _ = trajectories(one, own, batch._replace(inputs=batch.inputs[models]))
        return lyapunov_spectrum(path.detached(), 7, warmup=2)

    together = found(slice(None))
    for model in (0, 3):
        alone = found(slice(model, model + 1))
        for values, mates in zip(alone, together, strict=True):
            assert values[0].numpy().tobytes() == mates[model].numpy().tobytes()


def test_states_in_single_precision_are_followed_in_double():
    one = trial(delay=52, hidden_size=5)
    parameters = {name: values.detach().float() for name, values in parameters_of(one).items()}
    (path,), _ = trajectories(one, parameters, batches(one, size=3))
    found = lyapunov_spectrum(path.detached())
    assert found.exponents.dtype == torch.float64
    torch.testing.assert_close(found.exponents, lyapunov_spectrum(path.detached().doubled()).exponents, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count=0: must be >= 1 and <= 5"),
        ({"count": 6}, "count=6: must be >= 1 and <= 5"),
        ({"every": 0}, "every=0: must be >= 1"),
        ({"warmup": -1}, "warmup=-1: must be >= 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong, message):
    (path,) = paths_of(delay=6)
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum(path, **wrong)


def test_there_are_as_many_batches_as_simulation_asks_for():
    assert 8 <= BATCHES <= 30
