"""Scores that were stored beside equations: believed as far as the data bear them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask

__all__ = ["believed"]

# A stored error comes from a fit in float32 or float64 or from a screening, and these differ by rounding: much
# where numbers cancel, and at any rate by the square of what float32 resolves.
_SLACK, _ROUNDING = 2.0, 1e-6


def believed(task: RegressionTask, equations: Sequence[Expression], stored: Sequence[float]) -> list[float]:
    """The stored errors, but for equations whose own error is larger: these get their own.

    So a resumed search goes on bit for bit with the numbers that it had, and a forged score is worth nothing.

    Args:
        task: data of the search.
        equations: equations without outer scale and offset, where the search has linear scaling.
        stored: normalised squared error of every equation on the search rows, by its file.
    """
    screened = task.screen(equations)
    own: list[float] = []
    for equation, error, claimed in zip(equations, screened.tolist(), stored, strict=True):
        if claimed < error / _SLACK - _ROUNDING:
            error = min(error, _exact_error(task, equation))
            claimed = claimed if claimed >= error / _SLACK - _ROUNDING else error
        own.append(claimed)
    return own


def _exact_error(task: RegressionTask, equation: Expression) -> float:
    """Normalised squared error on the search rows, in float64; inf where it is not finite."""
    target, weights = task.search_target, task.search_weights
    mean = np.average(target, weights=weights)
    values = equation(task.search_inputs)
    with np.errstate(all="ignore"):
        left = target - mean
        if task.linear_scaling:
            values = values - np.average(values, weights=weights)
            slope = np.average(values * left, weights=weights) / np.average(values**2, weights=weights)
            left = left - (slope if np.isfinite(slope) else 0.0) * values
        else:
            left = target - values
        error = float(np.average(left**2, weights=weights) / task.variance)
    return error if np.isfinite(error) else np.inf
