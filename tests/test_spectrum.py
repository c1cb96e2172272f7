"""Eigenvalues before and after training: every network in its setting; what the caption says of them was measured."""

import cmath
import math

import numpy as np
import pandas as pd
import pytest
from frames import Diagnosed, adding_sweep, copy_sweep, diagnosed, frame_of, unlucky, with_status

from reports import planes, spectra
from reports.figures import spectrum
from rnnlab.analysis import student
from rnnlab.frame import OBSERVATION
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, SOLVED

FEW = diagnosed(
    unlucky(frame_of(copy_sweep(delay=[5, 20], init="gaussian", seed=range(4), spectral_radius=[0.8, 1.0, 1.2])))
)
MANY = diagnosed(frame_of([*copy_sweep(seed=range(2)), *adding_sweep(seed=range(2))]))


def observed(frame: pd.DataFrame) -> pd.DataFrame:
    return Diagnosed(frame).observations("synthetic", spectrum.OBSERVATIONS)


def made(frame: pd.DataFrame, initial, final, layer: str = "layer 1") -> pd.DataFrame:
    """Observations in which every network of the frame has these eigenvalues."""
    points = [
        (key, when, step, layer, quantity, float(rank), 0.0, part)
        for key in frame["key"]
        for when, step, values in (("initial", 0.0, initial), ("final", 100.0, final))
        for rank, value in enumerate(values)
        for quantity, part in zip(spectrum.OBSERVATIONS, (complex(value).real, complex(value).imag), strict=True)
    ]
    return pd.DataFrame(points, columns=list(OBSERVATION))


def complex_numbers(observations: pd.DataFrame, key: str, when: str) -> list[complex]:
    """The eigenvalues of one network, one by one; none of those that are not numbers."""
    own = observations[(observations["key"] == key) & (observations["when"] == when)]
    parts = [
        dict(zip(own["index"][own["quantity"] == name], own["value"][own["quantity"] == name], strict=True))
        for name in spectrum.OBSERVATIONS
    ]
    return [complex(parts[0][rank], parts[1][rank]) for rank in parts[0] if not math.isnan(parts[0][rank])]


def test_the_numbers_of_a_setting_are_those_of_its_networks_one_by_one():
    observations = observed(FEW)
    points = spectrum.table(FEW, observations)
    outcomes = {SOLVED: [SOLVED], "not solved": [EXHAUSTED, DIVERGED], "not finished": [RUNNING]}
    for row in points.to_dict("records"):
        alike = (FEW["task.delay"] == row["task.delay"]) & (FEW["init.spectral_radius"] == row["init.spectral_radius"])
        keys = FEW.loc[alike & FEW["status"].isin(outcomes[row["outcome"]]), "key"]
        assert row["networks"] == len(keys)
        before, after = ([complex_numbers(observations, key, when) for key in keys] for when in ("initial", "final"))
        radii = [max(map(abs, values)) for values in after if values]
        assert row["radius_initial"] == pytest.approx(np.mean([max(map(abs, values)) for values in before]))
        assert row["outside_initial"] == np.mean([sum(abs(value) > spectra.UNIT for value in own) for own in before])
        if not radii:
            assert math.isnan(row["radius_final"])
            continue
        assert row["radius_final"] == pytest.approx(np.mean(radii))
        interval = row["radius_final_low"], row["radius_final_high"]
        assert interval == pytest.approx(student(np.array(radii)), nan_ok=True)
        outside = [sum(abs(value) > spectra.UNIT for value in values) for values in after if values]
        assert row["outside_final"] == np.mean(outside)
        assert row["singular_value"] == pytest.approx(1.7 * row["init.spectral_radius"])
    assert {DIVERGED, RUNNING} <= set(FEW["status"])
    assert points["networks"].sum() == (FEW["status"] != "failed").sum()


def test_the_eigenvalues_drawn_are_those_observed():
    observations = observed(FEW)
    drawn = {
        complex(x, y)
        for ax in spectrum.draw(FEW, observations).axes
        for line in ax.lines
        if line.get_label() == "_eigenvalues"
        for x, y in zip(*line.get_data(), strict=True)
    }
    keys = set(observations["key"])
    assert drawn == {
        z for key in keys for when in ("initial", "final") for z in complex_numbers(observations, key, when)
    }


def test_a_curve_counts_the_eigenvalues_above_a_modulus():
    frame = FEW.iloc[:2]
    values = spectra.eigenvalues(observed(frame))
    before = values[values["when"] == "initial"]
    moduli = np.array([0.0, 0.7, 0.9, 2.0])
    mean, low, high = spectra.larger(before, moduli)
    for place, modulus in enumerate(moduli):
        counts = [
            sum(abs(value) > modulus for value in complex_numbers(observed(frame), key, "initial"))
            for key in set(before["key"])
        ]
        assert mean[place] == np.mean(counts)
        assert (low[place], high[place]) == pytest.approx(student(np.array(counts, dtype=float)), nan_ok=True)


def test_an_initial_radius_of_one_is_not_outside_the_unit_circle_by_rounding():
    values = spectra.eigenvalues(made(FEW.iloc[:1], [1 + 1e-7, -1.1], [1]))
    assert values.loc[values["when"] == "initial", "outside"].tolist() == [False, True]


def test_the_caption_says_whether_radii_grew_or_shrank():
    observations = observed(MANY)
    assert "the spectral radius grew in 48 and shrank in 0 of 48 settings" in spectrum.caption(MANY, observations)
    turned = observations.assign(when=observations["when"].map({"initial": "final", "final": "initial"}))
    assert "the spectral radius grew in 0 and shrank in 48 of 48 settings" in spectrum.caption(MANY, turned)
    single = MANY[MANY["seed"] == 0]  # one network in each setting: no interval, no claim
    assert "grew" not in spectrum.caption(single, observed(single))


def test_the_caption_says_into_which_directions_eigenvalues_went():
    frame = with_status(FEW[FEW["seed"] == 0], SOLVED)
    ahead, aside = cmath.rect(1.5, math.radians(44)), cmath.rect(1.5, math.radians(46))
    count = 4 * len(frame)
    told = spectrum.caption(frame, made(frame, [0.8], [ahead, ahead.conjugate(), aside, 1.2, 0.5]))
    assert (
        f"of {count} eigenvalues outside both the unit circle and the circle of the network's radius before, 75 %"
        in told
    )
    told = spectrum.caption(
        frame, made(frame, [1.3], [ahead, aside, -1.5, 1.2])
    )  # the last is within the circle before
    assert f"of {3 * len(frame)} eigenvalues outside both" in told
    assert "before, 33 % lie within 45° of the positive real axis (uniform directions: 25 %)" in told
    assert "outside both" not in spectrum.caption(frame, made(frame, [0.8], [0.9]))


def test_radii_are_told_where_planes_are_few():
    frame = with_status(FEW[FEW["task.delay"] == 5], SOLVED)
    told = spectrum.caption(frame, made(frame, [0.8, 0.1], [1.25, -1.5]))
    assert "radius 0.8: 4 solved 0.80 → 1.50 [1.50, 1.50], 0.0 → 2.0;" in told
    assert "Spectral radius before →" not in spectrum.caption(MANY, observed(MANY))


def test_too_many_settings_are_reduced_to_the_largest_distance_at_which_a_network_solved_the_task():
    frame = MANY[MANY["init"] == "gaussian"]
    frame = with_status(frame, EXHAUSTED)
    frame = with_status(frame, SOLVED, (frame["task"] == "copy") & (frame["distance"] == 23) & (frame["seed"] == 1))
    points = spectrum.table(frame, observed(frame))
    shown = points[points["shown"]]
    assert set(zip(shown["task"], shown["distance"], strict=True)) == {("copy", 23.0), ("adding", 9.0)}
    assert len(spectrum.draw(frame, observed(frame)).axes) == 2 * 8
    told = spectrum.caption(frame, observed(frame))
    assert "Drawn are 8 of 40 settings" in told
    assert "9 of adding problem and 23 of copy memory." in told
    assert "Drawn are" not in spectrum.caption(FEW, observed(FEW))


def test_there_are_never_more_planes_than_can_be_compared():
    frame = diagnosed(frame_of(copy_sweep(delay=5, seed=0, hidden_size=[8, 16, 32])))
    figure = spectrum.draw(frame, observed(frame))
    assert len(figure.axes) == 2 * spectrum.MOST_PANELS
    assert f"Drawn are {spectrum.MOST_PANELS} of 24 settings" in spectrum.caption(frame, observed(frame))
    assert len({ax.get_title(loc="left") for ax in figure.axes[::1]} - {""}) == spectrum.MOST_PANELS


def test_each_layer_has_a_plane_of_its_own():
    frame = with_status(FEW[(FEW["task.delay"] == 5) & (FEW["init.spectral_radius"] == 0.8)], SOLVED)
    both = pd.concat([made(frame, [0.8], [1.2], layer) for layer in ("layer 1", "layer 2 backward")])
    points = spectrum.table(frame, both)
    assert points["layer"].tolist() == ["layer 1", "layer 2 backward"]
    assert points["singular_value"].notna().tolist() == [True, False]  # the frame says nothing of the second
    titles = [ax.get_title(loc="left") for ax in spectrum.draw(frame, both).axes]
    assert [title for title in titles if title] == ["copy memory · layer 1", "copy memory · layer 2 backward"]


def test_what_does_not_fit_into_the_planes_is_counted():
    frame = with_status(FEW[FEW["task.delay"] == 5], SOLVED)
    found = made(frame, [0.8], [1.2, 400])
    assert f"Beyond the picture: {len(frame)} eigenvalues." in spectrum.caption(frame, found)
    x, y = planes.limits(spectra.eigenvalues(found), 1.2)
    assert x < planes.STRETCH * 1.1 * planes.WIDEST * 1.2
    assert spectrum.draw(frame, found).axes[0].get_ylim() == (-y, y)
    assert "Beyond" not in spectrum.caption(frame, made(frame, [0.8], [1.2, 1.4j]))


def test_a_frame_whose_networks_have_no_eigenvalues_is_drawn():
    nothing = pd.DataFrame(columns=list(OBSERVATION)).astype({"index": float, "place": float, "value": float})
    spectrum.draw(FEW, nothing).canvas.draw()
    assert spectrum.caption(FEW, nothing).endswith(".")
    assert spectrum.table(FEW, nothing).empty
    assert not spectrum.applies(FEW.drop(columns="diagnostics/layer_1/spectral_radius"))
