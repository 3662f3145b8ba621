"""The same law about the middle of its symmetry: (x - 40)**2*z + 1 for x**2*z - 80*x*z + 1600*z + 1.

Where a law is level at one and the same place of a column, whatever the others are, distances from that place are
what it is a law of; in them it often has fewer terms.
"""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from expressions.gradient import gradient
from expressions.operators import CONSTANT, FIRST_VARIABLE

__all__ = ["level_place", "with_distances"]

_ROWS = 7  # at which the other columns are looked at
_PLACES = 41  # of a column, over its range and as far again on both sides
_HALVINGS = 60
_SAME = 1e-7  # of the column's range, to which all rows must agree
_SHORT = 1e-9  # of the column's range, within which a number of few digits is taken


def level_place(equation: Expression, inputs: np.ndarray, variable: int) -> float | None:
    """The only place of a column at which an equation is level whatever the others are; None where it is none.

    A column that occurs once is not looked at: distances would be no shorter.

    Args:
        equation: equation that holds the variable.
        inputs: values of the variables. `[rows, variables]`
        variable: number of the column.
    """
    if np.count_nonzero(equation.tokens == FIRST_VARIABLE + variable) < 2:
        return None  # no shorter in distances
    column = inputs[:, variable]
    low, span = float(column.min()), float(np.ptp(column))
    rows = inputs[np.linspace(0, len(inputs) - 1, _ROWS).round().astype(int)]
    places = np.linspace(low - 0.5 * span, low + 1.5 * span, _PLACES)
    every = np.repeat(places, len(rows))
    slopes = _slopes(equation, np.tile(rows, (_PLACES, 1)), variable, every).reshape(_PLACES, -1)
    signs = np.sign(slopes)
    if not np.isfinite(slopes).all() or not signs.any(axis=0).all():
        return None
    if not ((signs[1:] * signs[:-1] < 0).sum(axis=0) + (signs == 0).sum(axis=0) == 1).all():
        return None
    changes = np.abs(np.diff(signs, axis=0)) > 0
    first = changes.argmax(axis=0)
    if np.ptp(first) > 1:
        return None
    left, right = places[first].copy(), places[np.minimum(first + 1, _PLACES - 1)].copy()
    sign = signs[first, np.arange(len(rows))]
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        same = np.sign(_slopes(equation, rows, variable, middle)) == sign
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    middle = (left + right) / 2
    if np.ptp(middle) > _SAME * span:
        return None
    return _short(float(np.median(middle)), _SHORT * span)


def with_distances(equation: Expression, variable: int, place: float) -> Expression:
    """The equation with `(x - place)` for a variable."""
    distance = Expression.apply("sub", Expression.variable(variable), Expression.constant(place))

    def leaf(token: int, value: float) -> Expression:
        if token == CONSTANT:
            return Expression.constant(value)
        return distance if token == FIRST_VARIABLE + variable else Expression.variable(token - FIRST_VARIABLE)

    found: Expression = equation.fold(leaf, lambda row, *parts: Expression.apply(row.name, *parts))
    return found


def _slopes(equation: Expression, rows: np.ndarray, variable: int, place: float | np.ndarray) -> np.ndarray:
    """Derivatives by a variable at a place of its column, or at one for each row. `[rows]`"""
    rows = rows.copy()
    rows[:, variable] = place
    with np.errstate(all="ignore"):
        return np.asarray(gradient(equation, rows)[variable])


def _short(value: float, width: float) -> float:
    for digits in range(1, 16):
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= width:
            return near
    return value
