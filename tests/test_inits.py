"""Laws of every recurrent initialiser in `rnnlab/inits`: the spectral radius asked for is the one measured."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from builders import normal, spec_class, trial

from rnnlab.build import conflicts
from rnnlab.inits import spectral_radius
from rnnlab.inits.chrono import Chrono
from rnnlab.model import initial
from rnnlab.registry import registry
from rnnlab.seeding import generator

WITHOUT_CHANCE = {"identity"}
every_init = pytest.mark.parametrize("name", registry()["init"])
every_size = pytest.mark.parametrize("hidden", [1, 2, 33])
RADII = (0.0, 0.5, 1.0, 1.3)


def recurrent(name: str, radius: float, hidden: int, seed: int = 0, **fields) -> torch.Tensor:
    init = registry()["init"][name](spectral_radius=radius, **fields)
    return init.recurrent(generator(seed, "init.recurrent"), hidden)


def weights_of(name: str, **fields) -> dict[str, torch.Tensor]:
    """The initial weights of a network, whether or not the init has a use for its cell."""
    return initial(dataclasses.replace(trial(), init=registry()["init"][name](**fields)))


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


@every_init
def test_seeds_have_matrices_of_their_own(name):
    same = torch.equal(recurrent(name, 1.0, 8, seed=0), recurrent(name, 1.0, 8, seed=1))
    assert same == (name in WITHOUT_CHANCE)


@every_size
@pytest.mark.parametrize("name", ["orthogonal", "identity", "block_rotation", "chrono"])
def test_the_orthogonal_ones_are_orthogonal_up_to_their_scale(name, hidden):
    for radius in (0.5, 1.3):
        matrix = recurrent(name, radius, hidden) / radius
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


def test_uniform_at_its_default_radius_is_what_torch_draws():
    """Up to the fluctuation of the radius: that of torch's own matrix is the default, and the bounds are torch's."""
    hidden = 300
    entries = recurrent("uniform", registry()["init"]["uniform"]().spectral_radius, hidden)
    bound = hidden**-0.5
    assert entries.abs().max().item() == pytest.approx(bound, rel=0.08)
    counts = torch.histc(entries / entries.abs().max(), 10, -1, 1)
    assert (counts / hidden**2).tolist() == pytest.approx([0.1] * 10, rel=0.05)
    torchs = torch.empty(hidden, hidden).uniform_(-bound, bound, generator=torch.Generator().manual_seed(0))
    assert measured(torchs) == pytest.approx(0.577, rel=0.08)


def test_block_rotation_turns_pairs_of_units_by_uniform_angles_and_an_odd_one_not_at_all():
    matrix = recurrent("block_rotation", 1.0, 4001)
    blocks = matrix[:4000, :4000].reshape(2000, 2, 2000, 2).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    cosines, sines = blocks[:, 0, 0], blocks[:, 1, 0]
    assert torch.equal(blocks[:, 1, 1], cosines)
    assert torch.equal(blocks[:, 0, 1], -sines)
    assert matrix[4000, 4000] == 1
    assert matrix.count_nonzero() == 4 * 2000 + 1, "something outside the blocks"
    counts = torch.histc(torch.atan2(sines, cosines), 8, -math.pi, math.pi)
    assert counts.sum() == 2000
    assert counts.tolist() == pytest.approx([250] * 8, abs=4 * 250**0.5)


@pytest.mark.parametrize(("nonzeros", "hidden"), [(15, 40), (3, 40), (1, 40), (1, 2), (15, 15), (15, 4)])
def test_every_unit_of_a_sparse_matrix_has_so_many_incoming_connections(nonzeros, hidden):
    found = torch.stack([recurrent("sparse", 1.0, hidden, seed, nonzeros=nonzeros) for seed in range(50)])
    assert (found.count_nonzero(2) == min(nonzeros, hidden)).all()
    heard = found.count_nonzero((0, 1)) / (50 * min(nonzeros, hidden))  # mean over seeds: no unit is preferred
    assert heard.tolist() == pytest.approx([1] * hidden, abs=5 * (50 * min(nonzeros, hidden)) ** -0.5)


def test_the_weights_of_a_sparse_matrix_are_normal():
    matrix = recurrent("sparse", 1.0, 600)
    weights = matrix[matrix != 0]
    assert len(weights) == 600 * 15
    normalised = (weights - weights.mean()) / weights.std()
    assert normalised.pow(4).mean().item() == pytest.approx(3, abs=0.25)
    assert weights.std().item() == pytest.approx(15**-0.5, rel=0.05)  # the circular law, with 15 in the place of H


@pytest.mark.parametrize("nonzeros", [1, 2, 3])
@pytest.mark.parametrize("hidden", [1, 2, 3, 4, 5, 17])
def test_a_sparse_matrix_always_has_a_radius_to_scale(nonzeros, hidden):
    for seed in range(100):
        assert measured(recurrent("sparse", 1.3, hidden, seed, nonzeros=nonzeros)) == pytest.approx(1.3, rel=1e-10)


@pytest.mark.parametrize("longest", [3, 100])
def test_chrono_spreads_the_time_scales_of_gates_evenly_up_to_the_longest(longest):
    bias = Chrono(longest=longest).gate_bias(generator(0, "init.gate"), 5000)
    assert (bias.shape, bias.dtype) == ((5000,), torch.float64)
    scales = 1 / (1 - torch.sigmoid(bias))  # steps after which a gate of this bias has forgotten all but 1/e
    assert 2 <= scales.min().item() < scales.max().item() <= longest
    assert torch.histc(scales, 5, 2, longest).tolist() == pytest.approx([1000] * 5, abs=4 * 1000**0.5)
    assert torch.equal(bias, Chrono(longest=longest).gate_bias(generator(0, "init.gate"), 5000))
    assert not torch.equal(bias, Chrono(longest=longest).gate_bias(generator(1, "init.gate"), 5000))


def test_chrono_has_the_recurrent_matrix_of_orthogonal():
    assert torch.equal(recurrent("chrono", 1.3, 9, longest=7), recurrent("orthogonal", 1.3, 9))


def test_chrono_refuses_a_cell_without_gates_and_takes_one_that_has_them():
    gated = spec_class("gru", [])()
    without = dataclasses.replace(trial(), init=Chrono())
    type(gated).gated = True
    assert conflicts(without) == ["init=chrono: needs a cell with gates, cell=elman has none; must be another init"]
    assert conflicts(dataclasses.replace(without, cell=gated)) == []


@every_init
def test_the_input_scale_scales_the_input_weights_and_nothing_else(name):
    one, other = (weights_of(name, input_scale=scale) for scale in (0.1, 0.25))
    torch.testing.assert_close(one["W_xh"] / 0.1, other["W_xh"] / 0.25, rtol=1e-6, atol=0)
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"W_xh"}


@every_init
def test_the_spectral_radius_changes_the_recurrent_weights_and_nothing_else(name):
    one, other = (weights_of(name, spectral_radius=radius) for radius in (0.5, 1.5))
    assert {key for key in one if not torch.equal(one[key], other[key])} == {"W_hh"}


def test_another_init_changes_the_recurrent_weights_and_nothing_else():
    one, other = (weights_of(name) for name in ("gaussian", "orthogonal"))
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
