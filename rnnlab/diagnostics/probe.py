"""All diagnostics of a stack of networks at once, as plain values: lists with one entry per network.

What is not known is None, with the reason beside it where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnlab.diagnostics.activity import dead_units, participation_ratio, saturation
from rnnlab.diagnostics.capacity import memory_capacity
from rnnlab.diagnostics.flow import Flow, gradient_flow, relative_by_lag
from rnnlab.diagnostics.lyapunov import lyapunov_spectrum
from rnnlab.diagnostics.matrices import spectrum
from rnnlab.diagnostics.prediction import outside_theory, predictions, told
from rnnlab.diagnostics.trajectory import Trajectory
from rnnlab.tasks import Batch
from rnnlab.trial import Trial

EXPONENTS, OF_SEQUENCES = 4, 5  # leading Lyapunov exponents, and the sequences of whose values medians are taken


def probe(trial: Trial, parameters: Mapping[str, Tensor], batch: Batch) -> list[dict[str, Any]]:
    """The diagnostics of each layer, the lowest first; arguments as for `gradient_flow`. Raises `BadInput`.

    Each layer: its `name`; `gradient`, with the means and spreads of ln |dL/dh| by lag, relative to the first;
    `matrix`, of W_hh; `activity`; `lyapunov`, leading exponents, medians over sequences; `memory_capacity`; `theory`.
    """
    flows = gradient_flow(trial, parameters, batch)
    return [_layer(flow, flow.path.lengths_in(batch)) for flow in flows]


def _layer(flow: Flow, lengths: Tensor | None) -> dict[str, Any]:
    path = flow.path
    activity = {
        "saturation": saturation(path, lengths=lengths),
        "dead_units": dead_units(path, lengths=lengths),
        "participation_ratio": participation_ratio(path, lengths=lengths),
    }
    return {
        "name": path.name,
        "gradient": _gradient(flow),
        "matrix": _matrix(path),
        "activity": {name: plain(values) for name, values in activity.items()},
        "lyapunov": _lyapunov(path, lengths),
        "memory_capacity": plain(memory_capacity(path).total),
        "theory": _theory(path, lengths),
    }


def _gradient(flow: Flow) -> dict[str, Any]:
    """Means of ln |dL/dh|, relative to the first lag of each sequence, by lag."""
    known = flow.there.any(1).any(0).nonzero()[:, 0].tolist()
    if not known:
        return {"reason": "no lag has a meaning in a layer that the one above reads from both sides"}
    return {"lag": known} | {name: plain(values[:, known]) for name, values in relative_by_lag(flow)._asdict().items()}


def _matrix(path: Trajectory) -> dict[str, Any]:
    """Of W_hh where it is one square matrix."""
    if path.recurrent is None:
        return {"reason": "the cell has no single square W_hh"}
    found = spectrum(path.recurrent)
    numbers = {name: plain(values) for name, values in found._asdict().items() if name != "eigenvalues"}
    pairs = torch.view_as_real(found.eigenvalues.to(torch.complex128))
    return numbers | {"eigenvalues": plain(pairs)}


def _lyapunov(path: Trajectory, lengths: Tensor | None) -> dict[str, Any]:
    few = slice(0, OF_SEQUENCES)
    found = lyapunov_spectrum(
        path.of_sequences(few),
        min(EXPONENTS, len(path.coordinates)),
        lengths=None if lengths is None else lengths[:, few],
    )
    return {
        "exponents": plain(found.exponents.nanmedian(1).values),
        "standard_error": plain(found.standard_error.nanmedian(1).values),
        "converged": found.converged.all(1).tolist(),
    }


def _theory(path: Trajectory, lengths: Tensor | None) -> dict[str, Any]:
    if reason := outside_theory(path):
        return {"reason": reason}
    found = [told(one) for one in predictions(path, lengths)]
    return {name: [_finite(one[name]) for one in found] for name in found[0]}


def plain(values: Tensor) -> Any:
    """Nested lists; None for what is not a number, and text for what is infinite: JSON has neither."""
    found = values.tolist()
    return _replaced(found) if values.is_floating_point() else found


def _replaced(found: Any) -> Any:
    return [_replaced(one) for one in found] if isinstance(found, list) else _finite(found)


def _finite(number: float) -> float | str | None:
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else ("inf" if number > 0 else "-inf")
