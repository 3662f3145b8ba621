"""What a search begins with: laws that linear algebra finds outright, and sums by regression."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np

from expressions.canonical_form import canonical
from expressions.expression import Expression
from expressions.operators import TOKEN
from searches.common.chosen_rows import evenly_spread
from searches.common.shifted_columns import ShiftedColumns
from searches.direct.kinds import CHEAP_KINDS, COSTLIEST_KIND, KINDS, kinds_under_noise
from searches.direct.recentring import level_place, with_distances
from searches.direct.separability import equations_of_parts
from searches.direct.symmetries import Reduced, reduced
from searches.links.stepwise import EXACT
from searches.links.sums import linked_sums

__all__ = ["direct_equations", "equations_of_far_columns", "first_equations"]

_OF_FAR_COLUMNS = 10  # equations
_LONG = 9  # tokens beyond which an exact equation is also looked for about the middle of its symmetry
_SHORT = 15  # tokens up to which an exact equation is taken without a look for a shorter one
_EXPANDED = 24  # tokens of an exact quotient that may be a shorter composition, multiplied out
_HUGE = 1e75  # size of numbers whose powers are beyond float64
_PARTS_SHARE = 0.33  # of the time that is left, for parts without a common variable
_LOOK_SECONDS = 0.5  # for a shorter equation among sums, where an exact one is known and time is short at all


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
    law = _shortest_exact(found)
    left = None if seconds is None else max(0.0, ends - time.perf_counter())
    if left is not None and law is not None:
        left = _LOOK_SECONDS if left > _LOOK_SECONDS else 0.0
    if law is None or (len(law) > _SHORT and left != 0.0):
        shift = ShiftedColumns.of(inputs)
        plain = shift.shifted(inputs) if shift else inputs
        for equation in map(shift.restored, linked_sums(plain, target, operators, most, left)):
            found.setdefault(equation, _error(equation, inputs, target))
    return _ranked(found, len(target))[:most]


def _ranked(found: Mapping[Expression, float], rows: int) -> list[Expression]:
    """Equations by error and, unless the first one is exact, by the length of a description in turns.

    Under noise the most accurate equations have the most constants, and a law is far down a list of errors.
    """
    by_error = sorted(found, key=lambda equation: (max(found[equation], EXACT), len(equation)))
    if not by_error or found[by_error[0]] <= EXACT:
        return by_error
    a_constant = 0.5 * math.log(rows)

    def code(equation: Expression) -> float:
        return 0.5 * rows * math.log(found[equation]) + len(equation) + a_constant * len(equation.constants)

    turns = zip(by_error, sorted(by_error, key=code), strict=True)
    return list(dict.fromkeys(equation for pair in turns for equation in pair))


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
    if _shortest_exact(found) is None:  # a law of the column's own numbers, as of kelvins
        found |= _found_by_kinds(inputs, target, operators, ends)
    return found


def _found_by_kinds(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float
) -> dict[Expression, float]:
    """The same of the columns as they are, however far from 0; an exact law also about its middle."""
    if not all(map(_is_ordinary, (*inputs.T, target))):
        return {}
    found = _found_once(inputs, target, operators, ends)
    law = shortest = _shortest_exact(found) or Expression.constant(0.0)
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


def _is_ordinary(values: np.ndarray) -> bool:
    """Whether the fourth powers of values and of their differences are within float64."""
    return float(np.abs(values).max()) < _HUGE and not 0.0 < float(np.ptp(values)) < 1.0 / _HUGE


def _found_once(
    inputs: np.ndarray,
    target: np.ndarray,
    operators: Collection[str],
    ends: float,
    *,
    whole: bool = True,
    noise: float = 0.0,
) -> dict[Expression, float]:
    """The same without a look about the middle: kind after kind, until one has found a short exact law.

    A whole table is looked at with variables that stand together put together, before the costly kinds are; in
    two parts without a common variable, before the costliest.

    Args:
        inputs, target, operators, ends: table, names and time, see `direct_equations`.
        whole: whether variables of the table may stand together.
        noise: squared error over the variance, up to which an equation is exact.
    """
    found: dict[Expression, float] = {}
    sure: dict[Expression, float] = {}  # under noise, many monomials come as near as the law
    exact = max(EXACT, noise)
    with np.errstate(all="ignore"):  # what is not finite on a row is left out
        for name, find in (kinds_under_noise(noise) if noise else KINDS).items():
            if time.perf_counter() > ends:
                break
            if whole and name not in CHEAP_KINDS and _shortest_exact(found, exact) is None:
                found |= _found_of_fewer(inputs, target, operators, ends)
                whole = False
            if name == COSTLIEST_KIND and not noise and _shortest_exact(found) is None:
                found |= _found_in_parts(inputs, target, operators, found, ends)
            if not _may_be_shorter(name, _shortest_exact(sure, exact)):
                continue
            with suppress(np.linalg.LinAlgError, ArithmeticError):  # what LAPACK cannot decompose, or overflows
                for equation in find(inputs, target, operators, ends):
                    error = _error(equation, inputs, target)
                    if math.isfinite(error):
                        found[equation] = error
                        if not noise or name not in CHEAP_KINDS or len(equation) <= _SHORT:
                            sure[equation] = error
    return found


def _found_in_parts(
    inputs: np.ndarray,
    target: np.ndarray,
    operators: Collection[str],
    known: Mapping[Expression, float],
    ends: float,
) -> dict[Expression, float]:
    """The same in two parts without a common variable, where the table has such, if better than what is known."""
    now = time.perf_counter()
    ends = now + _PARTS_SHARE * (ends - now)

    def search(some: np.ndarray, values: np.ndarray, noise: float) -> dict[Expression, float]:
        return _found_once(some, values, operators, ends, whole=False, noise=noise)

    found: dict[Expression, float] = {}
    with suppress(np.linalg.LinAlgError, ArithmeticError):
        for equation in equations_of_parts(inputs, target, known, operators, search, EXACT, ends):
            error = _error(equation, inputs, target)
            if error < min(known.values(), default=math.inf):
                found[equation] = error
    return found


def _found_of_fewer(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float
) -> dict[Expression, float]:
    """The same in fewer columns, where the table has symmetries."""
    fewer: Reduced | None = None
    with suppress(np.linalg.LinAlgError, ArithmeticError):
        fewer = reduced(inputs, target, operators)
    if fewer is None:
        return {}
    equations = map(fewer.restored, _found_once(fewer.inputs, target, operators, ends, whole=False))
    found = {equation: _error(equation, inputs, target) for equation in equations}
    return {equation: error for equation, error in found.items() if math.isfinite(error)}


def _may_be_shorter(kind: str, law: Expression | None) -> bool:
    """Whether a kind is worth a look, given the exact law that another kind has found.

    A law of one kind is mostly none of another, but sqrt(p)/q is found as a square, with everything multiplied
    out, and a product as a sum.
    """
    if law is None:
        return True
    if len(law) <= _SHORT:
        return False
    expanded = len(law) > _EXPANDED and any(TOKEN[name] in law.tokens for name in ("div", "inv"))
    return kind in CHEAP_KINDS or (kind == "compositions" and expanded)


def _shortest_exact(found: Mapping[Expression, float], exact: float = EXACT) -> Expression | None:
    return min((equation for equation, error in found.items() if error <= exact), key=len, default=None)


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
