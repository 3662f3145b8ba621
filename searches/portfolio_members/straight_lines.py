"""Straight lines of a few columns, which need no search: what a portfolio begins with."""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask

__all__ = ["straight_lines"]


def straight_lines(task: RegressionTask) -> list[Expression]:
    """Sums of columns, each times a constant: of the one that explains most, of two, and so on to all."""
    columns = task.search_inputs - task.search_inputs.mean(axis=0)
    columns = columns / np.maximum(np.sqrt(np.square(columns).sum(axis=0)), 1e-300)
    left = np.asarray(task.centred_target, dtype=np.float64)
    terms: list[Expression] = []
    lines: list[Expression] = []
    chosen: list[int] = []
    for _ in range(task.variables):
        gains = np.square(columns.T @ left)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        basis = columns[:, chosen]
        left = task.centred_target - basis @ np.linalg.lstsq(basis, task.centred_target)[0]
        terms.append(Expression.apply("mul", Expression.constant(1.0), Expression.variable(chosen[-1])))
        lines.append(Expression.joined("add", terms))
    return lines
