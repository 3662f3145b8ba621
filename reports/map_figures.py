"""Pictures of a map of equations: where equations lie in it, and what lies between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from expressions.operators import LEADING
from reports.figure_parts.canvas import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILLION, limits, plain, png

__all__ = ["Course", "atlas", "interpolations"]

_COLOURS = dict(zip(LEADING, (BLUE, VERMILLION, PURPLE, GREEN, ORANGE, BLACK), strict=True))
_LONGEST_TEXT = 58  # characters of an equation beside its curve
_FEWEST, _MOST = -4.0, 4.0  # standard deviations that a curve is shown within


@dataclass(frozen=True)
class Course:
    """What was decoded on the way from one equation to another, along one variable.

    Attributes:
        x: `[points]`
        curves: `[steps, points]`, standardised; NaN where an equation is not defined.
        equations: `[steps]` as text.
        name: Name of the variable.
        note: One line on the pair.
    """

    x: np.ndarray
    curves: np.ndarray
    equations: Sequence[str]
    name: str
    note: str = ""


def atlas(
    points: np.ndarray,
    kinds: Sequence[str],
    lengths: np.ndarray,
    means: np.ndarray,
    shares: Sequence[float],
    path: str | Path,
    title: str = "",
) -> Path:
    """The latents of many equations in the plane, by the functions they have, their length and their mean value.

    Args:
        points: `[equations, 2]`, principal components.
        kinds: `[equations]` of `expressions.operators.LEADING`.
        lengths: `[equations]`, tokens.
        means: `[equations]`, of the targets over their root mean square, -1 to 1.
        shares: Shares of the variance that the two components explain.
        path: The PNG file to write.
        title: One line above the plots.

    Returns:
        The path.
    """
    order = np.random.default_rng(0).permutation(len(points))  # so that no family covers the others
    spread = points[order]
    with png(path, (16.0, 4.9)) as figure:
        left, middle, right = figure.subplots(1, 3, sharex=True, sharey=True)
        _by_kind(left, spread, np.array(kinds, dtype=object)[order])
        _by_value(middle, spread, lengths[order], "length of the skeleton", "tokens", "viridis")
        _by_value(right, spread, means[order], "mean value of the target", "mean / RMS", "coolwarm", (-1.0, 1.0))
        for axes in (left, middle, right):
            axes.set(xlim=limits(points[:, 0], 0.2), ylim=limits(points[:, 1], 0.2))
            axes.set_xlabel(f"component 1 ({100 * shares[0]:.0f} % of the variance)")
        left.set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)")
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=11)
    return Path(path)


def _by_kind(axes: Axes, points: np.ndarray, kinds: np.ndarray) -> None:
    x, y = points.T
    axes.scatter(x, y, s=_dot_size(points), c=[_COLOURS[kind] for kind in kinds], alpha=0.7, linewidths=0)
    for kind in LEADING:
        if count := int((kinds == kind).sum()):
            axes.scatter([], [], s=30, color=_COLOURS[kind], label=f"{kind} ({count})")
    # Beside the cloud and not on it: where it lies differs from map to map.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, handletextpad=0.1)
    axes.set_title("functions of the skeleton")


def _by_value(
    axes: Axes,
    points: np.ndarray,
    values: np.ndarray,
    title: str,
    unit: str,
    colours: str,
    limits: tuple[float | None, float | None] = (None, None),
) -> None:
    x, y = points.T
    shown = axes.scatter(x, y, s=_dot_size(points), c=values, cmap=colours, alpha=0.8, linewidths=0)
    shown.set_clim(*limits)
    axes.figure.colorbar(shown, ax=axes, label=unit)
    axes.set_title(title)


def _dot_size(points: np.ndarray) -> float:
    return float(np.clip(4000 / max(1, len(points)), 4, 40))


def interpolations(courses: Sequence[Course], path: str | Path, title: str = "") -> Path:
    """Curves from one equation to another, with the equations beside them in the same colours.

    Args:
        courses: A row of the figure each.
        path: The PNG file to write.
        title: One line above the plots.

    Returns:
        The path.
    """
    rows = max(1, len(courses))
    with png(path, (10.5, 0.4 + 2.9 * rows)) as figure:
        panels = figure.subplots(rows, 2, squeeze=False, width_ratios=(1, 1.15))
        for (left, right), course in zip(panels, courses, strict=False):
            _course(left, right, course)
        if not courses:
            panels[0, 0].text(0.5, 0.5, "no pair of equations is defined together", ha="center", color="#777777")
            panels[0, 1].axis("off")
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=11)
    return Path(path)


def _course(left: Axes, right: Axes, course: Course) -> None:
    steps = len(course.curves)
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, steps))  # its last yellow is too pale for text
    for number, (curve, colour) in enumerate(zip(course.curves, colours, strict=True)):
        ends = number in (0, steps - 1)
        curve = np.where(np.abs(curve) < 2 * _MOST, curve, np.nan)  # no line from one side of a pole to the other
        left.plot(course.x, curve, color=colour, linewidth=2.2 if ends else 1.1, zorder=3 if ends else 2)
    inside = course.curves[np.isfinite(course.curves)]
    low, high = limits(inside, 1.0) if len(inside) else (_FEWEST, _MOST)
    left.set(ylim=(max(low, _FEWEST), min(high, _MOST)), xlabel=plain(course.name), ylabel="standardised")
    left.set_title(plain(course.note), fontsize=9, fontweight="normal")
    right.axis("off")
    for number, (text, colour) in enumerate(zip(course.equations, colours, strict=True)):
        ends = number in (0, steps - 1)
        right.text(
            0.0,
            1.0 - (number + 0.5) / steps,
            f"{number / max(1, steps - 1):.2f}  {plain(_shortened(text))}",
            transform=right.transAxes,
            color=colour,
            fontsize=8,
            fontweight="bold" if ends else "normal",
            family="DejaVu Sans Mono",
            va="center",
        )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
