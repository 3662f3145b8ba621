"""Measures of how well predictions meet a target: R2, NMSE, MSE, RMSE and MAE.

They are computed in float64 with the mean taken out first, so that a target like 1e9 + noise loses no digits.
A prediction with a value that is not finite has R2 = -inf and every error inf: an equation that fails on a row
fails. Nothing is clipped. Empty data raise ValueError.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["mae", "mse", "nmse", "r2", "rmse"]


def r2(y: np.ndarray, f: np.ndarray) -> float:
    """Coefficient of determination, 1 - NMSE: 1 is perfect, 0 is the mean of `y`, not bounded below.

    Args:
        y: target. `[rows]`
        f: prediction, or one number for all rows. `[rows]`

    Returns:
        R2; -inf if a prediction is not finite. A constant target has R2 = 1 if it is met exactly, else -inf.

    Raises:
        ValueError: no rows, shapes that differ, or a target that is not finite.
    """
    return 1.0 - nmse(y, f)


def nmse(y: np.ndarray, f: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean squared error over the target's variance (divided by n, as the error is).

    Args:
        y: target. `[rows]`
        f: prediction, or one number for all rows. `[rows]`
        weights: weights of the squared errors and of the variance, none negative; None: all alike. `[rows]`

    Returns:
        NMSE; inf if a prediction is not finite. A constant target has NMSE = 0 if it is met exactly, else inf.
    """
    target, residual = _residual(y, f)
    if residual is None:
        return math.inf
    worst = float(np.max(np.abs(residual)))
    if worst == 0.0:
        return 0.0
    centred = target - np.average(target, weights=weights)
    spread = float(np.max(np.abs(centred)))
    if spread <= 4e-16 * float(np.max(np.abs(target))):  # constant: the mean itself is rounded
        return math.inf
    # Both sums are scaled by their largest part: squares of 1e200 or 1e-200 leave the range of float64.
    ratio = worst / spread
    error = np.average((residual / worst) ** 2, weights=weights)
    return ratio * ratio * float(error / np.average((centred / spread) ** 2, weights=weights))


def mse(y: np.ndarray, f: np.ndarray) -> float:
    """Mean squared error, in the target's unit squared; inf if a prediction is not finite."""
    return rmse(y, f) ** 2


def rmse(y: np.ndarray, f: np.ndarray) -> float:
    """Root mean squared error, in the target's unit; inf if a prediction is not finite."""
    _, residual = _residual(y, f)
    if residual is None:
        return math.inf
    worst = float(np.max(np.abs(residual)))
    return worst * math.sqrt(float(np.mean((residual / worst) ** 2))) if worst > 0.0 else 0.0


def mae(y: np.ndarray, f: np.ndarray) -> float:
    """Mean absolute error, in the target's unit; inf if a prediction is not finite."""
    _, residual = _residual(y, f)
    return math.inf if residual is None else float(np.mean(np.abs(residual)))


def _residual(y: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Target and residual in float64; the residual is None where a prediction is not finite."""
    target = np.asarray(y, dtype=np.float64)
    prediction = np.asarray(f, dtype=np.float64)
    if target.ndim != 1 or target.size == 0:
        raise ValueError(f"the target must be one column with at least one row, not of shape {target.shape}")
    if prediction.ndim == 0:
        prediction = np.full(target.shape, prediction)
    if prediction.shape != target.shape:
        raise ValueError(f"{prediction.shape} predictions for {target.shape} target values")
    if not np.isfinite(target).all():
        raise ValueError("the target has values that are not finite")
    if not np.isfinite(prediction).all():
        return target, None
    with np.errstate(over="ignore"):
        residual = prediction - target
    return target, residual if np.isfinite(residual).all() else None
