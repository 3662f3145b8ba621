"""How likely it is that the equation of a whole model is the law of its targets.

The probability is that of `searches.law_probability`, which was calibrated on tables with noise. The errors of a
network are smooth, so that it says nothing of activations: it is asked of the targets that the model was trained
on, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.measurements import Measurements
from searches.common.regression_task import RegressionTask
from searches.law_probability import law_probability

__all__ = ["MOST_OUTPUTS", "probability_of_law"]

MOST_OUTPUTS = 16
"""Outputs of a model, beyond which nothing is said of any."""
_ROWS = 1_000


def probability_of_law(
    chosen: Expression, front: Sequence[Expression], inputs: np.ndarray, target: np.ndarray
) -> float | None:
    """The probability that an equation has the structure of the law of a target; None where it cannot be told.

    Args:
        chosen: equation that is picked.
        front: all equations of the output.
        inputs: rows that the model was trained on. `[rows, features]`
        target: target there, not the output of the model. `[rows]`
    """
    some = slice(None, None, -(-len(target) // _ROWS))
    inputs, target = inputs[some], target[some]
    try:
        task = RegressionTask(inputs, target, search_rows=len(target), seed=0)
        own, *others = [
            task.charged(task.judge(each, complexity(each))) for each in dict.fromkeys([chosen, *front])
        ]
        found = law_probability([own, *others], own, Measurements.of(inputs, target), deciding=False)
        return found.probability
    except ValueError:  # of a target that does not vary
        return None
