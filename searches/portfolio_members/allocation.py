"""Which member of a portfolio has the next turn: time goes to what has lowered the description length lately."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from searches.portfolio_members.member import Best

__all__ = ["SHARES", "Allocation", "code_length"]

SHARES: Mapping[str, float] = {"genetic_programming": 1.0, "regression": 0.1, "structures": 0.1, "map": 0.2}
"""Share of time of every method while nothing is known. Not measured yet: genetic programming finds most alone."""
_MEMORY = 0.9  # weight of the past at every turn
_FLOOR, _CEILING = 0.5, 2.0  # factors on the share of a method that finds nothing, and of one that finds most
_SMALLEST = 1e-24  # error below which there is only rounding


def code_length(best: Best, rows: int, symbols: int) -> float:
    """The shortest description of the target by an equation and its errors, in nats, up to a constant.

    An equation costs the logarithm of the number of symbols a node; the errors of unknown variance cost half the
    logarithm of their mean square a row (Bartlett, Desmond and Ferreira, Exhaustive symbolic regression, 2023).

    Args:
        best: lowest normalised error and equation of every size.
        rows: number of rows that the errors are means of.
        symbols: number of symbols that a node can be.
    """
    cost = math.log(max(symbols, 2))
    lengths = (0.5 * rows * math.log(max(error, _SMALLEST)) + size * cost for size, (error, _) in best.items())
    return min(lengths, default=0.0)


class Allocation:
    """Turns by stride scheduling: the method that is furthest behind its share is next.

    Args:
        methods: names of the methods.
    """

    def __init__(self, methods: Collection[str]) -> None:
        self._served = dict.fromkeys(methods, 0.0)
        self._gain = dict.fromkeys(methods, 0.0)
        self._cost = dict.fromkeys(methods, 0.0)

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in their order."""
        return list(self._served)

    def next(self, available: Collection[str]) -> str:
        """The method of the next turn, one of those available; the first of equals."""
        return min(available, key=lambda method: self._served[method])

    def note(self, method: str, cost: float, gain: float) -> None:
        """Take account of a turn.

        Args:
            method: method that had the turn.
            cost: time that it took, or another measure of effort that is the same for all methods.
            gain: decrease of the code length.
        """
        self._gain[method] = _MEMORY * self._gain[method] + gain
        self._cost[method] = _MEMORY * self._cost[method] + cost
        self._served[method] += cost / self._share(method)

    def _share(self, method: str) -> float:
        """Share of time: the one of old, times how well the method did against the average of all."""
        cost, gain = sum(self._cost.values()), sum(self._gain.values())
        if gain <= 0 or cost <= 0 or self._cost[method] <= 0:
            return SHARES[method]
        rate = (self._gain[method] / self._cost[method]) / (gain / cost)
        return SHARES[method] * min(_CEILING, _FLOOR + rate / 2)

    def start(self, method: str, lead: float) -> None:
        """Give a method its first turn only when the others have had `lead` units of cost for a share of 1."""
        self._served[method] += lead
