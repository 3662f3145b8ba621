"""The rows that an equation was fitted to, as evidence for its constants."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from expressions.constant_intervals import LEVEL, ConstantIntervals, constant_intervals
from expressions.expression import Expression

__all__ = ["Measurements"]

_MOST_ROWS = 4_000  # to compute on; more only make an interval narrower, as the root of their number says
_MOST_CELLS, _LEAST_ROWS = 8_000, 500  # the same for equations of many constants: rows times constants, and rows
_MOST_CONSTANTS = 30  # of an equation whose constants anybody reads


@dataclass(frozen=True)
class Measurements:
    """Rows to compute intervals on: all of a table, or evenly spread ones that stand for the others, too.

    Attributes:
        inputs: values of the variables. `[rows, variables]`
        target: measured values. `[rows]`
        weights: weights of the squared errors, see `expressions.constant_intervals`; None: all alike. `[rows]`
        known_errors: whether the errors' variances are the inverse weights themselves.
        count: number of measurements that the rows stand for.
        whole: whether these are all rows of the table.
    """

    inputs: np.ndarray
    target: np.ndarray
    weights: np.ndarray | None
    known_errors: bool
    count: int
    whole: bool

    @classmethod
    def of(
        cls,
        inputs: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        sigma: np.ndarray | None = None,
        count: int | None = None,
    ) -> Measurements:
        """The measurements of a table, some 4,000 rows of it where it is longer.

        Args:
            inputs: values of the variables. `[rows, variables]`
            target: measured values. `[rows]`
            weights: weights of the squared errors, inverse to the errors' variances but for one unknown factor;
                None: all alike. `[rows]`
            sigma: standard deviations of the errors, in the target's unit, instead of weights. `[rows]`
            count: number of measurements, where some rows stand for several; None: the number of rows.
        """
        weights = weights if sigma is None else np.asarray(sigma, dtype=np.float64) ** -2.0
        count = len(target) if count is None else count
        if weights is None and count != len(target):
            weights = np.full(len(target), count / len(target))
        return cls(inputs, target, weights, sigma is not None, count, True).thinned(_MOST_ROWS)

    def thinned(self, most: int) -> Measurements:
        """The same measurements: where they are more than `most`, some that stand for the others."""
        step = -(-len(self.target) // most)
        if step <= 1:
            return self
        some = slice(None, None, step)
        target = self.target[some].copy()
        weights = np.ones(len(target)) if self.weights is None else self.weights[some]
        weights = weights * (len(self.target) / len(target))
        return replace(self, inputs=self.inputs[some].copy(), target=target, weights=weights, whole=False)

    def intervals(self, expression: Expression, level: float = LEVEL) -> ConstantIntervals:
        """How well the rows determine the constants of an equation that was fitted to all rows of the table.

        Args:
            expression: fitted equation; one of more than 30 constants has no intervals.
            level: probability that an interval is to hold the true value, in 0 to 1.
        """
        constants = len(expression.constants)
        if constants > _MOST_CONSTANTS:
            return ConstantIntervals.unknown(expression, level)
        some = self.thinned(max(_MOST_CELLS // max(constants, 1), _LEAST_ROWS))
        return constant_intervals(
            expression,
            some.inputs,
            some.target,
            weights=some.weights,
            known_errors=some.known_errors,
            rows=some.count,
            refit=some.whole,
            level=level,
        )
