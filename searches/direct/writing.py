"""How kinds of laws write powers, magnitudes and extrema with the operators that may occur.

a**b is exp(b*log(a)), and may occur where these may. abs(a) is sqrt(a**2), and max(a, b) is
(a + b + abs(a - b))/2: where all the default operators may occur, these may, too, by their short names. A list
that somebody has chosen means what it says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction

import numpy as np

from expressions.expression import Expression
from expressions.operators import POWER_ROWS
from searches.evolution.settings import DEFAULT_OPERATORS

__all__ = ["Writer", "rounded"]

_DENOMINATORS = (1, 2, 3, 4, 5, 6, 8)
_DECIMALS = 6
_LARGEST_POWER = 1000


class Writer:
    """Spells functions with the operators that may occur.

    Args:
        operators: names of the operators that may occur.
    """

    def __init__(self, operators: Collection[str]) -> None:
        allowed = set(operators)
        self.products = "mul" in allowed
        self.sums = bool(allowed & {"add", "sub"})
        self.quotients = bool(allowed & {"div", "inv"})
        self.exponentials = "exp" in allowed
        self.logarithms = "log" in allowed
        self.roots = "sqrt" in allowed
        self.powers = "pow" in allowed or {"exp", "log"} <= allowed
        self.bases = "pow" in allowed or "exp" in allowed
        """Whether a number may have a variable exponent."""
        usual = allowed.issuperset(DEFAULT_OPERATORS)
        self.magnitudes = usual or "abs" in allowed
        self.extrema = tuple(name for name in ("max", "min") if usual or name in allowed)
        """Which of `max` and `min` may be written."""

    def scaled(self, factor: float, expression: Expression) -> Expression:
        """`factor * expression`."""
        if factor == 1.0:
            return expression
        if factor == -1.0:
            return Expression.apply("neg", expression)
        return Expression.apply("mul", Expression.constant(factor), expression)

    def power(self, base: Expression, exponent: float) -> Expression | None:
        """`base**exponent` of a positive base, or of any for a whole exponent; None where it may not be."""
        if exponent < 0 and not self.quotients and not self.powers:
            return None
        size = abs(exponent)
        if exponent == round(exponent) and size <= _LARGEST_POWER:
            found = self._whole(base, round(size))
        elif size == 0.5 and self.roots:
            found = Expression.apply("sqrt", base)
        elif self.powers:
            return Expression.apply("pow", base, Expression.constant(exponent))
        elif 2 * size == round(2 * size) and self.roots:
            root, whole = Expression.apply("sqrt", base), self._whole(base, int(size))
            found = None if whole is None else Expression.apply("mul", whole, root)
        else:
            return None
        if found is None or exponent > 0:
            return found
        return Expression.apply("inv", found) if self.quotients else None

    def _whole(self, base: Expression, exponent: int) -> Expression | None:
        if exponent == 1:
            return base
        if exponent in POWER_ROWS:
            return Expression.apply(POWER_ROWS[exponent], base)
        if self.powers:
            return Expression.apply("pow", base, Expression.constant(float(exponent)))
        return Expression.joined("mul", [base] * exponent) if exponent <= 12 else None

    def product(self, factors: Sequence[Expression]) -> Expression:
        """The product of factors, what is an inverse in the divisor."""
        above: list[Expression] = []
        below: list[Expression] = []
        for factor in factors:
            is_inverse = len(factor) > 1 and factor == Expression.apply("inv", factor.subtree(1))
            (below if is_inverse else above).append(factor.subtree(1) if is_inverse else factor)
        if not below:
            return Expression.joined("mul", above)
        divisor = Expression.joined("mul", below)
        if not above:
            return Expression.apply("inv", divisor)
        return Expression.apply("div", Expression.joined("mul", above), divisor)


def rounded(value: float, width: float) -> float:
    """The simplest number within `width` of a value: a small fraction, or else the shortest decimal.

    Args:
        value: number to be rounded.
        width: largest change.
    """
    width = max(width, 1e-12 * abs(value))
    for denominator in _DENOMINATORS:
        near = float(Fraction(round(value * denominator), denominator))
        if abs(near - value) <= min(width, 0.05 / denominator):
            return near
    for decimals in range(1, _DECIMALS + 1):
        near = float(np.round(value, decimals))
        if abs(near - value) <= width:
            return near
    return value
