"""The equations that are the best so far, scored as the final ones will be."""

from __future__ import annotations

from collections.abc import Sequence

from expressions.canonical_form import canonical_key
from expressions.expression import Expression
from searches.common.refinement import Refinement, near_front
from searches.pareto_front import Candidate, ParetoFront
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.shared_front import SharedFront
from searches.portfolio_members.shortlist import Rival, completed_form

__all__ = ["StandingFront"]

_LEADERS = 6
_STEPS = 5  # of the fit of an equation of a short code


class StandingFront:
    """The Pareto front so far, before pruning and rounding, on the rows that are refined on.

    The equations of the shortest codes are remembered, so that a search that goes on does not lose them to others
    that are better on the search rows alone.

    Args:
        found: what the search has found.
        data: table of the search.
        refinement: how equations are brought to canonical form and scored.

    Attributes:
        leaders: complete equations of the shortest codes of all looks, one of every skeleton, the best first.
    """

    def __init__(self, found: SharedFront, data: PortfolioData, refinement: Refinement) -> None:
        self._found, self._data, self._refinement = found, data, refinement
        self._scored: dict[Expression | Rival, Candidate | None] = {}
        self.leaders: list[Candidate] = []

    def look(self) -> ParetoFront:
        """The front as it is now."""
        near = near_front(self._found.credible)
        known = self._scored
        self._scored = {one: known[one] if one in known else self._completed(one) for one in near}
        front = [candidate for candidate in self._scored.values() if candidate is not None]
        for rival in self._found.rivals:
            self._scored[rival] = known[rival] if rival in known else self._rival(rival)
        self.remember([candidate for candidate in self._scored.values() if candidate is not None])
        return ParetoFront.of(front)

    def remember(self, candidates: Sequence[Candidate]) -> None:
        """Take up complete equations among the leaders, where their codes are short."""
        best: dict[bytes, Candidate] = {}
        for candidate in sorted([*self.leaders, *candidates], key=lambda each: each.code):
            best.setdefault(canonical_key(candidate.expression, constants=False), candidate)
        self.leaders = list(best.values())[:_LEADERS]

    def _completed(self, found: Expression) -> Candidate | None:
        """An equation in the table's own units with its scale and offset; None where it is not finite."""
        equations = self._data.task.complete([self._data.table.restored(found)], 0)
        return self._refinement.judged(equations[0]) if equations else None

    def _rival(self, rival: Rival) -> Candidate:
        """The same of an equation that may do without a scale or an offset."""
        form = completed_form(self._data.table.restored(rival.equation), rival.terms)
        return self._refinement.judged(self._data.task.refit(form, _STEPS, self._data.units_of(form)))
