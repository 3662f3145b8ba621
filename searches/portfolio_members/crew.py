"""The members of a portfolio in one process: they take turns, and report what is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.latent_space.equation_map import EquationMap, MapFile
from searches.portfolio_members.evolution import EvolutionMember
from searches.portfolio_members.latent import LatentMember
from searches.portfolio_members.member import Member, Offer
from searches.portfolio_members.regression import RegressionMember
from searches.portfolio_members.settings import METHODS
from searches.portfolio_members.shortlist import Rival, Shortlist
from searches.portfolio_members.structures import STRUCTURE_OPERATORS, StructureMember

__all__ = ["Crew", "Report", "possible_methods"]


@dataclass(frozen=True)
class Report:
    """What a turn brought.

    Attributes:
        method: method that had the turn.
        found: equations that are the method's best of their size and were not so before, with their errors.
        rivals: equations of the shortest codes that this crew has met, where these have changed.
        evaluations: computations of one equation on the search rows in this turn.
        seconds: time that the turn took.
        is_done: whether another turn of this method would find nothing new.
    """

    method: str
    found: list[tuple[float, Expression]]
    rivals: list[Rival]
    evaluations: int
    seconds: float
    is_done: bool


def possible_methods(methods: Sequence[str], operators: Sequence[str], has_map: bool) -> list[str]:
    """Those methods that can work with the operators and the map at hand, in the order of `METHODS`."""
    impossible = set() if has_map else {"map"}
    if not set(operators) >= STRUCTURE_OPERATORS:
        impossible.add("structures")
    return [method for method in METHODS if method in methods and method not in impossible]


class Crew:
    """One member for every method, each made when its first turn comes.

    Args:
        task: data of the search: the search rows alone, of the columns shown.
        offer: what every member needs to begin; the method's number is added to the seed.
        latent_map: map of equations, or the file to load it from; None: there is none.
    """

    def __init__(self, task: RegressionTask, offer: Offer, latent_map: EquationMap | MapFile | None) -> None:
        self.task, self.offer, self.latent_map = task, offer, latent_map
        self._members: dict[str, Member] = {}
        self._reported: dict[str, dict[int, float]] = {}
        self._shortlist = Shortlist(task)

    def turn(self, method: str, equations: Sequence[Expression], seconds: float | None) -> Report:
        """Let a method search.

        Args:
            method: one of `METHODS`.
            equations: what the others have found since its last turn.
            seconds: time after which no further step is begun; None: one step.
        """
        begun = time.perf_counter()
        member = self._members.get(method) or self._made(method)
        before = member.evaluations
        member.take(equations)
        while not member.is_done:
            member.step()
            if seconds is None or time.perf_counter() - begun >= seconds:
                break
        return Report(
            method,
            self._news(method, member),
            self._rivals(member),
            member.evaluations - before,
            time.perf_counter() - begun,
            member.is_done,
        )

    def _news(self, method: str, member: Member) -> list[tuple[float, Expression]]:
        reported = self._reported.setdefault(method, {})
        news: list[tuple[float, Expression]] = []
        for size, (error, equation) in sorted(member.best.items()):
            if error < reported.get(size, float("inf")):
                reported[size] = error
                news.append((error, equation))
        return news

    def _rivals(self, member: Member) -> list[Rival]:
        before = self._shortlist.changes
        self._shortlist.take(member.candidates)
        return self._shortlist.rivals if self._shortlist.changes > before else []

    def _made(self, method: str) -> Member:
        offer = replace(self.offer, seed=(*self.offer.seed, METHODS.index(method)))
        if method == "map":
            assert self.latent_map is not None
            member: Member = LatentMember(self.task, offer, self.latent_map)
        else:
            member = _KINDS[method](self.task, offer)
        self._members[method] = member
        return member


_KINDS: dict[str, Callable[[RegressionTask, Offer], Member]] = {
    "regression": RegressionMember,
    "genetic_programming": EvolutionMember,
    "structures": StructureMember,
}
