"""How probable it is that errors alone leave such residuals: a wrong formula leaves ones that hang together."""

from __future__ import annotations

import math

import numpy as np

from searches.common.chosen_rows import evenly_spread

__all__ = ["along_inputs", "among_neighbours", "beyond_errors"]

_NEIGHBOURS = 3
_MOST_ROWS = 600  # whose distances are computed
_LEAST_ROWS = 10


def along_inputs(inputs: np.ndarray, residuals: np.ndarray) -> float:
    """Probability that independent residuals hang together so much along some input.

    For every input, the residuals are ordered by it, and the correlation of neighbours is compared with that of
    independent ones, which is normal with a variance of 1/rows (one-sided: a misfit makes neighbours alike).

    Args:
        inputs: values of the variables. `[rows, variables]`
        residuals: what an equation leaves, over the errors' standard deviations. `[rows]`

    Returns:
        The least probability over the inputs, times their number, at most 1; 1 where nothing is left, or a
        residual is not finite.
    """
    left = residuals - residuals.mean()
    total = float(left @ left)
    if not 0.0 < total < math.inf:
        return 1.0
    least = 1.0
    for column in inputs.T:
        ordered = left[np.argsort(column, kind="stable")]
        correlation = float(ordered[1:] @ ordered[:-1]) / total
        least = min(least, _normal_tail(correlation * math.sqrt(len(left))))
    return min(1.0, least * inputs.shape[1])


def among_neighbours(inputs: np.ndarray, residuals: np.ndarray) -> float:
    """Probability that independent residuals are so alike among rows that are near in all inputs together.

    Moran's I with the three nearest rows by the ranks of the inputs, in its normal approximation (P. Moran, Notes
    on continuous stochastic phenomena, Biometrika 1950; A. Cliff and J. Ord, Spatial processes, 1981).

    Args:
        inputs: values of the variables. `[rows, variables]`
        residuals: what an equation leaves, over the errors' standard deviations. `[rows]`

    Returns:
        The probability; 1 where there are less than 10 rows, nothing is left, or a residual is not finite.
    """
    some = evenly_spread(len(residuals), _MOST_ROWS)
    left = residuals[some] - residuals[some].mean()
    total, rows = float(left @ left), len(left)
    if rows < _LEAST_ROWS or not 0.0 < total < math.inf:
        return 1.0
    near = _nearest(inputs[some])
    towards = np.bincount(near.ravel(), minlength=rows)
    mutual = int(np.count_nonzero((near[near] == np.arange(rows)[:, None, None]).any(axis=2)))
    links = rows * _NEIGHBOURS
    found = rows / links * float((left[:, None] * left[near]).sum()) / total
    mean = -1.0 / (rows - 1)
    first = links + mutual  # Cliff and Ord's S1 and S2, of links of weight 1
    second = float(np.square(towards + _NEIGHBOURS).sum())
    variance = (rows**2 * first - rows * second + 3 * links**2) / ((rows**2 - 1) * links**2) - mean**2
    return _normal_tail((found - mean) / math.sqrt(max(variance, 1e-12)))


def _nearest(inputs: np.ndarray) -> np.ndarray:
    """Places of the nearest other rows of every row. `[rows, neighbours]`"""
    ranks = np.argsort(np.argsort(inputs, axis=0, kind="stable"), axis=0).astype(np.float64)
    products = ranks @ ranks.T
    sizes = np.diag(products)
    distances = sizes[:, None] + sizes - 2.0 * products
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, :_NEIGHBOURS]


def beyond_errors(residuals: np.ndarray, constants: int) -> float:
    """Probability that errors of known variance leave so much: the tail of chi square.

    Its cube root is about normal (E. Wilson and M. Hilferty, The distribution of chi-square, PNAS 1931).

    Args:
        residuals: what an equation leaves, over the errors' standard deviations. `[rows]`
        constants: number of constants that were fitted.
    """
    freedom = len(residuals) - constants
    total = float(residuals @ residuals)
    if freedom <= 0:
        return 1.0
    if not math.isfinite(total):
        return 0.0
    spread = 2.0 / (9.0 * freedom)
    return _normal_tail(((total / freedom) ** (1 / 3) - (1.0 - spread)) / math.sqrt(spread))


def _normal_tail(deviations: float) -> float:
    """Probability that a normal variable is so many standard deviations above its mean, or more."""
    return 0.5 * math.erfc(deviations / math.sqrt(2.0))
