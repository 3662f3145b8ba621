"""The end of a portfolio: from the best equations of every size to the front that a person reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from searches.common.broken_powers import spelled
from searches.common.refinement import Refinement
from searches.pareto_front import Candidate, ParetoFront, pick
from searches.portfolio_members.data import PortfolioData
from searches.portfolio_members.shared_front import SharedFront

__all__ = ["final_front"]

_LAST_STEPS, _LAST_ROWS = 5, 100_000  # of the fit of the picked equation: more rows change no digit that counts


def final_front(
    found: SharedFront,
    exact: Candidate | None,
    leaders: Sequence[Candidate],
    data: PortfolioData,
    refinement: Refinement,
    most_complex: int | None,
    seconds: float,
) -> tuple[ParetoFront, tuple[str, ...]]:
    """The front, refined, fitted and scored on all rows.

    Args:
        found: what the search has found.
        exact: equation that is known to be exact.
        leaders: complete equations of short codes.
        data: table of the search.
        refinement: how equations are made shorter and rounder.
        most_complex: largest complexity of an equation; None: any.
        seconds: time that is left.

    Returns:
        The front in the units of the table, and sentences on what there was no time for.
    """
    ends = time.monotonic() + seconds
    front = _refined_front(found, exact, leaders, data, refinement, seconds - data.whole.scoring_seconds)
    shown = [candidate for candidate in front if most_complex is None or candidate.complexity <= most_complex]
    front = _fitted(ParetoFront.of(shown), data)
    scored, notes = data.whole.scored(front, data.task, ends - time.monotonic())
    return spelled(front if notes else scored), notes


def _refined_front(
    found: SharedFront,
    exact: Candidate | None,
    leaders: Sequence[Candidate],
    data: PortfolioData,
    refinement: Refinement,
    seconds: float,
) -> ParetoFront:
    """The front on the rows that are refined on, with shorter forms and rounder constants.

    Args:
        found: what the search has found.
        exact: equation that is known to be exact.
        leaders: complete equations of short codes.
        data: table of the search.
        refinement: how equations are made shorter and rounder.
        seconds: time that is left.
    """
    restored = {size: (error, data.table.restored(one)) for size, (error, one) in found.credible.items()}
    mean = refinement.judged(Expression.constant(float(data.task.target.mean())))
    known = [mean] if exact is None else [mean, exact]
    return refinement.front(restored, known, data.units_of, seconds, leaders if exact is None else ())


def _fitted(front: ParetoFront, data: PortfolioData) -> ParetoFront:
    """The front with its picked equation also as it fits more rows."""
    whole, task = data.whole, data.task
    if not whole.is_longer_than(task) or not len(front):
        return front
    picked = pick(front)
    if not len(picked.expression.constants) or picked.exact:
        return front
    rows = slice(None, None, -(-len(whole) // _LAST_ROWS))  # a view: the columns of no interest are not copied
    weights = None if whole.weights is None else whole.weights[rows]
    result = fit_constants(
        [picked.expression], whole.inputs[rows], whole.target[rows], iterations=_LAST_STEPS, weights=weights
    )
    return ParetoFront([*front, replace(picked, expression=result.expressions[0])])
