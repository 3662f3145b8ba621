"""The equations of a discovery as people are shown them: with the digits that the data support."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from expressions.constant_rounding import readable
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.goodness_of_fit import r2
from reports.discovery_parts.result import Discovery
from reports.polynomial_baselines import Rows
from runs.reader import digits
from searches.pareto_front import Candidate

__all__ = ["ShownEquations", "r2_text"]

_WITHOUT_ROWS = 6  # significant digits where no rows say how many are needed


@dataclass(frozen=True)
class ShownEquations:
    """Equations of a front, each with the digits that the data support, and their scores on the held-out rows.

    Attributes:
        equations: shown equation of every candidate.
        held_out_r2: R2 of every candidate, all digits kept, on the held-out rows; empty where there are none.
        digits: significant digits to print constants with: none of theirs is left out.
        intervals: constants of the picked equation with their intervals of 95 %, in words; empty where the
            equation is exact, or nothing is known.
    """

    equations: dict[Candidate, Expression]
    held_out_r2: dict[Candidate, float]
    digits: int = 15
    intervals: tuple[str, ...] = ()

    @classmethod
    def of_discovery(cls, discovery: Discovery) -> ShownEquations:
        """The equations of a discovery's front; six digits each where it has no rows."""
        scores = _scored(list(discovery.front), discovery.held_out)
        intervals = discovery.intervals_of(discovery.chosen)
        words = () if intervals is None else intervals.texts
        if discovery.train is None:
            return cls({each: _rounded(each.expression) for each in discovery.front}, scores, intervals=words)
        shown = {each: readable(each.expression, *discovery.train) for each in discovery.front}
        return cls(shown, scores, intervals=words)

    def of(self, candidate: Candidate) -> Expression:
        """The equation of a candidate as it is shown."""
        return self.equations.get(candidate, candidate.expression)


def _scored(candidates: list[Candidate], held_out: Rows | None) -> dict[Candidate, float]:
    """R2 of every candidate, all evaluated together: the equations of a front share most of their terms."""
    scores: dict[Candidate, float] = {}
    if held_out is None:
        return scores
    inputs, target = held_out

    def score(index: int, values: np.ndarray) -> None:
        scores[candidates[index]] = r2(target, np.broadcast_to(values, target.shape))

    Evaluator(inputs, np.float64).visit([candidate.expression for candidate in candidates], score)
    return scores


def _rounded(expression: Expression) -> Expression:
    return expression.with_constants(
        [float(f"{value:.{_WITHOUT_ROWS - 1}e}") for value in expression.constants.tolist()]
    )


def r2_text(value: float) -> str:
    """R2 as it is shown: with the digits that tell it from 1."""
    return digits(value) if math.isfinite(value) else "not finite"
