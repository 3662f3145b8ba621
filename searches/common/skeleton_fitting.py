"""Scores of skeletons, a generation at a time: constants are fitted by batched Levenberg-Marquardt in two steps.

First every new skeleton is *screened*: few rows, float32, few steps; one that turns a constant inside a sine or
cosine gets several starts, since a frequency in the wrong basin never leaves it. Only skeletons that would be
among the best are *fitted*: all search rows, float64, from the constants of the screening. Every skeleton is
computed once and its results are cached. They depend on the skeleton, the data and the seed alone, so a resumed
run, whose cache is empty, finds the same equations as the uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.constant_placement import Tokens
from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.operators import CONSTANT, OPERATORS, TOKEN
from expressions.schema import program, tokens
from foundation.schema import Check, FormatError, list_of, number, row_of, whole
from searches.common.regression_task import RegressionTask
from searches.common.stored_scores import believed
from searches.pareto_front import EXACT_NMSE

__all__ = ["Fitted", "SkeletonFitter"]

_TURNS = tuple(TOKEN[row.name] for row in OPERATORS if row.wave)
_SMALLEST_NMSE = 1e-32  # below, an error is rounding, and its logarithm says nothing
_MOST_REMEMBERED = 50_000  # skeletons with their fits: 100 MB


@dataclass(frozen=True)
class Fitted:
    """A skeleton with its best constants.

    Attributes:
        score: `log(nmse) + parsimony * length`, lower is better.
        nmse: mean squared error over the target's variance on the search rows.
        expression: the equation.
    """

    score: float
    nmse: float
    expression: Expression


class SkeletonFitter:
    """Fits and scores skeletons, and keeps the best equation of every length.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        validation: held-out `(inputs, target)` for the final choice; None: no held-out rows.
        seed: random seed for the rows and the starting points.
        parsimony: decrease of the logarithm of the error that one token more must bring.
        longest: largest number of tokens of a skeleton; longer ones are not fitted.
        search_rows: number of rows to fit on.
        screen_rows: number of rows to screen on.
        frequency_starts: number of starting points where a constant is a frequency of a sine or cosine.
        starts: number of starting points of all other skeletons with nonlinear constants.
        linear_scaling: whether every skeleton stands for its best `a*f + b`.
        screen_iterations: largest number of Levenberg-Marquardt steps of the screening.
        fit_iterations: largest number of Levenberg-Marquardt steps of the fit.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        *,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        seed: int = 0,
        parsimony: float = 0.2,
        longest: int = 60,
        search_rows: int = 300,
        screen_rows: int = 64,
        frequency_starts: int = 4,
        starts: int = 2,
        linear_scaling: bool = False,
        screen_iterations: int = 5,
        fit_iterations: int = 10,
    ) -> None:
        def task(rows: int) -> RegressionTask:
            return RegressionTask(
                inputs,
                target,
                validation=validation,
                search_rows=rows,
                linear_scaling=linear_scaling,
                seed=seed,
            )

        self.task, self._screening = task(search_rows), task(screen_rows)
        self.seed, self.parsimony, self.longest = seed, parsimony, longest
        self.frequency_starts, self.starts = frequency_starts, starts
        self.screen_iterations, self.fit_iterations = screen_iterations, fit_iterations
        self.best: dict[int, tuple[float, Expression]] = {}
        """Length of a skeleton -> its lowest normalised error, and the equation."""
        self._screened: dict[Tokens, tuple[float, Expression]] = {}
        self._fitted: dict[Tokens, Fitted | None] = {}

    def fit(self, skeletons: Sequence[Tokens], bar: float) -> list[Fitted | None]:
        """Fit those skeletons whose screening scores better than `bar`.

        Fits under an earlier, higher bar are not returned: the result would depend on the cache.

        Args:
            skeletons: programs with constants to be fitted; may repeat.
            bar: score that the screening must beat.

        Returns:
            The fit of every skeleton, None if it is too long, not finite, or not better than `bar`.
        """
        if len(self._screened) > _MOST_REMEMBERED:
            self.forget()
        short = [each for each in dict.fromkeys(skeletons) if len(each) <= self.longest]
        self._screen([each for each in short if each not in self._screened])
        promising = [each for each in short if self._score(self._screened[each][0], len(each)) < bar]
        self._fit([each for each in promising if each not in self._fitted])
        fits = {each: self._fitted[each] for each in promising}
        return [fits.get(each) for each in skeletons]

    def screened(self, skeleton: Tokens) -> float:
        """Normalised error of a skeleton that `fit` was given, on the screening rows; inf where not finite."""
        return self._screened[skeleton][0] if skeleton in self._screened else math.inf

    @property
    def evaluations(self) -> float:
        """Computations of one equation on all search rows; a screening counts as its share of the rows."""
        share = len(self._screening.search_target) / len(self.task.search_target)
        return self.task.evaluations + share * self._screening.evaluations

    def forget(self) -> None:
        """Forget all results but the best."""
        self._screened.clear()
        self._fitted.clear()

    def note(self, skeleton: Tokens, fitted: Fitted | None) -> None:
        """Keep a fit, this search's own or that of another process, if it is the best of its length."""
        if fitted is not None and fitted.nmse < self.best.get(len(skeleton), (math.inf,))[0]:
            self.best[len(skeleton)] = (fitted.nmse, fitted.expression)

    @property
    def exact(self) -> bool:
        """Whether an equation leaves nothing but rounding."""
        return any(error < EXACT_NMSE for error, _ in self.best.values())

    def state(self) -> list[list[Any]]:
        """The best equations as numbers: length, error, tokens, constants."""
        return [
            [length, error, equation.tokens.tolist(), equation.constants.tolist()]
            for length, (error, equation) in self.best.items()
        ]

    @property
    def state_check(self) -> Check:
        """Check for what `state` returned, before `load` is given it."""
        row = row_of(whole(1, MAX_TOKENS), number(0.0), tokens, list_of(number(), most=MAX_TOKENS))

        def best(value: Any) -> tuple[float, Expression]:
            length, error, *pair = row(value)
            equation = program(pair)
            if len(equation) != length or set(equation.variables) - set(range(self.task.variables)):
                raise FormatError("is an equation of another length, or of other variables", "")
            return error, equation

        return list_of(best, most=MAX_TOKENS)

    def load(self, state: Sequence[tuple[float, Expression]]) -> None:
        """Restore the best equations of an earlier run; one that is worse than its stored error gets its own."""
        equations = [equation for _, equation in state]
        errors = believed(self.task, equations, [error for error, _ in state])
        self.best = {len(each): (error, each) for error, each in zip(errors, equations, strict=True)}

    def lowest_score(self, length: int) -> float:
        """Score that no skeleton of a length can be better than, as the best equations show."""
        return self._score(self.best[length][0], length) if length in self.best else -math.inf

    def _score(self, nmse: float, length: int) -> float:
        return math.log(max(nmse, _SMALLEST_NMSE)) + self.parsimony * length

    def _screen(self, skeletons: Sequence[Tokens]) -> None:
        turning = [each for each in skeletons if _turns(each)]
        plain = [each for each in skeletons if not _turns(each)]
        for group, starts in ((turning, self.frequency_starts), (plain, self.starts)):
            if group:
                rng = np.random.default_rng(self.seed)  # anew: starts depend on the skeleton, not on the moment
                equations, errors = self._screening.fit(
                    [_unfitted(each) for each in group],
                    iterations=self.screen_iterations,
                    rng=rng,
                    starts=starts,
                )
                self._screened.update(zip(group, zip(errors.tolist(), equations, strict=True), strict=True))

    def _fit(self, skeletons: Sequence[Tokens]) -> None:
        if not skeletons:
            return
        started = [self._screened[each][1] for each in skeletons]
        errors, equations = self.task.fit_exactly(started, self.fit_iterations)
        for skeleton, nmse, equation in zip(skeletons, errors.tolist(), equations, strict=True):
            if not math.isfinite(nmse):
                self._fitted[skeleton] = None
                continue
            self._fitted[skeleton] = Fitted(self._score(nmse, len(skeleton)), nmse, equation)
            self.note(skeleton, self._fitted[skeleton])


def _turns(skeleton: Tokens) -> bool:
    """Whether a constant may be a frequency, because it follows soon after a sine or cosine."""
    return any(token in _TURNS and CONSTANT in skeleton[k + 1 : k + 4] for k, token in enumerate(skeleton))


def _unfitted(skeleton: Tokens) -> Expression:
    return Expression._trusted(np.array(skeleton, dtype=np.int16), np.ones(skeleton.count(CONSTANT)))
