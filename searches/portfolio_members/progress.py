"""How far a portfolio is, told some five times a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from expressions.expression import Expression
from searches.common.refinement import Refinement, near_front
from searches.pareto_front import Candidate, ParetoFront
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.shared_front import SharedFront

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
    """Tells a function some five times a second how far a search is.

    Args:
        found: what the search has found.
        data: table of the search.
        refinement: how equations are brought to canonical form and scored.
        told: function that is called.
    """

    def __init__(
        self, found: SharedFront, data: PortfolioData, refinement: Refinement, told: Callable[[Progress], None]
    ) -> None:
        self._found, self._data, self._refinement, self._told = found, data, refinement, told
        self._scored: dict[Expression, Candidate | None] = {}
        self._last = -math.inf
        self._shown: list[Expression] = []

    def report(self, method: str, seconds: float, evaluations: int) -> None:
        """Tell, unless the last time was just now.

        Args:
            method: method that had the last turn.
            seconds: time since the call of the search.
            evaluations: computations of one equation so far.
        """
        if seconds - self._last < _SHOWN_EVERY:
            return
        self._last = seconds
        near = near_front(self._found.credible)
        for equation in near:
            if equation not in self._scored:
                self._scored[equation] = self._candidate(equation)
        self._scored = {equation: self._scored[equation] for equation in near}
        front = ParetoFront.of([found for found in self._scored.values() if found is not None])
        shown = [candidate.expression for candidate in front]
        self._told(Progress(front, seconds, evaluations, method, shown != self._shown))
        self._shown = shown

    def _candidate(self, found: Expression) -> Candidate | None:
        """An equation in the table's own units with its scale and offset; None where it is not finite."""
        equations = self._data.task.complete([self._data.table.restored(found)], 0)
        return self._refinement.judged(equations[0]) if equations else None
