"""What is observed of networks beside their training: numbers for a curve, and more at the beginning and the end.

Metrics are named `diagnostics/LAYER/QUANTITY`, those of theory `theory/LAYER/QUANTITY`, where LAYER is `layer_1`,
`layer_2_backward`, `encoder_layer_1`, ... What does not apply to a cell, or is not known, is absent.

Shapes: M models, T time, B sequences, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnlab.diagnostics.activity import dead_units, participation_ratio, saturation
from rnnlab.diagnostics.capacity import memory_capacity
from rnnlab.diagnostics.flow import ByLag, Flow, by_lag, gradient_flow, relative_by_lag
from rnnlab.diagnostics.lyapunov import lyapunov_spectrum
from rnnlab.diagnostics.matrices import largest_singular_values, spectrum
from rnnlab.diagnostics.prediction import outside_theory, predictions, told
from rnnlab.diagnostics.shown import Quantities, shown, table
from rnnlab.diagnostics.trajectory import Trajectory, doubled, trajectories
from rnnlab.record import Observation
from rnnlab.tasks import Batch
from rnnlab.trial import Trial

SEQUENCES = 10  # held out, on which a network is observed
ALONG = 2  # of them, along which the Lyapunov exponent is taken
PERIODS = 50  # at least, of the steps of a sequence: from one decomposition to the next

MATRIX = ("spectral_radius", "largest_singular_value", "departure_from_normality")  # metrics of W_hh

Columns = dict[str, Tensor]  # metric -> (M,)


def observe(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> list[Observation]:
    """What changes in the course of training and costs little; arguments as for `trajectories`. Raises `BadInput`."""
    with torch.no_grad():
        paths, _ = trajectories(trial, parameters, batch)
        columns = [_course(path, path.lengths_in(batch)) | _stretch(path) for path in paths]
    return [Observation(one) for one in _metrics("diagnostics", paths, columns)]


def observe_whole(
    trial: Trial, parameters: Mapping[str, Tensor], batch: Batch, states: bool, capacity: bool
) -> list[Observation]:
    """All that is observed, of networks before or after training, in float64.

    With `states` those on the first sequence, with `capacity` the memory capacity, which takes as long as all the rest.
    Raises `BadInput` for a cell without a state of fixed size.
    """
    parameters = {name: values.double() for name, values in parameters.items()}
    batch = doubled(batch)
    flows = gradient_flow(trial, parameters, batch)
    paths = [flow.path for flow in flows]
    details: list[dict[str, Quantities]] = [{} for _ in range(len(paths[0].weights.bias))]
    columns = []
    for flow in flows:
        found, kept = _whole(flow, capacity)
        columns.append(_course(flow.path, flow.path.lengths_in(batch)) | found)
        for own, quantities in zip(details, kept, strict=True):
            own[flow.path.name] = quantities
    if states:
        for own, seen in zip(details, shown(trial, parameters, batch), strict=True):
            for layer, quantities in seen.items():
                own.setdefault(layer, {}).update(quantities)
    metrics = _metrics("diagnostics", paths, columns)
    for of_network in metrics:
        of_network |= {"diagnostics/states": 1.0} if states else {}
    return [Observation(one, own) for one, own in zip(metrics, details, strict=True)]


def theory(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> list[dict[str, float]]:
    """What mean-field theory predicts of M networks as they were drawn; nothing of cells that it is not for."""
    with torch.no_grad():
        paths, _ = trajectories(trial, parameters, batch)
    columns: list[Columns] = []
    for path in paths:
        found = [] if outside_theory(path) else [told(one) for one in predictions(path, path.lengths_in(batch))]
        columns.append({name: torch.tensor([one[name] for one in found]) for name in (found[0] if found else ())})
    return _metrics("theory", paths, columns)


def _course(path: Trajectory, lengths: Tensor | None) -> Columns:
    """(M,) each: what changes in the course of training."""
    return _lyapunov(path, lengths) | {
        "saturation": saturation(path, lengths=lengths),
        "dead_units": dead_units(path, lengths=lengths),
        "participation_ratio": participation_ratio(path, lengths=lengths),
    }


def _lyapunov(path: Trajectory, lengths: Tensor | None) -> Columns:
    """(M,) the largest exponent, its mean over a few sequences: those along which it is known and has not collapsed.

    Its standard error is known where there are enough steps, and then the share of sequences where it has converged.
    """
    few = slice(0, ALONG)
    found = lyapunov_spectrum(
        path.of_sequences(few),
        count=1,
        every=max(1, (len(path.states) - 1) // PERIODS),
        lengths=None if lengths is None else lengths[:, few],
    )
    exponents, errors, converged = found.exponents[..., 0], found.standard_error[..., 0], found.converged[..., 0]
    known = exponents.isfinite()
    judged = known & errors.isfinite()
    collapsed = (exponents == -math.inf).double().mean(1)
    return {
        "lyapunov": torch.where(known, exponents, 0).sum(1) / known.sum(1),
        "lyapunov_error": torch.where(
            (judged == known).all(1), torch.where(judged, errors, 0).square().sum(1).sqrt() / judged.sum(1), math.nan
        ),
        "lyapunov_converged": (converged & judged).sum(1) / judged.sum(1),
        "lyapunov_collapsed": torch.where(collapsed > 0, collapsed, math.nan),
    }


def _whole(flow: Flow, capacity: bool) -> tuple[Columns, list[Quantities]]:
    """What is observed at the beginning and the end alone: (M,) each, and the quantities of each network."""
    columns: Columns = {}
    tables: list[Quantities] = [{} for _ in flow.norms]
    if capacity:
        remembered = memory_capacity(flow.path, delays=flow.path.hidden)
        columns["memory_capacity"] = remembered.total
        _add(tables, "memory_capacity", remembered.by_delay)
    norms, logs = relative_by_lag(flow), by_lag(flow).mean
    columns |= _shares(norms)
    for model, there in enumerate(flow.there.any(1)):
        lags = there.nonzero()[:, 0].tolist()  # those that this network has: no matter what its mates have
        if lags:
            by_name = {**norms._asdict(), "log_norm": logs}  # the latter not relative: layers can be compared
            tables[model] |= {f"gradient/{name}": table(lags, of[model, lags]) for name, of in by_name.items()}
    if flow.path.recurrent is not None:
        matrix = spectrum(flow.path.recurrent)
        names = ("spectral_radius", "largest_singular_value", "relative_departure")
        columns |= dict(zip(MATRIX, (getattr(matrix, name) for name in names), strict=True))
        _add(tables, "eigenvalue/real", matrix.eigenvalues.real)
        _add(tables, "eigenvalue/imaginary", matrix.eigenvalues.imag)
    return columns, tables


def _add(tables: Sequence[Quantities], name: str, values: Tensor) -> None:
    """(M, N) values, by rank or delay."""
    for own, of_network in zip(tables, values, strict=True):
        own[name] = table(range(len(of_network)), of_network)


def _shares(norms: ByLag) -> Columns:
    """(M,) the shares of gradients, over lags and sequences, that are exactly zero and that are not finite."""
    everything = (norms.counted + norms.zero + norms.broken).sum(1)
    return {f"gradient_{name}": getattr(norms, name).sum(1) / everything for name in ("zero", "broken")}


def _stretch(path: Trajectory) -> Columns:
    """(M,) by how much W_hh can stretch a state in a step, where it is one square matrix."""
    return {} if path.recurrent is None else {MATRIX[1]: largest_singular_values(path.recurrent)}


def _metrics(group: str, paths: Sequence[Trajectory], columns: Sequence[Columns]) -> list[dict[str, float]]:
    """Of each network, what is a finite number."""
    found: list[dict[str, float]] = [{} for _ in range(len(paths[0].weights.bias))]
    for path, of_layer in zip(paths, columns, strict=True):
        for name, values in of_layer.items():
            for own, value in zip(found, values.tolist(), strict=True):
                if math.isfinite(value):
                    own[f"{group}/{path.name.replace(' ', '_')}/{name}"] = value
    return found
