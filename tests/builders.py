"""What the test files share: trials from flat fields, variants of a spec, named draws, the bits of a course, peaks."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from rnnlab.build import build
from rnnlab.record import Record
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.trial import KINDS, SECTIONS, Model, Train, Trial


def nested(task="copy", cell="elman", init="gaussian", seed=0, **fields) -> dict:
    """The mapping of a trial, from the fields that matter to a test: `nested(delay=5, learning_rate=0.1)`."""
    names = {"task": task, "cell": cell, "init": init}
    specs = {kind: registry()[kind][names[kind]] for kind in KINDS} | {"model": Model, "train": Train}
    mapping = {section: {"name": names[section]} if section in KINDS else {} for section in SECTIONS}
    for name, value in fields.items():
        section = next(section for section in SECTIONS if name in specs[section].__dataclass_fields__)
        mapping[section][name] = value
    return mapping | {"seed": seed}


def trial(**fields) -> Trial:
    """`trial(task="adding", length=7, hidden_size=33, seed=2)`; all else at its default."""
    return build(nested(**fields), registry())


def variants(spec: type, **fixed) -> list:
    """One instance of a spec class for each combination of its fields that have named choices."""
    choices = {
        field.name: field.metadata["allowed"].choices
        for field in dataclasses.fields(spec)
        if field.metadata["allowed"].choices and field.name not in fixed
    }
    return [spec(**fixed, **dict(zip(choices, chosen, strict=True))) for chosen in itertools.product(*choices.values())]


def spec_class(name: str, fields: list, version: int = 1) -> type:
    """A spec that is in no folder: that of the member `name`, with `fields` as for `make_dataclass`."""
    cls = dataclasses.make_dataclass("Spec", fields, frozen=True, namespace={"version": version})
    cls.__module__ = f"elsewhere.{name}"
    return cls


def normal(purpose: str, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Independent N(0, 1) entries; another `purpose`, other entries."""
    return torch.from_numpy(generator(0, f"test.{purpose}").standard_normal(shape)).to(dtype)


def torch_modules(one: Trial, weights: Mapping[str, Tensor]) -> tuple[torch.nn.RNN, torch.nn.Linear]:
    """torch's RNN and Linear with the weights of one model, in their dtype; the second bias is 0 and not trained."""
    dtype = weights["W_hh"].dtype
    inputs, hidden, outputs = one.task.input_size, one.model.hidden_size, one.task.output_size
    rnn = torch.nn.RNN(inputs, hidden, nonlinearity=one.cell.nonlinearity, dtype=dtype)
    readout = torch.nn.Linear(hidden, outputs, dtype=dtype)
    copied = {"weight_ih_l0": weights["W_xh"], "weight_hh_l0": weights["W_hh"], "bias_ih_l0": weights["b_h"]}
    rnn.load_state_dict(copied | {"bias_hh_l0": torch.zeros(hidden)})
    readout.load_state_dict({"weight": weights["W_hy"], "bias": weights["b_y"]})
    rnn.bias_hh_l0.requires_grad_(False)
    return rnn, readout


def bits(record: Record) -> tuple:
    """A record down to the last bit, as plain values that compare with ==; NaN equals NaN."""
    metrics = {name: float(value).hex() for name, value in record.metrics.items()}
    weights = {name: (tuple(values.shape), values.numpy().tobytes()) for name, values in record.weights.items()}
    return record.key, record.step, record.status, metrics, weights, record.error


def courses(records: Iterable[Record]) -> dict[str, list[tuple]]:
    """The bits of all records of each trial, in their order."""
    found: dict[str, list[tuple]] = {}
    for record in records:
        found.setdefault(record.key, []).append(bits(record))
    return found


def allocations(work) -> list[int]:
    """The bytes that tensors take, in the order in which `work` takes them; negative where it gives them back."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        torch.autograd._enable_record_function(False)  # to note every operation too takes ten times as long
        try:
            work()
        finally:
            torch.autograd._enable_record_function(True)
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]


def peak_of(work) -> int:
    """The most bytes that tensors made by `work` take at once."""
    return max(itertools.accumulate(allocations(work)))
