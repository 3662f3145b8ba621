"""What a member of a portfolio is: a search that works in turns, and hands over what it has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from expressions.expression import Expression

__all__ = ["Best", "Member", "Offer"]

Best = Mapping[int, tuple[float, Expression]]
"""Lowest normalised error on the search rows, and its equation, for every size."""


@dataclass(frozen=True)
class Offer:
    """What a member needs to begin.

    Attributes:
        seed: numbers that seed every draw, different for every member of a portfolio.
        operators: names of the operators that equations may hold.
        max_length: largest number of nodes of an equation.
        first_seconds: time that the first step may take; None: no limit.
        guesses: equations to start from, of the columns shown.
        evaluations: budget of the whole search in computations of one equation; None: no limit.
    """

    seed: tuple[int, ...]
    operators: tuple[str, ...]
    max_length: int
    first_seconds: float | None
    guesses: tuple[Expression, ...]
    evaluations: int | None = None


class Member(Protocol):
    """A search of the rows of one `RegressionTask`, which stands for each equation's best `a*f + b`."""

    @property
    def evaluations(self) -> int:
        """Computations of one equation on the search rows so far."""

    @property
    def best(self) -> Best:
        """What it has found so far."""

    @property
    def candidates(self) -> Sequence[Expression]:
        """Equations nearly as accurate as the best of their size: one of them may have a shorter code."""

    @property
    def is_done(self) -> bool:
        """Whether another step would find nothing new."""

    def take(self, equations: Sequence[Expression]) -> None:
        """Hand over what the others have found since the last turn."""

    def step(self) -> None:
        """Search for a little while: a generation, or what is like it."""
