"""The equations of a discovery as people are shown them: with the digits that the data support."""

from __future__ import annotations

import math
from dataclasses import dataclass

from expressions.constant_rounding import readable
from expressions.expression import Expression
from reports.discovery_parts.result import Discovery
from runs.reader import digits
from searches.pareto_front import Candidate

__all__ = ["ShownEquations", "r2_text"]

_WITHOUT_ROWS = 6  # significant digits where no rows say how many are needed


@dataclass(frozen=True)
class ShownEquations:
    """Equations of a front, each with the digits that the data support.

    Attributes:
        equations: shown equation of every candidate.
        digits: significant digits to print constants with: none of theirs is left out.
    """

    equations: dict[Candidate, Expression]
    digits: int = 15

    @classmethod
    def of_discovery(cls, discovery: Discovery) -> ShownEquations:
        """The equations of a discovery's front; six digits each where it has no rows."""
        if discovery.train is None:
            rounded = {candidate: _rounded(candidate.expression) for candidate in discovery.front}
        else:
            rounded = {
                candidate: readable(candidate.expression, *discovery.train) for candidate in discovery.front
            }
        return cls(rounded)

    def of(self, candidate: Candidate) -> Expression:
        """The equation of a candidate as it is shown."""
        return self.equations.get(candidate, candidate.expression)


def _rounded(expression: Expression) -> Expression:
    return expression.with_constants(
        [float(f"{value:.{_WITHOUT_ROWS - 1}e}") for value in expression.constants.tolist()]
    )


def r2_text(value: float) -> str:
    """R2 as it is shown: with the digits that tell it from 1."""
    return digits(value) if math.isfinite(value) else "not finite"
