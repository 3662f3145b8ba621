"""The simplest form of an equation, which SymPy looks for within a time limit: what a report shows."""

from __future__ import annotations

import numpy as np

from expressions import sympy_worker
from expressions.canonical_form import canonical
from expressions.complexity import complexity, out_of_range
from expressions.equivalence import comparison_rows, same_values
from expressions.expression import Expression

__all__ = ["simplify"]


def simplify(expression: Expression, seconds: float = 2.0, rows: np.ndarray | None = None) -> Expression:
    """The shortest rewriting of an expression that SymPy finds within a time limit.

    Every rewriting is checked in float64 on rows where the original is finite (equal up to rounding) and where it
    is not (not finite either), so that SymPy's rules for positive or complex arguments cannot change what is
    reported. SymPy runs in a worker process, see `expressions.sympy_worker`.

    Args:
        expression: equation to rewrite.
        seconds: time limit; what came before it counts. The first call also waits for the worker to start.
        rows: rows to check on beside the fixed random ones, for example the training table. `[rows, variables]`

    Returns:
        The candidate of lowest complexity (SymPy nodes), then of fewest tokens, among the expression itself, its
        canonical form and SymPy's rewritings: never more complex than the expression.
    """
    tables = [comparison_rows(1 + max(expression.variables, default=0))]
    if rows is not None:
        tables.append(np.asarray(rows, dtype=np.float64))
    short = canonical(expression)
    candidates = [expression, short]
    if np.isfinite(expression(tables[0])).any() and not out_of_range(short):
        for found in sympy_worker.rewritings(short, seconds):
            candidates += [found, canonical(found)]
    ranked = sorted(dict.fromkeys(candidates), key=lambda e: (complexity(e), len(e)))
    return next(e for e in ranked if e == expression or all(same_values(expression, e, X) for X in tables))
