"""Monomials of several variables: their values in a well-conditioned basis and as they are, and their sums.

A monomial is a row of exponents, one for each variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement

import numpy as np

from expressions.expression import Expression
from expressions.operators import POWER_ROWS

__all__ = ["below", "legendre", "legendre_between", "monomials", "polynomial", "power_products", "product"]

_WORTH = 2  # tokens that a factor in front must save


@cache
def monomials(variables: int, degree: int) -> np.ndarray:
    """All monomials up to a total degree, by rising degree. Read-only. `[monomials, variables]`"""
    of_each = [
        np.bincount(chosen, minlength=variables) if total else np.zeros(variables, dtype=int)
        for total in range(degree + 1)
        for chosen in combinations_with_replacement(range(variables), total)
    ]
    found = np.array(of_each, dtype=int).reshape(len(of_each), variables)
    found.setflags(write=False)
    return found


def below(exponents: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Which monomials divide a marked one. `[monomials]` bool

    Args:
        exponents: monomials. `[monomials, variables]`
        marked: which of them are marked. `[monomials]` bool
    """
    divides = np.all(exponents[:, None, :] <= exponents[None, marked, :], axis=2)
    return np.asarray(np.any(divides, axis=1))


def legendre(inputs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Products of Legendre polynomials of degrees `exponents` over the range of the rows. `[rows, monomials]`

    Of mean square 1 each, and orthogonal to one another, where the rows fill a box evenly.
    """
    return legendre_between(inputs, exponents, inputs.min(axis=0), inputs.max(axis=0))


def legendre_between(inputs: np.ndarray, exponents: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The same over another range. `[rows, monomials]`"""
    x = (2.0 * inputs - (low + high)) / np.where(high > low, high - low, 1.0)
    powers = [np.ones_like(x), x]
    for degree in range(2, int(exponents.max(initial=0)) + 1):
        powers.append(((2 * degree - 1) * x * powers[-1] - (degree - 1) * powers[-2]) / degree)
    table = np.stack([np.sqrt(2.0 * k + 1.0) * values for k, values in enumerate(powers)])
    return _products(table, exponents)


def power_products(inputs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The monomials themselves. `[rows, monomials]`"""
    powers = [np.ones_like(inputs)]
    for _ in range(int(exponents.max(initial=0))):
        powers.append(powers[-1] * inputs)
    return _products(np.stack(powers), exponents)


def _products(table: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Products over the variables of entries of a table `[degrees, rows, variables]`. `[rows, monomials]`"""
    values = np.ones((table.shape[1], len(exponents)))
    for variable in range(exponents.shape[1]):
        used = np.flatnonzero(exponents[:, variable])
        if len(used):
            values[:, used] *= table[exponents[used, variable], :, variable].T
    return values


def polynomial(exponents: np.ndarray, coefficients: np.ndarray) -> Expression:
    """Sum of monomials with coefficients, multiplied out or with a common monomial in front where that is shorter.

    Args:
        exponents: monomials, one or more. `[monomials, variables]`
        coefficients: none of them 0. `[monomials]`
    """
    order = np.lexsort((*-exponents.T[::-1], -exponents.sum(axis=1)))
    exponents, coefficients = exponents[order], coefficients[order]
    whole = _sum(exponents, coefficients)
    common: np.ndarray = exponents.min(axis=0)
    if not common.any() or len(exponents) == 1:
        return whole
    factored = Expression.apply("mul", product(common), _sum(exponents - common, coefficients))
    return factored if len(factored) <= len(whole) - _WORTH else whole


def _sum(exponents: np.ndarray, coefficients: np.ndarray) -> Expression:
    return Expression.joined(
        "add", [_term(row, float(factor)) for row, factor in zip(exponents, coefficients, strict=True)]
    )


def _term(exponents: np.ndarray, coefficient: float) -> Expression:
    if not exponents.any():
        return Expression.constant(coefficient)
    if coefficient == 1.0:
        return product(exponents)
    if coefficient == -1.0:
        first, *others = _powers(exponents)
        return Expression.joined("mul", [Expression.apply("neg", first), *others])
    return Expression.joined("mul", [Expression.constant(coefficient), *_powers(exponents)])


def product(exponents: Sequence[int] | np.ndarray) -> Expression:
    """A monomial as an expression; that of degree 0 is the constant 1."""
    return Expression.joined("mul", _powers(exponents) or [Expression.constant(1.0)])


def _powers(exponents: Sequence[int] | np.ndarray) -> list[Expression]:
    return [_power(variable, int(exponent)) for variable, exponent in enumerate(exponents) if exponent]


def _power(variable: int, exponent: int) -> Expression:
    base = Expression.variable(variable)
    if exponent == 1:
        return base
    if exponent in POWER_ROWS:
        return Expression.apply(POWER_ROWS[exponent], base)
    return Expression.apply("pow", base, Expression.constant(float(exponent)))
