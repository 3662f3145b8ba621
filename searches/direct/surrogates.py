"""A smooth function through the rows of a table: a polynomial, whose slopes say how variables stand together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from searches.direct.monomials import legendre_between, monomials

__all__ = ["Surrogate", "surrogate"]

_COLUMNS = 0.4  # of the rows, at most
_HIGHEST = 14  # degree
_STEP = 1e-5  # of a range, between two points of a slope
_SEEN_TWICE = 1e-9  # least share of a row's error that leaving it out leaves


@dataclass(frozen=True)
class Surrogate:
    """A polynomial of all variables.

    Attributes:
        exponents: monomials. `[monomials, variables]`
        coefficients: factors of the monomials, in the basis over the rows' range. `[monomials]`
        low, high: range of the rows. `[variables]`
        error: mean squared error of every row by the others' fit (leave-one-out), over the variance.
    """

    exponents: np.ndarray
    coefficients: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: float

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Values. `[rows]`"""
        return np.asarray(legendre_between(inputs, self.exponents, self.low, self.high) @ self.coefficients)

    def slopes(self, inputs: np.ndarray) -> np.ndarray:
        """Derivatives by every variable. `[rows, variables]`"""
        found = np.empty_like(inputs)
        for variable in range(inputs.shape[1]):
            step = np.zeros(inputs.shape[1])
            step[variable] = _STEP * (self.high[variable] - self.low[variable])
            found[:, variable] = (self(inputs + step) - self(inputs - step)) / (2 * step[variable])
        return found


def surrogate(inputs: np.ndarray, values: np.ndarray) -> Surrogate:
    """The polynomial of the degree at which rows are told best by the others.

    Args:
        inputs: values of the variables, which all vary. `[rows, variables]`
        values: finite values, not all equal. `[rows]`
    """
    rows, variables = inputs.shape
    low, high = inputs.min(axis=0), inputs.max(axis=0)
    best: Surrogate | None = None
    for degree in range(1, _HIGHEST + 1):
        exponents = monomials(variables, degree)
        if len(exponents) > _COLUMNS * rows and best is not None:
            break
        columns = legendre_between(inputs, exponents, low, high)
        basis, corner = np.linalg.qr(columns)
        left = values - basis @ (basis.T @ values)
        alone = np.maximum(1.0 - np.square(basis).sum(axis=1), _SEEN_TWICE)
        error = float(np.mean(np.square(left / alone)) / np.var(values))
        if best is None or error < best.error:
            diagonal = np.abs(np.diagonal(corner))
            if diagonal.min() <= 1e-12 * diagonal.max():
                continue
            best = Surrogate(exponents, np.linalg.solve(corner, basis.T @ values), low, high, error)
    if best is None:
        constant = np.zeros((1, variables), dtype=int)
        best = Surrogate(constant, np.array([values.mean()]), low, high, math.inf)
    return best
