"""Which of many variables a target depends on, by a regression on all of them at once."""

from __future__ import annotations

import numpy as np

from searches.direct.elimination import compressed
from searches.direct.monomials import legendre, monomials

__all__ = ["relevant_variables"]

_COLUMNS = 0.5  # of the rows, at most


def relevant_variables(inputs: np.ndarray, target: np.ndarray, most: int) -> np.ndarray:
    """Numbers of the variables without which a regression would lose most, in rising order. `[at most most]`

    The regression is on all monomials of degree 2, or on straight lines and squares where those are too many. A
    variable counts with all that it is in.

    Args:
        inputs: values of the variables, none of them constant. `[rows, variables]`
        target: values to be explained. `[rows]`
        most: largest number of variables.
    """
    rows, count = inputs.shape
    exponents = monomials(count, 2)
    if len(exponents) > _COLUMNS * rows:
        exponents = exponents[np.count_nonzero(exponents, axis=1) <= 1]
    if len(exponents) > _COLUMNS * rows:
        exponents = exponents[exponents.sum(axis=1) <= 1]
    if count <= most or len(exponents) > _COLUMNS * rows:
        return np.arange(count)
    problem = compressed(legendre(inputs, exponents), target)
    kept = problem.independent()
    whole = problem.fit(kept).error
    losses = [problem.fit(kept[exponents[kept, variable] == 0]).error - whole for variable in range(count)]
    return np.sort(np.argsort(losses, kind="stable")[::-1][:most])
