"""Powers that are no whole numbers: what is one, and whether all powers of a base are one among the factors."""

from __future__ import annotations

import math

from expressions.canonical.nodes import FUNCTION, Node
from expressions.operators import TOKEN

__all__ = ["broken_exponent", "float_power", "is_broken_power_of", "is_split", "is_whole", "tidy"]

_POW, _SQRT = TOKEN["pow"], TOKEN["sqrt"]


def broken_exponent(node: Node) -> float:
    """The exponent of a root or a power that is no whole number; 0 for everything else."""
    if node.operator == _SQRT:
        return 0.5
    if node.operator == _POW and not node.arguments[1].terms and node.arguments[0].terms:
        exponent = node.arguments[1].constant
        return 0.0 if is_whole(exponent) else exponent
    return 0.0


def is_broken_power_of(node: Node, base: Node) -> bool:
    """Whether a node is a root of a base, or a power of it that is no whole number."""
    return node.kind == FUNCTION and node.arguments[0] is base and broken_exponent(node) != 0.0


def is_split(factors: dict[Node, int], power: Node, exponent: float) -> bool:
    """Whether the base of a broken power has other powers among the factors, or this one is not simple.

    A whole power of a root is: it needs no operator but those of x*sqrt(x), and has the base only once.
    """
    base, count = power.arguments[0], factors[power]
    if len(factors) > 1 and any(
        factor is base or is_broken_power_of(factor, base) for factor in factors if factor is not power
    ):
        return True
    return power.operator != _SQRT and (count != 1 or is_whole(2.0 * exponent))


def is_whole(value: float) -> bool:
    """Whether a number is whole, but for the rounding of a sum of decimals."""
    return abs(value - round(value)) < 1e-12


def tidy(value: float) -> float:
    """Without the rounding of a sum of decimals."""
    return float(f"{value:.14g}")


def float_power(value: float, exponent: int) -> float:
    """A whole power of a number; infinite where it overflows."""
    try:
        return value**exponent
    except OverflowError:
        return math.inf
