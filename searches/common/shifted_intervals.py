"""Intervals of the constants of a law in columns far from 0, whose centres are no constants of the law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expressions.constant_intervals import LEVEL, ConstantIntervals
from expressions.expression import Expression
from expressions.measurements import Measurements
from searches.common.shifted_columns import ShiftedColumns

__all__ = ["intervals_beside_centres"]


def intervals_beside_centres(
    measurements: Measurements, expression: Expression, level: float = LEVEL
) -> ConstantIntervals:
    """How well rows determine an equation's constants, where `t0` in `(t - t0)` stays what it is.

    A law such as 3*(t - t0) + 2 is one line for any t0, so that neither t0 nor 2 would have an interval.

    Args:
        measurements: rows that the equation was fitted to.
        expression: equation in the table's columns.
        level: probability that an interval is to hold the true value, in 0 to 1.

    Returns:
        Intervals of all constants; those of the centres have no width.
    """
    shift = ShiftedColumns.of(measurements.inputs)
    centres = shift.are_centres(expression) if shift else np.zeros(0, dtype=bool)
    plain = shift.plain(expression) if centres.any() else None
    if plain is None:
        return measurements.intervals(expression, level)
    found = replace(measurements, inputs=shift.shifted(measurements.inputs)).intervals(plain, level)
    law = np.flatnonzero(~centres)
    constants = expression.constants.copy()
    constants[law] = found.constants
    ends = np.stack([constants, constants], axis=1)
    ends[law] = found.ends
    covariance = np.zeros((len(constants), len(constants)))
    covariance[np.ix_(law, law)] = found.covariance
    return replace(found, constants=constants, ends=ends, covariance=covariance)
