"""Polynomials that an equation must beat."""

from __future__ import annotations

import math

import numpy as np

from expressions.goodness_of_fit import r2

__all__ = ["Rows", "polynomial_r2"]

_MOST_MONOMIALS = 2_000

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""


def polynomial_r2(train: Rows, test: Rows, degree: int) -> float | None:
    """Held-out R2 of the least-squares polynomial with all monomials up to `degree`: what an equation must beat.

    Args:
        train: Rows to fit the polynomial to.
        test: Held-out rows.
        degree: Highest total degree of a monomial.

    Returns:
        R2 on the held-out rows; None where there would be more than 2,000 monomials or as many as rows.
    """
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    rows, variables = train[0].shape
    monomials = math.comb(variables + degree, degree)
    if monomials > min(_MOST_MONOMIALS, rows - 1):
        return None
    # Scaled first: cubes of raw columns would lose half of the digits.
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(degree, include_bias=False), StandardScaler(), LinearRegression()
    )
    return r2(test[1], model.fit(*train).predict(test[0]))
