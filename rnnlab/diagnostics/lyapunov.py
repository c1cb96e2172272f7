"""The Lyapunov spectrum of a trajectory: at what rates small changes of the state grow or shrink along it.

With Q_0 orthonormal columns and Q_p R_p = J ... J Q_{p-1} the QR decomposition of what becomes of them in a period of
steps, the k-th exponent is the mean over the measured steps of ln |(R_p)_kk|. The largest, lambda_1, is the rate at
which almost every small change grows, and so, back along the trajectory, almost every gradient: by about
exp(lambda_1 lag). The sum of all N exponents is the mean of ln |det J|.

Exponents are limits over an endless stationary trajectory. Here the trajectory is as long as a batch and driven by its
inputs, so each sequence has its own estimate, with a standard error and a test of whether it still drifts. Where a task
shows its inputs first and then waits there is no such limit: the numbers are means over what happened, and `converged`
is the place to look.

Source: Benettin, Galgani, Giorgilli, Strelcyn 1980, "Lyapunov characteristic exponents for smooth dynamical systems and
for Hamiltonian systems; a method for computing all of them" (the method); von Bremen, Udwadia, Proskurowski 1997, "An
efficient QR based method for the computation of Lyapunov exponents" (by Householder QR); for recurrent networks, driven
by inputs: Vogt, Puelma Touzel, Shlizerman, Lajoie 2022, "On Lyapunov exponents for RNNs: understanding information
propagation using dynamical systems tools"; Engelken, Wolf, Abbott 2023, "Lyapunov spectra of chaotic recurrent neural
networks".

Shapes: M models, T time, B sequences, N coordinates of a state (padded: S), K exponents, P periods.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.aligned import ALIGNMENT, padded
from rnnlab.diagnostics.jacobians import push
from rnnlab.diagnostics.trajectory import Trajectory
from rnnlab.seeding import generator

BATCHES = 10  # of consecutive periods, whose means give the standard error
SHORTEST = 5  # our choice: steps in a batch below which its mean says too little
DRIFT = 2.0  # our choice: standard errors by which a converged exponent may differ between the first half and all steps
SETTLED = 1e-6  # our choice, nats/step: a smaller drift is none, even where the standard error is 0


class LyapunovSpectrum(NamedTuple):
    """Each (M, B, K), the largest exponent first and what is not known last; in nats per step."""

    exponents: Tensor  # -inf where the direction has collapsed to exactly 0, NaN where it is not known
    standard_error: Tensor  # NaN where there are too few steps, or no finite exponent
    drift: Tensor  # the estimate from the first half of the measured steps minus that from all of them
    converged: Tensor  # bool: |drift| <= max(DRIFT standard errors, SETTLED), or collapsed: a 0 stays 0


def lyapunov_spectrum(
    path: Trajectory,
    count: int | None = None,
    every: int = 1,
    warmup: int | None = None,
    lengths: Tensor | None = None,
) -> LyapunovSpectrum:
    """The `count` largest exponents of each sequence (default: all N), in float64. Raises ValueError for bad numbers.

    every:   steps from one QR decomposition to the next, a period; too many, and the columns become parallel
    warmup:  first steps that are left out while the columns turn into the directions that grow most (default: a fifth)
    lengths: (M, B) steps of each sequence (default: all in which its state moves)

    Steps after the last whole period are left out too.

    The standard error is that of batch means: the measured periods in BATCHES runs of equal length (what does not fill
    one is left out at their beginning), the standard deviation of their means over sqrt(BATCHES). It holds as far as a
    run is longer than the correlations within it. Were the runs independent, it would also be the standard deviation of
    the drift. With fewer than SHORTEST steps to a run it is NaN, and nothing has converged.

    NaN, and not converged: from a state or a product on that is not finite; where (R_p)_kk is below the rounding of its
    column (N eps of its norm) but not 0; and without one whole period.

    The columns start in directions drawn at random, the same for all models and sequences. On one thread no result
    depends on the stack: the decomposed matrices are padded to multiples of `aligned.ALIGNMENT`.

    Source: Schmeiser 1982, "Batch size effects in the analysis of simulation output" (how many batches).
    """
    size, steps = len(path.coordinates), len(path.states) - 1
    count = size if count is None else count
    warmup = steps // 5 if warmup is None else warmup
    for name, value, least, most in (("count", count, 1, size), ("every", every, 1, None), ("warmup", warmup, 0, None)):
        if value < least or (most is not None and value > most):
            raise ValueError(f"{name}={value}: must be >= {least}" + (f" and <= {most}" if most is not None else ""))
    periods = (path.steps(lengths) - warmup).clamp(min=0) // every
    with torch.no_grad():
        return _summary(_growth(path.doubled(), count, every, warmup), periods, every)


def _growth(path: Trajectory, count: int, every: int, warmup: int) -> Tensor:
    """(P + 1, M, B, K) the sum of ln |R_kk| over the first 0, 1, ... measured periods."""
    tangents = _start(path, count)
    broken = ~torch.isfinite(path.states[0]).all(-1, keepdim=True)
    found = [tangents.new_zeros(*broken.shape[:2], count)]
    periods = max(0, len(path.states) - 1 - warmup) // every
    for t in range(warmup + periods * every if periods else 0):
        tangents = push(path, t, tangents)
        broken |= ~torch.isfinite(path.states[t + 1]).all(-1, keepdim=True)
        if (t + 1 - warmup) % every == 0:
            tangents, logs = _decomposed(tangents, path.coordinates)
            if t + 1 > warmup:
                found.append(torch.where(broken, math.nan, logs))
    return torch.stack(found).cumsum(0)


def _start(path: Trajectory, count: int) -> Tensor:
    """(M, K, B, S) orthonormal tangents; the first ones are the same whatever `count` is."""
    models, batch, width = path.states[0].shape
    places = path.coordinates
    drawn = generator(0, "diagnostics.lyapunov").standard_normal((count, len(places)))
    directions = torch.linalg.qr(torch.from_numpy(drawn).T)[0].T
    tangents = path.states[0].new_zeros(count, width)
    tangents[:, places] = directions
    return tangents[None, :, None].expand(models, -1, batch, -1)


def _decomposed(tangents: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The tangents (M, K, B, S) made orthonormal, and (M, B, K) ln |R_kk|."""
    size = len(places)
    columns = padded(tangents[..., places].permute(0, 2, 3, 1), (2, ALIGNMENT))
    finite = torch.isfinite(columns).all(-1).all(-1, keepdim=True)
    columns = torch.where(finite.unsqueeze(-1), columns, 0)
    directions, upper = torch.linalg.qr(columns)
    grown = upper.diagonal(dim1=-2, dim2=-1).abs()
    floor = size * torch.finfo(columns.dtype).eps * torch.linalg.vector_norm(columns, dim=-2)
    known = finite & ((grown >= floor) | (grown == 0))
    turned = torch.zeros_like(tangents)
    turned[..., places] = directions[..., :size, :].permute(0, 3, 1, 2)
    return turned, torch.where(known, grown.log(), math.nan)


def _summary(grown: Tensor, periods: Tensor, every: int) -> LyapunovSpectrum:
    """From sums over the first periods (P + 1, M, B, K), of which each sequence has `periods` (M, B)."""

    def mean(begin: Tensor, end: Tensor) -> Tensor:
        """(M, B, K) over the periods from `begin` to `end`; NaN if there are none."""
        return (_at(grown, end) - _at(grown, begin)) / ((end - begin) * every).unsqueeze(-1)

    nothing = torch.zeros_like(periods)
    exponents = mean(nothing, periods)
    drift = mean(nothing, periods // 2) - exponents
    width = periods // BATCHES
    first = periods - BATCHES * width
    means = [mean(first + number * width, first + (number + 1) * width) for number in range(BATCHES)]
    centre = sum(means, torch.zeros_like(exponents)) / BATCHES
    variance = sum(((value - centre).square() for value in means), torch.zeros_like(exponents)) / (BATCHES - 1)
    enough = (width * every >= SHORTEST).unsqueeze(-1)
    error = torch.where(enough, (variance / BATCHES).sqrt(), math.nan)
    converged = (drift.abs() <= (DRIFT * error).clamp(min=SETTLED)) | (exponents == -math.inf)
    lowest = torch.finfo(exponents.dtype).min
    order = exponents.nan_to_num(nan=-math.inf, neginf=lowest).argsort(dim=-1, descending=True, stable=True)
    exponents, error, drift = (values.gather(-1, order) for values in (exponents, error, drift))
    return LyapunovSpectrum(exponents, error, drift, converged.gather(-1, order))


def _at(grown: Tensor, index: Tensor) -> Tensor:
    """(M, B, K) of (P + 1, M, B, K) what each sequence has at its own index (M, B)."""
    return grown.gather(0, index[None, :, :, None].expand(1, *grown.shape[1:]))[0]
