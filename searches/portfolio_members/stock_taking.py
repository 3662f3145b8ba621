"""What a search would pick if it ended now: looked at after a 32nd of its budget, a 16th, and so on up to a half.

These are the moments at which searches with half the budget end, with a quarter, and so on. Their picks stand
beside what is found later, so that more time never picks worse. A search whose pick has stayed the same for long,
and leaves nothing but noise, is over.
"""

from __future__ import annotations

import math

import numpy as np

from expressions.canonical_form import canonical_key
from expressions.measurements import Measurements
from searches.common.refinement import Refinement
from searches.law_probability import is_settled
from searches.pareto_front import pick
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.settings import PortfolioSettings
from searches.portfolio_members.shared_front import SharedFront
from searches.portfolio_members.standing_front import StandingFront

__all__ = ["StockTaking"]

_FIRST, _LAST = 1 / 32, 1 / 2  # of the budget; twice as much each time
_SHARE = 0.05  # of the time spent so far, for one look
_FEWEST_SECONDS = 1.0  # of a search before the first look, which takes longer than its share at first
_SAME_PICKS = 2  # looks in a row with the same pick, between which the time has doubled


class StockTaking:
    """The looks of one search.

    Args:
        found: what the search has found.
        standing: front so far, whose leaders take up the picks.
        data: table of the search.
        settings: settings of the search.

    Attributes:
        settled: whether the search can end: its pick has stayed the same, is likely the law, and leaves noise.
    """

    def __init__(
        self, found: SharedFront, standing: StandingFront, data: PortfolioData, settings: PortfolioSettings
    ) -> None:
        self._found, self._standing, self._data, self._settings = found, standing, data, settings
        self._next = _FIRST
        self._picks: list[bytes] = []
        self.settled = False

    def after(self, seconds: float, evaluations: int) -> None:
        """Look, if it is time to.

        Args:
            seconds: time of the search so far.
            evaluations: evaluations so far.
        """
        settings = self._settings
        spent = max(seconds / (settings.seconds or math.inf), evaluations / (settings.evaluations or math.inf))
        if not self._next <= spent < 1.0 or self._next > _LAST:  # at the end, it would be looked at twice
            return
        while self._next <= spent:
            self._next *= 2
        if self._found.best and (settings.seconds is None or seconds >= _FEWEST_SECONDS):
            self._look(math.inf if settings.seconds is None else _SHARE * seconds)

    def _look(self, limit: float) -> None:
        """Remember what would be picked, and see whether that is settled."""
        task, standing = self._data.task, self._standing
        refinement = Refinement(task, equations=self._settings.polish_equations, simplify_seconds=0.0)
        front = refinement.refined(standing.look(), limit, standing.leaders)
        if not len(front):
            return
        best = pick(front)
        standing.remember([best])
        self._picks.append(canonical_key(best.expression, constants=False))
        latest = self._picks[-_SAME_PICKS:]
        if len(latest) == _SAME_PICKS and len(set(latest)) == 1:
            self.settled = is_settled([*front, *standing.leaders], best, self._measurements())

    def _measurements(self) -> Measurements:
        """The rows that are refined on, and those that choose."""
        task = self._data.task
        inputs, target, weights = task.inputs, task.target, task.weights
        if task.validation is not None:
            inputs, target = (
                np.concatenate([inputs, task.validation[0]]),
                np.concatenate([target, task.validation[1]]),
            )
            if weights is not None and task.validation_weights is not None:
                weights = np.concatenate([weights, task.validation_weights])
            elif weights is not None:
                weights = np.concatenate([weights, np.ones(len(task.validation[1]))])
        return Measurements.of(inputs, target, weights)
