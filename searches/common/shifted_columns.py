"""Columns far from 0 beside their spread, such as seconds since 1970: searched without their offset.

Such a column has its digits where no search looks: in float32 it is constant, and sums with it cancel. A number of
its range, as round as can be, is subtracted before the search, which float64 does exactly (Sterbenz's lemma: a
difference of two numbers within a factor of 2 has no rounding). Equations say `(t - 1700000000)` in its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN, Operator
from expressions.printing import variable_name
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["ShiftedColumns", "is_far"]

_FAR = 1e3  # mean over standard deviation beyond which a column is shifted
_FARTHEST = 1e-12  # standard deviation over mean below which float64 leaves next to no digits
_SAME = 1e-13  # of the spread, to which a merged constant must say the same
_SHORT = 12  # characters of a constant that is worth a rewriting


@dataclass(frozen=True)
class ShiftedColumns:
    """What is subtracted from every column: 0 from most.

    Attributes:
        centres: exactly representable numbers that are subtracted. `[columns]`
        spreads: standard deviations of the columns. `[columns]`
        lost: columns of which float64 leaves next to no digits.
    """

    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    lost: tuple[int, ...]

    @classmethod
    def of(cls, inputs: Any) -> ShiftedColumns:
        """The centres of a table's columns.

        Args:
            inputs: columns of a table; none is shifted where they are no finite numbers. `[rows, columns]`
        """
        values = np.asarray(inputs)
        if values.ndim != 2 or not len(values) or values.dtype.kind not in "iuf":
            return cls((), (), ())
        far = [is_far(values[:, column]) for column in range(values.shape[1])]
        centres = [_centre(values[:, k].astype(np.float64)) if each else 0.0 for k, each in enumerate(far)]
        spreads = [float(np.std(values[:, k] - centre)) if centre else 0.0 for k, centre in enumerate(centres)]
        lost = [k for k, c in enumerate(centres) if c and spreads[k] < _FARTHEST * abs(c)]
        return cls(tuple(centres), tuple(spreads), tuple(lost))

    def __bool__(self) -> bool:
        """Whether any column is shifted."""
        return any(self.centres)

    def notes(self, names: Sequence[str] | None = None) -> tuple[str, ...]:
        """A sentence where float64 has lost what a column could say.

        Args:
            names: names of the columns; x0, x1, … when not given.
        """
        if not self.lost:
            return ()
        shown = ", ".join(variable_name(column, names) for column in self.lost)
        return (
            f"the numbers of {shown} agree in 12 digits or more, so that next to nothing is left of their "
            "differences: subtract a number from them before they are stored, and search again",
        )

    def shifted(self, inputs: Any) -> np.ndarray:
        """Rows of the table without the centres. `[rows, columns]`"""
        return np.asarray(inputs, dtype=np.float64) - np.array(self.centres)

    def taken(self, expression: Expression) -> Expression:
        """An equation of the table's columns as one of the shifted ones."""

        def leaf(token: int, value: float) -> Expression:
            if token == CONSTANT:
                return Expression.constant(value)
            variable = Expression.variable(token - FIRST_VARIABLE)
            centre = self.centres[token - FIRST_VARIABLE]
            return Expression.apply("add", variable, Expression.constant(centre)) if centre else variable

        found: Expression = expression.fold(leaf, lambda row, *parts: Expression.apply(row.name, *parts))
        return found

    def restored(self, expression: Expression) -> Expression:
        """An equation of the shifted columns as one of the table's: with `(t - centre)` for `t`.

        A constant beside the column is merged into the centre where that costs no digit and reads no worse.
        """
        shifted: dict[Expression, int] = {}

        def leaf(token: int, value: float) -> Expression:
            if token == CONSTANT:
                return Expression.constant(value)
            variable = token - FIRST_VARIABLE
            if not self.centres[variable]:
                return Expression.variable(variable)
            found = _difference(variable, self.centres[variable])
            shifted[found] = variable
            return found

        def combine(row: Operator, *parts: Expression) -> Expression:
            written = Expression.apply(row.name, *parts)
            if row.name not in ("add", "sub") or len(parts[1]) != 1 or not len(parts[1].constants):
                return written
            added = float(parts[1].constants[0]) * (1.0 if row.name == "add" else -1.0)
            if parts[0] in shifted:
                return self._merged(shifted[parts[0]], added) or written
            factor, column = _multiple(parts[0])
            if column in shifted and factor:
                near = self._merged(shifted[column], added / factor)
                if near is not None and all(len(repr(float(value))) <= _SHORT for value in near.constants):
                    return Expression.apply("mul", Expression.constant(factor), near)
            return written

        found: Expression = expression.fold(leaf, combine)
        return found

    def restored_front(self, front: ParetoFront) -> ParetoFront:
        """A front of equations of the shifted columns as one of the table's."""
        return ParetoFront.of([self.restored_candidate(candidate) for candidate in front])

    def restored_candidate(self, candidate: Candidate) -> Candidate:
        """A candidate of the shifted columns as one of the table's, with its size."""
        expression = self.restored(candidate.expression)
        if expression == candidate.expression:
            return candidate
        return replace(candidate, expression=expression, complexity=complexity(expression))

    def are_centres(self, expression: Expression) -> np.ndarray:
        """Which constants of an equation of the table's columns are their centres. `[constants]` bool"""
        tokens = expression.tokens.tolist()
        marks = []
        for place, value in zip(
            np.flatnonzero(expression.tokens == CONSTANT).tolist(), expression.constants, strict=True
        ):
            variable = tokens[place - 1] - FIRST_VARIABLE if place > 1 else -1
            centre = self.centres[variable] if 0 <= variable < len(self.centres) else 0.0
            marks.append(bool(centre) and tokens[place - 2] == TOKEN[_operator(centre)] and value == abs(centre))
        return np.array(marks, dtype=bool)

    def plain(self, expression: Expression) -> Expression | None:
        """An equation of the table's columns as one of the shifted ones, its centres left out.

        None where a shifted column also stands without its centre.
        """
        centres = np.flatnonzero(expression.tokens == CONSTANT)[self.are_centres(expression)]
        alone = np.ones(len(expression), dtype=bool)
        alone[centres - 1] = False
        shifted = [FIRST_VARIABLE + k for k, centre in enumerate(self.centres) if centre]
        if np.isin(expression.tokens[alone], shifted).any():
            return None
        kept = np.ones(len(expression), dtype=bool)
        kept[centres] = kept[centres - 2] = False
        return Expression(expression.tokens[kept], expression.constants[~self.are_centres(expression)])

    def _merged(self, variable: int, added: float) -> Expression | None:
        """`variable - centre + added` with one constant; None where that would cost digits."""
        centre = self.centres[variable] - added
        lost = abs((self.centres[variable] - centre) - added)
        if lost > _SAME * self.spreads[variable]:
            return None
        return _difference(variable, centre) if centre else Expression.variable(variable)


def is_far(column: np.ndarray) -> bool:
    """Whether a column's mean is so large beside its spread that it must be shifted. `[rows]`"""
    low, high = float(column.min()), float(column.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low == high or (low < 0 < high):
        return False
    if min(abs(low), abs(high)) < _FAR * (high - low) / 4:  # a standard deviation is no more than half a range
        return False
    middle = low + (high - low) / 2
    return abs(middle) > _FAR * float(np.std(column - middle))


def _centre(column: np.ndarray) -> float:
    """The roundest number near the beginning of a column's range; of two as round, one that is not above it."""
    low, high = float(column.min()), float(column.max())
    span = high - low
    for exponent in range(math.ceil(math.log10(max(abs(low), abs(high)))), -320, -1):
        unit = float(f"1e{exponent}")
        if unit < np.spacing(max(abs(low), abs(high))):
            break
        below = _decimal(math.floor(low / unit), exponent)
        if below >= low - span:
            return below
        above = _decimal(math.ceil(low / unit), exponent)
        if above <= high:
            return above
    return low


def _decimal(count: int, exponent: int) -> float:
    return float(f"{count}e{exponent}")


def _difference(variable: int, centre: float) -> Expression:
    return Expression.apply(_operator(centre), Expression.variable(variable), Expression.constant(abs(centre)))


def _operator(centre: float) -> str:
    return "sub" if centre > 0 else "add"


def _multiple(expression: Expression) -> tuple[float, Expression]:
    """Factor and rest of a product with a constant; 0 and the whole of everything else."""
    children = expression.children()
    if len(children) == 2 and expression == Expression.apply("mul", *children):
        for one, other in (children, children[::-1]):
            if len(one) == 1 and len(one.constants):
                return float(one.constants[0]), other
    return 0.0, expression
