"""One step at a time equals the whole sequence, here and in the program that is exported."""

import io
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from builders import normal, trial, variants
from torch import nn

from rnnlab.build import conflicts
from rnnlab.cells.transformer import Transformer
from rnnlab.model import forward, shapes
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.seeding import generator
from rnnlab.streaming import Streaming, exported
from rnnlab.tasks import SEQUENCE_TO_SEQUENCE
from rnnlab.unroll import ALL

CELLS = [
    cell
    for spec in registry()["cell"].values()
    for cell in variants(spec)
    if not conflicts(replace(trial(hidden_size=8), cell=cell))
]
FORMS = [{}, {"layers": 2}, {"layers": 2, "embedding_size": 3}]
STEPS = 20
every_cell = pytest.mark.parametrize("cell", CELLS, ids=repr)
every_form = pytest.mark.parametrize("form", FORMS, ids=str)


class Counting(nn.Module):
    """Its state holds tensors of two forms in a mapping, one without a sequence axis, and does not begin as zeros."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.inner = nn.GRUCell(inputs, hidden)
        self.begin = nn.Parameter(torch.ones(hidden))

    def start(self, batch):
        return {"count": torch.ones(1), "hidden": self.begin.expand(batch, -1)}

    def forward(self, inputs, state=None):
        state = state or self.start(inputs.shape[1])
        hidden, count = state["hidden"], state["count"]
        outputs = []
        for x in inputs:
            hidden = self.inner(x, hidden) / count
            outputs.append(hidden)
            count = count + 1
        return torch.stack(outputs), {"count": count, "hidden": hidden}


class Growing(nn.GRU):
    """Its state is all that it has read."""

    def forward(self, inputs, state=None):
        seen = inputs if state is None else torch.cat([state, inputs])
        return super().forward(seen)[0][-len(inputs) :], seen


class Beginning(nn.GRU):
    """Does not begin with zeros, and does not tell with what."""

    def forward(self, inputs, state=None):
        begun = torch.ones(1, inputs.shape[1], self.hidden_size, dtype=inputs.dtype)
        return super().forward(inputs, begun if state is None else state)


class Deciding(nn.GRU):
    """Looks at its numbers to decide what to do."""

    def forward(self, inputs, state=None):
        outputs, state = super().forward(inputs, state)
        return (outputs if outputs.sum() > 0 else -outputs), state


@dataclass(frozen=True)
class OfModule:
    version: ClassVar[int] = 1
    gated: ClassVar[bool] = False
    reads_init: ClassVar[bool] = False
    form: type = nn.GRU

    def shapes(self, inputs, hidden):
        return {name: tuple(values.shape) for name, values in self.module(inputs, hidden).named_parameters()}

    def module(self, inputs, hidden):
        return self.form(inputs, hidden)


def network(cell, task="copy", **form):
    """A trial with this cell, and weights for it in float64."""
    one = replace(trial(task=task, hidden_size=8, **form), cell=cell)
    return one, {name: normal(name, *shape) / math.sqrt(shape[-1]) for name, shape in shapes(one).items()}


def inputs_of(one, size=3):
    """(T, B, ...) inputs of the task; real values in float64."""
    inputs = one.task.sample(generator(0, "train"), size).inputs
    return inputs.double() if inputs.is_floating_point() else inputs


def in_float32(weights):
    return {name: values.float() for name, values in weights.items()}


def streamed(stream, state, inputs):
    """(T, B, O) the outputs, one step after another."""
    outputs = []
    for x_t in inputs:
        y_t, *state = stream(x_t, *state)
        outputs.append(y_t)
    return torch.stack(outputs)


def check_stream(one, weights):
    inputs, parameters = inputs_of(one), {name: values.unsqueeze(0) for name, values in weights.items()}
    stream = Streaming(one, weights)
    found = streamed(stream, stream.start(3), inputs)
    torch.testing.assert_close(found, forward(one, parameters, inputs[None], ALL)[0], rtol=1e-10, atol=1e-10)
    narrow = Streaming(one, in_float32(weights))
    torch.testing.assert_close(streamed(narrow, narrow.start(3), inputs).double(), found, rtol=1e-3, atol=1e-3)
    assert {tensor.dtype for tensor in narrow.start(3)} <= {torch.float32, torch.int64}


@every_cell
@every_form
def test_one_step_at_a_time_equals_the_whole_sequence(cell, form):
    check_stream(*network(cell, delay=8, **form))


@every_cell
@pytest.mark.parametrize("task", ["adding", "tagging", "generate", "sensor"])
def test_real_inputs_padding_and_blanks_are_read_as_in_the_whole_sequence(cell, task):
    check_stream(*network(cell, task))


@pytest.mark.parametrize("context", [1, 4, 30])
def test_a_transformer_streams_within_its_context_and_beyond(context):
    check_stream(*network(Transformer(context=context), delay=16, layers=2))


@pytest.mark.parametrize("module", [nn.GRU, nn.LSTM, Counting])
@every_form
def test_a_layer_that_is_a_module_streams_with_a_state_of_any_form(module, form):
    check_stream(*network(OfModule(module), delay=8, **form))


def test_a_step_does_not_need_the_padding_of_the_stack():
    """A state has H numbers for each sequence, whatever the layers add inside, and the padding begins afresh."""
    one, weights = network(registry()["cell"]["lstm"](), layers=2)
    stream = Streaming(one, weights)
    assert [tuple(tensor.shape) for tensor in stream.start(3)] == [(3, 8)] * 4
    y_t, *state = stream(torch.tensor([0, 1, 2]), *stream.start(3))
    assert y_t.shape == (3, one.task.output_size)
    assert [tensor.shape for tensor in state] == [tensor.shape for tensor in stream.start(3)]


def check_export(one, weights):
    """The program, saved and loaded, gives the stream for other numbers of sequences than it was traced with."""
    file = io.BytesIO()
    torch.export.save(exported(one, in_float32(weights)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for batch in (1, 5):
        sampled = inputs_of(one, batch)
        inputs = torch.cat([sampled] * STEPS)[:STEPS]
        inputs = inputs.float() if inputs.is_floating_point() else inputs
        stream = Streaming(one, in_float32(weights))
        expected = streamed(stream, stream.start(batch), inputs)
        torch.testing.assert_close(streamed(loaded, stream.start(batch), inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [spec() for spec in registry()["cell"].values()], ids=repr)
def test_a_program_that_was_saved_and_loaded_gives_the_same_stream(cell):
    """Of two layers: the first reads symbols, the second what the first gives."""
    check_export(*network(cell, layers=2))


@pytest.mark.parametrize("cell", ["elman", "tcn"])  # one that is a step, one that is a module
def test_a_program_has_the_embedding_in_it(cell):
    check_export(*network(registry()["cell"][cell](), embedding_size=3))


@pytest.mark.parametrize("module", [nn.GRU, nn.LSTM, Counting])
def test_a_program_of_modules_gives_the_same_stream(module):
    check_export(*network(OfModule(module), layers=2))


def test_a_program_takes_real_inputs():
    check_export(*network(registry()["cell"]["gru"](), "adding"))


def test_an_encoder_and_a_network_in_two_directions_are_refused_in_one_line_each():
    elman = registry()["cell"]["elman"]()
    with pytest.raises(BadInput) as refused:
        Streaming(*network(elman, bidirectional=True))
    assert str(refused.value).startswith("model.bidirectional=true: ")
    encoders = [name for name, task in registry()["task"].items() if task().form == SEQUENCE_TO_SEQUENCE]
    assert encoders
    for name in encoders:
        with pytest.raises(BadInput) as refused:
            Streaming(*network(elman, name))
        assert str(refused.value).startswith(f"task={name}: ")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("module", [Growing, Beginning])
def test_a_module_without_a_state_of_fixed_form_is_refused_in_one_line(module):
    with pytest.raises(BadInput) as refused:
        Streaming(*(network(OfModule(module))))
    assert "state" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_module_that_cannot_be_traced_is_refused_in_one_line():
    with pytest.raises(BadInput, match=": cannot be exported ") as refused:
        exported(*network(OfModule(Deciding)))
    assert "\n" not in str(refused.value)


def test_weights_of_another_trial_are_refused_by_name():
    one, weights = network(registry()["cell"]["elman"]())
    wrong = {name: values for name, values in weights.items() if name != "W_hh"} | {"b_y": torch.zeros(7)}
    with pytest.raises(BadInput) as refused:
        Streaming(one, wrong)
    assert [line.split(" is ")[0] for line in refused.value.problems] == ["weights: W_hh", "weights: b_y"]
    more = weights | {"velocity.W_hh": weights["W_hh"]}  # as an exhausted trial leaves them
    assert torch.equal(Streaming(one, more).W_hy, Streaming(one, weights).W_hy)
