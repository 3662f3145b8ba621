"""The equations of an elite of the published equation learner: as published, and with constants of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from expressions.canonical_form import canonical
from expressions.expression import Expression
from expressions.simplest_form import simplify
from searches.common.refinement import Refinement
from searches.common.regression_task import RegressionTask
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["EliteEquations", "elite_equations", "without_small_terms"]

_SMALL_TERMS = 0.01  # of the target's standard deviation: what may be left out of a published equation
_FIT_ITERATIONS = 50  # of a fit that begins at weights of another structure


@dataclass(frozen=True)
class EliteEquations:
    """What an elite says.

    Attributes:
        shared: equation with the weights that the elite was measured with, without its small terms.
        fitted: front of the equation with constants of its own.
    """

    shared: Candidate
    fitted: ParetoFront


def elite_equations(equation: Expression, task: RegressionTask, simplify_seconds: float) -> EliteEquations:
    """Prune the equation of an elite, and fit constants of its own.

    Args:
        equation: equation of the elite in canonical form, so that every term has one coefficient.
        task: rows to fit and to judge on.
        simplify_seconds: SymPy's time limit for an equation; 0: no SymPy.
    """
    pruned = without_small_terms(equation, task.inputs, _SMALL_TERMS * math.sqrt(task.variance))
    if simplify_seconds:
        pruned = simplify(pruned, seconds=simplify_seconds, rows=task.inputs)
    refinement = Refinement(task, equations=2, simplify_seconds=simplify_seconds)
    refitted = [refinement.judged(found) for found in task.complete([equation, pruned], _FIT_ITERATIONS)]
    return EliteEquations(refinement.judged(pruned), refinement.refined(ParetoFront.of(refitted)))


def without_small_terms(equation: Expression, inputs: np.ndarray, smallest: float) -> Expression:
    """An equation without the terms that hardly change it.

    Args:
        equation: equation in canonical form, so that every term has one coefficient.
        inputs: rows to compare on. `[rows, variables]`
        smallest: root mean square that all changes together may have.
    """
    values = equation(inputs)
    without = equation.constants.copy()
    changes = [_rms(equation.with_constants(row)(inputs) - values) for row in without * (1 - np.eye(len(without)))]
    kept = equation
    for k in np.argsort(changes, kind="stable"):
        before, without[k] = without[k], 0.0
        shorter = canonical(equation.with_constants(without))
        if len(shorter) < len(kept) and _rms(shorter(inputs) - values) <= smallest:
            kept = shorter
        else:
            without[k] = before
    return kept


def _rms(values: np.ndarray) -> float:
    size = float(np.sqrt(np.mean(np.square(values))))
    return size if math.isfinite(size) else math.inf
