"""What a search begins with: laws that linear algebra finds outright, and sums by regression."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from contextlib import suppress

import numpy as np

from expressions.canonical_form import canonical
from expressions.expression import Expression
from searches.common.chosen_rows import evenly_spread
from searches.common.shifted_columns import ShiftedColumns
from searches.direct.kinds import KINDS
from searches.direct.recentring import level_place, with_distances
from searches.links.stepwise import EXACT
from searches.links.sums import linked_sums

__all__ = ["direct_equations", "equations_of_far_columns", "first_equations"]

_OF_FAR_COLUMNS = 10  # equations
_LONG = 9  # tokens beyond which an exact equation is also looked for about the middle of its symmetry
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
        shift = ShiftedColumns.of(inputs)
        plain = shift.shifted(inputs) if shift else inputs
        for equation in map(shift.restored, linked_sums(plain, target, operators, most, left)):
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
    shift = ShiftedColumns.of(inputs)
    if not shift:
        return _found_by_kinds(inputs, target, operators, ends)
    shifted = _found_by_kinds(shift.shifted(inputs), target, operators, ends)
    found = {shift.restored(equation): error for equation, error in shifted.items()}
    if not any(error <= EXACT for error in found.values()):  # a law of the column's own numbers, as of kelvins
        found |= _found_by_kinds(inputs, target, operators, ends)
    return found


def _found_by_kinds(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float
) -> dict[Expression, float]:
    """The same of the columns as they are, however far from 0; an exact law also about its middle."""
    found = _found_once(inputs, target, operators, ends)
    exact = [equation for equation, error in found.items() if error <= EXACT]
    law = shortest = min(exact, key=len, default=Expression.constant(0.0))
    moved, places = inputs, dict[int, float]()
    for variable in shortest.variables:
        if len(law) <= _LONG or time.perf_counter() > ends:
            break
        place = level_place(law, moved, variable)
        if not place:
            continue
        trial = moved.copy()
        trial[:, variable] -= place
        for equation, error in _found_once(trial, target, operators, ends).items():
            if error <= EXACT and len(equation) < len(law):
                law, moved, places[variable] = equation, trial, place
    if places:
        for variable, place in places.items():
            law = with_distances(law, variable, place)
        law = canonical(law)
        if len(law) < len(shortest) and (error := _error(law, inputs, target)) <= EXACT:
            found[law] = error
    return found


def _found_once(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float
) -> dict[Expression, float]:
    found: dict[Expression, float] = {}
    with np.errstate(all="ignore"):  # what is not finite on a row is left out
        for find in KINDS.values():
            if time.perf_counter() > ends:
                break
            with suppress(np.linalg.LinAlgError, ArithmeticError):  # numbers beyond what a kind can compute with
                for equation in find(inputs, target, operators, ends):
                    error = _error(equation, inputs, target)
                    if math.isfinite(error):
                        found[equation] = error
            if any(error <= EXACT for error in found.values()):  # a law of one kind is none of another
                break
    return found


def equations_of_far_columns(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], rows: int, ends: float = math.inf
) -> list[Expression]:
    """The best laws of columns as they are, however far from 0: of kelvins, however little these vary.

    Args:
        inputs: values of the variables; no equations where they are not finite. `[rows, variables]`
        target: values of the target. `[rows]`
        operators: names of the operators that may occur.
        rows: number of rows that are looked at.
        ends: time (`time.perf_counter`) after which nothing new is begun.
    """
    some = evenly_spread(len(target), rows)
    inputs, target = np.asarray(inputs, np.float64)[some], np.asarray(target, np.float64)[some]
    if not (np.isfinite(inputs).all() and np.isfinite(target).all() and np.ptp(target) > 0):
        return []
    found = _found_by_kinds(inputs, target, operators, ends)
    return sorted(found, key=lambda equation: (max(found[equation], EXACT), len(equation)))[:_OF_FAR_COLUMNS]


def _error(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        scatter = float(np.square(target - target.mean()).sum())
        return float(np.square(equation(inputs) - target).sum()) / scatter
