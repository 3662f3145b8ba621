"""Quotients of two polynomials as they are shortest: one fraction, or a polynomial and a smaller fraction.

(x*z + y*z + w) / (x + y) is z + w / (x + y): division with remainder, in several variables by the order of their
monomials, of which each variable may come first (D. Cox, J. Little and D. O'Shea, "Ideals, Varieties, and
Algorithms", section 2.3).
"""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from searches.direct.monomials import polynomial

__all__ = ["quotient"]

_NOTHING = 1e-12  # of the largest coefficient that met there: what cancels
_MOST_TERMS = 12  # of a polynomial in front

Polynomial = dict[tuple[int, ...], float]


def quotient(above: np.ndarray, numerator: np.ndarray, below: np.ndarray, divisor: np.ndarray) -> Expression:
    """The shortest spelling of a rational function.

    Args:
        above: monomials of the numerator. `[terms, variables]`
        numerator: their coefficients. `[terms]`
        below: monomials of the divisor. `[terms, variables]`
        divisor: their coefficients. `[terms]`
    """
    p, q = _polynomial(above, numerator), _polynomial(below, divisor)
    found = [_fraction(p, q)]
    for first in range(above.shape[1]):
        whole, left = _divided(p, q, first)
        if whole and len(whole) <= _MOST_TERMS:
            parts = [_written(whole), *([_fraction(left, q)] if left else [])]
            found.append(Expression.joined("add", parts))
    return min(found, key=len)


def _polynomial(exponents: np.ndarray, coefficients: np.ndarray) -> Polynomial:
    return {tuple(row): factor for row, factor in zip(exponents.tolist(), coefficients.tolist(), strict=True)}


def _written(terms: Polynomial) -> Expression:
    return polynomial(np.array(list(terms)), np.array(list(terms.values())))


def _fraction(p: Polynomial, q: Polynomial) -> Expression:
    """One fraction; a common monomial cancels."""
    above, below = np.array(list(p)), np.array(list(q))
    common = np.minimum(above.min(axis=0), below.min(axis=0))
    numerator = polynomial(above - common, np.array(list(p.values())))
    divisor = polynomial(below - common, np.array(list(q.values())))
    one = Expression.constant(1.0)
    if divisor == one:
        return numerator
    if numerator == one:
        return Expression.apply("inv", divisor)
    return Expression.apply("div", numerator, divisor)


def _divided(p: Polynomial, q: Polynomial, first: int) -> tuple[Polynomial, Polynomial]:
    """Whole part and remainder, with monomials ordered by the exponent of variable `first` before others."""

    def rank(exponents: tuple[int, ...]) -> tuple[int, ...]:
        return exponents[first], *exponents

    lead = max(q, key=rank)
    whole: Polynomial = {}
    left: Polynomial = {}
    rest = dict(p)
    while rest:
        top = max(rest, key=rank)
        factor = rest.pop(top) / q[lead]
        if any(a < b for a, b in zip(top, lead, strict=True)):
            left[top] = factor * q[lead]
            continue
        share = tuple(a - b for a, b in zip(top, lead, strict=True))
        whole[share] = factor
        if len(whole) > _MOST_TERMS:
            break
        for exponents, coefficient in q.items():
            if exponents != lead:
                place = tuple(a + b for a, b in zip(exponents, share, strict=True))
                old, change = rest.pop(place, 0.0), factor * coefficient
                if abs(old - change) > _NOTHING * max(abs(old), abs(change)):
                    rest[place] = old - change
    return whole, left
