"""Linear memory capacity: closed forms of linear networks, and ridge regression one network and delay at a time."""

import math

import numpy as np
import pytest
import torch
from builders import normal, trial
from paths import LINEAR, driven
from test_networks import batches, parameters_of
from test_trajectory import RECURRENT

from rnnlab.aligned import without_padding
from rnnlab.cells.elman import Elman
from rnnlab.diagnostics.capacity import RIDGE, MemoryCapacity, _direction, memory_capacity
from rnnlab.diagnostics.trajectory import Trajectory, trajectories
from rnnlab.inits.orthogonal import Orthogonal
from rnnlab.seeding import generator

TANH = Elman("tanh")
SMALL = {"delays": 6, "samples": 200, "washout": 20, "signals": 1}


def layer(*matrices: torch.Tensor, cell=LINEAR, bias: torch.Tensor | None = None) -> Trajectory:
    """Elman cells with these recurrent matrices (H, H); the trajectory itself is of no matter."""
    stacked = torch.stack(matrices)
    return driven(stacked, stacked.new_zeros(len(stacked), 1, 1, stacked.shape[1]), cell, bias)


def line(hidden: int) -> torch.Tensor:
    """Each unit has next what the one before has now."""
    return torch.diag(torch.ones(hidden - 1, dtype=torch.float64), -1)


def first(hidden: int) -> torch.Tensor:
    return torch.eye(hidden, dtype=torch.float64)[:1]


def drawn(washout: int, samples: int, signals: int, **_) -> np.ndarray:
    """(T, 2 x signals) the signals: those to fit, then those to correlate."""
    uniform = generator(0, "diagnostics.capacity.signal").uniform(size=(washout + samples // signals, 2 * signals))
    return (uniform - 0.5) * math.sqrt(12)


def regressed(states: np.ndarray, delays: int, samples: int, washout: int, signals: int) -> list[float]:
    """The capacity at each delay, from what is read of one model (2 x signals, T, N), by ridge regression."""
    found, each, fit, test = [], samples // signals, slice(signals), slice(signals, None)
    for delay in range(delays):
        targets = drawn(washout, samples, signals)[washout - delay : washout - delay + each].T
        rows = np.concatenate(states[fit, washout:])
        rows, told = rows - rows.mean(0), targets[fit].ravel() - targets[fit].mean()
        covariance = rows.T @ rows / samples + RIDGE * rows.var(0).mean() * np.eye(rows.shape[1])
        readout = np.linalg.solve(covariance, rows.T @ told / samples)
        read = np.concatenate(states[test, washout:]) @ readout
        squared = np.corrcoef(read, targets[test].ravel())[0, 1] ** 2
        found.append(squared - (1 - squared) / (samples - 2))
    return found


def elman_states(recurrent: np.ndarray, bias: np.ndarray, vector: np.ndarray, activate, settings) -> np.ndarray:
    """(2 x signals, T, H) of one cell, driven by the signals."""
    states = []
    for signal in drawn(**settings).T:
        states.append([np.zeros(len(bias))])
        for u in signal:
            states[-1].append(activate(recurrent @ states[-1][-1] + bias + vector * u))
    return np.array(states)[:, 1:]


@pytest.mark.parametrize("settings", [SMALL, {**SMALL, "samples": 2000, "signals": 4}], ids=["one", "four"])
@pytest.mark.parametrize(("cell", "activate"), [(LINEAR, lambda x: x), (TANH, np.tanh)], ids=["linear", "tanh"])
def test_the_capacity_is_that_of_plain_ridge_regression(cell, activate, settings):
    matrices = [0.5 * normal(f"matrix {number}", 5, 5) / math.sqrt(5) for number in range(3)]
    bias = 0.3 * normal("bias", 3, 5)
    path = layer(*matrices, cell=cell, bias=bias)
    found = memory_capacity(path, input_scale=0.7, **settings)
    vector = 0.7 * _direction(path.weights, 5)[0].numpy()
    assert math.sqrt((vector**2).mean()) == pytest.approx(0.7)
    for model in range(3):
        states = elman_states(matrices[model].numpy(), bias[model].numpy(), vector, activate, settings)
        assert found.by_delay[model].tolist() == pytest.approx(regressed(states, **settings), abs=1e-6)
    assert found.total.tolist() == pytest.approx(found.by_delay.sum(1).clamp(max=5).tolist())


@pytest.mark.parametrize("hidden", [1, 2, 7, 40])
def test_a_line_of_units_remembers_as_many_inputs_as_it_has_units(hidden):
    found = memory_capacity(layer(line(hidden)), first(hidden))
    assert found.by_delay.shape == (1, 2 * hidden)
    assert (found.by_delay[0, :hidden] > 1 - 1e-6).all()
    assert found.by_delay[0, hidden:].abs().max() < 0.02
    assert found.total.item() == pytest.approx(hidden, abs=0.05)


@pytest.mark.parametrize("cell", [LINEAR, TANH], ids=["linear", "tanh"])
def test_without_recurrence_the_present_input_is_all_there_is(cell):
    found = memory_capacity(layer(torch.zeros(20, 20, dtype=torch.float64), cell=cell), delays=30)
    assert found.by_delay[0, 0] > 0.999
    assert found.by_delay[0, 1:].abs().max() < 0.02
    assert found.total.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rate", [0.5, 0.9, -0.9])
def test_a_single_unit_forgets_geometrically(rate):
    """h_t = a h_{t-1} + u_t has the correlation (1 - a^2)^.5 a^k with u_{t-k}."""
    found = memory_capacity(layer(torch.tensor([[rate]], dtype=torch.float64)), delays=40, samples=200_000)
    expected = [(1 - rate**2) * rate ** (2 * delay) for delay in range(40)]
    assert found.by_delay[0].tolist() == pytest.approx(expected, abs=0.01)
    assert found.total.item() == pytest.approx(1 - rate**80, abs=0.03)  # three standard deviations


def test_the_capacity_is_never_above_the_number_of_units():
    radii = (0.3, 0.7, 0.9)
    matrices = [
        radius * Orthogonal(1.0).recurrent(generator(seed, "test"), 12) for seed in range(4) for radius in radii
    ]
    for cell in (LINEAR, TANH):
        for scale in (0.01, 1.0):
            found = memory_capacity(layer(*matrices, cell=cell), input_scale=scale, delays=60, samples=10_000)
            assert ((found.total > 0.5) & (found.total <= 12)).all()
            assert (found.by_delay.sum(1) < 12.3).all(), "more than chance gives"


def signals_of(number: int, monkeypatch):
    """Other signals than those that are always the same."""
    monkeypatch.setattr("rnnlab.diagnostics.capacity.generator", lambda seed, purpose: generator(number, purpose))


def test_nothing_is_gained_by_chance(monkeypatch):
    """What chaotic units that do not hear the input are read for has no correlation, on average over signals."""
    chaotic = [3 * normal(f"chaos {seed}", 30, 30) / math.sqrt(30) for seed in range(5)]
    path = layer(*chaotic, cell=TANH, bias=0.1 * normal("bias", 5, 30))
    totals = []
    for number in range(10):
        signals_of(number, monkeypatch)
        totals += memory_capacity(path, 0 * first(30), delays=100, samples=300).by_delay.sum(1).tolist()
    assert np.mean(totals) == pytest.approx(0, abs=3 * 100**0.5 * 2**0.5 / 300 / 10**0.5)  # uncorrected 100 / 300


def test_few_samples_lower_what_is_partly_recalled_as_said(monkeypatch):
    path = layer(*(0.9 * normal(f"matrix {seed}", 20, 20) / math.sqrt(20) for seed in range(5)), cell=TANH)
    vector = normal("vector", 1, 20)
    known = memory_capacity(path, vector, samples=20_000, delays=30).by_delay
    partly = (known > 0.3) & (known < 0.95)
    assert partly.sum() > 10
    lowered = []
    for number in range(30):
        signals_of(number, monkeypatch)
        found = memory_capacity(path, vector, samples=200, delays=30).by_delay
        lowered.append((known - found)[partly].mean().item())
    assert np.mean(lowered) == pytest.approx((1 - known[partly]).mean().item() * 20 / 200, rel=0.3)


def test_the_scale_of_the_input_decides_in_a_tanh_network_and_makes_no_difference_in_a_linear_one():
    matrix = 0.9 * Orthogonal(1.0).recurrent(generator(0, "test"), 20)
    totals = {
        cell: [memory_capacity(layer(matrix, cell=cell), input_scale=scale).total.item() for scale in (0.01, 0.1, 3.0)]
        for cell in (LINEAR, TANH)
    }
    assert totals[LINEAR] == pytest.approx([totals[LINEAR][0]] * 3, rel=1e-3)
    assert totals[TANH][0] > totals[TANH][1] + 1 > totals[TANH][2] + 2


@pytest.mark.parametrize("cell", RECURRENT)
def test_the_capacity_of_every_cell_is_that_of_the_network_with_the_signal_as_its_input(cell, monkeypatch):
    monkeypatch.setattr("rnnlab.diagnostics.capacity.STEADY", math.inf)  # so few steps are too few for slow cells
    one = trial(task="adding", length=SMALL["washout"] + SMALL["samples"], cell=cell, hidden_size=5)
    parameters = {name: 0.5 * values.detach() for name, values in parameters_of(one).items()}
    batch = batches(one, size=2)
    inputs = torch.zeros_like(batch.inputs)
    inputs[..., 0] = torch.from_numpy(drawn(**SMALL))
    (path,), _ = trajectories(one, parameters, batch._replace(inputs=inputs))
    vector = without_padding(path.weights.inputs[..., 0], 5)
    found = memory_capacity(path, vector, **SMALL)
    places = path.coordinates if cell == "lru" else path.coordinates[:5]
    for model in range(2):
        states = torch.stack(path.states[1:])[:, model, :, places].transpose(0, 1).detach().numpy()
        assert found.by_delay[model].tolist() == pytest.approx(regressed(states, **SMALL), abs=1e-6)
    assert not found.total.requires_grad


# Where it is not known


def test_a_state_that_grows_without_bound_has_no_capacity():
    turn = Orthogonal(1.0).recurrent(generator(0, "test"), 9)
    found = memory_capacity(layer(1.05 * turn, turn, 0.9 * turn, 3 * turn))
    assert found.total.isnan().tolist() == [True, True, False, True]
    assert found.by_delay[[0, 1, 3]].isnan().all()


def test_states_that_do_not_move_remember_nothing():
    found = memory_capacity(layer(line(5)), 0 * first(5))
    assert found.total.item() == 0
    assert not found.by_delay.any()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_model_that_is_not_finite_is_not_known_and_its_mates_do_not_notice(wrong):
    matrices = [0.7 * normal(f"matrix {number}", 33, 33) / math.sqrt(33) for number in range(5)]
    expected = [memory_capacity(layer(matrix, cell=TANH), **SMALL) for matrix in matrices]
    matrices[1][4, 5] = wrong
    found = memory_capacity(layer(*matrices, cell=TANH), **SMALL)
    assert found.total[1].isnan()
    for model in (0, 2, 3, 4):
        assert bits(found, model) == bits(expected[model], 0)


@pytest.mark.parametrize("cell", ["lstm", "gru", "lru"])
def test_bits_do_not_depend_on_the_stack(cell):
    one = trial(cell=cell, delay=3, hidden_size=33)
    parameters = {name: values.detach() for name, values in parameters_of(one, models=5).items()}
    batch = batches(one, models=5)

    def found(models: slice) -> MemoryCapacity:
        own = {name: values[models] for name, values in parameters.items()}
        (path,), _ = trajectories(one, own, batch._replace(inputs=batch.inputs[models]))
        return memory_capacity(path, delays=7, samples=300, washout=20)

    together = found(slice(None))
    assert all(bits(found(slice(model, model + 1)), 0) == bits(together, model) for model in (0, 3))


def bits(found: MemoryCapacity, model: int) -> list[bytes]:
    return [values[model].numpy().tobytes() for values in found]


def test_weights_in_single_precision_are_computed_with_in_double():
    matrix = 0.7 * normal("matrix", 6, 6).float()
    found, expected = (memory_capacity(layer(of, cell=TANH), **SMALL) for of in (matrix, matrix.double()))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [{"delays": 0}, {"samples": 3}, {"washout": 9, "delays": 10}, {"signals": 0}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must be >= 1, >= 4, >= delays, >= 1"):
        memory_capacity(layer(line(5)), **wrong)
