"""Mean-field theory: its fixed point and its means against integrals by another route, and its limits."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from rnnlab import theory

GAINS, VARIANCES = (0.0, 0.3, 1.0, 1.2, 2.0, 5.0), (0.0, 1e-4, 0.1, 1.0, 30.0)


def mean(function) -> float:
    """E[function(z)], z ~ N(0, 1), for an even function, by adaptive quadrature."""

    def weighted(z: float) -> float:
        return function(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    pieces = itertools.pairwise([0, 0.01, 0.1, 0.3, 1, 3, 9])
    return 2 * sum(quad(weighted, least, most, epsabs=1e-14)[0] for least, most in pieces)


@pytest.mark.parametrize("variance", [0.0, 1e-6, 0.2, 1.0, 20.0, 1000.0])
def test_means_over_the_normal_distribution_are_exact(variance):
    root = math.sqrt(variance)
    assert theory.chi(1.7, variance) == pytest.approx(1.7**2 * mean(lambda z: math.cosh(root * z) ** -4), abs=1e-10)


def test_strong_inputs_leave_the_tails_of_the_slope():
    """E[sech^4(sqrt(q) z)] -> (4 / 3) / sqrt(2 pi q), the integral of sech^4 times the density at 0."""
    for variance in (1e4, 1e6, 1e10):
        assert theory.chi(1, variance) == pytest.approx(4 / 3 / math.sqrt(2 * math.pi * variance), rel=1e-3)
    assert theory.edge(1e6) == pytest.approx((4 / 3 / math.sqrt(2 * math.pi * 1e6)) ** -0.5, rel=1e-3)


@pytest.mark.parametrize(("gain", "given"), [*itertools.product(GAINS, VARIANCES)])
def test_the_variance_settles(gain, given):
    """At the fixed point, which iteration from above reaches too."""
    found = theory.mean_field(gain, given).variance
    root = math.sqrt(found)
    assert found == pytest.approx(gain**2 * mean(lambda z: math.tanh(root * z) ** 2) + given, abs=1e-10)
    if gain != 1 or given:  # there iteration slows down without end
        iterated = gain**2 + given
        for _ in range(3000):
            iterated = gain**2 * theory._mean_square(iterated) + given
        assert found == pytest.approx(iterated, abs=1e-9)


@pytest.mark.parametrize(("variance", "gain"), [(0, 1), (0.001, 1.09), (0.01, 1.19), (0.1, 1.41), (1, 1.86)])
def test_inputs_move_the_edge(variance, gain):
    edge = theory.edge(variance)
    assert edge == pytest.approx(gain, abs=0.005)
    assert theory.mean_field(edge, variance).chi == pytest.approx(1, abs=1e-9)


def test_chi_is_the_square_of_the_gain_at_the_state_zero():
    for gain in (0.2, 0.9, 1.0):
        found = theory.mean_field(gain, 0)
        assert found.chi == pytest.approx(gain**2)
        assert found.e_fold == pytest.approx(theory.zero_state_e_fold(gain))


def test_a_gradient_falls_by_e_over_the_e_fold_and_to_epsilon_over_the_reach():
    found = theory.mean_field(0.9, 0.1)
    assert found.chi ** (found.e_fold / 2) == pytest.approx(1 / math.e)
    assert found.chi ** (found.reach() / 2) == pytest.approx(theory.EPSILON)
    assert found.chi ** (found.reach(1e-6) / 2) == pytest.approx(1e-6)
    assert math.exp(found.slope * 7) == pytest.approx(found.chi**3.5)


def test_beyond_the_edge_nothing_falls():
    assert theory.mean_field(2, 0.01).e_fold == math.inf
    assert theory.mean_field(2, 0.01).slope > 0
    assert theory.zero_state_e_fold(1) == theory.zero_state_e_fold(1.5) == math.inf


def test_without_recurrence_there_is_no_reach():
    assert theory.mean_field(0, 1).reach() == 0
    assert theory.zero_state_e_fold(0) == 0


@pytest.mark.parametrize("wrong", [(-1, 1), (1, -1), (math.nan, 1), (1, math.inf), (1e160, 0)])
def test_what_no_network_has_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be >= 0 and <= 1e\+100"):
        theory.mean_field(*wrong)


def test_stronger_inputs_shorten_the_reach_and_larger_gains_lengthen_it():
    reach = np.array([[theory.mean_field(gain, s2).reach() for gain in (0.3, 0.6, 0.9)] for s2 in (0.001, 0.1, 2)])
    assert (np.diff(reach, axis=0) < 0).all()
    assert (np.diff(reach, axis=1) > 0).all()
