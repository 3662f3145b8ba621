"""Regression as a member of a portfolio: small functions first, then parts of what the others have found."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, operator
from searches.common.refinement import near_front
from searches.common.regression_task import RegressionTask
from searches.direct.first_equations import first_equations
from searches.direct.small_equations import loosened, small_equations, steep_functions
from searches.evolution.tree_size import tree_size
from searches.links.sums import sums_of_parts
from searches.portfolio_members.member import Offer
from searches.portfolio_members.shortlist import completed_form

__all__ = ["RegressionMember"]

_EQUATIONS = 40  # of the first step
_SMALL, _LOOSENED = 600, 240  # small equations that are offered, and those of them with constants within
_LOOSENED_STEPS = 8  # of the fit of these
_SMALL_SHARE = 0.5  # of the time of the first step, for small equations
_LATEST = 3.0  # times that, after which small equations are left out: the budget is all but spent
_RECOMBINED = 24  # equations that are put together from parts at a time
_NEWS = 3  # equations of others after which parts are put together anew
_LISTING_EFFORT, _PARTS_EFFORT = 10_000, 2_000  # evaluations that take as long as a first or a later step


class RegressionMember:
    """Sums of small functions under invertible operators, then sums of the parts of equations.

    A step counts as the evaluations that take as long as it.

    Args:
        task: data of the search.
        offer: what the member needs to begin.
    """

    def __init__(self, task: RegressionTask, offer: Offer) -> None:
        self.task, self.offer = task, offer
        self.evaluations = 0
        self.best: dict[int, tuple[float, Expression]] = {}
        self.candidates: list[Expression] = []
        """What the last step has found."""
        self._began = False
        self._news = 0

    @property
    def is_done(self) -> bool:
        """Whether there are too few new parts to put together."""
        return self._began and self._news < _NEWS

    def take(self, equations: Sequence[Expression]) -> None:
        """Remember the equations, and their parts with them."""
        self._news += len(equations)
        self._note(equations)

    def step(self) -> None:
        """The first step lists small functions; later ones put parts together."""
        task, offer = self.task, self.offer
        if not self._began:
            self._began, begun = True, time.perf_counter()
            found = first_equations(
                task.search_inputs, task.search_target, offer.operators, _EQUATIONS, offer.first_seconds
            )
            if not (found and task.judge(found[0], 0).exact):  # then nothing is left to noise
                found += self._small_equations(begun)
            self._news += _NEWS
            self.evaluations += _LISTING_EFFORT
        else:
            parts = near_front(self.best)[::-1]
            found = sums_of_parts(parts, task.search_inputs, task.search_target, offer.operators, _RECOMBINED)
            self._news = 0
            self.evaluations += _PARTS_EFFORT
        self._note(found)
        self.candidates = found

    def _small_equations(self, begun: float) -> list[Expression]:
        """Every small equation of a short code, and some with constants within; as many as there is time for."""
        task, offer = self.task, self.offer
        seconds = math.inf if offer.first_seconds is None else _SMALL_SHARE * offer.first_seconds
        latest = begun + _LATEST * seconds
        if time.perf_counter() > latest:
            return []
        small = small_equations(
            task.search_inputs,
            task.search_target,
            offer.operators,
            _SMALL,
            time.perf_counter() + seconds,
            task.search_weights,
        )
        if time.perf_counter() > latest:
            return small
        steep = [each for each in steep_functions(task.search_inputs) if _names(each) <= set(offer.operators)]
        free = dict.fromkeys([*steep, *(loosened(each) for each in small[:_LOOSENED])])
        fitted, _ = task.fit(list(free), _LOOSENED_STEPS, rng=np.random.default_rng(offer.seed))
        bare = fit_constants(  # without an offset, which would leave them other constants
            [completed_form(each, 1) for each in free],
            task.search_inputs,
            task.search_target,
            iterations=_LOOSENED_STEPS,
            weights=task.search_weights,
        )
        return [*small, *fitted, *bare.expressions]

    def _note(self, equations: Sequence[Expression]) -> None:
        for equation, error in zip(equations, self.task.screen(equations).tolist(), strict=True):
            size = tree_size(equation)
            if size <= self.offer.max_length and error < self.best.get(size, (np.inf,))[0]:
                self.best[size] = (error, equation)


def _names(equation: Expression) -> set[str]:
    """Names of the operators of an equation."""
    tokens = equation.tokens.tolist()
    return {operator(token).name for token in tokens if CONSTANT < token < FIRST_VARIABLE}
