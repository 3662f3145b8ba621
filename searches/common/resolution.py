"""The digits in which a table is written, and the error that rounding to them leaves.

A table that is written with ten digits cannot tell the law from anything that differs in the eleventh. What fits
it better than its own rounding fits the rounding.
"""

from __future__ import annotations

import math

import numpy as np

from expressions.expression import Expression

__all__ = ["Resolution", "allowance", "quanta"]

_DECIMALS = range(1, 15)
_DIGITS = range(1, 14)  # more cannot be told from all that float64 holds
_LOOKED_AT = 10_000  # rows whose digits are looked at
_ULPS = 4.0  # rounding of a product by a power of ten
_COARSER = (
    10.0  # times that an input's step may be as coarse as the target's: a coarser one may be a grid, and exact
)
_FULL = 1e-14  # step over size of a column that has all digits of float64


def quanta(values: np.ndarray) -> np.ndarray:
    """The steps in which numbers are written, read off their digits: float64's own where they have all digits.

    Tables are written with so many decimals, or with so many significant digits, or in float32: the largest step
    that explains every number is taken. Whole numbers may be counts, and are taken for exact.

    Args:
        values: finite numbers. `[rows]`

    Returns:
        Distance to the next number that could have been written. `[rows]`
    """
    steps = np.spacing(np.abs(values))
    seen = np.unique(values[:: -(-len(values) // _LOOKED_AT)])
    if np.array_equal(seen, np.round(seen)):
        return steps
    decimals = next((count for count in _DECIMALS if _whole(seen * 10.0**count)), None)
    if decimals is not None:
        steps = np.maximum(steps, 10.0**-decimals)
    digits = _significant(seen)
    if digits is not None:
        steps = np.maximum(steps, 10.0 ** (_exponents(values) - digits + 1))
    if decimals is None and digits is None:
        with np.errstate(over="ignore", under="ignore"):
            single = values.astype(np.float32)
        if np.array_equal(single, values):
            steps = np.maximum(steps, np.spacing(np.abs(single)).astype(np.float64))
    return steps


def _significant(values: np.ndarray) -> int | None:
    """Number of significant digits in which all numbers are written; None: all that float64 holds."""
    scale = _exponents(values)
    with np.errstate(over="ignore", under="ignore"):
        return next((count for count in _DIGITS if _whole(values * 10.0 ** (count - 1 - scale))), None)


def _whole(values: np.ndarray) -> bool:
    """Whether numbers are whole, but for the rounding of one product."""
    if not np.isfinite(values).all():
        return False
    return bool(np.all(np.abs(values - np.round(values)) <= _ULPS * np.spacing(np.abs(values))))


def _exponents(values: np.ndarray) -> np.ndarray:
    """Decimal exponents of the first digits; 0 for zeros. `[rows]`"""
    sizes = np.abs(values)
    return np.floor(np.log10(np.where(sizes > 0, sizes, 1.0)))


class Resolution:
    """The steps of a table's numbers.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values of the target. `[rows]`
        weights: weights of the rows' squared errors; None: all alike. `[rows]`
    """

    def __init__(self, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> None:
        self._inputs, self._target, self._weights = inputs, quanta(target), weights
        coarsest = _COARSER * _relative(target, self._target)
        steps = {column: quanta(inputs[:, column]) for column in range(inputs.shape[1])}
        self._steps = {
            column: found
            for column, found in steps.items()
            if _FULL < _relative(inputs[:, column], found) < coarsest
        }

    def error(self, expression: Expression) -> float:
        """Mean squared error, in the target's units, that an equation has because its table is rounded.

        A number that is rounded to a step has a uniform error within the step, of a twelfth of its square; one of
        the inputs reaches the target by way of the equation.

        Args:
            expression: equation in the units of the table.
        """
        squares = np.square(self._target)
        for column, steps in self._steps.items():
            above, below = self._inputs.copy(), self._inputs.copy()
            above[:, column] += steps / 2
            below[:, column] -= steps / 2
            with np.errstate(all="ignore"):
                squares = squares + np.square(expression(above) - expression(below))
        found = float(np.average(squares, weights=self._weights)) / 12.0
        return found if math.isfinite(found) else 0.0


def allowance(rows: int) -> float:
    """Factor on the expected error of rounding that chance may add on so many rows."""
    return 1.2 + 4.0 / math.sqrt(rows)


def _relative(values: np.ndarray, steps: np.ndarray) -> float:
    """The largest step of a column over its largest number."""
    return float(steps.max() / max(np.abs(values).max(), np.finfo(float).tiny))
