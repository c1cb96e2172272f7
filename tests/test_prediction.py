"""What theory is told of a layer: its gain and the variance of its inputs, by numpy; and where it says nothing."""

import math

import numpy as np
import pytest
import torch
from builders import trial
from test_networks import batches, parameters_of

from rnnlab import theory
from rnnlab.diagnostics.prediction import outside_theory, predictions
from rnnlab.diagnostics.trajectory import trajectories
from rnnlab.model import initial


def path_of(parameters=None, **fields):
    one = trial(**{"hidden_size": 5} | fields)
    return trajectories(one, parameters or parameters_of(one), batches(one))[0][0].detached()


def test_gain_and_variance_are_those_of_the_layer():
    one = trial(delay=6, hidden_size=5)
    parameters, batch = parameters_of(one), batches(one)
    found = predictions(trajectories(one, parameters, batch)[0][0].detached())
    for model in range(2):
        W_xh, W_hh, b_h = (parameters[name][model].detach().numpy() for name in ("W_xh", "W_hh", "b_h"))
        inputs = W_xh[:, batch.inputs[model].numpy()] + b_h[:, None, None]
        assert found[model].gain == pytest.approx(np.linalg.norm(W_hh) / math.sqrt(5))
        assert found[model].input_variance == pytest.approx((inputs**2).mean())
        assert found[model] == theory.mean_field(found[model].gain, found[model].input_variance)


@pytest.mark.parametrize("init", ["orthogonal", "gaussian"])
def test_a_fresh_layer_has_the_gain_and_the_scale_of_its_init(init):
    one = trial(delay=6, init=init, spectral_radius=0.9, input_scale=0.3, hidden_size=256)
    parameters = {name: values.double().unsqueeze(0) for name, values in initial(one).items()}
    (found,) = predictions(trajectories(one, parameters, batches(one, models=1))[0][0].detached())
    assert found.gain == pytest.approx(0.9, rel=1e-6 if init == "orthogonal" else 0.05)
    assert found.input_variance == pytest.approx(0.09, rel=0.2)


def test_a_model_that_is_not_finite_does_not_disturb_its_mates():
    one = trial(delay=6, hidden_size=5)
    parameters = {name: values.detach() for name, values in parameters_of(one).items()}
    alone = predictions(trajectories(one, parameters, batches(one))[0][0].detached())[1]
    parameters["W_hh"][0] = torch.inf
    broken, mate = predictions(trajectories(one, parameters, batches(one))[0][0].detached())
    assert math.isnan(broken.chi)
    assert math.isnan(broken.e_fold)
    assert math.isnan(broken.reach())
    assert mate == alone


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"cell": "lstm"}, "that of tanh units without gates"),
        ({"cell": "irnn"}, "that of tanh units, not of relu"),
        ({"nonlinearity": "identity"}, "that of tanh units, not of identity"),
    ],
)
def test_outside_its_range_theory_says_so(fields, reason):
    path = path_of(delay=6, **fields)
    assert reason in outside_theory(path)
    with pytest.raises(ValueError, match=reason):
        predictions(path)


@pytest.mark.parametrize("cell", ["elman", "orthogonal"])
def test_tanh_units_are_within_its_range(cell):
    assert not outside_theory(path_of(delay=6, cell=cell))
