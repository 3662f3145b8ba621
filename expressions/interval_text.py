"""A constant with its interval as text: each number with the digits that the interval resolves.

Two digits of the narrower side's width are kept, as metrologists do (JCGM 100:2008, Guide to the expression of
uncertainty in measurement, section 7.2.6), and as many decimals of the constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["interval_latex", "interval_text", "resolved"]

_PLAIN_LOW, _PLAIN_HIGH = 1e-4, 1e7  # magnitudes that are written without a power of ten
_MOST_DECIMALS = 17
_LARGEST_POWER = 290  # of ten, so that its inverse is a number, too


def resolved(value: float, low: float, high: float) -> tuple[float, float, float]:
    """A constant and the ends of its interval, rounded to what the interval resolves.

    Args:
        value: fitted constant.
        low: lower end, infinite where there is none.
        high: upper end, infinite where there is none.

    Returns:
        The three numbers; as they were given where the interval has no end, or no width.
    """
    decimals = _decimals(value, low, high)
    if decimals is None:
        return value, low, high
    return _round(value, decimals), _round(low, decimals), _round(high, decimals)


def interval_text(value: float, low: float, high: float) -> str:
    """`1.613 ± 0.032`, `1.61 (1.55 to 1.72)` where the sides differ, or words where a side has no end.

    Args:
        value: fitted constant.
        low: lower end, infinite where there is none, NaN where no interval is known.
        high: upper end, alike.
    """
    parts = _parts(value, low, high)
    if parts is None:
        plain = f"{value:.6g}"
        return plain if math.isnan(low) or low == high else f"{plain} (any other would do)"
    number, below, above, power = parts
    if below == above:
        return f"({number} ± {above})e{power}" if power else f"{number} ± {above}"
    constant, low_text, high_text = (
        _plain(each, power, _decimals(value, low, high)) for each in (value, low, high)
    )
    if math.isinf(low):
        return f"{constant} (up to {high_text})"
    return f"{constant} ({f'{low_text} to {high_text}' if math.isfinite(high) else f'from {low_text}'})"


def interval_latex(value: float, ends: Sequence[float]) -> str | None:
    r"""`\left(1.613 \pm 0.032\right)`, or `{1.61}^{+0.11}_{-0.06}` in brackets where the sides differ.

    Args:
        value: fitted constant, not negative.
        ends: lower and upper end.

    Returns:
        LaTeX for math mode; None where no side has an end.
    """
    parts = _parts(value, ends[0], ends[1])
    if parts is None:
        return None
    number, below, above, power = parts
    text = rf"{number} \pm {above}" if below == above else rf"{number}^{{+{above}}}_{{-{below}}}"
    factor = rf" \cdot 10^{{{power}}}" if power else ""
    return rf"\left({text}\right){factor}"


def _parts(value: float, low: float, high: float) -> tuple[str, str, str, int] | None:
    r"""The constant, its distances from both ends (`\infty` for none), and a power of ten that multiplies them."""
    decimals = _decimals(value, low, high)
    if decimals is None:
        return None
    size = max(abs(value), 10.0**-decimals)
    power = 0 if _PLAIN_LOW <= size < _PLAIN_HIGH else math.floor(math.log10(size))
    below, above = (_distance(end, power, decimals) for end in (value - low, high - value))
    return _fixed(value, power, decimals), below, above, power


def _decimals(value: float, low: float, high: float) -> int | None:
    """Decimals that leave two digits of the narrower side; None where no side has an end, or a width."""
    widths = [width for width in (high - value, value - low) if math.isfinite(width) and width > 0]
    if not widths or not math.isfinite(value):
        return None
    decimals = 1 - math.floor(math.log10(min(widths)))
    if decimals > _LARGEST_POWER:
        return None
    return min(decimals, _MOST_DECIMALS - 1 - math.floor(math.log10(abs(value)))) if value else decimals


def _distance(width: float, power: int, decimals: int) -> str:
    return _fixed(width, power, decimals) if math.isfinite(width) else r"\infty"


def _plain(value: float, power: int, decimals: int | None) -> str:
    """A number by itself, with so many decimals, or in short form where it has a power of ten."""
    if decimals is None or power or not math.isfinite(value):
        return f"{_round(value, decimals or 0):.15g}"
    return _fixed(value, 0, decimals)


def _fixed(value: float, power: int, decimals: int) -> str:
    """A number over a power of ten with so many decimals of the number itself."""
    left = decimals + power
    scaled = value / 10.0**power if power > -300 else value * 10.0**-power
    return f"{round(scaled, left):.{max(left, 0)}f}"


def _round(value: float, decimals: int) -> float:
    return round(value, decimals) if math.isfinite(value) and abs(decimals) < 300 else value
