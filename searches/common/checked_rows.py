"""Rows that a search can work with: finite numbers that fit together, of a target that varies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from foundation.arrays import finite_numbers

__all__ = ["Rows", "checked_rows", "checked_weights", "of_mean_one", "spread", "variance"]

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""

_SPREADS = (1e-100, 1e100)  # standard deviations of a target whose squared errors stay inside float64


def checked_rows(inputs: Any, target: Any, which: str) -> Rows:
    """Inputs and target as float64.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values. `[rows]`
        which: word for the rows in a sentence, such as `training`.

    Raises:
        ValueError: shapes do not match, or a value is not a finite number.
    """
    inputs = finite_numbers(inputs, f"the {which} inputs")
    target = finite_numbers(target, f"the {which} target")
    if inputs.ndim != 2 or target.shape != inputs.shape[:1] or not len(target):
        raise ValueError(
            f"{which} inputs {inputs.shape} and target {target.shape} are not [rows, variables], [rows]"
        )
    return inputs, target


def checked_weights(weights: Any, target: np.ndarray) -> np.ndarray:
    """Weights as float64. `[rows]`

    Raises:
        ValueError: shapes do not match, a weight is negative or not a finite number, or the rows of positive
            weight have one target value.
    """
    weights = finite_numbers(weights, "the weights")
    if weights.shape != target.shape or not (weights >= 0).all():
        raise ValueError(f"weights {weights.shape} must be [rows] as the target, finite, and not negative")
    counted = target[weights > 0]
    if not len(counted) or counted.min() == counted.max():
        raise ValueError("rows of positive weight have one target value: there is nothing to search for")
    return weights


def of_mean_one(weights: np.ndarray) -> np.ndarray:
    """Weights over their mean. `[rows]`"""
    return np.asarray(weights / weights.mean())


def spread(centred: np.ndarray, weights: np.ndarray | None) -> float:
    """Standard deviation of values whose weighted mean is 0."""
    if weights is None:
        return float(centred.std())
    largest = float(np.abs(centred).max()) or 1.0
    return largest * math.sqrt(np.average((centred / largest) ** 2, weights=weights))


def variance(target: np.ndarray, weights: np.ndarray | None) -> float:
    """Variance of a target.

    Raises:
        ValueError: the target is constant, or its spread so large or small that squared errors leave float64.
    """
    lowest, highest = float(target.min()), float(target.max())
    if lowest == highest:  # the variance itself would not be 0, since the mean is rounded
        raise ValueError(f"the target is {lowest!r} on every row: there is nothing to search for")
    with np.errstate(over="ignore"):
        if weights is None:
            deviation = float(np.std(target))
        else:
            deviation = spread(target - np.average(target, weights=weights), weights)
    if not _SPREADS[0] < deviation < _SPREADS[1]:
        raise ValueError(
            f"the target lies between {lowest!r} and {highest!r}: scale it so that its standard deviation is "
            f"between {_SPREADS[0]:g} and {_SPREADS[1]:g}"
        )
    return deviation**2
