"""What all figures share: colours and style, a canvas, headings, the range of an axis.

No figure touches pyplot's global state: each is drawn on a canvas of its own, so none stays open. Colours are
those of Okabe and Ito, which can be told apart with any kind of colour vision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import rcsetup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from foundation.files import writing

__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "ORANGE",
    "PLATE",
    "PURPLE",
    "SKY",
    "STYLE",
    "VERMILLION",
    "headed",
    "limits",
    "percentiles",
    "plain",
    "png",
    "shortened",
]

BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#222222",
)  # fmt: skip
CYCLE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)

STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "savefig.dpi": 160,
    "axes.prop_cycle": rcsetup.cycler(color=CYCLE),
}

_MARGINS = 1.1  # inches beside the axes, where ticks and labels stand

PLATE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 2}


@contextmanager
def png(path: str | Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of so many inches, written to the path when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(), np.errstate(all="ignore"):
        mpl.rcdefaults()  # a `matplotlibrc` in the working directory may be a stranger's, and have LaTeX run
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with writing(path) as stream:
            figure.savefig(stream, format="png", metadata={"Software": None})


def headed(figure: Figure, axes: Axes, title: str, formula: str = "") -> None:
    """Write a title in bold, and in a line below it a formula, above the uppermost axes of a figure.

    Args:
        figure: figure with its size.
        axes: uppermost axes, over which the last line stands.
        title: what is plotted; empty: nothing.
        formula: text of an equation, shortened where it is wider than the axes; empty: none.
    """
    if not formula:
        axes.set_title(plain(title))
        return
    if title:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
    room = figure.get_figwidth() - _MARGINS
    axes.set_title(plain(shortened(formula, room, 9.0)), fontsize=9, fontweight="normal")


def shortened(text: str, width: float, size: float) -> str:
    """Text that fits into a line, cut at its end where it would not.

    Args:
        text: text of one line.
        width: width of the line in inches.
        size: size of the letters in points.
    """
    font = FontProperties(family="DejaVu Sans", size=size)

    def fits(shown: str) -> bool:
        return TextToPath().get_text_width_height_descent(shown, font, False)[0] <= 72.0 * width

    if fits(text):
        return text
    low, high = 0, len(text)  # so many letters fit, so many do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(f"{text[:middle]}…") else (low, middle)
    return f"{text[:low]}…"


def percentiles(values: np.ndarray, percent: float) -> tuple[float, float]:
    """The range without so many percent at either end, never empty."""
    if not np.size(values):
        return 0.0, 1.0
    low, high = (float(bound) for bound in np.percentile(values, [percent, 100 - percent]))
    if high > low:
        return low, high
    low, high = float(np.min(values)), float(np.max(values))
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def limits(values: np.ndarray, percent: float) -> tuple[float, float]:
    """`percentiles` of the finite values, widened by a tenth."""
    low, high = percentiles(values[np.isfinite(values)], percent)
    margin = 0.1 * (high - low)
    return low - margin, high + margin


def plain(text: str) -> str:
    """Text as it stands: a dollar sign begins no formula."""
    return str(text).replace("$", r"\$")
