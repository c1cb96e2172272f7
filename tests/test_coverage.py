"""The simulation behind the horizon's interval: its truths are what they say, and its peer is right by itself."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, multivariate_normal, norm

from benchmarks import coverage, intervals, ratios, truths
from benchmarks.truths import FLOOR, TRUTHS, Draws, Truth, clayton, floored, gaussian, gompertz, logistic, two_kinds
from rnnlab.analysis import crossing, likelihood

DISTANCES = np.geomspace(5, 160, 6)
PLACES = np.log(DISTANCES)


@pytest.mark.parametrize("family", [logistic, gompertz, two_kinds, floored])
@pytest.mark.parametrize("learning", [1.0, 0.9])
def test_half_of_the_seeds_solve_at_the_horizon(family, learning):
    assert family(np.zeros(1), learning) == pytest.approx(0.5)
    shares = family(np.linspace(-50, 50, 201), learning)
    assert (np.diff(shares) >= 0).all()
    least = FLOOR if family == floored else 0
    assert (shares[0], shares[-1]) == pytest.approx((least, learning), abs=1e-9)


@pytest.mark.parametrize("name", TRUTHS)
def test_seeds_solve_as_often_as_the_truth_says_and_horizons_lie_where_it_says(name):
    one = truths.draw(name, DISTANCES, seeds=10, shared=0.5, draws=2000)
    shares = TRUTHS[name].shares(PLACES, np.log(one.horizons))
    assert one.solved.mean(axis=(0, 1)) == pytest.approx(shares.mean(axis=0), abs=0.02)
    inside = (one.horizons > DISTANCES[0]) & (one.horizons < DISTANCES[-1])
    assert inside.all() if TRUTHS[name].inside else not inside.any()


def test_seeds_share_luck_across_distances_as_much_as_is_said():
    random_horizon = TRUTHS["shallow"].shares(PLACES, np.full(1, math.log(28)))
    truth = Truth(scale=0.6)
    held = np.full(20_000, math.log(28))
    draws = _fixed(truth, held, shared=0.5)
    both = multivariate_normal.cdf(norm.ppf(random_horizon[0, [2, 3]]), cov=[[1, 0.5], [0.5, 1]])
    assert (draws[:, 2] & draws[:, 3]).mean() == pytest.approx(both, abs=0.015)


@pytest.mark.parametrize("given", [gaussian, clayton])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.9])
def test_over_all_luck_as_many_seeds_solve_as_the_truth_says(given, shared):
    luck = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    shares = np.array([0.02, 0.3, 0.5, 0.95, 1.0])
    assert given(shares[:, None], luck, shared).mean(axis=1) == pytest.approx(shares, abs=0.002)


@pytest.mark.parametrize("given", [gaussian, clayton])
def test_both_ways_to_share_luck_have_the_same_rank_correlation(given):
    """Kendall's tau of two distances, from the share of seeds that solve each of them at any share of all."""
    random = np.random.Generator(np.random.Philox(5))
    luck, chance = random.standard_normal((4000, 1)), random.random((4000, 2))
    shares = np.linspace(0.002, 0.998, 250)
    solved = given(shares, luck[..., None], 0.5) > chance[..., None]  # (seeds, distances, shares)
    least = np.argmax(solved, axis=2)  # the rank of a seed at a distance: the share at which it begins to solve
    assert kendalltau(*least.T).statistic == pytest.approx(2 / math.pi * math.asin(0.5), abs=0.03)


def test_seeds_of_the_clayton_truth_are_alike_in_what_few_solve():
    """The tails of the Gaussian copula are even: of rare successes and of rare failures as many are shared."""
    draws = {truth: truths.draw(truth, DISTANCES, seeds=20, shared=0.5, draws=4000) for truth in ("shallow", "clayton")}
    both = {}
    for name, one in draws.items():
        rate = TRUTHS[name].shares(PLACES, np.log(one.horizons))
        both[name] = (one.solved[..., -1] & one.solved[..., -2])[rate[:, -1] < 0.2].mean()
    assert both["clayton"] > 1.1 * both["shallow"]


def cell(truth: str = "shallow", seeds: int = 10, peer_open: float = 0.0, **ours) -> dict:
    row = {"coverage": 0.95, "open": 0.0, "width_ratio": 1.2, "width_ratio_of_all": 1.2}
    return {"truth": truth, "seeds": seeds, "ours": row | ours, "peer": {"open": peer_open}}


@pytest.mark.parametrize(
    ("bad", "met"),
    [
        ({}, True),
        ({"coverage": 0.92}, False),
        ({"coverage": 0.92, "seeds": 3}, False),
        ({"width_ratio": 1.6}, False),
        ({"width_ratio_of_all": 1.6}, False),
        ({"width_ratio_of_all": 1.6, "seeds": 3}, True),
        ({"open": 0.6, "width_ratio_of_all": None}, False),
        ({"open": 0.6, "width_ratio_of_all": None, "peer_open": 0.5}, True),
        ({"width_ratio": 1.6, "truth": "outside"}, True),
        ({"coverage": 0.5, "truth": "floor"}, None),
    ],
)
def test_the_bar_is_that_of_the_worst_cell(bad, met):
    truth = bad.get("truth", "shallow")
    (row,) = coverage.summary([cell(truth=truth), cell(**bad), cell(truth=truth)])
    assert row["met"] is met


def test_over_all_draws_an_open_interval_is_wider_than_any_other():
    one = Draws(DISTANCES, np.full(4, 20.0), np.zeros((4, 3, 6), dtype=bool))
    peers = np.array([[10, 40], [10, 40], [10, 40], [10, math.inf]])
    found = np.array([[10, 40], [5, 80], [0, 40], [0, math.inf]])
    row = coverage.judged(one, found, peers)
    assert (row["open"], row["both_bounded"], row["width_ratio_of_all"]) == (0.5, 2, None)
    assert row["width_ratio"] == pytest.approx(1.5)
    closed = coverage.judged(one, np.array([[10, 40], [5, 80], [5, 80], [0, 80]]), peers)
    assert closed["width_ratio_of_all"] == pytest.approx(2)
    assert closed["width_ratio"] == pytest.approx(2)


def _fixed(truth: Truth, middles: np.ndarray, shared: float) -> np.ndarray:
    """Outcomes (draws, J) of one seed each at given horizons: `truths.draw` with these in the place of random ones."""

    class Held(Truth):
        def middles(self, *_):
            return middles

    TRUTHS["held"] = Held(truth.family, truth.scale)
    try:
        return truths.draw("held", DISTANCES, seeds=1, shared=shared, draws=len(middles)).solved[:, 0]
    finally:
        del TRUTHS["held"]


def test_the_peer_s_probabilities_equal_those_of_the_analysis():
    """They share no code: Gauss-Hermite quadrature and doubling, against the trapezoidal rule and a matrix product."""
    places, middles = PLACES[:4], np.log([8.0, 17.0])
    outcomes = np.array(list(itertools.product([0, 1], repeat=4)))[:, ::-1]  # the first distance in the lowest bit
    found = np.concatenate([outcomes, 1 - outcomes], axis=1).astype(float)
    settings = itertools.product(truths.SCALES, truths.SHARED)
    tables = truths._log_probabilities(TRUTHS["shallow"], places, middles)
    for (scale, shared), logs in zip(settings, tables, strict=True):
        assert np.exp(logs).sum(axis=0) == pytest.approx(np.ones(2))
        if 0.3 < scale < 3:
            reach = norm.ppf(logistic((middles[:, None] - places) / scale))
            expected = np.exp(likelihood.log_probabilities(reach, shared, found))
            assert np.exp(logs) == pytest.approx(expected, abs=0.004)


def test_the_peer_of_a_step_knows_no_more_than_the_gap():
    solved = np.array([[[1, 1, 0, 0, 0, 0]], [[0] * 6], [[1] * 6]], dtype=bool)
    (found,) = truths.peer("step", [Draws(DISTANCES, np.array([15.0, 3.0, 200.0]), solved)])
    assert found == pytest.approx(np.array([[10, 20], [0, 5], [160, math.inf]]))


def test_crossings_are_those_of_the_analysis():
    rates = truths.draw("shallow", DISTANCES, 6, 0.5, 200).solved.mean(axis=1)
    slow = [crossing(DISTANCES, row, np.full(6, 6.0)) for row in rates]
    assert intervals.crossings(DISTANCES, rates) == pytest.approx(slow)


def test_pairs_of_settings_share_luck_and_keep_the_ratio_of_their_horizons():
    pair = ratios.Pair("shallow", "shallow", 2.0, common=0.8)
    first, second = ratios.draw(pair, DISTANCES, seeds=10, shared=0.5, draws=300)
    assert second.horizons / first.horizons == pytest.approx(np.full(300, 2.0))
    assert _correlation(first, second) > 0.4
    apart = ratios.draw(ratios.Pair("shallow", "shallow", 2.0, common=0.0), DISTANCES, 10, 0.5, 300)
    assert abs(_correlation(*apart)) < 0.06


def _correlation(first: Draws, second: Draws) -> float:
    """Of the distances that seeds solve, within draws."""
    reached = [one.solved.sum(axis=2) - one.solved.sum(axis=2).mean(axis=1, keepdims=True) for one in (first, second)]
    return float(np.corrcoef(reached[0].ravel(), reached[1].ravel())[0, 1])


@pytest.mark.slow
def test_a_quick_run_writes_coverage_width_and_what_it_is_held_to(tmp_path, capsys):
    output = tmp_path / "new folder" / "coverage.json"
    assert coverage.main(["--quick", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    assert set(report) == {"machine", "protocol", "summary", "results", "ratios"}
    assert [row["truth"] for row in report["summary"]] == list(coverage.QUICK.truths)
    for row in report["results"]:
        assert all(set(row[name]) >= {"coverage", "interval", "open", "width_ratio"} for name in coverage.METHODS)
        assert row["ours"]["coverage"] >= 0.85
    assert {"coverage", "called_different"} <= set(report["ratios"][0])
    told = capsys.readouterr().out
    assert "width / peer's" in told
    assert "ratios of horizons" in told
