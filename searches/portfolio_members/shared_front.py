"""What a portfolio has found so far: the best equation of every size, and who is to hear of it."""

from __future__ import annotations

import math

from expressions.expression import Expression
from searches.evolution.tree_size import tree_size
from searches.portfolio_members.allocation import code_length
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.shortlist import Rival, Shortlist

__all__ = ["Finder", "SharedFront"]

_ROWS_A_CONSTANT = 3  # at least
_MOST_NEWS = 1_000  # equations that a member is told about after a long time without a turn

Finder = tuple[int, str]
"""Number of a worker, and a method."""


class SharedFront:
    """The best equation of every size, of the columns shown, and the news of them that each member has heard.

    Args:
        data: table of the search.
        symbols: number of operators.

    Attributes:
        best: lowest error on the search rows and equation of every size.
        shortlist: equations of the shortest codes.
    """

    def __init__(self, data: PortfolioData, symbols: int) -> None:
        self.best: dict[int, tuple[float, Expression]] = {}
        self.shortlist = Shortlist(data.shown_task)
        self._search_rows = len(data.shown_task.search_target)
        self._most_constants = max(1.0, len(data.whole.target) / _ROWS_A_CONSTANT)  # beside scale and offset
        self._symbols = symbols + data.shown_task.variables
        self._news: list[tuple[Finder, Expression]] = []  # who found it, and what: the newest, in their order
        self._old_news = 0  # how many there were before these
        self._heard: dict[Finder, int] = {}  # how many of these each member was told

    def keep(self, error: float, equation: Expression, finder: Finder) -> None:
        """Take an equation up where it is the best of its size.

        Args:
            error: normalised squared error on the search rows.
            equation: equation of the columns shown.
            finder: who found it.
        """
        size = tree_size(equation)
        if math.isfinite(error) and error < self.best.get(size, (math.inf,))[0]:
            self.best[size] = (error, equation)
            self._news.append((finder, equation))
            if len(self._news) > _MOST_NEWS:
                del self._news[0]
                self._old_news += 1

    def news_for(self, member: Finder) -> list[Expression]:
        """What others have found since a member was told last; it counts as told from now on.

        Args:
            member: who is told.
        """
        told = self._news[max(0, self._heard.get(member, 0) - self._old_news) :]
        self._heard[member] = self.news
        return [equation for finder, equation in told if finder != member]

    @property
    def news(self) -> int:
        """How many equations have been the best of their size so far."""
        return self._old_news + len(self._news)

    @property
    def code_length(self) -> float:
        """The shortest description of the target on the search rows, in nats, see `allocation.code_length`."""
        return code_length(self.best, self._search_rows, self._symbols)

    @property
    def rivals(self) -> list[Rival]:
        """Equations of the shortest codes whose constants are few beside the rows."""
        return [rival for rival in self.shortlist.rivals if len(rival.equation.constants) < self._most_constants]

    @property
    def credible(self) -> dict[int, tuple[float, Expression]]:
        """The best equations whose constants are few beside the rows: with as many, anything meets a few rows."""
        return {size: found for size, found in self.best.items() if len(found[1].constants) < self._most_constants}
