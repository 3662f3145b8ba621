"""A front as a record of plain numbers, with all that a rule of choice may ask for, for the suite `trust`.

So rules are compared on the same fronts, and none of them needs another search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.trust_laws import size_of
from benchmarks.trust_tables import NoisyTable
from benchmarks.trust_verdict import Verdict, constants_of, verdicts
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.fitting.reach import gram_of_constants
from expressions.numbering import plain
from searches.common.regression_task import RegressionTask
from searches.pareto_front import Candidate

__all__ = ["front_record", "law_record"]

_HELD_OUT = 0.25  # share of the rows that choose, where some do
_STEPS = 20  # of the fit of the constants to all rows that the search had


def front_record(
    candidates: Sequence[Candidate],
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    table: NoisyTable,
) -> list[dict[str, Any]]:
    """One entry an equation, in the order given.

    Args:
        candidates: front of a search.
        inputs: rows that the search had, those that it chose by included. `[rows, variables]`
        target: target on these rows. `[rows]`
        weights: weights of the squared errors; None: all alike. `[rows]`
        table: table of these rows.

    Returns:
        Entries that JSON holds. `equation`, `infix`, `complexity`, `train_nmse`, `validation_nmse`, `charge`,
        `rounding` and `exact` are the candidate's. `tokens` is the length of its program, `symbols` the number of
        distinct operators, variables and constants in it, `constants` the number of constants of its canonical
        form. `found` and `refitted` hold `values` of the constants in the program's order, as they were found and
        as they fit all rows best, `rss`, the (weighted) sum of squared errors on these rows, and `information`,
        the sum of the squared derivatives by each constant, which over the error variance is its Fisher
        information; `refitted` also has `gram`, the (weighted) sums of the products of these derivatives
        `[constants, constants]`. The rest is the verdict, see `benchmarks.trust_verdict`.
    """
    expressions = [candidate.expression for candidate in candidates]
    again = fit_constants(expressions, inputs, target, iterations=_STEPS, weights=weights).expressions
    rows = (inputs, target, weights)
    return [
        _entry(candidate, _facts(candidate.expression, *rows), _facts(fitted, *rows, whole=True), verdict)
        for candidate, fitted, verdict in zip(candidates, again, verdicts(expressions, table), strict=True)
    ]


def law_record(
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    table: NoisyTable,
    held_out: bool = False,
) -> dict[str, Any] | None:
    """The entry that the law would have on the front, its constants fitted to the rows; None where it has no form.

    Args:
        inputs: inputs of the search, as for `front_record`. `[rows, variables]`
        target: target of the search. `[rows]`
        weights: weights of the squared errors; None: all alike. `[rows]`
        table: table of these rows.
        held_out: whether the search kept a quarter of these rows to choose by, as then the law is judged, too.
    """
    if table.law.truth is None:
        return None
    [fitted] = fit_constants([table.law.truth], inputs, target, iterations=_STEPS, weights=weights).expressions
    order = np.random.default_rng(0).permutation(len(target))
    train, chooses = np.split(order, [len(target) - round(_HELD_OUT * len(target))])
    if held_out and np.ptp(target[train]) > 0.0 and np.ptp(target[chooses]) > 0.0:
        task = RegressionTask(
            inputs[train],
            target[train],
            weights=None if weights is None else weights[train],
            validation=(inputs[chooses], target[chooses]),
            validation_weights=None if weights is None else weights[chooses],
        )
    else:
        task = RegressionTask(inputs, target, weights=weights)
    candidate = task.charged(task.judge(fitted, size_of(fitted)))
    return front_record([candidate], inputs, target, weights, table)[0]


def _entry(
    candidate: Candidate, found: dict[str, Any], refitted: dict[str, Any], verdict: Verdict
) -> dict[str, Any]:
    expression = candidate.expression
    return {
        "equation": plain(expression),
        "infix": expression.infix(),
        "complexity": candidate.complexity,
        "train_nmse": candidate.train_nmse,
        "validation_nmse": candidate.validation_nmse,
        "charge": candidate.charge,
        "rounding": candidate.rounding,
        "exact": candidate.exact,
        "tokens": len(expression),
        "symbols": len(np.unique(expression.tokens)),
        "constants": constants_of(expression),
        "found": found,
        "refitted": refitted,
        **asdict(verdict),
        "contains": verdict.contains,
    }


def _facts(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    whole: bool = False,
) -> dict[str, Any]:
    """Constants, sum of squares and information, and on request the `whole` Gram matrix; not finite is None."""
    settled = np.zeros(len(expression.constants), dtype=bool)
    gram = np.empty((0, 0))
    if len(settled):
        gram = gram_of_constants(expression, inputs, target, weights, settled)[0][:-1, :-1]
    squares = np.square(expression(inputs) - target)
    rss = float(squares.sum() if weights is None else squares @ weights)
    return {
        "values": expression.constants.tolist(),
        "rss": _finite(rss),
        "information": [_finite(value) for value in np.diag(gram).tolist()],
        **({"gram": [[_finite(value) for value in row] for row in gram.tolist()]} if whole else {}),
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.12g}") if math.isfinite(value) else None
