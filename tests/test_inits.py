"""Laws of every recurrent initialiser in `rnnlab/inits`: the spectral radius asked for is the one measured."""

import dataclasses

import numpy as np
import pytest
import torch
from builders import normal, trial

from rnnlab.inits import spectral_radius
from rnnlab.model import initial
from rnnlab.registry import registry
from rnnlab.seeding import generator

every_init = pytest.mark.parametrize("name", registry()["init"])
every_size = pytest.mark.parametrize("hidden", [1, 2, 33])
RADII = (0.0, 0.5, 1.0, 1.3)


def recurrent(name: str, radius: float, hidden: int, seed: int = 0) -> torch.Tensor:
    init = registry()["init"][name](spectral_radius=radius)
    return init.recurrent(generator(seed, "init.recurrent"), hidden)


def measured(matrix: torch.Tensor) -> float:
    return np.abs(np.linalg.eigvals(matrix.numpy())).max()


@every_init
@every_size
@pytest.mark.parametrize("radius", RADII)
def test_the_spectral_radius_asked_for_is_the_one_measured(name, hidden, radius):
    for seed in range(5):
        matrix = recurrent(name, radius, hidden, seed)
        assert (matrix.shape, matrix.dtype) == ((hidden, hidden), torch.float64)
        assert measured(matrix) == pytest.approx(radius, rel=1e-10, abs=0)


@every_init
@every_size
def test_an_equal_stream_gives_an_equal_matrix(name, hidden):
    assert torch.equal(recurrent(name, 0.9, hidden), recurrent(name, 0.9, hidden))


@every_init
@every_size
def test_for_equal_seeds_matrices_differ_by_their_scale_alone(name, hidden):
    one, other = recurrent(name, 0.9, hidden), recurrent(name, 1.3, hidden)
    torch.testing.assert_close(one / 0.9, other / 1.3, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ["gaussian", "orthogonal"])
def test_seeds_have_matrices_of_their_own(name):
    assert not torch.equal(recurrent(name, 1.0, 8, seed=0), recurrent(name, 1.0, 8, seed=1))


@every_size
def test_orthogonal_is_orthogonal_up_to_its_scale(hidden):
    for radius in (0.5, 1.3):
        matrix = recurrent("orthogonal", radius, hidden) / radius
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(hidden, dtype=torch.float64), rtol=0, atol=1e-13)


def test_orthogonal_favours_no_sign():
    """Uniform by Haar measure: each diagonal entry has mean 0 (by QR without its signs, the first has a sign)."""
    diagonals = torch.stack([recurrent("orthogonal", 1.0, 2, seed).diagonal() for seed in range(400)])
    assert (diagonals.mean(0).abs() < 3 / np.sqrt(2 * 400)).all()  # an entry has variance 1/H


def test_identity_is_the_identity_up_to_its_scale():
    assert torch.equal(recurrent("identity", 1.3, 33), 1.3 * torch.eye(33, dtype=torch.float64))


def test_gaussian_entries_are_normal_with_the_variance_of_the_circular_law():
    entries = recurrent("gaussian", 1.0, 300).flatten()
    assert entries.mean().abs() < 3 * entries.std() / 300
    assert entries.var() * 300 == pytest.approx(1, abs=0.1)  # the radius of H = 300 is 1 within some percent
    kurtosis = ((entries - entries.mean()) / entries.std()).pow(4).mean()
    assert kurtosis == pytest.approx(3, abs=0.1)


@every_init
def test_the_input_scale_scales_the_input_weights_and_nothing_else(name):
    one, other = (initial(trial(init=name, input_scale=scale)) for scale in (0.1, 0.25))
    torch.testing.assert_close(one["W_xh"] / 0.1, other["W_xh"] / 0.25, rtol=1e-6, atol=0)
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"W_xh"}


@every_init
def test_the_spectral_radius_changes_the_recurrent_weights_and_nothing_else(name):
    one, other = (initial(trial(init=name, spectral_radius=radius)) for radius in (0.5, 1.5))
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"W_hh"}


def test_another_init_changes_the_recurrent_weights_and_nothing_else():
    one, other = (initial(trial(init=name)) for name in ("gaussian", "orthogonal"))
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"W_hh"}


@every_init
def test_every_init_has_the_fields_of_the_contract(name):
    fields = {field.name for field in dataclasses.fields(registry()["init"][name])}
    assert {"spectral_radius", "input_scale"} <= fields


def test_initial_weights_have_the_scales_that_are_stated():
    weights = initial(trial(alphabet=50, hidden_size=400, input_scale=0.3))
    assert weights["W_xh"].std().item() == pytest.approx(0.3, rel=0.02)
    assert weights["W_hy"].std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert not weights["b_h"].any()
    assert not weights["b_y"].any()
    assert {values.dtype for values in weights.values()} == {torch.float32}


def test_the_measured_radius_is_that_of_numpy_and_not_a_number_where_an_entry_is_not_finite():
    matrices = torch.stack([recurrent("gaussian", 0.7, 9, seed) for seed in range(3)]).float()
    matrices[1, 2, 3] = torch.inf
    found = spectral_radius(matrices)
    assert found.dtype == torch.float64
    assert found[[0, 2]].tolist() == pytest.approx([measured(matrices[i].double()) for i in (0, 2)], rel=1e-12)
    assert found[1].isnan()


def test_the_radius_of_a_matrix_of_rank_one_is_measured_or_not_a_number_and_never_a_crash():
    """As weights are after one step of RMSprop or Adam from radius 0; LAPACK as torch calls it may not converge."""
    for name in range(40):
        left, right = (normal(f"{side}.{name}", 33).sign() for side in ("left", "right"))
        (found,) = spectral_radius(torch.outer(left, right)[None]).tolist()
        assert np.isnan(found) or found == pytest.approx(abs(left @ right).item(), rel=1e-6)
