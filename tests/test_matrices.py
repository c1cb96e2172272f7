"""Spectra of recurrent matrices: against numpy, and the laws of the departure from normality."""

import math

import numpy as np
import pytest
import torch
from builders import normal
from scipy.linalg import schur

from rnnlab.diagnostics.matrices import MatrixSpectrum, largest_singular_values, spectrum
from rnnlab.inits import spectral_radius

SIZES = pytest.mark.parametrize("hidden", [1, 2, 5, 33])


def orthogonal(*shape: int) -> torch.Tensor:
    return torch.linalg.qr(normal("orthogonal", *shape))[0]


@SIZES
def test_all_numbers_are_those_of_numpy(hidden):
    """The departure by a Schur form, whose strictly upper part it is the norm of."""
    matrices = normal("matrices", 3, hidden, hidden)
    found = spectrum(matrices)
    for model, matrix in enumerate(matrices.numpy()):
        form = schur(matrix, output="complex")[0]
        size = np.linalg.norm(matrix)
        departure = np.linalg.norm(np.triu(form, 1))
        assert sorted(np.abs(form.diagonal())) == pytest.approx(sorted(found.eigenvalues[model].abs().tolist()))
        assert found.departure[model].item() == pytest.approx(departure, abs=1e-7 * size)
        assert found.relative_departure[model].item() == pytest.approx(departure / size, abs=1e-7)
        assert found.largest_singular_value[model].item() == pytest.approx(np.linalg.norm(matrix, 2))
    torch.testing.assert_close(found.spectral_radius, spectral_radius(matrices), rtol=0, atol=0)


@SIZES
@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_the_largest_singular_value_alone_is_that_of_the_spectrum(hidden, scale):
    matrices = scale * normal("matrices", 3, hidden, hidden)
    expected = torch.stack([torch.linalg.svdvals(matrix)[0] for matrix in matrices])
    torch.testing.assert_close(largest_singular_values(matrices), expected, rtol=1e-12, atol=0)
    matrices[1, 0, 0] = math.nan
    found = largest_singular_values(matrices)
    assert found.isnan().tolist() == [False, True, False]
    assert largest_singular_values(torch.zeros(2, hidden, hidden)).tolist() == [0, 0]


def test_eigenvalues_are_in_order_and_satisfy_their_equation():
    matrix = normal("matrices", 1, 9, 9)
    found = spectrum(matrix).eigenvalues[0]
    assert (found.abs().diff() <= 1e-12).all()
    identity = torch.eye(9, dtype=torch.complex128)
    for value in found:
        assert torch.linalg.svdvals(matrix[0] - value * identity)[-1] < 1e-12


@SIZES
def test_normal_matrices_do_not_depart(hidden):
    drawn = normal("matrices", hidden, hidden)
    turn = orthogonal(hidden, hidden)
    found = spectrum(torch.stack([turn, drawn + drawn.T, drawn - drawn.T, 3 * turn, torch.zeros_like(turn)]))
    assert found.relative_departure.abs().max() < 1e-7
    assert found.largest_singular_value.tolist() == pytest.approx(found.spectral_radius.tolist())
    assert found.departure[4] == found.relative_departure[4] == found.largest_singular_value[4] == 0


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_nilpotent_matrices_depart_altogether(size):
    """A line of units, each handing on what the one before had, and any strictly triangular matrix."""
    line = torch.diag(torch.ones(6), -1).double()
    matrices = torch.stack([line, normal("matrices", 7, 7).tril(-1)]) * size
    found = spectrum(matrices)
    assert found.spectral_radius.tolist() == [0, 0]
    assert found.relative_departure.tolist() == pytest.approx([1, 1])
    assert (found.departure / size).tolist() == pytest.approx((matrices / size).norm(dim=(1, 2)).tolist())
    assert found.largest_singular_value[0].item() == pytest.approx(size)


def test_the_departure_of_two_by_two_is_worked_by_hand():
    found = spectrum(torch.tensor([[[0.5, 3.0], [0.0, -0.8]]]))
    assert found.eigenvalues[0].tolist() == pytest.approx([-0.8, 0.5], abs=1e-7)
    assert found.departure.item() == pytest.approx(3)
    assert found.relative_departure.item() == pytest.approx(3 / math.sqrt(0.25 + 9 + 0.64), rel=1e-7)


def test_an_orthogonal_similarity_changes_nothing():
    matrices, turn = normal("matrices", 4, 12, 12), orthogonal(4, 12, 12)
    one, other = spectrum(matrices), spectrum(turn @ matrices @ turn.mT)
    for name in ("spectral_radius", "largest_singular_value", "departure", "relative_departure"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9, msg=name)
    assert ((one.relative_departure > 0) & (one.relative_departure < 1)).all()


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_matrix_that_is_not_finite_is_not_known_and_its_mates_do_not_notice(wrong):
    matrices = normal("matrices", 3, 33, 33, dtype=torch.float32)
    matrices[1, 4, 5] = wrong
    found = spectrum(matrices)
    for values in found:
        assert values[1].isnan().all()
    for model in (0, 2):
        assert bits(spectrum(matrices[model : model + 1]), 0) == bits(found, model)


def bits(found: MatrixSpectrum, model: int) -> list[bytes]:
    return [values[model].numpy().tobytes() for values in found]


def test_what_is_not_square_is_refused():
    with pytest.raises(ValueError, match=r"must be \(M, H, H\)"):
        spectrum(normal("gates", 2, 12, 3))
