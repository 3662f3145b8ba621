"""Stepwise regression of one target: a term more, then exchanges, in the end with terms that are products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.expression import Expression
from searches.links.inverse_links import InvertedTarget
from searches.links.matching_pursuit import PARALLEL, in_units
from searches.links.term_library import Library

__all__ = ["EXACT", "Stepwise"]

EXACT = 1e-18
"""Error relative to the variance, below which nothing is left to find."""
_EXCHANGES = 3  # rounds
_GROWN = 3  # factors that a function may get, one after the other
_WORTH = 0.98  # of the error, at which a change is one
_NOTHING = 1e-12  # of the largest term: a term that is rounding


class Stepwise:
    """Stepwise regression of one target, with exchanges.

    Args:
        library: functions to choose terms from.
        growing: functions by which a chosen term may be multiplied; None: none.
        target: target to be explained.
    """

    def __init__(self, library: Library, growing: Library | None, target: InvertedTarget) -> None:
        self.library, self.growing, self.target = library, growing, target
        values, self.weights = in_units(target.values, target.slopes)
        self.goal = self.weights * values
        self.columns = (library.values * self.weights).astype(np.float32)
        self.lengths = np.square(self.columns).sum(axis=1)
        self.chosen: list[tuple[Expression, np.ndarray]] = []  # functions, and their weighted values
        self.error = float("inf")

    def add(self) -> float:
        """One term more, then exchanges; the weighted sum of squares that is left."""
        self.chosen.append(self._best(self.chosen))
        self.error = self._error(self.chosen)
        for _ in range(_EXCHANGES):
            if len(self.chosen) < 2 or self.error < EXACT or not self._exchange():
                break
        return self.error

    def _exchange(self) -> bool:
        """Replace every term by the best one beside the others; whether that helped."""
        before = self.error
        for _ in range(len(self.chosen)):
            first, *others = self.chosen
            changed = [*others, self._best(others)]
            error = self._error(changed)
            better = error < _WORTH * self.error
            self.chosen, self.error = (changed, error) if better else ([*others, first], self.error)
        return self.error < before

    def _best(self, others: Sequence[tuple[Expression, np.ndarray]]) -> tuple[Expression, np.ndarray]:
        """The function that explains most of what others leave, multiplied by factors as long as that helps."""
        basis, left = self._left(others)
        gains = _gains(self.columns, self.lengths, basis.astype(np.float32), left.astype(np.float32))
        place, gain = int(gains.argmax()), float(gains.max())
        function, column = self.library.functions[place], self.library.values[place] * self.weights
        for _ in range(_GROWN if self.growing else 0):
            assert self.growing is not None
            columns = self.growing.values * column
            gains = _gains(columns, np.square(columns).sum(axis=1), basis, left)
            if not len(gains) or gains.max() * _WORTH <= gain:
                break
            place, gain = int(gains.argmax()), float(gains.max())
            function, column = Expression.apply("mul", self.growing.functions[place], function), columns[place]
        return function, column

    def _left(self, terms: Sequence[tuple[Expression, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """An orthonormal basis of the constant and the terms, `[rows, columns]`, and what it leaves. `[rows]`"""
        columns = np.stack([self.weights, *(column for _, column in terms)], axis=1)
        basis = np.linalg.qr(columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300))[0]
        return basis, self.goal - basis @ (basis.T @ self.goal)

    def _error(self, terms: Sequence[tuple[Expression, np.ndarray]]) -> float:
        return float(np.square(self._left(terms)[1]).sum())

    def equation(self, inputs: np.ndarray) -> Expression | None:
        """The equation of y that the chosen terms give, with its constants, on `inputs [rows, variables]`.

        None where a term or a constant is beyond float64 in the table's own units.
        """
        functions = [function for function, _ in self.chosen]
        columns = np.stack([np.ones(len(inputs)), *(function(inputs) for function in functions)], axis=1)
        slopes = self.target.slopes
        if not np.isfinite(columns * slopes[:, None]).all():
            return None
        solved = _solved(columns * slopes[:, None], self.target.values * slopes)
        if not np.isfinite(solved).all():
            return None
        sizes = np.abs(columns * solved).max(axis=0)
        terms = [Expression.constant(solved[0])] if sizes[0] > _NOTHING * sizes.max() else []
        for function, coefficient, size in zip(functions, solved[1:], sizes[1:], strict=True):
            if size > _NOTHING * sizes.max():
                terms.append(Expression.apply("mul", Expression.constant(coefficient), function))
        return self.target.restored(Expression.joined("add", terms))


def _solved(columns: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Least squares on columns of ordinary size. `[columns]`"""
    size = np.maximum(np.abs(columns).max(axis=0), 1e-300)  # whose square may be beyond float64
    return np.linalg.lstsq(columns / size, goal)[0] / size


def _gains(columns: np.ndarray, lengths: np.ndarray, basis: np.ndarray, left: np.ndarray) -> np.ndarray:
    """By how much each of `columns [columns, rows]`, beside an orthonormal basis, lowers the squares left."""
    apart = lengths - np.square(columns @ basis).sum(axis=1)
    return np.where(apart > PARALLEL * lengths, np.square(columns @ left) / apart, 0.0)
