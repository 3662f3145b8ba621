"""Rational functions under noise: a few sizes of one, fitted to the target itself.

With numerator and denominator as sums of monomials, v*q - p is linear in the coefficients, but its noise is that
of v times q: rows are divided by the last q (C. K. Sanathanan and J. Koerner, "Transfer function synthesis as a
ratio of two complex polynomials", IEEE Transactions on Automatic Control 8, 1963). That also has noise in its
columns, so the last steps are those of Gauss and Newton: v in the columns becomes the last p / q. The last of
them, in monomials of the variables themselves, is a regression from which monomials are eliminated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from searches.direct.elimination import Fit, compressed
from searches.direct.monomials import power_products

__all__ = ["Fraction", "noisy_fractions"]

_ROWS_A_COLUMN = 4
_HIGHEST = 3  # degree
_REWEIGHTED, _NEWTON = 3, 4  # steps
_FLAT = 1.1  # factor on the lowest error within which fewer monomials do as well
_NOISY = 0.7  # error relative to the spread, above which nothing is explained
_SMALLEST = 0.05  # divisor relative to its median size: a pole is no weight
_PINS = 3  # monomials of the divisor whose coefficient is tried as 1
_SIZES, _MOST_TERMS = 2, 8
_LIKE_ALL = 1.2  # factor on the error of all monomials, within which a few do as well


@dataclass(frozen=True)
class Fraction:
    """A rational function.

    Attributes:
        above: monomials of the numerator. `[terms, variables]`
        below: monomials of the divisor. `[terms, variables]`
        numerator: coefficients of the first. `[terms]`
        divisor: coefficients of the second. `[terms]`
    """

    above: np.ndarray
    below: np.ndarray
    numerator: np.ndarray
    divisor: np.ndarray


def noisy_fractions(
    inputs: np.ndarray, values: np.ndarray, exponents: np.ndarray, basis: np.ndarray
) -> Iterator[Fraction]:
    """Rational functions of a few sizes; none where a polynomial of as many monomials does better.

    Args:
        inputs: values of the variables. `[rows, variables]`
        values: target. `[rows]`
        exponents: monomials by rising degree. `[monomials, variables]`
        basis: values of them in an orthogonal basis. `[rows, monomials]`
    """
    rows, spread = len(values), float(values.std())
    found: list[tuple[float, int, np.ndarray, np.ndarray]] = []
    for degree in range(1, _HIGHEST + 1):
        count = int(np.count_nonzero(exponents.sum(axis=1) <= degree))
        if 2 * count * _ROWS_A_COLUMN > rows or degree > exponents.sum(axis=1).max():
            break
        fitted, divisor = _fitted(basis[:, :count], values)
        error = float(np.sqrt(np.square(values - fitted).sum() / (rows - 2 * count + 1))) / spread
        if np.isfinite(error):
            found.append((error, count, fitted, divisor))
    if not found:
        return
    lowest = min(error for error, *_ in found)
    error, count, fitted, divisor = next(one for one in found if one[0] <= _FLAT * lowest)
    if error > min(_NOISY, _FLAT * _polynomial_error(basis, values, 2 * count) / spread):
        return
    allowed = (_LIKE_ALL * error * spread) ** 2
    powers = power_products(inputs, exponents[:count])
    yield from _sizes(powers, exponents[:count], values, fitted, divisor, allowed)


def _polynomial_error(basis: np.ndarray, values: np.ndarray, count: int) -> float:
    """Standard error of a polynomial of so many monomials at most."""
    columns = basis[:, :count]
    left = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(np.sqrt(np.square(left).sum() / (len(values) - columns.shape[1])))


def _fitted(columns: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of p / q, and of q, of the step that comes nearest to the target. Each `[rows]`"""
    divisor, fitted = np.ones_like(values), values
    best = math.inf, fitted, divisor
    for step in range(_REWEIGHTED + _NEWTON):
        newton = step >= _REWEIGHTED
        last = fitted if newton else values
        scaled = columns / divisor[:, None]
        design = np.hstack([scaled, -last[:, None] * scaled[:, 1:]])
        weights = _least_squares(design, (values - last if newton else 0.0) + last * scaled[:, 0])
        count = columns.shape[1]
        divisor = columns[:, 0] + columns[:, 1:] @ weights[count:]
        floor = _SMALLEST * float(np.median(np.abs(divisor)))
        divisor = np.where(np.abs(divisor) < floor, np.where(divisor < 0, -floor, floor), divisor)
        fitted = columns @ weights[:count] / divisor
        error = float(np.square(values - fitted).sum())
        if error < best[0]:
            best = error, fitted, divisor
    return best[1:]


def _least_squares(design: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Coefficients of columns that do not depend on one another. `[columns]`"""
    q, r = np.linalg.qr(design)
    return np.asarray(solve_triangular(r, q.T @ goal, check_finite=False))


def _sizes(
    powers: np.ndarray,
    exponents: np.ndarray,
    values: np.ndarray,
    fitted: np.ndarray,
    divisor: np.ndarray,
    allowed: float,
) -> Iterator[Fraction]:
    """Fractions of as many monomials as the information criterion chooses, and of fewer."""
    count = len(exponents)
    coefficients = np.linalg.lstsq(powers, divisor, rcond=None)[0]
    parts = coefficients * np.sqrt(np.mean(np.square(powers), axis=0))
    best: tuple[float, int, list[Fit]] = math.inf, 0, []
    for pin in np.argsort(-np.abs(parts))[:_PINS].tolist():
        scaled = powers * (coefficients[pin] / divisor)[:, None]  # by the divisor in which its coefficient is 1
        design = np.hstack([scaled, -fitted[:, None] * np.delete(scaled, pin, axis=1)])
        problem = compressed(design, values - fitted + fitted * scaled[:, pin])
        fits = problem.cheapest(_SIZES, _MOST_TERMS)
        if fits and problem.cost(fits[0]) < best[0]:
            best = problem.cost(fits[0]), pin, fits
    _, pin, fits = best
    for fit in fits:
        above = fit.columns < count
        others = np.delete(np.arange(count), pin)[fit.columns[~above] - count]
        if fit.error <= allowed * (len(values) - len(fit.columns)) and above.any() and len(others):
            yield Fraction(
                exponents[fit.columns[above]],
                exponents[np.append(others, pin)],
                fit.coefficients[above],
                np.append(fit.coefficients[~above], 1.0),
            )
