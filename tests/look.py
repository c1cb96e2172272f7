"""What every figure must keep: letters that can be read in print, axes that say what they show and in which unit."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports import style

# A unit in brackets or a share; a name that counts things; a number without a unit
UNIT = re.compile(
    r"\([^()]+\)|%|\b(steps?|units|layers|symbols|eigenvalues)\b"
    r"|radius|threshold|norm|modulus|lambda|scale|length|ratio| / |^(input|output|change)\b"
)
NUMBER = re.compile(r"[−-]?[\d.]+|.*10\^.*")
ROUNDING = 0.01  # points and inches
TOUCH = 1  # pixels


def problems(figure: Figure) -> list[str]:
    """What is wrong with a figure, whether rendered or not; nothing, if it is as it should be."""
    return [*_sizes(figure), *_labels(figure)]


def _sizes(figure: Figure) -> Iterator[str]:
    """No figure is wider than a page, and no letter smaller than can be read."""
    if figure.get_figwidth() > style.PAGE_WIDTH + ROUNDING:
        yield f"{figure.get_figwidth():.1f} inches wide: more than a page"
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text.get_fontsize() < style.LEAST_TEXT - ROUNDING:
            yield f"{text.get_text()!r} has {text.get_fontsize():g} points: fewer than can be read"


def collisions(figure: Figure) -> Iterator[str]:
    """Renders a figure: no title or name of an axis leaves it, and no two of a kind meet."""
    with style.look():
        figure.draw_without_rendering()
    for kind in ("xlabel", "ylabel", "title"):
        texts = [_text(ax, kind) for ax in figure.axes]
        shown = [text for text in texts if text.get_text().strip()]
        boxes = [text.get_window_extent().padded(-TOUCH) for text in shown]
        for text, box in zip(shown, boxes, strict=True):
            if not (figure.bbox.padded(TOUCH).containsx(box.x0) and figure.bbox.padded(TOUCH).containsx(box.x1)):
                yield f"{text.get_text()!r} does not fit into the figure"
        for (one, box), (other, beside) in itertools.combinations(zip(shown, boxes, strict=True), 2):
            if box.overlaps(beside) and not other.get_text().startswith("\n"):  # beside a title with a line more
                yield f"{one.get_text()!r} meets {other.get_text()!r}"


def _text(ax: Axes, kind: str) -> Text:
    return {"xlabel": ax.xaxis.label, "ylabel": ax.yaxis.label, "title": ax._left_title}[kind]


def _labels(figure: Figure) -> Iterator[str]:
    """Every axis of numbers has a name with its unit, or shares that of its row or column of panels."""
    shared = {"x": figure.get_supxlabel(), "y": figure.get_supylabel()}
    for which in "xy":
        named: dict[object, set[str]] = {}
        for ax in figure.axes:
            label = getattr(ax, f"get_{which}label")() or shared[which]
            if label or (_has_numbers(ax, which) and ax.get_label() != "<colorbar>"):  # its block may name it
                named.setdefault(_place(ax, which), set()).add(label)
        for place, labels in named.items():
            if not any(labels):
                yield f"the {which} axes of {place} have no name"
            numbers = any(_has_numbers(ax, which) for ax in figure.axes if _place(ax, which) == place)
            without = [label for label in labels if label and numbers and not UNIT.search(label)]
            yield from (f"the {which} axis {label!r} has no unit" for label in without)


def _has_numbers(ax: Axes, which: str) -> bool:
    """Whether an axis names numbers, not settings."""
    texts = [label.get_text() for label in getattr(ax, f"get_{which}ticklabels")() if label.get_visible()]
    return any(NUMBER.fullmatch(text) for text in texts)


def _place(ax: Axes, which: str) -> object:
    """The row of panels that shares a y axis, or the column that shares an x axis; bars of colours stand alone."""
    spec = ax.get_subplotspec()
    if spec is None:
        return id(ax)
    return id(spec.get_gridspec()), (spec.colspan if which == "x" else spec.rowspan).start
