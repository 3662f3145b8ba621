"""Which kinds of functions an equation is made of: for colours in plots, and for classes to tell apart."""

from __future__ import annotations

from collections.abc import Iterable

from expressions.operators import TOKEN

__all__ = ["FAMILIES", "LEADING", "families", "leading_family"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "trigonometric": ("sin", "cos", "tan", "asin", "acos", "atan"),
    "exp or log": ("exp", "log", "sinh", "cosh", "tanh", "safe_log"),
    "root": ("sqrt", "abs", "pow", "max", "min", "safe_sqrt"),
    "rational": ("div", "inv", "safe_div"),
}
"""Name -> operators. What has none of them is a polynomial."""

LEADING = ("trigonometric", "exp or log", "both", "root", "rational", "polynomial")
"""What `leading_family` may say."""

_FAMILY = {TOKEN[name]: family for family, names in FAMILIES.items() for name in names}


def families(tokens: Iterable[int]) -> frozenset[str]:
    """The families of which a program has an operator.

    Args:
        tokens: Of the program, as in `expressions.operators`.
    """
    return frozenset(_FAMILY[token] for token in tokens if token in _FAMILY)


def leading_family(tokens: Iterable[int]) -> str:
    """One family: the transcendental one, `both` where there are two, else roots before quotients."""
    found = families(tokens)
    if {"trigonometric", "exp or log"} <= found:
        return "both"
    return next((name for name in LEADING if name in found), "polynomial")
