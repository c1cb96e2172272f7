"""Mean-field theory of gradients in tanh networks: how far back does an untrained network look?

In a wide network h_t = tanh(W h_{t-1} + u_t), with W drawn at random and what comes in, u_t = W_xh x_t + b_h, of
variance s^2 over the units, pre-activations are normal with a variance q that settles where

    q = g^2 E[tanh^2(sqrt(q) z)] + s^2,        z ~ N(0, 1),

with g the gain of W: its entries have the variance g^2 / H, or it is g times an orthogonal matrix. One step back the
square of a gradient's norm shrinks on average by

    chi = g^2 E[sech^4(sqrt(q) z)],

so the norm falls as chi^(lag / 2). Beside it the law of the state 0: there a gradient falls as rho^lag at long lags,
rho being the spectral radius of W.

It is a theory of wide networks as they were drawn: entries of W independent of each other and of the states, no
learning, and a gradient that points in no special direction.

Source: Poole et al. 2016, "Exponential expressivity in deep neural networks through transient chaos" (the variance,
chi_1); Schoenholz et al. 2017, "Deep information propagation" (gradients); for recurrent networks, in which steps share
one W: Chen, Pennington, Schoenholz 2018, "Dynamical isometry and a mean field theory of RNNs".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

LARGEST = 1e100  # of gains and variances: their squares are numbers
EPSILON = 0.01  # our choice: the share of a gradient's norm below which a lag counts as out of reach
WIDEST, FLAT, STEP = 12.0, 22.0, 0.1  # of the points of means over N(0, 1): see `_points`
TOLERANCE = 1e-14  # of the roots, absolute and relative


@dataclass(frozen=True)
class MeanField:
    """What the theory says of networks with one gain and one variance of what comes in."""

    gain: float  # g
    input_variance: float  # s^2
    variance: float  # q, of the pre-activations
    chi: float  # by which the square of a gradient's norm is multiplied at each step back

    @property
    def slope(self) -> float:
        """Of the logarithm of a gradient's norm against the lag, per step: ln(chi) / 2."""
        return math.log(self.chi) / 2 if self.chi else -math.inf

    @property
    def e_fold(self) -> float:
        """xi: the lag over which a gradient's norm falls by e, in steps; inf where it does not fall."""
        return math.inf if self.slope >= 0 else -1 / self.slope

    def reach(self, epsilon: float = EPSILON) -> float:
        """The lag at which the share `epsilon` of a gradient's norm is left, xi ln(1 / epsilon), in steps."""
        return self.e_fold * -math.log(epsilon)


def mean_field(gain: float, input_variance: float) -> MeanField:
    """The theory at gain g >= 0 and input variance s^2 >= 0. Raises ValueError elsewhere, and beyond 1e100."""
    if not (0 <= gain <= LARGEST and 0 <= input_variance <= LARGEST):
        raise ValueError(f"gain={gain}, input_variance={input_variance}: must be >= 0 and <= {LARGEST:g}")
    variance = settled_variance(gain, input_variance)
    return MeanField(gain, input_variance, variance, chi(gain, variance))


def settled_variance(gain: float, input_variance: float) -> float:
    """q >= 0 with q = g^2 E[tanh^2(sqrt(q) z)] + s^2: the only one at s^2 > 0; at s^2 = 0 the one that is stable.

    The right side is concave in q and starts at s^2 with slope g^2: without input, and g <= 1, nothing but 0 is left.
    """
    if input_variance == 0 and gain <= 1:
        return 0.0

    def excess(variance: float) -> float:
        return gain**2 * _mean_square(variance) + input_variance - variance

    least, most = input_variance, gain**2 + input_variance
    if input_variance == 0:  # away from the root at 0: E[tanh^2] >= q - 2 q^2, so the other lies beyond this
        least = (gain**2 - 1) / (2 * gain**2)
    if excess(least) <= 0:  # g or the root is too small to tell from the end
        return least
    return float(brentq(excess, least, most, xtol=TOLERANCE, rtol=TOLERANCE))


def chi(gain: float, variance: float) -> float:
    """g^2 E[sech^4(sqrt(q) z)]."""
    z, weights = _points(variance)
    return float(gain**2 * np.dot(weights, np.cosh(math.sqrt(variance) * z) ** -4.0))


def edge(input_variance: float) -> float:
    """The gain g at which chi = 1: below it gradients vanish, above it they explode. 1 without inputs.

    "Spectral radius 1 is critical" holds for the state 0 alone.
    """
    if input_variance == 0:
        return 1.0
    most = 2.0
    while mean_field(most, input_variance).chi < 1:
        most *= 2
    return float(brentq(lambda gain: mean_field(gain, input_variance).chi - 1, 1.0, most, xtol=1e-12))


def zero_state_e_fold(radius: float) -> float:
    """The lag over which a gradient falls by e at the state 0, -1 / ln(rho), in steps; inf where it does not fall."""
    if radius < 0:
        raise ValueError(f"radius={radius}: must be >= 0")
    if radius == 0:
        return 0.0
    return -1 / math.log(radius) if radius < 1 else math.inf


def _mean_square(variance: float) -> float:
    """E[tanh^2(sqrt(q) z)]."""
    z, weights = _points(variance)
    if variance > 1:  # beyond the points tanh^2 is 1
        return float(1 - np.dot(weights, np.cosh(math.sqrt(variance) * z) ** -2.0))
    return float(np.dot(weights, np.tanh(math.sqrt(variance) * z) ** 2))


def _points(variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Points z and weights with which a weighted sum is the mean over N(0, 1) of a function of sqrt(q) z.

    They end where the density, or 1 - tanh^2, is below rounding. The trapezoidal rule: its error falls exponentially
    with 1 / step where a function is analytic in a strip around the real axis, here of half width pi / (2 sqrt(q)), as
    exp(-2 pi half width / step).

    Source: Trefethen and Weideman 2014, "The exponentially convergent trapezoidal rule", theorem 5.1.
    """
    scale = max(1.0, math.sqrt(variance))
    end, step = min(WIDEST, FLAT / math.sqrt(variance)) if variance else WIDEST, STEP / scale
    z = step * np.arange(-math.ceil(end / step), math.ceil(end / step) + 1)
    return z, np.exp(-(z**2) / 2) * step / math.sqrt(2 * math.pi)
