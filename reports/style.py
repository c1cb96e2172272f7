"""The look of all figures, and how they become files: the same figure gives the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from reports.files import write

Colour: TypeAlias = tuple[float, float, float]

PANEL_WIDTH, PANEL_HEIGHT = 3.3, 2.35  # inches; the width of one column of a two-column paper
RESOLUTION = 200  # dots per inch of PNG files
PAGE_WIDTH = 6.9  # inches; both columns
LEAST_TEXT = 6  # points; no smaller in print
GREY = "0.45"  # of what is said beside the data
WHITE_ON = 0.179  # luminance of a colour on which white and black stand out alike
GRID = "0.9"
UNTESTED = "0.94"  # behind what lies outside the values tested
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "*", "h")  # beside the colours, so that a grey print can be read

# Dark to light along one path of hue and lightness, as seen with any common colour vision; cut off where it
# gets too pale for a line on white.
ORDERED, PALEST = "plasma", 0.78

# For names, which have no order: told apart with any common colour vision, and dark enough for a line on white.
# After Paul Tol's scheme "muted", without its sand and grey, which are too pale, and with a darker cyan.
NAMED = ("#332288", "#e69f00", "#117733", "#cc6677", "#66bbee", "#882255", "#44aa99", "#999933", "#aa4499", "#000000")

# Kinds of files, and what must not be in them: when and by what they were made
KINDS: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}

LOOK = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.titley": 1.0,  # said, as to find it takes a tenth of the time of every file
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3.5,
    "ytick.major.size": 0,
    "xtick.major.width": 0.8,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.6,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": RESOLUTION,
    "pdf.fonttype": 42,  # letters stay letters, which publishers ask for
    "svg.fonttype": "path",
    "svg.hashsalt": "rnnlab",  # ids in SVG files come from the content, not from chance
}


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Within, figures are made and saved in the house style; global settings are as before afterwards."""
    themed = sns.plotting_context("paper") | sns.axes_style("ticks") | LOOK
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the bytes
        mpl.rcParams.update(themed)
        yield


def ordered_colours(count: int) -> list[Colour]:
    """Colours for `count` values of an ordered quantity, lowest first."""
    stops = np.linspace(0, PALEST, count) if count > 1 else [0.35]
    return [mpl.colormaps[ORDERED](stop)[:3] for stop in stops]


def tint(colour: Colour, share: float = 0.45) -> Colour:
    """A colour mixed with a share of white: for a line that another of the same colour lies upon."""
    red, green, blue = (part + share * (1 - part) for part in colour)
    return red, green, blue


def ordered_map() -> mpl.colors.Colormap:
    """The same path of colours, for areas."""
    return mpl.colors.ListedColormap(ordered_colours(64))


def is_dark(colour: Sequence[float]) -> bool:
    """Whether white is easier to read on a colour than black: by relative luminance, as in WCAG 2.1."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < WHITE_ON


def named_colour(rank: int) -> Colour:
    return mpl.colors.to_rgb(NAMED[rank % len(NAMED)])


def marker(rank: int) -> str:
    return MARKERS[rank % len(MARKERS)]


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `figure` as FOLDER/NAME in each of `KINDS`, each file whole or not at all."""
    return [write(folder / f"{name}.{kind}", content(figure, kind)) for kind in KINDS]


def content(figure: Figure, kind: str) -> bytes:
    """A figure as a file of one of `KINDS`. Its layout is found once, and is the same in all of them."""
    found = BytesIO()
    with look():
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine(None)  # a placeholder in its place would have every file drawn twice
        figure.savefig(found, format=kind, metadata=KINDS[kind])
    return found.getvalue()
