"""Weights of rows by which outliers say little, or nothing.

P. Huber, Robust estimation of a location parameter, 1964: a squared error counts as it is up to a few standard
deviations, and as its root beyond. As weights of squares, these are fitted again until they agree with the
residuals (P. Holland and R. Welsch, Robust regression using iteratively reweighted least-squares, 1977). What is
further away than any noise reaches is left out (F. Hampel, The influence curve, 1974).
"""

from __future__ import annotations

import itertools

import numpy as np

__all__ = ["first_weights", "huber_weights"]

_BEND = 1.345  # standard deviations up to which errors count as squares: 95 % as efficient for normal errors
_BEYOND = 6.0  # standard deviations from which a row says nothing
_DEVIATION = 1.4826  # standard deviation of normal errors over the median of their magnitudes
_ROUNDING = 1e-12  # of the target's size, below which a deviation is none
_ROUNDS = 20
_ROWS_A_TERM = 4  # at least, of the first curve
_MOST_PAIRED = 12  # columns


def huber_weights(residuals: np.ndarray, size: float) -> np.ndarray:
    """Weights of the squared errors of rows: 1 for most, less for what is far off, 0 for gross outliers.

    Args:
        residuals: errors of an equation, in units of each row's standard deviation where these differ. `[rows]`
        size: magnitude of what is measured: errors of its rounding are no noise.

    Returns:
        Weights, of which more than half are 1. `[rows]`
    """
    far = np.abs(np.where(np.isfinite(residuals), residuals, np.inf))
    scale = max(_DEVIATION * float(np.median(far)), _ROUNDING * size, np.finfo(float).tiny)
    if not np.isfinite(scale):
        return np.ones(len(far))
    far = far / scale
    return np.where(far > _BEYOND, 0.0, np.minimum(1.0, _BEND / np.maximum(far, _BEND)))


def first_weights(inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Weights before anything is known: by a curved surface that most rows are near to.

    Where the law is far from any such surface, all rows are, and few of them weigh less.

    Args:
        inputs: values of the variables. `[rows, variables]`
        target: values of the target. `[rows]`

    Returns:
        Weights of the rows' squared errors. `[rows]`
    """
    surface = _surface(inputs, len(target) // _ROWS_A_TERM)
    size = float(np.abs(target - np.median(target)).max())
    weights = huber_weights(target - np.median(target), size) if surface.shape[1] == 1 else np.ones(len(target))
    for _ in range(_ROUNDS):
        roots = np.sqrt(np.maximum(weights, 1e-6))
        slopes = np.linalg.lstsq(surface * roots[:, None], target * roots)[0]
        residuals = target - surface @ slopes
        weights = np.maximum(huber_weights(residuals, size), 1e-3)
    return huber_weights(residuals, size)


def _surface(inputs: np.ndarray, most: int) -> np.ndarray:
    """1, the columns, their squares and products, as many as there are rows for. `[rows, terms]`"""
    spread = inputs.std(axis=0)
    z = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    pairs = itertools.combinations_with_replacement(range(min(z.shape[1], _MOST_PAIRED)), 2)
    terms = [np.ones(len(z)), *z.T, *(z[:, i] * z[:, j] for i, j in pairs)]
    return np.stack(terms[: max(1, most)], axis=1)
