"""The look of all figures: the same bytes on every run, and colours that anybody can tell apart."""

import hashlib
import itertools
import re

import matplotlib as mpl
import numpy as np
import pytest
from frames import copy_sweep, frame_of
from look import problems
from matplotlib.figure import Figure

from reports import planes, scales, style
from reports.figures import coverage, endings, learnability

# How colours look to who lacks one kind of cone, in linear RGB.
# Source: Machado, Oliveira, Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# table 1, severity 1.0
VISION = {
    "of most": np.eye(3),
    "without long": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "without medium": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "without short": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
NAMED_APART, ORDERED_APART, MEANING_APART = 12, 10, 20  # least differences of colours (CIE 1976)
LEAST_CONTRAST = 2
TO_XYZ = np.array(  # from linear sRGB, over the white of daylight (IEC 61966-2-1)
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour, vision: str = "of most") -> np.ndarray:
    """A colour in CIELAB, as it looks with this vision."""
    part = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def nearest(colours, vision: str) -> float:
    """The least difference (CIE 1976) between two of these colours."""
    seen = [lab(colour, vision) for colour in colours]
    return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_colours_for_an_order_are_told_apart_with_any_vision(vision):
    """Neighbours of as many as are drawn in one panel; markers help where there are more."""
    for count in (2, 3, 4, 5):
        assert nearest(style.ordered_colours(count), vision) > ORDERED_APART, count


@pytest.mark.parametrize("vision", VISION)
def test_colours_for_names_are_told_apart_with_any_vision(vision):
    assert nearest(style.NAMED, vision) > NAMED_APART


MEANINGS = {
    "how training ended": endings.COLOURS,
    "which trials there are": coverage.COLOURS,
    "eigenvalues": planes.COLOURS | {"before": planes.PALE},
}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("kind", MEANINGS)
def test_colours_with_a_meaning_are_told_apart_with_any_vision(kind, vision):
    assert nearest(MEANINGS[kind].values(), vision) > MEANING_APART


def test_lines_stand_out_from_the_paper():
    """By the contrast of WCAG 2.1, section 1.4.3; more, such as 3, leaves no room for ten names."""
    for colour in (*style.ordered_colours(5), *map(mpl.colors.to_rgb, style.NAMED)):
        assert contrast(colour) > LEAST_CONTRAST, colour


def contrast(colour) -> float:
    """With white."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 1.05 / (float(np.dot([0.2126, 0.7152, 0.0722], linear)) + 0.05)


# Files


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """Kind of file -> the content of one figure."""
    folder = tmp_path_factory.mktemp("files")
    figure = learnability.draw(frame_of(copy_sweep(delay=[5, 20], seed=range(2))))
    return {path.suffix.strip("."): path.read_bytes() for path in style.save(figure, folder, "figure")}


def test_files_say_neither_when_nor_by_what_they_were_made(files):
    assert set(files) == set(style.KINDS)
    for kind, content in files.items():
        assert not re.search(rb"creationdate|<dc:date|producer|matplotlib v|software", content.lower()), kind


def test_letters_in_a_pdf_are_letters(files):
    assert b"/TrueType" in files["pdf"] or b"/CIDFontType2" in files["pdf"]
    assert b"/Type3" not in files["pdf"]


def test_what_is_saved_has_the_layout_that_was_found_once(tmp_path):
    figure = learnability.draw(frame_of(copy_sweep(delay=[5, 20], seed=range(2))))
    first = [hashlib.sha256(path.read_bytes()).hexdigest() for path in style.save(figure, tmp_path, "a")]
    again = [hashlib.sha256(style.content(figure, kind)).hexdigest() for kind in style.KINDS]
    assert first == again


# What the checks of every figure find


def test_small_letters_wide_figures_and_axes_without_a_unit_are_found():
    figure = Figure(figsize=(9, 2))
    ax = figure.subplots()
    ax.plot([1, 2], [1, 2])
    ax.text(1, 1, "tiny", fontsize=4)
    ax.set_xlabel("distance")
    figure.canvas.draw()
    wide, tiny, unit, unnamed = problems(figure)
    assert wide == "9.0 inches wide: more than a page"
    assert tiny == "'tiny' has 4 points: fewer than can be read"
    assert unit == "the x axis 'distance' has no unit"
    assert unnamed.startswith("the y axes of ")


# Logarithmic axes


@pytest.mark.parametrize(
    "limits", [(16, 624), (0.9, 3.1), (1e-3, 3.75), (1e-9, 1e3), (180, 2080), (0.3, 0.4), (1, 1e12), (2e5, 6e5)]
)
@pytest.mark.parametrize("most", [3, 5])
def test_ticks_are_few_and_written_as_the_numbers_they_stand_at(limits, most):
    ax = Figure().subplots()
    scales.apply(ax, "x", limits, most)
    ax.figure.canvas.draw()
    ticks, texts = ax.get_xticks(), [label.get_text() for label in ax.get_xticklabels()]
    assert len(ticks) <= most
    assert all(limits[0] <= tick <= limits[1] for tick in ticks)
    assert len(ticks) > 0 or limits[1] < 2 * limits[0]
    for tick, text in zip(ticks, texts, strict=True):
        parts = re.fullmatch(r"\$(?:(\d)\\cdot )?10\^\{(-?\d+)\}\$", text)
        assert float(f"{parts[1] or 1}e{parts[2]}" if parts else text) == pytest.approx(tick)


def test_a_range_is_wide_where_its_ends_differ_by_much():
    assert scales.is_wide(np.array([1.0, scales.LOG_FROM]))
    assert not scales.is_wide(np.array([2.0, scales.LOG_FROM]))
    assert not scales.is_wide(np.array([0.0, 100.0]))
    assert not scales.is_wide(np.array([np.nan]))
