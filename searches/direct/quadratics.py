"""Laws that solve a quadratic equation: a(x)*y**2 + b(x)*y + c(x) = 0 with polynomials a, b and c.

y = x + sqrt(x**2 + z) is y**2 - 2*x*y - z = 0: the monomials of the variables and of the target together, up to
some degree and with the target's square at most, depend on one another (implicit polynomials, as conic sections
are fitted). Which of the two solutions is meant, the rows say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator

import numpy as np

from expressions.expression import Expression
from searches.direct.monomials import legendre, monomials, polynomial, power_products
from searches.direct.null_space import NullSpace, in_units, shortest_multiple, vanishing

__all__ = ["find"]

_ROWS = 20  # at least
_HIGHEST = 4  # degree in the variables and the target together
_COLUMNS = 0.3  # of the rows, at most
_MOST_COLUMNS = 80
_SMALL = 1e-13  # singular value relative to the largest, below which something may vanish
_FALL = 1e5  # of it at the last degree, without which it does for smooth functions, too
_MOST_TERMS = 8
_SAME = 1e-16  # squared error over the variance, below which a solution is the target
_NOTHING = 1e-12  # of a coefficient: what cancels

Polynomial = dict[tuple[int, ...], float]


def find(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float = math.inf
) -> Iterator[Expression]:
    """Solutions of quadratic equations that are the target, see `searches.direct.kinds.Find`."""
    varying = np.flatnonzero(np.ptp(inputs, axis=0) > 0)
    needed = {"add", "mul", "div", "sqrt"}
    if len(target) < _ROWS or not len(varying) or not needed <= set(operators) or time.perf_counter() > ends:
        return
    values, unit = in_units(target)
    together = np.column_stack([inputs[:, varying], values])
    degree = _degree(together)
    if degree is None:
        return
    exponents = _exponents(together.shape[1], degree)
    fit = vanishing(power_products(together, exponents), 1.0 / (1.0 + np.square(values)))
    if len(fit.columns) > _MOST_TERMS:
        return
    factors = unit ** -exponents[fit.columns, -1].astype(float)
    squares = exponents[fit.columns, -1] == 2
    if not squares.any():
        return
    short = shortest_multiple(fit.coefficients * factors, fit.spreads * factors, squares)
    of_power: list[Polynomial] = [{}, {}, {}]
    for row, coefficient in zip(exponents[fit.columns], short.tolist(), strict=True):
        everywhere = np.zeros(inputs.shape[1], dtype=int)
        everywhere[varying] = row[:-1]
        of_power[int(row[-1])][tuple(everywhere.tolist())] = coefficient
    yield from _solutions(of_power, inputs, target)


def _degree(together: np.ndarray) -> int | None:
    """The degree at which monomials of the variables and of the target, the last column, depend on one another."""
    last = math.inf
    for degree in range(2, _HIGHEST + 1):
        exponents = _exponents(together.shape[1], degree)
        if len(exponents) > min(_MOST_COLUMNS, int(_COLUMNS * len(together))):
            return None
        weights = 1.0 / (1.0 + np.square(together[:, -1]))
        left = NullSpace(legendre(together, exponents) * weights[:, None]).smallest(len(exponents))
        if left <= _SMALL:
            return degree if last > _FALL * left else None
        last = left
    return None


def _exponents(columns: int, degree: int) -> np.ndarray:
    """Monomials up to a degree in which the last column is squared at most. `[monomials, columns]`"""
    found = monomials(columns, degree)
    return found[found[:, -1] <= 2]


def _solutions(of_power: list[Polynomial], inputs: np.ndarray, target: np.ndarray) -> Iterator[Expression]:
    """The solution that is the target of a quadratic equation, whose coefficients come in rising powers of it."""
    c, b, a = of_power
    half = {exponents: -coefficient / 2.0 for exponents, coefficient in b.items()}
    inside = _sum(_product(half, half), _product({e: -x for e, x in a.items()}, c))
    if not inside:
        return
    root = Expression.apply("sqrt", _written(inside))
    for sign in (root, Expression.apply("neg", root)):
        above = Expression.apply("add", _written(half), sign) if half else sign
        one = len(a) == 1 and not any(next(iter(a))) and next(iter(a.values())) == 1.0
        solution = above if one else Expression.apply("div", above, _written(a))
        error = float(np.square(solution(inputs) - target).sum())
        if error <= _SAME * float(np.square(target - target.mean()).sum()):
            yield solution
            return


def _written(terms: Polynomial) -> Expression:
    return polynomial(np.array(list(terms)), np.array(list(terms.values())))


def _product(one: Polynomial, other: Polynomial) -> Polynomial:
    found: Polynomial = {}
    for first, factor in one.items():
        for second, coefficient in other.items():
            place = tuple(p + q for p, q in zip(first, second, strict=True))
            found[place] = found.get(place, 0.0) + factor * coefficient
    return found


def _sum(one: Polynomial, other: Polynomial) -> Polynomial:
    """The sum, without what cancels."""
    found = dict(one)
    for place, coefficient in other.items():
        total = found.pop(place, 0.0) + coefficient
        if abs(total) > _NOTHING * abs(coefficient):
            found[place] = total
    return found
