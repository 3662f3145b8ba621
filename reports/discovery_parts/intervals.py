"""How sure the constants of a picked equation are, in words."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.constant_intervals import constant_intervals
from expressions.expression import Expression
from reports.polynomial_baselines import Rows

__all__ = ["MEANING", "interval_texts", "intervals_of"]

_LEVEL = 0.95
MEANING = f"If this is the law, each constant lies in its interval with {100 * _LEVEL:.0f} % confidence"
"""Words before the intervals."""
_MOST_ROWS = 4_000  # to fit on; more only make an interval narrower, as the root of their number says
_FIT_STEPS = 20
_MOST_CONSTANTS = 30  # of an equation whose constants anybody reads


def intervals_of(equation: Expression, rows: Rows) -> np.ndarray:
    """The ends of every constant's interval; NaN where there is none. `[constants, 2]`

    Args:
        equation: equation that was fitted to the rows.
        rows: inputs and target. `[rows, variables]` and `[rows]`
    """
    inputs, target = rows
    if len(equation.constants) > _MOST_CONSTANTS:
        return np.full((len(equation.constants), 2), np.nan)
    some = slice(None, None, -(-len(target) // _MOST_ROWS))
    ends = constant_intervals(equation, inputs[some], target[some], level=_LEVEL)
    if len(target) <= _MOST_ROWS:
        return ends
    [of_some] = fit_constants([equation], inputs[some], target[some], iterations=_FIT_STEPS).expressions
    narrower = math.sqrt(len(target[some]) / len(target))
    return np.asarray(equation.constants[:, None] + narrower * (ends - of_some.constants[:, None]))


def interval_texts(constants: Iterable[float], ends: np.ndarray) -> tuple[str, ...]:
    """Each constant with its interval: `1.61 (1.58 to 1.64)`; empty where there is none.

    Args:
        constants: constants as they are shown.
        ends: lower and upper end for each, NaN where there is none. `[constants, 2]`
    """
    pairs = zip(constants, ends.tolist(), strict=True)
    return tuple(f"{value:.15g} ({_words(low, high)})" for value, (low, high) in pairs if not math.isnan(low))


def _words(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "any other would do"
    if math.isinf(low):
        return f"up to {high:.3g}"
    if math.isinf(high):
        return f"from {low:.3g}"
    width = high - low
    if not width > 0:
        return f"{low:.15g}"
    # Two digits of the width, which says how many digits of the ends mean anything.
    decimals = 1 - math.floor(math.log10(width))
    return f"{_rounded(low, decimals):.15g} to {_rounded(high, decimals):.15g}"


def _rounded(value: float, decimals: int) -> float:
    return round(value, decimals) if decimals < 300 else value
