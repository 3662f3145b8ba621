"""Symbolic regression by regression alone: tables in, a Pareto front of equations out, in a second or two.

Finds laws of the kinds of `searches.direct`, and sums of small functions under operators that can be inverted, see
`searches.links.sums`. Nothing is drawn at random, and no equation is varied: what is of another form is not found.
Genetic programming and the latent search begin with the same equations and go on from them (`linked_sums`).
"""

from __future__ import annotations

import math
import time

import numpy as np

from expressions.expression import Expression
from searches.common.broken_powers import spelled
from searches.common.refinement import Refinement, finish_seconds
from searches.common.shifted_columns import ShiftedColumns
from searches.common.whole_table import WholeTable
from searches.direct.first_equations import equations_of_far_columns, first_equations
from searches.links.settings import LinkRegressionSettings
from searches.search_result import SearchResult

__all__ = ["LinkRegressionSettings", "search"]

_FINISH_SHARE = 0.15  # of the time, kept for the last fit, pruning and rounding


def search(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: LinkRegressionSettings | None = None,
    *,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        settings: settings of the search; the defaults when not given.
        seed: random seed for the choice of rows, where there are more than `settings.search_rows`.
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.

    Returns:
        The result, without a history. It ended (`stopped`) by `exact` or `done`.

    Raises:
        ValueError: the data cannot be searched, see `searches.common.whole_table.WholeTable`.
    """
    begun = time.perf_counter()
    settings = settings or LinkRegressionSettings()
    shift = ShiftedColumns.of(inputs)
    own: list[Expression] = []
    if shift:
        own = equations_of_far_columns(inputs, target, settings.operators, settings.search_rows)
        inputs = shift.shifted(inputs)
        validation = None if validation is None else (shift.shifted(validation[0]), validation[1])
    table = WholeTable(inputs, target, validation=validation)
    task = table.task(search_rows=settings.search_rows, seed=seed)
    ends = math.inf if settings.seconds is None else begun + settings.seconds - table.scoring_seconds
    kept = 0.0 if settings.seconds is None else finish_seconds(_FINISH_SHARE, settings.seconds)
    seconds = None if settings.seconds is None else max(0.0, ends - kept - time.perf_counter())
    equations = first_equations(
        task.search_inputs, task.search_target, settings.operators, settings.equations, seconds
    )
    equations += map(shift.taken, own)
    best: dict[int, tuple[float, Expression]] = {}
    for equation, error in zip(equations, task.screen(equations).tolist(), strict=True):
        if error < best.get(len(equation), (np.inf,))[0]:
            best[len(equation)] = (error, equation)
    refinement = Refinement(
        task,
        iterations=settings.finish_iterations,
        equations=settings.polish_equations,
        simplify_seconds=settings.simplify_seconds,
    )
    mean = refinement.judged(Expression.constant(float(task.target.mean())))  # where nothing was found
    front = refinement.front(best, [mean], seconds=ends - time.perf_counter())
    front, notes = table.scored(front, task, ends + table.scoring_seconds - time.perf_counter())
    return SearchResult(
        front=spelled(shift.restored_front(front)),
        history=[],
        seconds=time.perf_counter() - begun,
        evaluations=len(equations) + task.evaluations,
        stopped="exact" if any(candidate.exact for candidate in front) else "done",
        counts={"equations": len(equations)},
        notes=(*notes, *shift.notes()),
    )
