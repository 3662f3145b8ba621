"""How well the activations of a block determine the constants of its equations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.constant_intervals import ConstantIntervals, constant_intervals
from expressions.expression import Expression

__all__ = ["intervals_of"]

_MOST_ROWS = 2_000


def intervals_of(
    equations: Sequence[Expression], inputs: np.ndarray, outputs: np.ndarray, *, level: float = 0.95
) -> list[ConstantIntervals]:
    """The interval of every constant, around the value that it has, for each equation.

    What an equation misses of its output counts as noise. A network has none, and what is missed depends on the
    inputs: so rows are thinned out to some that say little of each other, and errors may differ between them.

    Args:
        equations: equations of the outputs, say after their constants have learned.
        inputs: what goes into the block. `[rows, inputs]`
        outputs: what comes out. `[rows, outputs]`
        level: probability that an interval is to hold the value that fits best everywhere.
    """
    rows = np.linspace(0, len(inputs) - 1, min(len(inputs), _MOST_ROWS)).astype(np.int64)
    return [
        constant_intervals(equation, inputs[rows], outputs[rows, place], unequal=True, refit=False, level=level)
        for place, equation in enumerate(equations)
    ]
