"""Learning curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from reports.html_parts.escaping import escape
from runs.metrics_file import Curve

__all__ = ["curves_svg"]

_DASHES = ("", "6 3", "2 2", "8 3 2 3")
_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 40


@dataclass(frozen=True)
class _Frame:
    """Bounds of the data; the vertical ones are exponents where their axis is logarithmic."""

    first: float
    last: float
    low: float
    high: float
    logarithmic: bool

    @classmethod
    def around(cls, curves: Mapping[str, Curve]) -> _Frame:
        xs = [x for points in curves.values() for x, _ in points]
        ys = [y for points in curves.values() for _, y in points]
        logarithmic = min(ys) > 0 and max(ys) / min(ys) > 10
        up = math.log10 if logarithmic else float
        low, high = up(min(ys)), up(max(ys))
        if high == low:
            low, high = low - 0.5, high + 0.5
        first, last = min(xs), max(xs)
        return cls(first, last if last > first else first + 1, low, high, logarithmic)

    def across(self, x: float) -> float:
        """Horizontal place of a value."""
        return _LEFT + (x - self.first) / (self.last - self.first) * (_WIDTH - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        """Vertical place of a value."""
        up = math.log10(y) if self.logarithmic else y
        return _HEIGHT - _BOTTOM - (up - self.low) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)


def curves_svg(curves: Mapping[str, Curve]) -> str:
    """Curves over the epochs as an inline SVG; logarithmic where they are positive and span more than a decade.

    Args:
        curves: Curve by name, each with at least two points, all finite.
    """
    frame = _Frame.around(curves)
    parts = [f'<svg class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="losses by epoch">']
    parts += _axes(frame)
    for index, (name, points) in enumerate(list(curves.items())[:8]):
        parts += _curve(frame, index, name, points)
    return "".join([*parts, "</svg>"])


def _axes(frame: _Frame) -> list[str]:
    parts = []
    for value in _ticks(frame.low, frame.high, frame.logarithmic):
        y = frame.down(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts += [
        f'<text x="{frame.across(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>'
        for value in _ticks(frame.first, frame.last, False)
    ]
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">epoch</text>')
    return parts


def _curve(frame: _Frame, index: int, name: str, points: Curve) -> list[str]:
    """A curve and its line of the legend."""
    line = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in _fewer(points))
    dash = _DASHES[index // 4 % len(_DASHES)]
    style = f'class="c{index % 4}"' + (f' stroke-dasharray="{dash}"' if dash else "")
    y, end = _TOP + 14 + 18 * index, _WIDTH - _RIGHT
    return [
        f'<polyline {style} points="{line}"/>',
        f'<line {style} x1="{end - 26}" x2="{end}" y1="{y - 4}" y2="{y - 4}"/>',
        f'<text x="{end - 32}" y="{y}" text-anchor="end">{escape(name)}</text>',
    ]


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round values between two bounds; of a logarithmic axis the bounds are exponents."""
    if logarithmic:
        subs = (1, 2, 5) if high - low < 2 else (1,)
        powers = range(math.floor(low), math.ceil(high) + 1)
        values = [sub * 10.0**power for power in powers for sub in subs]
        inside = [value for value in values if low <= math.log10(value) <= high]
        return inside[:: math.ceil(len(inside) / 7) or 1]
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _fewer(points: Curve, most: int = 800) -> Curve:
    """Every so-many-th point, and the last: no screen shows more."""
    step = math.ceil(len(points) / most)
    return points if step == 1 else [*points[:-1:step], points[-1]]
