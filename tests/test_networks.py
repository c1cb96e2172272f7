"""Deep and bidirectional networks, embeddings, encoder and decoder, dropout: the numbers of torch's own modules."""

import math

import pytest
import torch
from builders import normal, trial
from torch import Tensor

from rnnlab.aligned import padded_blocks
from rnnlab.cells.gru import Gru
from rnnlab.draws import dropout_factors
from rnnlab.model import forward, initial, parameter_count, run, shapes
from rnnlab.seeding import generator
from rnnlab.tasks import stacked
from rnnlab.train import Stack
from rnnlab.trial import Trial
from rnnlab.unroll import ALL

PEERS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
CLOSE = {"rtol": 1e-10, "atol": 1e-10}
every_peer = pytest.mark.parametrize("cell", PEERS)


def parameters_of(one: Trial, models: int = 2) -> dict[str, Tensor]:
    """Random parameters of `models` models, in float64, ready for gradients."""
    return {
        name: (normal(name, models, *shape) / math.sqrt(shape[-1])).requires_grad_()
        for name, shape in shapes(one).items()
    }


def batches(one: Trial, models: int = 2, size: int = 5):
    """A batch of the task for each model; real values in float64."""
    found = stacked([one.task.sample(generator(seed, "train"), size) for seed in range(models)])
    return found._replace(inputs=found.inputs.double()) if found.inputs.is_floating_point() else found


def peer_of(one: Trial, parameters: dict[str, Tensor], model: int, prefix: str = "") -> torch.nn.Module:
    """torch's own stack of layers, with the parameters of one model; torch's second bias is 0 but for GRU's."""
    kind, hidden = one.flat()["cell"], one.model.hidden_size
    size = one.model.embedding_size or one.task.input_size
    both = one.model.bidirectional
    peer = PEERS[kind](size, hidden, num_layers=one.model.layers, bidirectional=both, dtype=torch.float64)
    state = {name: torch.zeros_like(values) for name, values in peer.state_dict().items()}
    for level in range(one.model.layers):
        for suffix, backward in (("", ""), ("_reverse", "backward."))[: 1 + both]:
            own = f"{prefix}{f'layer{level}.' if level else ''}{backward}"
            for theirs, ours in (("weight_ih", "W_xh"), ("weight_hh", "W_hh"), ("bias_ih", "b_h")):
                state[f"{theirs}_l{level}{suffix}"] = parameters[own + ours][model].detach()
            if kind == "gru":
                state[f"bias_hh_l{level}{suffix}"][2 * hidden :] = parameters[own + "b_hn"][model].detach()
    peer.load_state_dict(state)
    return peer


def own_names(one: Trial, peer: torch.nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Our names of torch's parameters that are no second biases."""
    named = dict(peer.named_parameters())
    found = {}
    for theirs, ours in (("weight_ih", "W_xh"), ("weight_hh", "W_hh"), ("bias_ih", "b_h")):
        for level in range(one.model.layers):
            for suffix, backward in (("", ""), ("_reverse", "backward."))[: 1 + one.model.bidirectional]:
                own = f"{prefix}{f'layer{level}.' if level else ''}{backward}{ours}"
                found[own] = named[f"{theirs}_l{level}{suffix}"]
    return found


def readout_of(parameters: dict[str, Tensor], model: int, states: Tensor) -> Tensor:
    return states @ parameters["W_hy"][model].T + parameters["b_y"][model]


def vectors_of(one: Trial, inputs: Tensor) -> Tensor:
    """Real inputs as they are, symbols as one-hot vectors, padding as zeros."""
    if inputs.is_floating_point():
        return inputs
    found = torch.nn.functional.one_hot(inputs, one.task.input_size).double()
    padding = getattr(one.task, "padding", None)
    if padding is not None:
        found[..., padding] = 0
    return found


@every_peer
@pytest.mark.parametrize("hidden", [5, 16])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("scored", [slice(None), slice(-3, None)], ids=str)
def test_layers_and_directions_equal_those_of_torch(cell, hidden, layers, bidirectional, scored):
    shape = {"layers": layers, "bidirectional": bidirectional}
    one = trial(cell=cell, hidden_size=hidden, delay=4, alphabet=3, **shape)
    parameters, batch = parameters_of(one), batches(one)
    outputs = forward(one, parameters, batch.inputs, scored)
    loss = normal("loss", *outputs.shape)
    found = dict(zip(parameters, torch.autograd.grad((outputs * loss).sum(), list(parameters.values())), strict=True))
    for model in range(2):
        peer = peer_of(one, parameters, model)
        expected = readout_of(parameters, model, peer(vectors_of(one, batch.inputs[model]))[0])[scored]
        torch.testing.assert_close(outputs[model], expected, **CLOSE)
        theirs = own_names(one, peer)
        by_peer = torch.autograd.grad((expected * loss[model]).sum(), list(theirs.values()))
        for name, gradient in zip(theirs, by_peer, strict=True):
            torch.testing.assert_close(found[name][model], gradient, **CLOSE, msg=name)


@every_peer
@pytest.mark.parametrize("layers", [1, 2])
def test_a_single_output_reads_the_last_forward_and_the_first_backward_state(cell, layers):
    """With sequences of different lengths, as torch does it with packed ones; `output[-1]` would be wrong for both."""
    one = trial(task="sensor", distance=6, cell=cell, hidden_size=5, layers=layers, bidirectional=True)
    parameters, batch = parameters_of(one), batches(one)
    outputs = forward(one, parameters, batch.inputs, one.task.scored, batch.lengths)
    kept = torch.arange(one.task.length)[one.task.scored].tolist()
    assert batch.lengths.unique().numel() > 1
    for model in range(2):
        peer, lengths = peer_of(one, parameters, model), batch.lengths[model]
        packed = torch.nn.utils.rnn.pack_padded_sequence(batch.inputs[model], lengths, enforce_sorted=False)
        _, state = peer(packed)
        last = (state[0] if cell == "lstm" else state)[-2:]
        expected = readout_of(parameters, model, torch.cat([last[0], last[1]], dim=-1))
        for sequence, length in enumerate(lengths.tolist()):
            ours = outputs[model, kept.index(length - 1), sequence]
            torch.testing.assert_close(ours, expected[sequence], **CLOSE)


@every_peer
def test_outputs_at_every_step_of_padded_sequences_equal_those_of_packed_ones(cell):
    one = trial(task="tagging", cell=cell, hidden_size=5, layers=2, bidirectional=True)
    parameters, batch = parameters_of(one), batches(one)
    outputs = forward(one, parameters, batch.inputs, ALL, batch.lengths)
    for model in range(2):
        peer, lengths = peer_of(one, parameters, model), batch.lengths[model]
        values = vectors_of(one, batch.inputs[model])
        packed = torch.nn.utils.rnn.pack_padded_sequence(values, lengths, enforce_sorted=False)
        states, _ = torch.nn.utils.rnn.pad_packed_sequence(peer(packed)[0], total_length=one.task.length)
        inside = torch.arange(one.task.length)[:, None] < lengths
        expected = readout_of(parameters, model, states)
        torch.testing.assert_close(outputs[model][inside], expected[inside], **CLOSE)


def test_an_embedding_equals_that_of_torch_and_its_padding_is_not_trained():
    one = trial(task="agreement", embedding_size=6, hidden_size=5)
    parameters, batch = parameters_of(one), batches(one)
    outputs = forward(one, parameters, batch.inputs, ALL, batch.lengths)
    loss = normal("loss", *outputs.shape)
    (found,) = torch.autograd.grad((outputs * loss).sum(), parameters["E"])
    for model in range(2):
        table = torch.nn.Embedding(one.task.input_size, 6, padding_idx=one.task.padding, dtype=torch.float64)
        table.load_state_dict({"weight": parameters["E"][model].detach()})
        with torch.no_grad():
            table.weight[one.task.padding] = 0
        peer = peer_of(one, parameters, model)
        expected = readout_of(parameters, model, peer(table(batch.inputs[model]))[0])
        torch.testing.assert_close(outputs[model], expected, **CLOSE)
        (by_peer,) = torch.autograd.grad((expected * loss[model]).sum(), table.weight)
        torch.testing.assert_close(found[model], by_peer, **CLOSE)
    assert not found[:, one.task.padding].any()


@every_peer
@pytest.mark.parametrize("layers", [1, 2])
def test_a_decoder_goes_on_from_the_state_at_the_end_of_each_source(cell, layers):
    one = trial(task="reverse", cell=cell, hidden_size=5, layers=layers)
    parameters, batch = parameters_of(one), batches(one)
    outputs = forward(one, parameters, batch.inputs, one.task.scored, batch.lengths)
    begin = one.task.source_length
    scored = slice(one.task.scored.start - begin, one.task.scored.stop - begin)
    assert batch.lengths.unique().numel() > 1
    for model in range(2):
        encoder, decoder = (peer_of(one, parameters, model, prefix) for prefix in ("encoder.", ""))
        values = vectors_of(one, batch.inputs[model])
        lengths = batch.lengths[model]
        packed = torch.nn.utils.rnn.pack_padded_sequence(values[:begin], lengths, enforce_sorted=False)
        states, _ = decoder(values[begin:], encoder(packed)[1])
        torch.testing.assert_close(outputs[model], readout_of(parameters, model, states)[scored], **CLOSE)


def test_the_gradient_of_an_encoder_and_its_decoder_agrees_with_finite_differences():
    one = trial(task="reverse", symbols=3, cell="lstm", hidden_size=3, layers=2, embedding_size=2)
    parameters, batch = parameters_of(one, 1), batches(one, 1, 3)
    names = list(parameters)

    def function(*values):
        named = dict(zip(names, values, strict=True))
        return forward(one, named, batch.inputs, one.task.scored, batch.lengths)

    assert torch.autograd.gradcheck(function, list(parameters.values()), eps=1e-6, atol=1e-7)


def test_dropout_multiplies_what_a_layer_gives_to_the_next_and_nothing_else():
    one = trial(hidden_size=5, layers=2, dropout=0.4, cell="gru", delay=3)
    parameters, batch = parameters_of(one), batches(one)
    steps = one.task.length
    factors = (normal("factors", 2, steps, 5, 5) > 0).double() / 0.6
    outputs = forward(one, parameters, batch.inputs, ALL, None, [padded_blocks(factors, 3, 5)])
    for model in range(2):
        values = vectors_of(one, batch.inputs[model])
        lower = trial(hidden_size=5, cell="gru", delay=3)
        below, _ = peer_of(lower, parameters, model)(values)
        upper = {name.removeprefix("layer1."): tensor for name, tensor in parameters.items() if "layer1." in name}
        above = torch.nn.GRU(5, 5, dtype=torch.float64)
        bias = torch.zeros(15, dtype=torch.float64)
        bias[10:] = upper["b_hn"][model].detach()
        copied = {"weight_ih_l0": "W_xh", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_h"}
        above.load_state_dict({t: upper[o][model].detach() for t, o in copied.items()} | {"bias_hh_l0": bias})
        states, _ = above(below * factors[model])
        torch.testing.assert_close(outputs[model], readout_of(parameters, model, states), **CLOSE)


def test_dropout_blanks_the_share_asked_for_anew_at_each_step_and_alike_for_equal_seeds():
    trials = [
        trial(hidden_size=40, layers=3, dropout=0.3, learning_rate=rate, seed=seed)
        for rate, seed in ((0.1, 0), (0.2, 0), (0.1, 1))
    ]
    stack = Stack(trials)
    first = dropout_factors(trials[0], stack._streams())
    assert [tuple(factors.shape) for factors in first] == [(3, trials[0].task.length, 50, 48)] * 2
    inside = torch.stack(first)[..., :40]
    assert (inside == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert inside.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert torch.equal(first[0][0], first[0][1])
    assert not torch.equal(first[0][0], first[0][2])
    assert not torch.equal(first[0][0], first[1][0])
    for slot in stack.slots:
        slot.step = 1
    assert not torch.equal(dropout_factors(trials[0], stack._streams())[0], first[0])


def test_evaluation_blanks_nothing():
    """A trial with dropout that has not been trained has the metrics of one without."""
    with_dropout, without = (trial(layers=2, dropout=dropout, delay=3) for dropout in (0.9, 0.0))
    (one,), (other,) = (Stack([each]).evaluate([0]) for each in (with_dropout, without))
    assert one.metrics == other.metrics


@pytest.mark.parametrize("cell", ["elman", "irnn", "lstm", "gru", "orthogonal", "antisymmetric", "cornn", "lru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_network_step_by_step_equals_the_whole_sequence(cell, layers):
    one = trial(cell=cell, hidden_size=5, layers=layers, delay=3, embedding_size=3)
    parameters, batch = parameters_of(one), batches(one)
    whole, last = run(one, parameters, batch.inputs, ALL)
    states = None
    for t in range(one.task.length):
        outputs, states = run(one, parameters, batch.inputs[:, t : t + 1], ALL, start=states)
        torch.testing.assert_close(outputs[:, 0], whole[:, t], **CLOSE)
    for found, expected in zip(states, last, strict=True):
        for values, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(values, wanted, **CLOSE)


@pytest.mark.parametrize("cell", ["elman", "lstm", "lru"])
def test_a_forward_network_of_layers_does_not_see_inputs_to_come(cell):
    one = trial(task="adding", length=6, cell=cell, hidden_size=5, layers=2)
    parameters, batch = parameters_of(one), batches(one)
    inputs = batch.inputs.requires_grad_()
    outputs = forward(one, parameters, inputs, ALL)
    for t in range(6):
        (gradient,) = torch.autograd.grad(outputs[:, t].square().sum(), inputs, retain_graph=True)
        assert not gradient[:, t + 1 :].any()
        assert gradient[:, : t + 1].any()


# What networks begin with


def test_layers_above_the_first_keep_the_scale_of_the_states_below():
    weights = initial(trial(hidden_size=200, layers=2, input_scale=0.01, bidirectional=True))
    assert weights["W_xh"].std().item() == pytest.approx(0.01, rel=0.1)
    assert weights["backward.W_xh"].std().item() == pytest.approx(0.01, rel=0.1)
    assert weights["layer1.W_xh"].std().item() == pytest.approx(400**-0.5, rel=0.05)
    assert weights["W_hy"].std().item() == pytest.approx(400**-0.5, rel=0.2)


def test_layers_directions_and_encoders_have_weights_of_their_own():
    weights = initial(trial(task="reverse", layers=2, hidden_size=8))
    recurrent = [values for name, values in weights.items() if name.endswith("W_hh")]
    assert len(recurrent) == 4
    assert not any(torch.equal(a, b) for i, a in enumerate(recurrent) for b in recurrent[:i])


def test_the_forget_gate_begins_open_and_chrono_sets_it():
    weights = initial(trial(cell="lstm", hidden_size=7, forget_bias=2.0))
    assert weights["b_h"].reshape(4, 7).tolist() == [[0.0] * 7, [2.0] * 7, [0.0] * 7, [0.0] * 7]
    bias = initial(trial(cell="lstm", init="chrono", longest=50, hidden_size=500))["b_h"].reshape(4, 500)
    assert torch.equal(bias[0], -bias[1])
    assert 0 <= bias[1].min() <= bias[1].max() <= math.log(49)
    assert not bias[2:].any()
    gates = initial(trial(cell="gru", init="chrono", longest=50, hidden_size=500))["b_h"].reshape(3, 500)
    assert torch.equal(gates[1], bias[1])


@every_peer
def test_the_number_of_parameters_is_that_of_torch_less_its_redundant_biases(cell):
    one = trial(cell=cell, hidden_size=6, layers=2, bidirectional=True)
    peer = PEERS[cell](one.task.input_size, 6, num_layers=2, bidirectional=True)
    readout = torch.nn.Linear(12, one.task.output_size)
    theirs = sum(values.numel() for module in (peer, readout) for values in module.parameters())
    gates = {"elman": 1, "lstm": 4, "gru": 3}[cell]
    redundant = 4 * 6 * (gates - (1 if isinstance(one.cell, Gru) else 0))
    assert parameter_count(one) == theirs - redundant
