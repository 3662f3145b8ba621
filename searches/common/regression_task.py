"""The data of a search and how equations are scored on it: quickly while searching, carefully at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse
from searches.common.broken_powers import as_powers_of_roots
from searches.common.checked_rows import checked_rows, checked_weights, of_mean_one, spread, variance
from searches.common.chosen_rows import chosen_rows
from searches.common.description_length import (
    MOST_ROWS,
    NODE_NATS,
    NODE_NATS_HELD_OUT,
    constants_nats,
    functions_nats,
)
from searches.common.resolution import Resolution, allowance
from searches.common.shifted_columns import is_far
from searches.pareto_front import EXACT_NMSE, ROUNDEST, Candidate

__all__ = ["RegressionTask", "held_out_error"]

_FINAL_ROWS = 4_000  # rows of the last fit: ten constants gain nothing from more
_CHUNK_ELEMENTS = 1 << 20  # values computed at a time: 4 MB of float32, which the outer cache holds
_PLAIN_SQUARES = (1e-30, 1e37)  # sums of squares that float32 holds with all its digits
_PLAIN_FLOAT32 = (1e-12, 1e12)  # largest magnitudes of a column of which float32 holds the cube, too
_PLAIN_TARGET = (1e-30, 1e30)  # magnitudes of a target's largest value of which float32 holds ten decades below
_ROUNDING = 1e-15  # range over magnitude, below which held-out targets have one value
_ROWS_A_CONSTANT = 3  # with fewer rows for each of its constants, an equation meets any rows
_FAR = 10.0  # mean over standard deviation beyond which float32 would lose a digit to the mean


class RegressionTask:
    """A table, a target, and the rows that the search looks at.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        validation: held-out `(inputs, target)`; None: equations are scored on the training rows alone.
        search_rows: number of rows that the search uses; all when there are fewer.
        linear_scaling: whether every equation f stands for the best `a*f + b`
            (Keijzer, Improving Symbolic Regression with Interval Arithmetic and Linear Scaling, EuroGP 2003).
        seed: random seed for the choice of rows.
        weights: weights of the rows' squared errors, none negative; None: all alike. `[rows]`
        validation_weights: the same for the held-out rows.
        node_nats: what a node of an equation costs, in nats; None: `NODE_NATS`, or less where rows are held out.

    Raises:
        ValueError: shapes do not match, a value is not finite, the target is constant, or its spread is so large
            or small that squared errors leave the range of float64.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        *,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        search_rows: int = 1000,
        linear_scaling: bool = True,
        seed: int = 0,
        weights: np.ndarray | None = None,
        validation_weights: np.ndarray | None = None,
        node_nats: float | None = None,
    ) -> None:
        self.inputs, self.target = checked_rows(inputs, target, "training")
        self.weights = None
        if weights is not None:  # rows of no weight would only spoil what does not look at weights
            weights = checked_weights(weights, self.target)
            counted = weights > 0
            self.inputs, self.target = self.inputs[counted], self.target[counted]
            self.weights = of_mean_one(weights[counted])
        """Weights of the rows, of mean 1; None: all alike. `[rows]`"""
        self.validation = None if validation is None else checked_rows(*validation, "validation")
        self.validation_weights = validation_weights
        self.node_nats = node_nats or (NODE_NATS if validation is None else NODE_NATS_HELD_OUT)
        self.linear_scaling = linear_scaling
        self.evaluations = 0
        """How often one equation was computed on all search rows while constants were fitted."""
        self.variance = variance(self.target, self.weights)
        rows = chosen_rows(self.inputs, self.target, search_rows, np.random.default_rng(seed))
        self._seed = seed
        self.search_inputs = np.asfortranarray(self.inputs[rows])
        self.search_target = self.target[rows]
        self.search_weights = None if self.weights is None else of_mean_one(self.weights[rows])
        self._dtype = self._search_dtype()
        self._evaluator = Evaluator(self.search_inputs, self._dtype.type)
        centred = self.search_target - np.average(self.search_target, weights=self.search_weights)
        # float32 cannot hold a target such as 1e30: work in units of its own spread.
        self._unit = spread(centred, self.search_weights) or 1.0
        self._centred = (centred / self._unit).astype(self._dtype)
        self._mean_weights, self._root_weights = self._screening_weights()
        self._goal = self._centred if self._root_weights is None else self._root_weights * self._centred
        self._fit_centre, self._fit_unit = self._fitted_scale()

    def _screening_weights(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Weights that give a mean over the rows, and roots of the weights of squared errors. Each `[rows]`"""
        if self.search_weights is None:
            return None, None
        weights = self.search_weights.astype(self._dtype)
        return weights / self._dtype.type(len(weights)), np.sqrt(weights)

    def _search_dtype(self) -> np.dtype:
        """float32, which is twice as fast and more, unless the numbers at hand would leave its range."""
        columns = (
            [self.search_inputs] if self.linear_scaling else [self.search_inputs, self.search_target[:, None]]
        )
        sizes = np.concatenate([np.abs(column).max(axis=0) for column in columns])
        plain = (sizes == 0) | ((sizes > _PLAIN_FLOAT32[0]) & (sizes < _PLAIN_FLOAT32[1]))
        largest = float(np.abs(self.search_target).max())  # an equation that is complete has values of this size
        plain_target = _PLAIN_TARGET[0] < largest < _PLAIN_TARGET[1]
        far = any(is_far(column) for column in self.search_inputs.T)
        return np.dtype(np.float32 if plain.all() and plain_target and not far else np.float64)

    def _fitted_scale(self) -> tuple[float, float]:
        """Offset and unit of the target that constants are fitted to; none without linear scaling.

        The unit is a power of two, so that taking it out and in again changes no digit.
        """
        if not self.linear_scaling:
            return 0.0, 1.0
        mean, spread = float(np.average(self.target, weights=self.weights)), math.sqrt(self.variance)
        return (mean if abs(mean) > _FAR * spread else 0.0), 2.0 ** round(math.log2(spread))

    @cached_property
    def _final_rows(self) -> np.ndarray:
        """Rows of the last fit."""
        return chosen_rows(self.inputs, self.target, _FINAL_ROWS, np.random.default_rng(self._seed))

    @property
    def variables(self) -> int:
        """Number of input columns."""
        return self.inputs.shape[1]

    def screen(self, expressions: Sequence[Expression]) -> np.ndarray:
        """Normalised squared errors on the search rows, in float32; inf where not finite. `[expressions]`

        With linear scaling the best `a*f + b` is scored, without it f itself.
        """
        step = max(1, _CHUNK_ELEMENTS // len(self.search_target))
        parts = [self._screen(expressions[k : k + step]) for k in range(0, len(expressions), step)]
        return np.concatenate(parts) if parts else np.empty(0)

    @property
    def centred_target(self) -> np.ndarray:
        """The target on the search rows less its mean, over its standard deviation, float32. `[search rows]`"""
        return self._centred

    def values(self, expressions: Sequence[Expression]) -> np.ndarray:
        """Values on the search rows, float32. `[expressions, search rows]`"""
        return self._evaluator.values(expressions)

    def residual(self, expression: Expression) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """Values on the search rows, and what the best `a*f + b` leaves of the target; None if not finite."""
        values = self._evaluator.values([expression])[0]
        with np.errstate(all="ignore"):
            centred = values - values.mean()
            size = float(centred @ centred)
            slope = float(centred @ self._centred) / size if size > 0 else 0.0
            residual = self._centred - np.float32(slope) * centred
        if not np.isfinite(residual).all():
            return None, None
        return values, residual

    def _screen(self, expressions: Sequence[Expression]) -> np.ndarray:
        values = self._evaluator.values(expressions)
        rows = values.shape[1]
        with np.errstate(all="ignore"):
            if self.linear_scaling:
                values -= self._means(values)
                if self._root_weights is not None:
                    values *= self._root_weights
                squares = _squares(values)
                slope = (values @ self._goal) / squares
                slope[~np.isfinite(slope)] = 0.0
                values *= slope[:, None]
                values -= self._goal
            else:
                values -= self._dtype.type(np.average(self.search_target, weights=self.search_weights))
                values /= self._dtype.type(self._unit)
                values -= self._centred
                if self._root_weights is not None:
                    values *= self._root_weights
            error = np.einsum("er,er->e", values, values).astype(np.float64) / rows
        error[~np.isfinite(error)] = np.inf
        return error

    def _means(self, values: np.ndarray) -> np.ndarray:
        """Mean of every row of values, by the weights of the table's rows. `[expressions, 1]`"""
        if self._mean_weights is None:
            return np.asarray(values.mean(axis=1, keepdims=True))
        return np.asarray((values @ self._mean_weights)[:, None])

    def fit(
        self,
        expressions: Sequence[Expression],
        iterations: int,
        *,
        rng: np.random.Generator,
        starts: int = 1,
        fixed: Sequence[np.ndarray] | None = None,
    ) -> tuple[list[Expression], np.ndarray]:
        """Fit constants on the search rows by batched Levenberg-Marquardt.

        Args:
            expressions: expressions to fit.
            iterations: number of trial steps from each starting point.
            rng: random generator for the starting points.
            starts: number of starting points of each expression.
            fixed: masks of the constants that keep their value, one for every expression. `[constants]` bool each

        Returns:
            The fitted expressions, without outer scale and offset, and their normalised errors. `[expressions]`
        """
        result = fit_constants(
            expressions,
            self.search_inputs,
            (self.search_target - self._fit_centre) / self._fit_unit,
            iterations=iterations,
            starts=starts,
            rng=rng,
            weights=self.search_weights,
            fixed=fixed,
            affine=self.linear_scaling,
            dtype=self._dtype.type,
        )
        self.evaluations += result.evaluations
        return result.expressions, result.errors * (self._fit_unit / self._unit) ** 2

    def fit_exactly(
        self, expressions: Sequence[Expression], iterations: int
    ) -> tuple[np.ndarray, list[Expression]]:
        """Fit constants on the search rows in float64, each from where it is.

        Args:
            expressions: expressions to fit.
            iterations: number of trial steps.

        Returns:
            Normalised errors `[expressions]`, and the fitted expressions, without outer scale and offset.
        """
        result = fit_constants(
            expressions,
            self.search_inputs,
            (self.search_target - self._fit_centre) / self._fit_unit,
            iterations=iterations,
            weights=self.search_weights,
            affine=self.linear_scaling,
        )
        self.evaluations += result.evaluations
        return result.errors * self._fit_unit**2 / self._unit**2, result.expressions

    def complete(
        self,
        expressions: Sequence[Expression],
        iterations: int,
        fixed: Sequence[np.ndarray] | None = None,
    ) -> list[Expression]:
        """Complete equations: constants fitted on up to 4,000 rows, scale and offset written in.

        Args:
            expressions: expressions to complete; those that are not finite are left out.
            iterations: number of trial steps.
            fixed: masks of the constants that keep their value, one for every expression. `[constants]` bool each
        """
        rows = self._final_rows
        target = (self.target[rows] - self._fit_centre) / self._fit_unit
        fitted = fit_constants(
            expressions,
            self.inputs[rows],
            target,
            iterations=iterations,
            weights=self._final_weights,
            fixed=fixed,
            affine=self.linear_scaling,
        )
        scales, offsets = fitted.scale * self._fit_unit, fitted.offset * self._fit_unit + self._fit_centre
        return [
            _with_affine(expression, float(scale), float(offset))
            for expression, scale, offset, error in zip(
                fitted.expressions, scales, offsets, fitted.errors, strict=True
            )
            if np.isfinite(error) and np.isfinite(scale) and np.isfinite(offset)
        ]

    def refit(self, expression: Expression, iterations: int = 5, fixed: np.ndarray | None = None) -> Expression:
        """The equation with its own constants fitted once more on up to 4,000 rows.

        Args:
            expression: equation without anything left to be completed.
            iterations: number of trial steps.
            fixed: constants that keep their value, `[constants]` bool; None: none.
        """
        return self.refits([expression], None if fixed is None else [fixed], iterations)[0]

    def refits(
        self, expressions: Sequence[Expression], fixed: Sequence[np.ndarray] | None, iterations: int = 5
    ) -> list[Expression]:
        """Several equations, each with its own constants fitted once more, as by `refit`.

        Args:
            expressions: equations without anything left to be completed.
            fixed: masks of the constants that keep their value, one for every equation; None: none does.
            iterations: number of trial steps.
        """
        rows = self._final_rows
        fitted = fit_constants(
            expressions,
            self.inputs[rows],
            self.target[rows],
            iterations=iterations,
            weights=self._final_weights,
            fixed=fixed,
        )
        return fitted.expressions

    @property
    def _final_weights(self) -> np.ndarray | None:
        return None if self.weights is None else self.weights[self._final_rows]

    def judge(self, expression: Expression, complexity: int) -> Candidate:
        """Score an equation as it stands, in float64, on every training row and on the held-out ones.

        Every error is divided by the variance of the target on the same rows, see `held_out_error`.
        """
        with np.errstate(all="ignore"):
            squares = (expression(self.inputs) - self.target) ** 2
            error = float(np.average(squares, weights=self.weights) / self.variance)
        train = held_out = error if math.isfinite(error) else math.inf
        if self.validation is not None:
            inputs, target = self.validation
            held_out = held_out_error(expression(inputs), target, self.validation_weights, train)
        rounding = self._rounding(expression, max(train, held_out))
        return Candidate(expression, complexity, train, held_out, rounding=rounding)

    def charged(self, candidate: Candidate) -> Candidate:
        """A candidate with what its equation costs in a description of all rows, see `description_length`."""
        rows = min(MOST_ROWS, len(self.target) + (0 if self.validation is None else len(self.validation[1])))
        error = max(candidate.error, candidate.rounding, EXACT_NMSE) * self.variance
        nats = self.node_nats * candidate.complexity + functions_nats(candidate.expression)
        if math.isfinite(error):
            nats += constants_nats(
                as_powers_of_roots(candidate.expression),
                self.search_inputs,
                self.search_target,
                error=error,
                rows=rows,
                weights=self.search_weights,
            )
        return replace(candidate, charge=2.0 * nats / rows)

    def _rounding(self, expression: Expression, error: float) -> float:
        """Error below which an equation of this error is exact to the digits given."""
        rows = len(self.target)
        if _ROWS_A_CONSTANT * len(expression.constants) >= rows:
            return 0.0
        if not EXACT_NMSE <= error < ROUNDEST:  # known without a look at the digits
            return EXACT_NMSE
        rounding = self._resolution.error(expression) / self.variance
        return min(max(EXACT_NMSE, allowance(rows) * rounding), ROUNDEST)

    @cached_property
    def _resolution(self) -> Resolution:
        """Digits in which the table is written."""
        return Resolution(self.inputs, self.target, self.weights)


def held_out_error(values: np.ndarray, target: np.ndarray, weights: np.ndarray | None, train: float) -> float:
    """Mean squared error of an equation over the variance of the target, both on held-out rows.

    A target of one value has no variance: it only rules out equations that are not finite there.

    Args:
        values: values of the equation. `[rows]`
        target: values that it should have. `[rows]`
        weights: weights of the squared errors; None: all alike. `[rows]`
        train: error of the equation on the training rows.
    """
    if np.ptp(target) > _ROUNDING * np.abs(target).max():
        return nmse(target, values, weights)
    return train if np.isfinite(values).all() else math.inf


def _squares(values: np.ndarray) -> np.ndarray:
    """Sum of squares of every row; one whose squares leave float32 is first divided, in place, by its largest."""
    squares = np.einsum("er,er->e", values, values)
    odd = np.flatnonzero(~((squares > _PLAIN_SQUARES[0]) & (squares < _PLAIN_SQUARES[1])))
    if len(odd):
        largest = np.abs(values[odd]).max(axis=1)
        odd, largest = odd[largest > 0], largest[largest > 0]
        values[odd] /= largest[:, None]
        squares[odd] = np.einsum("er,er->e", values[odd], values[odd])
    return squares


def _with_affine(expression: Expression, scale: float, offset: float) -> Expression:
    if scale != 1.0:
        expression = Expression.apply("mul", Expression.constant(scale), expression)
    if offset != 0.0:
        expression = Expression.apply("add", expression, Expression.constant(offset))
    return expression
