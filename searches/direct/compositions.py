"""Functions of polynomials beside and times each other: exp(p)*q, sin(p)*cos(q), log(p) + log(q), sqrt(p)/q.

The polynomials are of degree 2 in all variables, and found by least squares from the best of many starts
(`searches.direct.composition_starts`), all models of a shape in one batch (`searches.direct.composition_models`);
few go on to the end, and lose the terms that are not needed (`searches.direct.composition_pruning`). The target is
taken as it is, and behind an operator that can be inverted.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from expressions.expression import Expression
from searches.direct.composition_models import FUNCTIONS, Models, fitted
from searches.direct.composition_pruning import pruned
from searches.direct.composition_spelling import Speller
from searches.direct.composition_starts import Starts
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once
from searches.links.terms import monomial

__all__ = ["find"]

_FEWEST_ROWS = 60
_ROWS = 120  # of the first fits
_MOST_ROWS = 300  # of the last
_MOST_VARIABLES = 4
_STAGES = ((5, 40, 3, False), (8, 24, 2, False), (8, 12, 2, True), (10, 8, 1, True), (30, 8, 1, True))
"""Steps of a fit, models of a shape that go on from it, in all and with the same functions, and whether they have
all monomials, and not only those that they begin with."""
_LONG = 90  # steps of those that are nearly exact
_EXACT = 1e-17
_FAINT = 1e-12  # noise beyond which an operator is not inverted: any function of few coefficients comes as near
_HOPELESS = (0.8, 0.5)  # error after a stage, beyond which none comes near: with few monomials, with all
_LIKELY = 3  # models of a shape that are brought into few terms
_NEAR = 1e-6  # error from which a model may be the law, with too many terms
_WORTH = 0.5  # of what a polynomial leaves: what is no exact law must leave less
_OFFERED = 2  # of those
_SHARE = 0.33  # of the time that is left: sums by regression come after it


def find(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float, noise: float = 0.0
) -> Iterator[Expression]:
    """Equations, see `searches.direct.kinds.Find`; `noise` is a squared error over the variance that is exact."""
    names = _names(operators)
    rows, variables = inputs.shape
    if not names or not {"add", "mul"} <= set(operators) or rows < _FEWEST_ROWS or variables > _MOST_VARIABLES:
        return
    now = time.perf_counter()
    ends = now + _SHARE * (ends - now)
    search = _Search(inputs[:_MOST_ROWS], target[:_MOST_ROWS], names, operators, ends, noise)
    yield from search.equations()


def _names(operators: Collection[str]) -> list[str]:
    """Functions that may occur."""
    allowed = set(operators)
    if "div" in allowed:
        allowed.add("inv")
    if "cos" in allowed:
        allowed.add("sin")  # a cosine with another phase
    return [name for name in FUNCTIONS if name in allowed]


class _Search:
    """Fits of all shapes to one target, and to what it is behind an operator.

    Args:
        inputs: values of the variables. `[rows, variables]`
        target: values. `[rows]`
        names: functions that may occur.
        operators: names of the operators that may occur.
        ends: time after which nothing new is begun.
        noise: squared error over the variance, up to which a model is exact.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        names: Collection[str],
        operators: Collection[str],
        ends: float,
        noise: float,
    ) -> None:
        self.inputs, self.target, self.operators, self.ends = inputs, target, operators, ends
        self.noise, self.exact = noise, max(_EXACT, noise)
        monomials = _monomials(inputs.shape[1])
        values = np.stack([np.ones(len(inputs)) if each is None else each(inputs) for each in monomials])
        units = np.maximum(values.std(axis=1), 1e-300)
        units[0] = 1.0
        self.monomials = values / units[:, None]
        self.speller = Speller(monomials, units, self.monomials, operators)
        self.rows = np.arange(0, len(target), max(1, len(target) // _ROWS))
        self.starts = Starts(self.monomials[:, self.rows], names)
        self.plain = dict.fromkeys(range(len(_STAGES)), math.inf)
        """The lowest errors after the stages, of the target as it is: behind an operator, they should be lower."""

    def equations(self) -> Iterator[Expression]:
        """An exact one alone (all of them under noise), or else what is better than a polynomial."""
        goals = [InvertedTarget((), self.target, np.ones_like(self.target))]
        nothing = np.zeros((0, len(self.target)))
        if self.noise < _FAINT:
            goals += inverted_once(goals[0], self.operators, Divisors([], nothing, nothing))
        plain: list[Models] = []
        for number, goal in enumerate(goals):
            if self._is_over():
                return
            models = self._fitted(goal, linked=number > 0)
            plain = plain or models
            if number == 0 and not models:
                return
            exact: list[Expression] = []
            for one in self._likely(models):
                found = pruned(one, self.monomials, _in_units(goal.values))
                if found.errors[0] < self.exact:
                    equation = self.speller.equation(found, goal, self.inputs, self.target)
                    exact += [] if equation is None else [equation]
            if exact:
                yield from exact if self.noise else [min(exact, key=len)]
                return
        yield from self._offered(plain, goals[0])

    def _fitted(self, goal: InvertedTarget, linked: bool) -> list[Models]:
        """The best models of one each, the best first."""
        target = _in_units(goal.values)
        some, few = self.monomials[:, self.rows], target[self.rows]
        going = self.starts.models(few, linked)
        for number, (steps, kept, alike, dense) in enumerate(_STAGES):
            last = number == len(_STAGES) - 1
            monomials, values = (self.monomials, target) if last else (some, few)
            if dense:
                going = [models.freed() for models in going]
            going = [fitted(models, monomials, values, steps, last).best(kept, alike) for models in going]
            best = min((float(models.errors.min()) for models in going if len(models)), default=math.inf)
            if self._is_over() or best < _EXACT:
                break
            if number >= 1 and best > (self.plain[number] if linked else _HOPELESS[dense]):
                return []
            if not linked:
                self.plain[number] = best
        singles = _by_error(going)
        if singles and self.exact < singles[0].errors[0] < _NEAR and not self._is_over():  # a valley is long
            near = [models.best(_LIKELY, 1) for models in going]
            singles = _by_error(
                [*(fitted(models, self.monomials, target, _LONG, True) for models in near), *going]
            )
        return singles

    def _likely(self, models: list[Models]) -> list[Models]:
        """Those that may be the law, the best of every shape; exact ones alone."""
        limit = self.exact if models and models[0].errors[0] < self.exact else _NEAR
        likely: dict[str, list[Models]] = {}
        for one in models:
            if one.errors[0] < limit:
                likely.setdefault(one.shape, []).append(one)
        return [one for each in likely.values() for one in each[:_LIKELY]]

    def _offered(self, models: list[Models], goal: InvertedTarget) -> Iterator[Expression]:
        target = _in_units(goal.values)
        polynomial = self.monomials.T @ np.linalg.lstsq(self.monomials.T, target)[0]
        limit = _WORTH * float(np.mean(np.square(target - polynomial)))
        for one in models[:_OFFERED]:
            if one.errors[0] < limit and not self._is_over():
                found = pruned(one, self.monomials, target)
                equation = self.speller.equation(found, goal, self.inputs, self.target)
                if equation is not None:
                    yield equation

    def _is_over(self) -> bool:
        return time.perf_counter() > self.ends


def _by_error(models: Sequence[Models]) -> list[Models]:
    """Models of one each, the best first."""
    singles = [each.of(np.array([number])) for each in models for number in range(len(each))]
    return sorted(singles, key=lambda one: float(one.errors[0]))


def _in_units(values: np.ndarray) -> np.ndarray:
    """Values of spread 1; their mean stays, as a model may be without an offset."""
    return values / max(float(values.std()), 1e-300)


def _monomials(variables: int) -> list[Expression | None]:
    """Those of degree 2 at most; None: 1."""
    found: list[Expression | None] = [None]
    for power in (1, 2):
        found += [monomial([(variable, power)]) for variable in range(variables)]
    found += [monomial([(i, 1), (j, 1)]) for i, j in itertools.combinations(range(variables), 2)]
    return found
