"""What units do over a batch: shares and dimensions counted by plain loops, and the laws of the participation ratio."""

import math

import numpy as np
import pytest
import torch
from builders import normal, trial
from paths import LINEAR, passing
from test_networks import batches, parameters_of
from test_trajectory import NETWORKS, RECURRENT

from rnnlab.cells.elman import Elman
from rnnlab.cells.irnn import Irnn
from rnnlab.cells.orthogonal import Orthogonal
from rnnlab.diagnostics.activity import SATURATED, dead_units, participation_ratio, saturation
from rnnlab.diagnostics.trajectory import Trajectory, trajectories

TANH, RELU = Elman("tanh"), Elman("relu")
EVERY = [saturation, dead_units, participation_ratio]


def counted(path: Trajectory, lengths: torch.Tensor | None, model: int) -> np.ndarray:
    """(rows, H) the states of one model that count, one after another."""
    steps = len(path.states) - 1
    rows = []
    for sequence in range(path.states[0].shape[1]):
        stop = steps
        if lengths is not None:
            stop = int(lengths[model, sequence])
        elif path.active is not None:
            stop = int(path.active[model, :, sequence].sum())
        outputs = [path.split(state)[0][model, sequence, : path.hidden] for state in path.states[1 : stop + 1]]
        rows += [output.double().numpy() for output in outputs]
    return np.array(rows)


def slow_ratio(rows: np.ndarray) -> float:
    values = np.linalg.eigvalsh(np.cov(rows.T))
    return values.sum() ** 2 / (values**2).sum()


@pytest.mark.parametrize("cell", RECURRENT)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_participation_ratio_is_that_of_the_eigenvalues(cell, network):
    one = trial(**NETWORKS[network], cell=cell, hidden_size=5)
    batch = batches(one, size=4)
    for path in trajectories(one, parameters_of(one), batch)[0]:
        path = path.detached()
        lengths = batch.lengths if path.begin == 0 else None
        found = participation_ratio(path, lengths)
        for model in range(2):
            assert found[model].item() == pytest.approx(slow_ratio(counted(path, lengths, model)), rel=1e-9)
        assert path.active is None or torch.equal(found, participation_ratio(path))


@pytest.mark.parametrize("lengths", [None, torch.tensor([[3, 8, 1], [8, 2, 5]])], ids=["whole", "varied"])
def test_shares_are_those_of_a_plain_count(lengths):
    path = passing(normal("states", 2, 8, 3, 5).tanh(), TANH)
    dead = torch.tensor([1.0, 0, 0, 1, 1])
    rectified = passing(normal("states", 2, 8, 3, 5).relu() * dead, RELU)
    rectified.states[3][0, 0, 1] = 0.1  # in sequence 0 of model 0, at the last step that counts
    for model in range(2):
        rows = counted(path, lengths, model)
        assert saturation(path, 0.5, lengths)[model].item() == pytest.approx((np.abs(rows) > 0.5).mean(), abs=1e-15)
        assert saturation(path, lengths=lengths)[model].item() == pytest.approx((np.abs(rows) > SATURATED).mean())
        silent = (counted(rectified, lengths, model) == 0).all(0).mean()
        assert dead_units(rectified, lengths)[model].item() == pytest.approx(silent)
        assert silent == (0.2, 0.4)[model]


def test_padding_is_neither_saturated_nor_dead():
    full = torch.ones(1, 4, 2, 3)
    assert saturation(passing(full, TANH)).item() == 1
    assert dead_units(passing(full, RELU)).item() == 0
    assert dead_units(passing(0 * full, RELU)).item() == 1


@pytest.mark.parametrize(
    ("cell", "saturates", "dies"),
    [(TANH, True, False), (Orthogonal("tanh"), True, False), (RELU, False, True), (Irnn(), False, True)],
    ids=str,
)
def test_cells_by_another_name_are_what_they_are(cell, saturates, dies):
    path = passing(normal("states", 2, 8, 3, 5), cell)
    assert saturation(path).isnan().any() != saturates
    assert dead_units(path).isnan().any() != dies


@pytest.mark.parametrize("cell", sorted(set(RECURRENT) - {"elman", "orthogonal", "irnn"}))
def test_what_has_no_meaning_for_a_cell_is_not_a_number(cell):
    one = trial(cell=cell, delay=3, hidden_size=5)
    (path,), _ = trajectories(one, parameters_of(one), batches(one))
    assert saturation(path.detached()).isnan().all()
    assert dead_units(path.detached()).isnan().all()


def test_the_participation_ratio_of_isotropic_states_is_their_dimension():
    """Exactly, where they are the corners of a cross; approached from below as R independent ones become many."""
    corners = torch.cat([torch.eye(7), -torch.eye(7)]).double()[None, :, None]
    assert participation_ratio(passing(3 + corners)).item() == pytest.approx(7)
    for rows in (100, 10_000):
        found = participation_ratio(passing(normal("states", 8, rows, 1, 20))).mean().item()
        assert found == pytest.approx(20 * rows / (20 + rows), rel=0.01)


def test_the_participation_ratio_of_a_line_is_one_wherever_it_lies():
    along = normal("line", 3, 1, 1, 9) * normal("states", 3, 12, 4, 1)
    for size in (1e-200, 1.0, 1e200):
        found = participation_ratio(passing(size * (along + 0.3)))
        assert found.tolist() == pytest.approx([1, 1, 1], rel=1e-6)


def test_turning_and_scaling_the_states_changes_nothing():
    states, turn = normal("states", 2, 30, 2, 6), torch.linalg.qr(normal("turn", 6, 6))[0]
    states = states * torch.arange(1.0, 7)
    expected = participation_ratio(passing(states))
    torch.testing.assert_close(participation_ratio(passing(5 * states @ turn + 2)), expected)


def test_states_that_do_not_vary_have_no_dimension():
    states = torch.full((3, 9, 2, 5), 0.1).double()
    states[1] = 0
    states[2, 3, 1, 4] = 0.2
    assert participation_ratio(passing(states)).isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("diagnostic", EVERY)
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_model_that_is_not_finite_is_not_known_and_its_mates_do_not_notice(diagnostic, wrong):
    cell = {saturation: TANH, dead_units: RELU, participation_ratio: LINEAR}[diagnostic]
    states = normal("states", 5, 8, 3, 33)
    expected = [diagnostic(passing(states[model : model + 1], cell)) for model in range(5)]
    states[1, 7, 2, 3] = wrong
    found = diagnostic(passing(states, cell))
    assert found[1].isnan()
    assert all(torch.equal(found[model], expected[model][0]) for model in (0, 2, 3, 4))
    lengths = torch.full((5, 3), 7)
    assert not diagnostic(passing(states, cell), lengths=lengths).isnan().any(), "after the end of the sequence"


@pytest.mark.parametrize("diagnostic", EVERY)
def test_sequences_without_steps_say_nothing(diagnostic):
    cell = {saturation: TANH, dead_units: RELU, participation_ratio: LINEAR}[diagnostic]
    lengths = torch.tensor([[0, 0], [3, 2]])
    found = diagnostic(passing(normal("states", 2, 6, 2, 4), cell), lengths=lengths)
    assert found.isnan().tolist() == [True, False]


def test_states_in_single_precision_are_counted_in_double():
    states = normal("states", 2, 8, 3, 5)
    found = participation_ratio(passing(states.float()))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, participation_ratio(passing(states.float().double())), rtol=0, atol=0)
