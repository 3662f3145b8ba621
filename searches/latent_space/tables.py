"""A table prepared for a map of equations: its columns, their units, and views of it.

A map is trained on numbers of ordinary size and on a few variables. Columns of other sizes are divided by a power
of ten, which is written back into the equations. Where a table has more variables than the map knows, the map gets
the ones most relevant to the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE
from expressions.printing import variable_name

__all__ = ["PreparedTable", "Table", "of_ordinary_size", "relevance"]

Table = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""

_ORDINARY = (1e-2, 1e2)  # root mean squares that are not rescaled
_VIEW_ROWS = 200  # number of rows in a view
_FEWEST_ROWS = 8  # smallest number of rows in a sub-sample
_SHARES = (0.5, 0.8)  # shares of the rows in sub-samples
_NOISES = (0.0, 0.01, 0.03)  # standard deviations of the noise of views, in units of the target's
_BINS = 10


@dataclass(frozen=True)
class PreparedTable:
    """The part of a table that a map gets, in ordinary units.

    Attributes:
        inputs: selected columns in their own units. `[rows, columns]`
        target: target in its own units. `[rows]`
        columns: indices of the selected columns in the table.
        exponents: exponents of the powers of ten by which the columns are divided.
        notes: one sentence for every change of the table.
    """

    inputs: np.ndarray
    target: np.ndarray
    columns: tuple[int, ...]
    exponents: tuple[int, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, inputs: np.ndarray, target: np.ndarray, variables: int, names: Sequence[str] | None = None
    ) -> PreparedTable:
        """Select and scale the columns.

        Args:
            inputs: finite columns of the table. `[rows, columns]`
            target: finite values, not all equal. `[rows]`
            variables: number of variables that the map knows.
            names: names of the columns; x0, x1, … when not given.
        """
        columns = np.arange(inputs.shape[1])
        notes: tuple[str, ...] = ()
        if len(columns) > variables:
            order = np.argsort(-relevance(inputs, target), kind="stable")
            columns = np.sort(order[:variables])
            shown = ", ".join(variable_name(column, names) for column in columns.tolist())
            notes = (
                f"the map knows {variables} variables and the table has {inputs.shape[1]}: it is shown {shown}, "
                "which have most to do with the target",
            )
        return cls.of_columns(inputs, target, columns, notes)

    @classmethod
    def of_columns(
        cls, inputs: np.ndarray, target: np.ndarray, columns: np.ndarray, notes: tuple[str, ...] = ()
    ) -> PreparedTable:
        """Scale the given columns.

        Args:
            inputs: finite columns of the table. `[rows, columns]`
            target: finite values, not all equal. `[rows]`
            columns: positions of the columns to be shown. `[columns shown]`
            notes: one sentence for every change of the table.
        """
        exponents = tuple(_exponent(inputs[:, column]) for column in columns)
        scaled = inputs[:, columns] / 10.0 ** np.array(exponents, dtype=np.float64)
        return cls(scaled, of_ordinary_size(target), tuple(columns.tolist()), exponents, notes)

    @property
    def factors(self) -> frozenset[float]:
        """The constants that `restored` writes in front of variables."""
        return frozenset(_factor(exponent) for exponent in self.exponents if exponent)

    def shown(self, expression: Expression) -> Expression:
        """An equation of the table's columns, in ordinary units, as one of the columns shown.

        Raises:
            ValueError: it holds a column that is not shown.
        """
        return self._taken(expression, [0] * len(self.exponents))

    def taken(self, expression: Expression) -> Expression:
        """An equation of the table's columns, in their own units, as one of the columns shown.

        Raises:
            ValueError: it holds a column that is not shown.
        """
        return self._taken(expression, self.exponents)

    def _taken(self, expression: Expression, exponents: Sequence[int]) -> Expression:
        def leaf(token: int, value: float) -> Expression:
            if token == CONSTANT:
                return Expression.constant(value)
            place = self.columns.index(token - FIRST_VARIABLE)
            variable = Expression.variable(place)
            if not exponents[place]:
                return variable
            return Expression.apply("mul", Expression.constant(float(f"1e{exponents[place]}")), variable)

        found: Expression = expression.fold(leaf, lambda row, *parts: Expression.apply(row.name, *parts))
        return found

    def renamed(self, expression: Expression) -> Expression:
        """An equation of the columns shown as one of the table's columns, still in ordinary units."""
        return self._rewritten(expression, [0] * len(self.exponents))

    def restored(self, expression: Expression) -> Expression:
        """An equation of the columns shown as one of the table's own columns, in their own units."""
        return self._rewritten(expression, self.exponents)

    def _rewritten(self, expression: Expression, exponents: Sequence[int]) -> Expression:
        if not any(exponents) and self.columns == tuple(range(len(self.columns))):
            return expression

        def leaf(token: int, value: float) -> Expression:
            if token == CONSTANT:
                return Expression.constant(value)
            place = token - FIRST_VARIABLE
            variable = Expression.variable(self.columns[place])
            if not exponents[place]:
                return variable
            return Expression.apply("mul", Expression.constant(_factor(exponents[place])), variable)

        found: Expression = expression.fold(leaf, lambda row, *parts: Expression.apply(row.name, *parts))
        return found

    def scaled(self, inputs: np.ndarray, target: np.ndarray) -> Table:
        """Other rows of the same table: the columns shown in the same units, the target as it is."""
        columns = np.asarray(inputs, dtype=np.float64)[:, list(self.columns)]
        return columns / 10.0 ** np.array(self.exponents, dtype=np.float64), np.asarray(target, dtype=np.float64)

    def views(self, count: int, seed: int) -> list[Table]:
        """Versions of the table: the first is clean and spread over the target, the others lack rows or are noisy.

        Args:
            count: number of views.
            seed: random seed for the rows and the noise.
        """
        order = np.argsort(self.target, kind="stable")
        kept = np.unique(np.linspace(0, len(order) - 1, min(len(order), _VIEW_ROWS)).round().astype(int))
        first = np.sort(order[kept])
        return [self._rows(first), *(self._view(k, seed) for k in range(1, count))]

    def _rows(self, rows: np.ndarray) -> Table:
        return self.inputs[rows], self.target[rows]

    def _view(self, number: int, seed: int) -> Table:
        rng = np.random.default_rng([seed, number])
        rows = len(self.target)
        most = min(rows, _VIEW_ROWS)
        fewest = min(most, max(_FEWEST_ROWS, math.ceil(_SHARES[number % len(_SHARES)] * most)))
        chosen = np.sort(rng.choice(rows, fewest, replace=False))
        inputs, target = self._rows(chosen)
        noise = _NOISES[number % len(_NOISES)] * float(np.std(self.target))
        return inputs, target + noise * rng.normal(size=len(target))


def of_ordinary_size(target: np.ndarray) -> np.ndarray:
    """A target divided by a power of ten, which an equation's outer factor takes up. `[rows] -> [rows]`"""
    return np.asarray(target / 10.0 ** float(_exponent(target)))


def relevance(inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Relevance of each column by itself for the target, from 0 to about 1. `[columns]`

    The relevance is the larger of two numbers. The squared correlation of the ranks detects monotone relations.
    The share of the target's variance between the means of ten bins of equal size, less its expectation under
    chance, detects other relations.
    """
    ranks = _ranks(target)
    return np.array(
        [max(_correlation(_ranks(column), ranks) ** 2, _between(column, ranks)) for column in inputs.T]
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, equal ones for equal values, centred. `[rows]`"""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return np.asarray(ranks - ranks.mean())


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else 0.0


def _between(column: np.ndarray, ranks: np.ndarray) -> float:
    rows = len(column)
    bins = min(_BINS, rows // 5)
    total = float(ranks @ ranks)
    if bins < 2 or total == 0 or np.ptp(column) == 0:
        return 0.0
    edges = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, column, side="right")
    counts = np.bincount(place, minlength=len(edges) + 1)
    sums = np.bincount(place, weights=ranks, minlength=len(edges) + 1)
    used = counts > 0
    explained = float(np.sum(sums[used] ** 2 / counts[used])) / total
    groups = int(used.sum())
    if rows <= groups:
        return 0.0
    return max(0.0, 1.0 - (1.0 - explained) * (rows - 1) / (rows - groups))


def _exponent(column: np.ndarray) -> int:
    """The power of ten to divide a column by; 0 where its numbers are of ordinary size."""
    largest = float(np.abs(column).max())
    if largest == 0:
        return 0
    size = largest * float(np.sqrt(np.mean(np.square(column / largest))))  # squares would leave float64
    return 0 if _ORDINARY[0] <= size <= _ORDINARY[1] else math.floor(math.log10(size))


def _factor(exponent: int) -> float:
    return float(f"1e{-exponent}")
