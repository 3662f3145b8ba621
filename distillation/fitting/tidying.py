"""Equations without the constants that only follow a network's own errors, and with round ones where these do.

A fit to a network takes up an offset of 1e-4 and a factor of .9998, since thousands of rows tell them from 0 and
1. What they tell is how the network errs, smoothly, and not what it has learned. So equations are pruned and
rounded on few rows, by the rules that every search ends with (`searches.common.refinement`): a constant goes where
the error rises by no more than some percent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from distillation.choosing.description import described_order
from expressions.expression import Expression
from searches.common.refinement import Refinement
from searches.common.regression_task import RegressionTask
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["NOT_WORSE", "tidied"]

_ROWS = 120  # a constant that is taken out may raise the error by 9 parts of so many
_EQUATIONS = 8
NOT_WORSE = 1.3
"""Factor on the error of a tidy equation, below which longer ones are no better."""


def tidied(
    candidates: Sequence[Candidate],
    inputs: np.ndarray,
    target: np.ndarray,
    seconds: float,
    *,
    simplifies: bool = True,
) -> list[tuple[Candidate, Expression]]:
    """Equations with their tidy forms, those of the shortest description first.

    Args:
        candidates: equations of one output.
        inputs: rows of the block's inputs. `[rows, features]`
        target: its output there. `[rows]`
        seconds: time after which no further equation is begun.
        simplifies: whether to ask SymPy, for half a second at most.
    """
    ends = time.monotonic() + seconds
    rows = np.unique(np.linspace(0, len(target) - 1, _ROWS).astype(int))
    if np.ptp(target[rows]) == 0:
        return []
    task = RegressionTask(inputs[rows], target[rows], search_rows=len(rows), seed=0)
    refinement = Refinement(task, equations=1, simplify_seconds=min(0.5, 0.2 * seconds) if simplifies else 0.0)
    found = []
    for candidate in described_order(candidates)[:_EQUATIONS]:
        left = ends - time.monotonic()
        if left <= 0:
            break
        front = refinement.refined(ParetoFront([refinement.judged(candidate.expression)]), left)
        found += [(candidate, each.expression) for each in front]
    return found
