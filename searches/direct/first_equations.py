"""What a search begins with: laws that linear algebra finds outright, and sums by regression."""

from __future__ import annotations

import math
import time
from collections.abc import Collection

import numpy as np

from expressions.expression import Expression
from searches.direct.kinds import KINDS
from searches.links.stepwise import EXACT
from searches.links.sums import linked_sums

__all__ = ["direct_equations", "first_equations"]

_SHORT = 15  # tokens up to which an exact equation is taken without a look for a shorter one


def first_equations(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], most: int, seconds: float | None = None
) -> list[Expression]:
    """Equations of the target, the best first: of two as good, the shorter.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        operators: names of the operators that may occur, see `searches.links.sums.linked_sums`.
        most: largest number of equations.
        seconds: time after which nothing new is begun; None: no limit, and always the same equations.
    """
    if not most:
        return []
    ends = math.inf if seconds is None else time.perf_counter() + seconds
    found = direct_equations(inputs, target, operators, ends)
    if not any(error <= EXACT and len(equation) <= _SHORT for equation, error in found.items()):
        left = None if seconds is None else max(0.0, ends - time.perf_counter())
        for equation in linked_sums(inputs, target, operators, most, left):
            found.setdefault(equation, _error(equation, inputs, target))
    ranked = sorted(found, key=lambda equation: (max(found[equation], EXACT), len(equation)))
    return ranked[:most]


def direct_equations(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float = math.inf
) -> dict[Expression, float]:
    """What the kinds of `searches.direct.kinds` find: equations with their squared errors over the variance.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        operators: names of the operators that may occur.
        ends: time (`time.perf_counter`) after which nothing new is begun.
    """
    found: dict[Expression, float] = {}
    with np.errstate(all="ignore"):  # what is not finite on a row is left out
        for find in KINDS.values():
            if time.perf_counter() > ends:
                break
            for equation in find(inputs, target, operators, ends):
                error = _error(equation, inputs, target)
                if math.isfinite(error):
                    found[equation] = error
            if any(error <= EXACT for error in found.values()):  # a law of one kind is none of another
                break
    return found


def _error(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        scatter = float(np.square(target - target.mean()).sum())
        return float(np.square(equation(inputs) - target).sum()) / scatter
