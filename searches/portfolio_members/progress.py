"""How far a portfolio is, told some five times a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from expressions.expression import Expression
from searches.common.broken_powers import spelled
from searches.pareto_front import ParetoFront
from searches.portfolio_members.standing_front import StandingFront

__all__ = ["Progress", "ProgressReports"]

_SHOWN_EVERY = 0.2  # seconds between two reports


@dataclass(frozen=True)
class Progress:
    """How far a portfolio is.

    Attributes:
        front: Pareto front so far, before pruning and rounding, scored on the rows that are refined on.
        seconds: time since the call.
        evaluations: computations of one equation on the search rows so far.
        method: method that had the last turn.
        is_new: whether the front has changed since the last report.
    """

    front: ParetoFront
    seconds: float
    evaluations: int
    method: str
    is_new: bool


class ProgressReports:
    """Looks some five times a second at how far a search is, and tells a function.

    Args:
        standing: equations that are the best so far.
        told: function that is called; None: nobody is told.
        every_turn: whether to look after every turn, so that what is found does not depend on the clock.
    """

    def __init__(
        self, standing: StandingFront, told: Callable[[Progress], None] | None, *, every_turn: bool
    ) -> None:
        self._standing, self._told, self._every_turn = standing, told, every_turn
        self._last = -math.inf
        self._shown: list[Expression] = []

    def report(self, method: str, seconds: float, evaluations: int) -> None:
        """Look and tell, unless the last time was just now.

        Args:
            method: method that had the last turn.
            seconds: time since the call of the search.
            evaluations: computations of one equation so far.
        """
        is_due = seconds - self._last >= _SHOWN_EVERY
        if not (is_due or self._every_turn):
            return
        front = self._standing.look()
        if not is_due:
            return
        self._last = seconds
        if self._told is None:
            return
        front = spelled(front)
        shown = [candidate.expression for candidate in front]
        self._told(Progress(front, seconds, evaluations, method, shown != self._shown))
        self._shown = shown
