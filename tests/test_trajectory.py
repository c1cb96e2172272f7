"""Trajectories: the numbers of the network itself, with every state within reach of a gradient."""

import pytest
import torch
from builders import normal, trial
from test_networks import batches, parameters_of
from torch import Tensor

from rnnlab.diagnostics.trajectory import trajectories
from rnnlab.model import forward
from rnnlab.refusal import BadInput
from rnnlab.registry import registry
from rnnlab.tasks import at_steps
from rnnlab.unroll import step

RECURRENT = [name for name, cell in registry()["cell"].items() if not hasattr(cell, "module")]
NETWORKS = {
    "plain": {"delay": 6},
    "real inputs of varied length": {"task": "adding", "length": 12, "lengths": "varied"},
    "deep": {"delay": 6, "layers": 3},
    "in two directions": {"task": "tagging", "layers": 2, "bidirectional": True},
    "one answer, in two directions": {"task": "agreement", "bidirectional": True, "embedding_size": 5},
    "encoder and decoder": {"task": "reverse", "layers": 2, "embedding_size": 4},
}


@pytest.mark.parametrize("cell", RECURRENT)
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_are_those_of_the_network(cell, network):
    one = trial(**NETWORKS[network], cell=cell, hidden_size=5)
    parameters, batch = parameters_of(one), batches(one)
    paths, outputs = trajectories(one, parameters, batch)
    expected = forward(one, parameters, batch.inputs, one.task.scored, batch.lengths)
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)
    for path in paths:
        assert len(path.states) == path.projected.shape[1] + 1
        assert path.outputs().shape[:3] == path.projected.shape[:3]


@pytest.mark.parametrize("cell", RECURRENT)
@pytest.mark.parametrize("network", ["deep", "encoder and decoder"])
def test_the_gradient_of_a_state_is_the_slope_of_the_loss_along_it(cell, network, monkeypatch):
    """By pushing one state of one layer, in the course of the network, and reading the loss: central differences."""
    one = trial(**NETWORKS[network], cell=cell, hidden_size=5)
    parameters = {name: values.detach() for name, values in parameters_of(one, models=1).items()}
    batch = batches(one, models=1, size=3)
    scored = at_steps(batch, one.task.scored)

    def loss_of(outputs: Tensor) -> Tensor:
        return one.task.loss(outputs, scored).sum()

    paths, outputs = trajectories(one, parameters, batch)
    for place, path in enumerate(paths):
        t = len(path.states) // 2
        (by_state,) = torch.autograd.grad(loss_of(outputs), path.states[t], retain_graph=True)
        along = normal("along", *by_state.shape)
        losses = []
        for size in (1e-5, -1e-5):
            with monkeypatch.context() as patch, torch.no_grad():
                patch.setattr("rnnlab.diagnostics.trajectory._joined", pushed(place, t, size * along))
                losses.append(loss_of(trajectories(one, parameters, batch)[1]))
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float((by_state * along).sum()), rel=1e-5, abs=1e-9)


def pushed(place: int, t: int, push: Tensor):
    """As `_joined`, step by step; in the layer at `place` the state after `t` steps is moved."""
    calls = iter(range(100))

    def states(cell, start, weights, projected, active):
        here = next(calls) == place
        yield torch.cat(start, dim=-1)
        for number, given in enumerate(projected.unbind(1), start=1):
            after = step(cell, given, start, weights)
            if active is not None:
                running = active[:, number - 1].unsqueeze(-1)
                after = tuple(torch.where(running, new, old) for new, old in zip(after, start, strict=True))
            joined = torch.cat(after, dim=-1) + (push if here and number == t else 0)
            start = joined.chunk(len(start), dim=-1)
            yield joined

    return states


@pytest.mark.parametrize("cell", ["tcn", "transformer"])
def test_a_module_has_no_states_to_look_at(cell):
    one = trial(delay=4, cell=cell)
    with pytest.raises(BadInput, match=f"cell={cell}: has no states that could be looked at"):
        trajectories(one, parameters_of(one), batches(one))
