"""Whether an equation is no more than a straight line, or a plane."""

from __future__ import annotations

import math

from expressions.expression import Expression
from expressions.operators import CONSTANT, Operator

__all__ = ["is_straight_line"]


def is_straight_line(expression: Expression) -> bool:
    """Whether an equation has the degree 1 in its variables as it is written.

    Args:
        expression: any equation.
    """
    return bool(expression.fold(lambda token, value: float(token != CONSTANT), _degree) == 1.0)


def _degree(row: Operator, *degrees: float) -> float:
    """Degree of an operator of polynomials of some degrees; infinite where it is none."""
    if not any(degrees):
        return 0.0
    if row.name in ("add", "sub"):
        return max(degrees)
    if row.name == "neg":
        return degrees[0]
    if row.name == "mul":
        return sum(degrees)
    if row.name == "div" and degrees[1] == 0.0:
        return degrees[0]
    return math.inf
