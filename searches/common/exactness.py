"""Whether an equation that is nearly exact on the search rows is the formula itself."""

from __future__ import annotations

import numpy as np

from expressions.expression import Expression
from searches.common.refinement import Refinement
from searches.common.regression_task import RegressionTask
from searches.common.whole_table import WholeTable
from searches.pareto_front import Candidate

__all__ = ["NEARLY_EXACT", "ExactnessCheck"]

NEARLY_EXACT = 1e-8
"""Error on the search rows, perhaps in float32, from which an equation is worth a check on all rows in float64."""
_ITERATIONS = 20
_REMEMBERED = 10_000  # equations that were checked
_MANY_DIGITS = 1e-11  # error of rounding below which what is exact is no accident, and the search is over


class ExactnessCheck:
    """Checks equations on every row in float64, each of them once.

    Args:
        table: all rows of the search.
        task: the rows to refine on.
        refinement: how equations are brought to canonical form and scored.
    """

    def __init__(self, table: WholeTable, task: RegressionTask, refinement: Refinement) -> None:
        self.table, self.task, self.refinement = table, task, refinement
        self.exact: Candidate | None = None
        """The last equation that was exact."""
        self._refuted: dict[Expression, None] = {}  # the newest ones

    def is_refuted(self, found: Expression) -> bool:
        """Whether an equation was checked and is not exact."""
        return found in self._refuted

    def check(
        self, found: Expression, equation: Expression | None = None, fixed: np.ndarray | None = None
    ) -> bool:
        """Fit the constants of an equation on more rows, and score it on all of them.

        Args:
            found: equation as the search has it, by which it is remembered.
            equation: the same in the table's own units; `found` when not given.
            fixed: constants that keep their value, `[constants]` bool; None: none.
        """
        equations = self.task.complete(
            [found if equation is None else equation], _ITERATIONS, None if fixed is None else [fixed]
        )
        for each in equations:
            candidate = self.refinement.judged(each)
            if candidate.exact and self.table.is_longer_than(self.task):
                candidate = self.table.judged(candidate)
            if candidate.exact and candidate.rounding < _MANY_DIGITS:
                self.exact = candidate
                return True
        self._refuted[found] = None
        if len(self._refuted) > _REMEMBERED:
            del self._refuted[next(iter(self._refuted))]
        return False
