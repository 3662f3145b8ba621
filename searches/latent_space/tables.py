"""A table made ready for a map of equations: its columns, their units, and views of it.

A map has been trained on numbers of ordinary size and on a few variables. Columns of other sizes are divided by a
power of ten, which is written back into what is found; of more variables than the map knows, those that have most
to do with the target are shown to it.
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

_ORDINARY = (1e-2, 1e2)  # root mean squares that are left alone
_VIEW_ROWS = 200  # that a map looks at
_FEWEST_ROWS = 8  # of a view that leaves rows out
_SHARES = (0.5, 0.8)  # of the rows that such a view has
_NOISES = (0.0, 0.01, 0.03)  # standard deviations of the noise of views, in those of the target
_BINS = 10


@dataclass(frozen=True)
class PreparedTable:
    """What a map is shown of a table.

    Attributes:
        inputs: `[rows, columns]`, the columns shown, in their own units.
        target: `[rows]`, in its own units.
        columns: which of the table's columns these are.
        exponents: the powers of ten that the columns were divided by.
        notes: a sentence for whatever is not as it was given.
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
        """Choose and scale the columns.

        Args:
            inputs: `[rows, columns]`, finite.
            target: `[rows]`, finite and not constant.
            variables: that the map knows.
            names: of the columns; x0, x1, … when not given.
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
        exponents = tuple(_exponent(inputs[:, column]) for column in columns)
        scaled = inputs[:, columns] / 10.0 ** np.array(exponents, dtype=np.float64)
        return cls(scaled, of_ordinary_size(target), tuple(columns.tolist()), exponents, notes)

    @property
    def factors(self) -> frozenset[float]:
        """The constants that `restored` writes in front of variables."""
        return frozenset(_factor(exponent) for exponent in self.exponents if exponent)

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
            count: how many.
            seed: of the rows and of the noise.
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
    """How much each column says about the target by itself, from 0 to about 1. `[columns]`

    The larger of two numbers: the squared correlation of the ranks, which sees what is monotone, and the share of
    the target's variance that lies between the means of ten bins of equally many rows, less what chance would
    give, which sees what is not.
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
