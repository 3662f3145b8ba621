"""All rows of a search: some thousands of them are searched and refined on, and all of them judge in the end.

Whatever costs more than a look at every cell would break a short budget on a long table, so it is done on
`RegressionTask`s of a few rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from foundation.arrays import finite_numbers
from searches.common.checked_rows import Rows, checked_rows, checked_weights, of_mean_one, variance
from searches.common.chosen_rows import chosen_rows, evenly_spread
from searches.common.regression_task import RegressionTask, held_out_error
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["REFINED_ROWS", "WholeTable"]

REFINED_ROWS = 10_000
"""Rows on which equations are refined."""
_BLOCK = 4096  # rows that all equations are evaluated on together, while they are in the cache
_ROWS_A_SECOND, _CELLS_A_SECOND = 2e6, 1e8  # of a long table, on which the equations of a front are scored
_AT_ONCE = 8  # equations whose values are in memory together


class WholeTable:
    """Every row of a table.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        validation: held-out `(inputs, target)`; None: equations are scored on the training rows alone.
        weights: weights of the rows' squared errors, none negative; None: all alike. `[rows]`
        validation_weights: the same for the held-out rows. `[validation rows]`

    Raises:
        ValueError: the data cannot be searched, see `searches.common.checked_rows`.
    """

    def __init__(
        self,
        inputs: Any,
        target: Any,
        *,
        validation: tuple[Any, Any] | None = None,
        weights: Any = None,
        validation_weights: Any = None,
    ) -> None:
        self.inputs, self.target = checked_rows(inputs, target, "training")
        self.weights = None
        if weights is not None:
            weights = checked_weights(weights, self.target)
            counted = weights > 0
            self.inputs, self.target = self.inputs[counted], self.target[counted]
            self.weights = of_mean_one(weights[counted])
        """Weights of the rows, of mean 1; None: all alike. `[rows]`"""
        self.validation: Rows | None = None if validation is None else checked_rows(*validation, "validation")
        self.validation_weights: np.ndarray | None = None
        if validation_weights is not None:
            self.validation_weights = finite_numbers(validation_weights, "the validation weights")
        self.variance = variance(self.target, self.weights)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.target)

    @property
    def variables(self) -> int:
        """Number of input columns."""
        return self.inputs.shape[1]

    def task(
        self,
        *,
        search_rows: int,
        seed: int,
        linear_scaling: bool = True,
        rows: int = REFINED_ROWS,
    ) -> RegressionTask:
        """The rows to search on, and those to refine on.

        Args:
            search_rows: number of rows that the search looks at.
            seed: random seed for the choice of rows.
            linear_scaling: whether every equation f stands for the best `a*f + b`.
            rows: number of rows to refine on, and of held-out ones; all where there are fewer.
        """
        rows = max(rows, search_rows)
        kept = chosen_rows(self.inputs, self.target, rows, np.random.default_rng(seed))
        validation, validation_weights = self.validation, self.validation_weights
        if validation is not None and len(validation[1]) > rows:
            spread = evenly_spread(len(validation[1]), rows)
            validation = validation[0][spread], validation[1][spread]
            validation_weights = None if validation_weights is None else validation_weights[spread]
        return RegressionTask(
            self.inputs[kept],
            self.target[kept],
            validation=validation,
            search_rows=search_rows,
            linear_scaling=linear_scaling,
            seed=seed,
            weights=None if self.weights is None else self.weights[kept],
            validation_weights=validation_weights,
        )

    # --- scores on all rows -------------------------------------------------------------------------------------

    def is_longer_than(self, task: RegressionTask) -> bool:
        """Whether there are rows, or held-out rows, that a task of this table does not have."""
        held_out = [0 if rows is None else len(rows[1]) for rows in (self.validation, task.validation)]
        return len(self.target) > len(task.target) or held_out[0] > held_out[1]

    @property
    def scoring_seconds(self) -> float:
        """Time that `scored` may take, to be kept for it; next to nothing where the table is short."""
        parts = [self.inputs, *([] if self.validation is None else [self.validation[0]])]
        return sum(len(part) / _ROWS_A_SECOND + part.size / _CELLS_A_SECOND for part in parts)

    def scored(
        self, front: ParetoFront, task: RegressionTask, seconds: float = math.inf
    ) -> tuple[ParetoFront, tuple[str, ...]]:
        """The front with errors on all rows.

        Args:
            front: equations with their errors on the rows of a task.
            task: task of this table.
            seconds: time after which nothing more is scored: the front stays as it is.

        Returns:
            The front, and a sentence where its errors are not those on all rows.
        """
        if not self.is_longer_than(task) or not len(front):
            return front, ()
        ends = time.monotonic() + seconds
        candidates: list[Candidate] = []
        for start in range(0, len(front), _AT_ONCE):
            found = self._judged(front.candidates[start : start + _AT_ONCE], ends)
            if found is None:
                rows = len(task.target)
                return front, (f"errors are those on {rows:,} of {len(self):,} rows: the time was over",)
            candidates += found
        return ParetoFront.of(candidates), ()

    def judged(self, candidate: Candidate) -> Candidate:
        """An equation with its errors on all rows."""
        [found] = self._judged([candidate], math.inf) or [candidate]
        return found

    def _judged(self, candidates: Sequence[Candidate], ends: float) -> list[Candidate] | None:
        """Equations with their errors on all rows; None where time is up before that."""
        expressions = [candidate.expression for candidate in candidates]
        squares = np.zeros(len(expressions))
        for block, values in _values(expressions, self.inputs):
            if time.monotonic() > ends:
                return None
            with np.errstate(all="ignore"):
                errors = np.square(values - self.target[block])
                squares += errors.sum(axis=1) if self.weights is None else errors @ self.weights[block]
        errors = squares / len(self.target) / self.variance
        train = np.where(np.isfinite(errors), errors, np.inf).tolist()
        held_out = self._held_out(expressions, train, ends)
        if held_out is None:
            return None
        return [
            replace(each, train_nmse=one, validation_nmse=other)
            for each, one, other in zip(candidates, train, held_out, strict=True)
        ]

    def _held_out(self, expressions: Sequence[Expression], train: list[float], ends: float) -> list[float] | None:
        """Errors of equations on the held-out rows; None where time is up before that."""
        if self.validation is None:
            return train
        inputs, target = self.validation
        everything = np.empty((len(expressions), len(target)))
        for block, values in _values(expressions, inputs):
            if time.monotonic() > ends:
                return None
            everything[:, block] = values
        return [
            held_out_error(values, target, self.validation_weights, error)
            for values, error in zip(everything, train, strict=True)
        ]


def _values(expressions: Sequence[Expression], inputs: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows, some at a time, and the values of all expressions on them. `[expressions, some rows]`"""
    for start in range(0, len(inputs), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(inputs)))
        yield block, Evaluator(inputs[block], np.float64).values(expressions)
