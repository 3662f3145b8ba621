"""Learning curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reports.html_parts.axes import Frame, Scale
from reports.html_parts.escaping import escape
from runs.metrics_file import Curve

__all__ = ["curves_svg"]

_DASHES = ("", "6 3", "2 2", "8 3 2 3")


def curves_svg(curves: Mapping[str, Curve]) -> str:
    """Curves over the epochs as an inline SVG; logarithmic where they are positive and span more than a decade.

    Args:
        curves: Curve by name, each with at least two points, all finite.
    """
    points = [point for curve in curves.values() for point in curve]
    frame = Frame(Scale.around(x for x, _ in points), Scale.around((y for _, y in points), decades=1.0))
    box = f"0 0 {frame.width} {frame.height}"
    parts = [f'<svg class="curves" viewBox="{box}" role="img" aria-label="losses by epoch">']
    parts += frame.axes("epoch")
    for index, (name, points) in enumerate(list(curves.items())[:8]):
        parts += _curve(frame, index, name, points)
    return "".join([*parts, "</svg>"])


def _curve(frame: Frame, index: int, name: str, points: Curve) -> list[str]:
    """A curve and its line of the legend."""
    line = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in _fewer(points))
    dash = _DASHES[index // 4 % len(_DASHES)]
    style = f'class="c{index % 4}"' + (f' stroke-dasharray="{dash}"' if dash else "")
    y, end = frame.top + 14 + 18 * index, frame.width - frame.right
    return [
        f'<polyline {style} points="{line}"/>',
        f'<line {style} x1="{end - 26}" x2="{end}" y1="{y - 4}" y2="{y - 4}"/>',
        f'<text x="{end - 32}" y="{y}" text-anchor="end">{escape(name)}</text>',
    ]


def _fewer(points: Curve, most: int = 150) -> Curve:
    """Every so-many-th point, and the last: a report of many runs has many curves."""
    step = math.ceil(len(points) / most)
    return points if step == 1 else [*points[:-1:step], points[-1]]
