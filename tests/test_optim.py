"""The stacked optimisers and clipping: per model what torch does for one model, and no model touches another."""

import pytest
import torch
from builders import normal
from torch import Tensor

from rnnlab.optim import OPTIMIZERS, Rates, clip_, learning_rate, rates, scheduled
from rnnlab.trial import Train

MODELS, WIDTH, STEPS = 3, 32, 50
LEARNING_RATES, MOMENTA, THRESHOLDS = [0.1, 0.003, 0.7], [0.9, 0.0, 0.5], [1.0, 0.01, 5.6]
DECAYS, NESTEROVS = [0.0, 0.3, 0.01], [True, False, False]  # torch has no nesterov without momentum
PEERS = {
    "sgd": lambda weights, rate, momentum, nesterov, decay: torch.optim.SGD(
        [weights], lr=rate, momentum=momentum, nesterov=nesterov, weight_decay=decay
    ),
    "rmsprop": lambda weights, rate, momentum, nesterov, decay: torch.optim.RMSprop(
        [weights], lr=rate, weight_decay=decay
    ),
    "adam": lambda weights, rate, momentum, nesterov, decay: torch.optim.Adam([weights], lr=rate, weight_decay=decay),
    "adamw": lambda weights, rate, momentum, nesterov, decay: torch.optim.AdamW([weights], lr=rate, weight_decay=decay),
}
TOLERANCE = 1e-12
SCHEDULES = {  # each with that of torch
    "constant": ({}, lambda peer: torch.optim.lr_scheduler.ConstantLR(peer, factor=1)),
    "cosine": ({"max_steps": 45}, lambda peer: torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=45)),
    "step": (
        {"schedule_every": 7, "schedule_factor": 0.6},
        lambda peer: torch.optim.lr_scheduler.StepLR(peer, step_size=7, gamma=0.6),
    ),
}

every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
every_mode = pytest.mark.parametrize("mode", ["norm", "value"])


def column(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype).unsqueeze(1)


def rates64(decays: list[float] = DECAYS, nesterovs: list[bool] = NESTEROVS) -> Rates:
    retained = [1 - rate * decay for rate, decay in zip(LEARNING_RATES, decays, strict=True)]
    return Rates(
        column(LEARNING_RATES),
        column(MOMENTA),
        column([torch.inf] * MODELS),
        torch.tensor(nesterovs).unsqueeze(1),
        column(decays),
        column(retained),
    )


def gradients(dtype: torch.dtype = torch.float64) -> Tensor:
    """(STEPS, MODELS, WIDTH)"""
    return normal("gradients", STEPS, MODELS, WIDTH, dtype=dtype)


def advance(name: str, models: list[int], parameters: Tensor, buffers: dict, moves: Tensor, done: list[int]) -> None:
    """Move the rows of `models`, which have `done` so many steps before, by the gradients `moves`; in place."""
    chosen = Rates(*(values[models] for values in rates64()))
    for step, gradient in enumerate(moves, start=1):
        OPTIMIZERS[name].update(parameters, gradient.clone(), buffers, chosen, [before + step for before in done])


def no_buffers(name: str, models: int) -> dict[str, Tensor]:
    return {buffer: torch.zeros(models, WIDTH, dtype=torch.float64) for buffer in OPTIMIZERS[name].buffers}


@every_optimizer
@pytest.mark.parametrize("decays", [[0.0] * MODELS, DECAYS], ids=["no weight decay", "weight decay"])
@pytest.mark.parametrize("nesterovs", [[False] * MODELS, NESTEROVS], ids=["plain", "nesterov"])
def test_every_model_moves_as_with_the_optimiser_of_torch(name, decays, nesterovs):
    start, settings = normal("start", MODELS, WIDTH), rates64(decays, nesterovs)
    buffers = no_buffers(name, MODELS)
    ours = start.clone()
    theirs = [start[model].clone().requires_grad_() for model in range(MODELS)]
    each = zip(theirs, LEARNING_RATES, MOMENTA, nesterovs, decays, strict=True)
    peers = [PEERS[name](*settings_of_one) for settings_of_one in each]
    for step, gradient in enumerate(gradients()):
        OPTIMIZERS[name].update(ours, gradient.clone(), buffers, settings, [step + 1] * MODELS)
        for model, peer in enumerate(peers):
            theirs[model].grad = gradient[model].clone()
            peer.step()
            torch.testing.assert_close(ours[model], theirs[model].detach(), rtol=TOLERANCE, atol=TOLERANCE)
    assert ((ours - start).abs().amax(1) > 0.01).all(), "the parameters hardly moved"


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_learning_rate_follows_the_schedule_of_torch(schedule):
    fields, of_torch = SCHEDULES[schedule]
    train = Train(schedule=schedule, learning_rate=0.3, **fields)
    peer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = of_torch(peer)
    found = []
    for step in range(1, 46):
        found.append(learning_rate(train, step))
        assert found[-1] == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)
        peer.step()
        scheduler.step()
    assert found[0] == 0.3
    assert min(found) > 0
    assert len(set(found)) == {"constant": 1, "cosine": 45, "step": 7}[schedule]


@every_optimizer
def test_models_of_different_schedules_move_as_with_the_schedulers_of_torch(name):
    start = normal("start", MODELS, WIDTH, dtype=torch.float32)
    settings = list(zip(LEARNING_RATES, MOMENTA, NESTEROVS, DECAYS, strict=True))
    ours, buffers = start.clone(), {buffer: torch.zeros(MODELS, WIDTH) for buffer in OPTIMIZERS[name].buffers}
    theirs = [start[model].clone().requires_grad_() for model in range(MODELS)]
    peers = [PEERS[name](weights, *each) for weights, each in zip(theirs, settings, strict=True)]
    schedulers = [of_torch(peer) for (_, of_torch), peer in zip(SCHEDULES.values(), peers, strict=True)]
    trains = [
        Train(learning_rate=rate, momentum=momentum, nesterov=nesterov, weight_decay=decay, schedule=schedule, **fields)
        for (rate, momentum, nesterov, decay), (schedule, (fields, _)) in zip(settings, SCHEDULES.items(), strict=True)
    ]
    first = rates(trains)
    for step, gradient in enumerate(gradients(torch.float32)[:45], start=1):
        now = scheduled(first, trains, [step] * MODELS)
        OPTIMIZERS[name].update(ours, gradient.clone(), buffers, now, [step] * MODELS)
        for model, (peer, scheduler) in enumerate(zip(peers, schedulers, strict=True)):
            theirs[model].grad = gradient[model].clone()
            peer.step()
            scheduler.step()
    torch.testing.assert_close(ours, torch.stack(theirs).detach(), rtol=1e-4, atol=1e-5)


def test_the_learning_rate_of_a_model_is_that_of_its_own_step():
    trains = [Train(schedule="cosine", max_steps=10), Train(schedule="step", schedule_every=3), Train()]
    now = scheduled(rates(trains), trains, [10, 4, 999])
    expected = [learning_rate(train, step) for train, step in zip(trains, [10, 4, 999], strict=True)]
    assert now.learning_rate[:, 0].tolist() == pytest.approx(expected, rel=1e-7)
    assert len(set(expected)) == 3


def test_the_rates_of_the_first_step_stay_where_no_schedule_changes_them():
    trains = [Train(weight_decay=0.5), Train(learning_rate=0.2)]
    first = rates(trains)
    assert scheduled(first, trains, [500, 1]) is first


@every_optimizer
def test_models_without_weight_decay_and_nesterov_move_to_the_bit_as_if_nobody_had_them(name):
    """Also where a gradient is a negative zero: adding 0 to it would turn the sign of a velocity of zero."""

    def moved(decays: list[float], nesterovs: list[bool]) -> list[Tensor]:
        parameters, buffers = normal("start", MODELS, WIDTH), no_buffers(name, MODELS)
        parameters[:, :4] = 1
        for step, gradient in enumerate(gradients()[:4].clone(), start=1):
            gradient[:, :4] = -1 if step == 1 else -0.0
            OPTIMIZERS[name].update(parameters, gradient, buffers, rates64(decays, nesterovs), [step] * MODELS)
        return [parameters, *buffers.values()]

    mixed, plain = moved([0.1, 0.0, 0.0], [True, False, False]), moved([0.0] * MODELS, [False] * MODELS)
    for ours, alone in zip(mixed, plain, strict=True):
        assert ours[1:].numpy().tobytes() == alone[1:].numpy().tobytes()
    assert not torch.equal(mixed[0][0], plain[0][0])


@every_optimizer
def test_a_model_that_joins_later_counts_its_own_steps(name):
    start, moves = normal("start", 2, WIDTH), gradients()
    alone = [start[:1].clone(), start[1:].clone()]
    advance(name, [0], alone[0], no_buffers(name, 1), moves[:20, [0]], [0])
    advance(name, [1], alone[1], no_buffers(name, 1), moves[5:20, [1]], [0])

    early, buffers = start[:1].clone(), no_buffers(name, 1)
    advance(name, [0], early, buffers, moves[:5, [0]], [0])
    both = torch.cat([early, start[1:]])
    buffers = {buffer: torch.cat([values, torch.zeros_like(values)]) for buffer, values in buffers.items()}
    advance(name, [0, 1], both, buffers, moves[5:20, [0, 1]], [5, 0])
    assert torch.equal(both, torch.cat(alone))


@every_optimizer
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_stays_in_its_model(name, poison):
    def moved(spoiled: bool) -> Tensor:
        parameters, buffers = normal("start", MODELS, WIDTH), no_buffers(name, MODELS)
        for step, gradient in enumerate(gradients()[:4].clone()):
            gradient[1, 3] = poison if spoiled and step == 1 else gradient[1, 3]
            OPTIMIZERS[name].update(parameters, gradient, buffers, rates64(), [step + 1] * MODELS)
        return parameters

    assert torch.equal(moved(True)[[0, 2]], moved(False)[[0, 2]])
    assert not torch.equal(moved(True)[1], moved(False)[1])


def test_clipping_by_norm_equals_that_of_torch_for_every_model():
    for step in gradients():
        clipped = step.clone()
        norms, acted = clip_(clipped, "norm", column(THRESHOLDS))
        for model, threshold in enumerate(THRESHOLDS):
            peer = torch.nn.Parameter(step[model])
            peer.grad = step[model].clone()
            norm = torch.nn.utils.clip_grad_norm_([peer], threshold)
            assert norms[model].item() == pytest.approx(norm.item(), rel=1e-12)
            torch.testing.assert_close(clipped[model], peer.grad, rtol=1e-5, atol=0)  # torch adds 1e-6 to the norm
            assert acted[model].item() == (norm.item() > threshold)
    assert {clip_(step.clone(), "norm", column(THRESHOLDS))[1][2].item() for step in gradients()} == {True, False}


def test_a_clipped_gradient_has_the_threshold_as_its_norm_and_keeps_its_direction():
    gradient, threshold = gradients()[0].clone(), column([1.0, 0.01, 3.0])
    clip_(gradient, "norm", threshold)
    torch.testing.assert_close(gradient.norm(dim=1), threshold[:, 0], rtol=1e-12, atol=0)
    cosines = torch.nn.functional.cosine_similarity(gradient, gradients()[0])
    torch.testing.assert_close(cosines, torch.ones(MODELS).double(), rtol=1e-12, atol=0)


def test_clipping_by_value_equals_that_of_torch_for_every_model():
    for step in gradients():
        clipped = step.clone()
        norms, acted = clip_(clipped, "value", column([*THRESHOLDS[:2], 10.0]))
        for model, threshold in enumerate([*THRESHOLDS[:2], 10.0]):
            peer = torch.nn.Parameter(step[model])
            peer.grad = step[model].clone()
            torch.nn.utils.clip_grad_value_([peer], threshold)
            assert torch.equal(clipped[model], peer.grad)
            assert acted[model].item() == (step[model].abs().max().item() > threshold)
        torch.testing.assert_close(norms, step.norm(dim=1))
        assert acted.tolist() == [True, True, False]


@every_mode
def test_an_infinite_threshold_switches_clipping_off(mode):
    gradient = gradients(torch.float32)[0] * 1e30
    expected = gradient.clone()
    _, acted = clip_(gradient, mode, column([torch.inf] * MODELS, torch.float32))
    assert torch.equal(gradient, expected)
    assert not acted.any()


@every_mode
def test_a_gradient_within_the_threshold_is_left_as_it_is(mode):
    gradient = gradients(torch.float32)[0]
    expected = gradient.clone()
    _, acted = clip_(gradient, mode, column([100.0] * MODELS, torch.float32))
    assert torch.equal(gradient, expected)
    assert not acted.any()


@every_mode
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 1e38])
def test_clipping_one_model_changes_nothing_in_the_others(mode, poison):
    threshold = column(THRESHOLDS, torch.float32)
    spoiled, clean = gradients(torch.float32)[0], gradients(torch.float32)[0]
    spoiled[1, 3] = poison
    norms, acted = clip_(spoiled, mode, threshold)
    expected_norms, expected_acted = clip_(clean, mode, threshold)
    for place in (0, 2):
        assert torch.equal(spoiled[place], clean[place])
        assert norms[place] == expected_norms[place]
        assert acted[place] == expected_acted[place]


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
@every_mode
def test_the_norm_of_a_gradient_that_is_not_finite_is_not_finite(mode, poison):
    gradient = gradients(torch.float32)[0]
    gradient[1, 3] = poison
    norms, _ = clip_(gradient, mode, column([1.0] * MODELS, torch.float32))
    assert norms.isfinite().tolist() == [True, False, True]


@every_mode
def test_a_huge_but_finite_gradient_is_clipped_and_not_taken_for_an_infinite_one(mode):
    huge = torch.full((1, WIDTH), 1e25)
    assert huge.square().sum().isinf(), "float32 holds this norm: the test asks for nothing"
    norms, acted = clip_(huge, mode, column([2.0], torch.float32))
    assert norms.item() == pytest.approx(1e25 * WIDTH**0.5, rel=1e-6)
    assert acted.all()
    expected = 2.0 / WIDTH**0.5 if mode == "norm" else 2.0
    torch.testing.assert_close(huge, torch.full((1, WIDTH), expected))


@every_mode
def test_a_gradient_of_zero_stays_zero(mode):
    zero = torch.zeros(1, WIDTH)
    norms, acted = clip_(zero, mode, column([1e-30], torch.float32))
    assert (norms.item(), acted.item(), zero.any().item()) == (0, False, False)


def test_the_rates_of_a_stack_are_those_of_its_trials_and_no_threshold_is_infinite():
    trains = [
        Train(learning_rate=0.5, momentum=0.25, clip_threshold=None, nesterov=True),
        Train(learning_rate=2.0, clip_threshold=4.0, weight_decay=0.125),
    ]
    found = rates(trains)
    assert [values.tolist() for values in found] == [
        [[0.5], [2.0]],
        [[0.25], [pytest.approx(Train().momentum)]],
        [[torch.inf], [4.0]],
        [[True], [False]],
        [[0.0], [0.125]],
        [[1.0], [0.75]],
    ]
