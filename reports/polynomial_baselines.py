"""Polynomials that an equation must beat."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement

import numpy as np

from expressions.goodness_of_fit import r2

__all__ = ["MOST_ROWS", "Monomials", "Rows", "drawn", "polynomial_r2"]

MOST_ROWS = 20_000
"""Rows that a baseline is fitted to, and rows that it is scored on; of more, as many are drawn."""
_MOST_MONOMIALS = 2_000
_MOST_NUMBERS = 20_000_000  # monomials times rows of a fit: 160 MB
_INDEPENDENT = 1e-4  # smallest length, beside the columns before it, over the largest one
_BLOCK = 1 << 20  # numbers of a block of rows

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""


class Monomials:
    """All monomials of standardised variables up to a degree, themselves standardised, without the constant one.

    They are scaled twice because cubes of raw columns would lose half of the digits.

    Args:
        inputs: values of the variables, by which everything is scaled. `[rows, variables]`
        degree: highest total degree of a monomial.
    """

    def __init__(self, inputs: np.ndarray, degree: int) -> None:
        self._centre, self._spread = _moments(inputs)
        self._powers = [
            powers
            for total in range(1, degree + 1)
            for powers in combinations_with_replacement(range(inputs.shape[1]), total)
        ]
        self._mean, self._scale = np.zeros(len(self._powers)), np.ones(len(self._powers))
        self.fitted = self(inputs)
        """Values on the inputs that everything was scaled by. `[rows, monomials]`"""
        self._mean, self._scale = _moments(self.fitted)
        self.fitted = (self.fitted - self._mean) / self._scale

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Values on other inputs. `[rows, monomials]`"""
        columns = ((inputs - self._centre) / self._spread).T
        values = np.empty((len(self._powers), len(inputs)))
        place: dict[tuple[int, ...], int] = {}
        for row, powers in enumerate(self._powers):
            place[powers] = row
            if len(powers) == 1:
                values[row] = columns[powers[0]]
            else:
                np.multiply(values[place[powers[:-1]]], columns[powers[-1]], values[row])
        return (values.T - self._mean) / self._scale

    def blocks(self, inputs: np.ndarray) -> Iterator[np.ndarray]:
        """Values on other inputs, some rows at a time, so that memory stays small. `[rows, monomials]`"""
        step = max(1, _BLOCK // len(self._powers))
        for start in range(0, len(inputs), step):
            yield self(inputs[start : start + step])


def polynomial_r2(train: Rows, test: Rows, degree: int) -> float | None:
    """Held-out R2 of the least-squares polynomial with all monomials up to `degree`: what an equation must beat.

    Args:
        train: Rows to fit the polynomial to, of which at most `MOST_ROWS` are used, and fewer of many monomials.
        test: Held-out rows, of which at most `MOST_ROWS` are used.
        degree: Highest total degree of a monomial.

    Returns:
        R2 on the held-out rows; None where there would be more than 2,000 monomials or as many as rows.
    """
    rows, variables = train[0].shape
    coefficients = math.comb(variables + degree, degree)
    if coefficients > min(_MOST_MONOMIALS, rows - 1):
        return None
    train, test = drawn(train, min(MOST_ROWS, _MOST_NUMBERS // coefficients)), drawn(test, MOST_ROWS)
    monomials = Monomials(train[0], degree)
    mean = float(np.mean(train[1]))
    weights = _least_squares(monomials.fitted, train[1] - mean)
    return r2(test[1], np.concatenate([block @ weights for block in monomials.blocks(test[0])]) + mean)


def _least_squares(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights of the columns, the shortest ones where columns nearly depend on each other. `[columns]`

    LAPACK's driver computes singular values, which takes many times as long as the normal equations. These square
    the condition number: a second solution, for what the first has left, makes up for that.
    """
    gram = columns.T @ columns
    try:
        size = np.diagonal(np.linalg.cholesky(gram))
    except np.linalg.LinAlgError:
        size = np.zeros(1)
    if not size.min() > _INDEPENDENT * size.max():
        return np.linalg.lstsq(columns, target)[0]
    weights = np.linalg.solve(gram, columns.T @ target)
    return np.asarray(weights + np.linalg.solve(gram, columns.T @ (target - columns @ weights)))


def drawn(rows: Rows, most: int) -> Rows:
    """At most so many rows, the same ones every time."""
    inputs, target = rows
    if len(target) <= most:
        return rows
    chosen = np.sort(np.random.default_rng(0).permutation(len(target))[:most])
    return inputs[chosen], target[chosen]


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column; 1 for a column without any."""
    spread = values.std(axis=0)
    centre = values.mean(axis=0)
    return centre, np.where(spread <= 4e-16 * np.abs(centre), 1.0, spread)
