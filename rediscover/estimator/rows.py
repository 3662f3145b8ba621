"""Rows of a fit: equal ones become one of summed weight, in an order that does not depend on how they came."""

from __future__ import annotations

import numpy as np

__all__ = ["merged_rows"]

_MOST_ROWS = 10_000  # sorting more takes longer than it is worth


def merged_rows(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The rows that a search gets: a row of weight 2 is the same as that row twice, and one of weight 0 is none.

    Args:
        inputs: finite values of the columns. `[rows, columns]`
        target: finite values. `[rows]`
        weights: weights of the rows, none negative, not all 0; None: all 1. `[rows]`

    Returns:
        Inputs, target and weights (None: all alike) of the rows that count. Up to 10,000 rows are sorted, with one
        row for equal ones.
    """
    if weights is not None:
        counts = weights > 0
        inputs, target, weights = inputs[counts], target[counts], weights[counts]
    if len(target) <= _MOST_ROWS:
        table, place = np.unique(np.column_stack([inputs, target]) + 0.0, axis=0, return_inverse=True)
        weights = np.bincount(place.ravel(), weights=weights, minlength=len(table)).astype(np.float64)
        inputs, target = np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
    if weights is not None and (weights == weights[0]).all():
        weights = None
    return inputs, target, weights
