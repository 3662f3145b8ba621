"""Equations of short codes: laws that a front of sizes and errors loses where the data have noise.

Among equations of one size the most accurate one has, under noise, a constant or two that the law does without. A
shortlist ranks by the length of a description instead, constants included, and asks of each equation whether it
needs a factor and an offset of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from expressions.canonical_form import canonical_key
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from searches.common.description_length import functions_nats
from searches.common.regression_task import RegressionTask
from searches.evolution.tree_size import tree_size

__all__ = ["MOST", "Rival", "Shortlist", "completed_form"]

MOST = 20
"""Largest number of equations of a list."""
_CONSTANT_NATS = 1.0  # beside half the logarithm of the number of rows
_FINEST = 1e-12  # error below which there may only be rounding: such equations are told apart elsewhere


class Rival(NamedTuple):
    """An equation of a short code.

    Attributes:
        code: length of the description of the target, in nats, up to a constant.
        equation: equation of the columns shown.
        terms: what completes the equation: 0 nothing, 1 a factor, 2 a factor and an offset.
    """

    code: float
    equation: Expression
    terms: int


def completed_form(equation: Expression, terms: int) -> Expression:
    """An equation with a factor, or a factor and an offset, whose values are still to be fitted.

    Args:
        equation: any equation.
        terms: number of constants that complete it.
    """
    if terms == 0:
        return equation
    scaled = Expression.apply("mul", Expression.constant(1.0), equation)
    return scaled if terms == 1 else Expression.apply("add", scaled, Expression.constant(0.0))


class Shortlist:
    """The equations of the shortest codes, one of every skeleton.

    Args:
        task: data of the search.
    """

    def __init__(self, task: RegressionTask) -> None:
        self._rows = len(task.search_target)
        self._target = task.search_target
        weights = np.ones(self._rows) if task.search_weights is None else task.search_weights
        self._weights = weights / weights.sum()
        centred = self._target - self._weights @ self._target
        self._node_nats = task.node_nats
        self._variance = float(self._weights @ np.square(centred))
        self._evaluator = Evaluator(task.search_inputs, np.float64)
        self._rivals: dict[bytes, Rival] = {}
        self.changes = 0
        """Number of equations that have come onto the list so far."""

    @property
    def rivals(self) -> list[Rival]:
        """The equations of the list, the shortest code first."""
        return sorted(self._rivals.values(), key=lambda rival: rival.code)

    def take(self, equations: Sequence[Expression]) -> None:
        """Look at equations, and keep those of the shortest codes.

        Args:
            equations: equations of the columns shown, without outer factor and offset.
        """
        if not equations or not self._variance > 0:
            return
        for equation, errors in zip(equations, self._errors(equations), strict=True):
            if (
                self._code(equation, float(errors.min())) >= self._longest
            ):  # before constants, which only add to it
                continue
            codes = [
                self._code(completed_form(equation, terms), float(error)) for terms, error in enumerate(errors)
            ]
            terms = int(np.argmin(codes))
            if math.isfinite(codes[terms]):
                self._keep(Rival(codes[terms], equation, terms))

    def merge(self, rivals: Sequence[Rival]) -> None:
        """Take up equations of another list of the same rows."""
        for rival in rivals:
            self._keep(rival)

    @property
    def _longest(self) -> float:
        """The code from which an equation does not come onto the list."""
        return max(rival.code for rival in self._rivals.values()) if len(self._rivals) >= MOST else math.inf

    def _keep(self, rival: Rival) -> None:
        if rival.code >= self._longest:
            return
        key = canonical_key(rival.equation, constants=False)
        known = self._rivals.get(key)
        if known is not None and known.code <= rival.code:
            return
        self._rivals[key] = rival
        self.changes += 1
        if len(self._rivals) > MOST:
            del self._rivals[max(self._rivals, key=lambda each: self._rivals[each].code)]

    def _errors(self, equations: Sequence[Expression]) -> np.ndarray:
        """Squared errors over the variance without and with a factor, and with an offset, too. `[equations, 3]`"""
        values = self._evaluator.values(equations)
        target, weights = self._target, self._weights
        with np.errstate(all="ignore"):
            bare = np.square(values - target) @ weights
            products = (values * target) @ weights
            scaled = float(np.square(target) @ weights) - products**2 / (np.square(values) @ weights)
            means, mean = values @ weights, float(target @ weights)
            spread = np.square(values) @ weights - means**2
            affine = self._variance - (products - means * mean) ** 2 / spread
        errors = np.stack([bare, scaled, affine], axis=1) / self._variance
        return np.where(np.isfinite(errors), np.maximum(errors, _FINEST), np.inf)

    def _code(self, form: Expression, error: float) -> float:
        if not math.isfinite(error):
            return math.inf
        constant = 0.5 * math.log(self._rows) + _CONSTANT_NATS
        nats = self._node_nats * tree_size(form) + functions_nats(form) + constant * len(form.constants)
        return 0.5 * self._rows * math.log(error) + nats
