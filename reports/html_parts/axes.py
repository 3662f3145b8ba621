"""Axes of plots that are drawn as SVG: bounds, round ticks, labels that tell them apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from reports.html_parts.escaping import escape

__all__ = ["Frame", "Scale", "tick_label"]

_LARGEST, _SMALLEST = 1e300, 1e-280  # so that a span, and a step, is a number like others


@dataclass(frozen=True)
class Scale:
    """Bounds of one direction; exponents of ten where it is logarithmic.

    Attributes:
        low: smaller bound.
        high: larger bound.
        logarithmic: whether places grow with the logarithm of a value.
    """

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Iterable[float], decades: float = math.inf, margin: float = 0.0) -> Scale:
        """Bounds of finite values.

        Args:
            values: what is to be drawn, at least one.
            decades: powers of ten that values above 0 must span for a logarithmic scale; never one by default.
            margin: room on either side, as a part of the span.
        """
        values = [_bounded(value) for value in values]
        low, high = min(values), max(values)
        logarithmic = low > 0 and math.log10(high) - math.log10(low) > decades
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        if not high - low > max(1e-12 * max(abs(low), abs(high)), _SMALLEST):
            room = 0.5 if logarithmic or abs(low) <= _SMALLEST else 0.5 * abs(low)
            low, high = low - room, high + room
        room = margin * (high - low)
        return cls(low - room, high + room, logarithmic)

    def share(self, value: float) -> float:
        """Place of a value, 0 at the lower bound and 1 at the upper one."""
        position = math.log10(value) if self.logarithmic else _bounded(value)
        return (position - self.low) / (self.high - self.low)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values between the bounds."""
        if self.logarithmic:
            subs = (1, 2, 5) if self.high - self.low < 2 else (1,)
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            values = [sub * 10.0**power for power in powers if -300 < power < 300 for sub in subs]
            inside = [value for value in values if self.low <= math.log10(value) <= self.high]
            return inside[:: math.ceil(len(inside) / most) or 1]
        step = self.step(most)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [index * step for index in range(first, last + 1)]

    def step(self, most: int = 7) -> float:
        """Distance between the ticks of a linear scale: 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / (most - 1)
        unit = 10.0 ** math.floor(math.log10(rough))
        return next(unit * factor for factor in (1, 2, 5, 10, 20) if unit * factor >= rough)


def tick_label(value: float, step: float) -> str:
    """A tick's value, with as many digits as tell it from its neighbour."""
    if abs(value) < 1e-6 * step:
        return "0"
    size = math.floor(math.log10(abs(value)))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if -4 <= size < 7 and decimals <= 6:
        return f"{value:.{decimals}f}"
    mantissa, _, exponent = f"{value:.{max(0, size - math.floor(math.log10(step) + 1e-9))}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


@dataclass(frozen=True)
class Frame:
    """A plot's two scales and its size in pixels.

    Attributes:
        x: horizontal scale.
        y: vertical scale.
        width: width of the whole plot.
        height: height of the whole plot.
        left: room for the labels of the vertical axis.
        right: room behind the plot.
        top: room above the plot.
        bottom: room for the labels of the horizontal axis.
    """

    x: Scale
    y: Scale
    width: int = 720
    height: int = 260
    left: int = 64
    right: int = 12
    top: int = 12
    bottom: int = 40

    def across(self, x: float) -> float:
        """Horizontal place of a value."""
        return self.left + self.x.share(x) * (self.width - self.left - self.right)

    def down(self, y: float) -> float:
        """Vertical place of a value."""
        return self.height - self.bottom - self.y.share(y) * (self.height - self.top - self.bottom)

    def axes(self, x_label: str, y_label: str = "", x_ticks: int = 7) -> list[str]:
        """Grid lines, ticks and labels."""
        right, floor = self.width - self.right, self.height - self.bottom
        parts = []
        for value, label in _labelled(self.y, 7):
            y = self.down(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        for value, label in _labelled(self.x, x_ticks):
            x = self.across(value)
            parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{label}</text>')
        middle = (self.left + right) / 2
        parts.append(f'<text x="{middle}" y="{self.height - 4}" text-anchor="middle">{escape(x_label)}</text>')
        if y_label:
            place = f'x="{-(self.top + floor) / 2}" y="12" transform="rotate(-90)"'
            parts.append(f'<text {place} text-anchor="middle">{escape(y_label)}</text>')
        return parts


def _labelled(scale: Scale, most: int) -> list[tuple[float, str]]:
    """The ticks of a scale with their labels."""
    ticks = scale.ticks(most)
    if scale.logarithmic:
        return [(value, f"{value:.3g}") for value in ticks]
    return [(value, tick_label(value, scale.step(most))) for value in ticks]


def _bounded(value: float) -> float:
    return min(max(value, -_LARGEST), _LARGEST)
