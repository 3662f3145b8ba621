"""Round fitted constants to values that a person would write.

`snap` proposes integers, small rationals, multiples of pi and shorter decimals for fitted constants and keeps
those that the data cannot tell from the fit. `readable` fits nothing: it leaves out digits that say nothing, where
an equation is shown.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.fitting.reach import gram_of_constants, reach_of_constants

__all__ = ["readable", "snap"]

_CHI_SQUARE = 9.0  # three standard deviations of one constant
_SHOWN_ROWS = 1_000  # to judge digits by
_EXACT_NMSE = 1e-22  # an error at rounding level, to which digits may be left out of an exact equation
_ALL_DIGITS = 17  # which tell every float64 from its neighbours
_FAILURES = 4  # proposals to try for a constant before it is left alone


def snap(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    tolerance: float = 1e-3,
    weights: np.ndarray | None = None,
) -> Expression:
    """Round fitted constants to values that a person would write, as far as the data allow it.

    Values are integers, fractions with a small denominator, such fractions of pi, and decimals of few digits;
    the shortest comes first. One constant is rounded at a time and the others are fitted again. With `E` the
    mean squared error of the fit and `n` rows, rounding the `k`-th constant is kept while the error is at
    most

        E (1 + tolerance + 9 k / n) + rounding of float64

    Rounding a constant to its *true* value raises `E` by `E/n` on average, if `E` is noise: `9 k / n` is
    three standard deviations of it. `tolerance` is what readability may cost where `E` is not noise but
    misfit. An exact fit (`E` at rounding) has no room and keeps only values that are exact too.

    Args:
        expression: fitted equation; its constants are fitted once more before the first is rounded.
        inputs: values of the variables. `[rows, variables]`
        target: values that were fitted to. `[rows]`
        tolerance: relative rise of the mean squared error that all roundings together may cost.
        weights: weights of the squared residuals, as in `fit_constants`. `[rows]`

    Returns:
        The same program. It is returned as it came if it is not finite on some row.
    """
    result = fit_constants([expression], inputs, target, iterations=10, weights=weights)
    error = float(result.errors[0])
    if not len(expression.constants) or not math.isfinite(error):
        return expression
    rows = len(target)
    rounding = (64 * np.finfo(float).eps) ** 2 * float(np.mean(np.square(target)))
    current = _turn_back(result.expressions[0], inputs, target, weights, error * (1.0 + 1e-9) + rounding)
    fixed = np.zeros(len(expression.constants), dtype=bool)
    failures = np.zeros(len(fixed), dtype=int)
    tried: set[tuple[int, float]] = set()
    snapped = 0
    while True:
        allowed = error * (1.0 + tolerance + _CHI_SQUARE * (snapped + 1) / rows) + rounding
        proposal = _propose(current, inputs, target, weights, fixed | (failures >= _FAILURES), tried, 2 * allowed)
        if proposal is None:
            return current
        k, value = proposal
        tried.add(proposal)
        constants = current.constants.copy()
        constants[k] = value
        held = fixed.copy()
        held[k] = True
        trial = fit_constants(
            [current.with_constants(constants)], inputs, target, iterations=5, weights=weights, fixed=[held]
        )
        if trial.errors[0] <= allowed:
            current, fixed, snapped = trial.expressions[0], held, snapped + 1
        else:
            failures[k] += 1


def readable(expression: Expression, inputs: np.ndarray, target: np.ndarray, rise: float = 0.01) -> Expression:
    """The equation as it is shown: every constant with the fewest significant digits that the data allow.

    Constants are rounded one after the other, and nothing is fitted again. The mean squared error of all roundings
    together rises by less than `rise`; that of an exact equation stays at rounding level.

    Args:
        expression: fitted equation.
        inputs: values of the variables. `[rows, variables]`
        target: values that were fitted to. `[rows]`
        rise: relative rise of the mean squared error that all roundings together may cost.

    Returns:
        The same program. It is returned as it came if it is not finite on some row.
    """
    rows = np.linspace(0, len(target) - 1, min(len(target), _SHOWN_ROWS)).astype(np.int64)
    inputs, target = np.asarray(inputs)[rows], np.asarray(target)[rows]
    with np.errstate(all="ignore"):
        nothing_settled = np.zeros(len(expression.constants), dtype=bool)
        gram, _ = gram_of_constants(expression, inputs, target, None, nothing_settled)
        error, floor = gram[-1, -1] / len(target), _EXACT_NMSE * float(np.var(target))
        if not np.isfinite(gram).all():
            return expression
        digits = _fewest_digits(expression.constants, gram / len(target), error * rise + floor)
        while digits.min(initial=_ALL_DIGITS) < _ALL_DIGITS:
            shown = expression.with_constants(_with_digits(expression.constants, digits))
            if np.mean(np.square(shown(inputs) - target)) < error * (1.0 + rise) + floor:
                return shown
            digits = np.minimum(digits + 1, _ALL_DIGITS)
    return expression


def _fewest_digits(constants: np.ndarray, gram: np.ndarray, rise: float) -> np.ndarray:
    """Digits for every constant, as the quadratic model of the error has it. `[constants]`

    Args:
        constants: values to round. `[constants]`
        gram: matrix of `gram_of_constants`, divided by the number of rows.
        rise: rise of the mean squared error that all roundings together may cost.
    """
    moved = np.zeros(len(constants))
    digits = np.full(len(constants), _ALL_DIGITS)
    for k, value in enumerate(constants.tolist()):
        allowed = rise * (k + 1) / (len(constants) + 1)
        for count in range(1, _ALL_DIGITS):
            moved[k] = float(f"{value:.{count - 1}e}") - value
            if float(moved @ (gram[:-1, :-1] @ moved - 2.0 * gram[:-1, -1])) < allowed:
                digits[k] = count
                break
        else:
            moved[k] = 0.0
    return digits


def _with_digits(constants: np.ndarray, digits: np.ndarray) -> list[float]:
    """Constants rounded to so many significant digits."""
    return [float(f"{v:.{n - 1}e}") for v, n in zip(constants.tolist(), digits.tolist(), strict=True)]


def _turn_back(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    allowed: float,
) -> Expression:
    """Take whole turns off constants that are phases: those that may lose them at no cost."""
    for k in np.flatnonzero(np.abs(expression.constants) > math.pi).tolist():
        constants = expression.constants.copy()
        constants[k] = math.remainder(constants[k], 2.0 * math.pi)
        held = [np.ones(len(constants), dtype=bool)]
        trial = fit_constants([expression.with_constants(constants)], inputs, target, weights=weights, fixed=held)
        if trial.errors[0] <= allowed:
            expression = trial.expressions[0]
    return expression


def _propose(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray | None,
    settled: np.ndarray,
    tried: set[tuple[int, float]],
    allowed: float,
) -> tuple[int, float] | None:
    """The shortest value for any constant not settled that should keep the error below `allowed`."""
    open_constants = np.flatnonzero(~settled)
    if not len(open_constants):
        return None
    reach = reach_of_constants(expression, inputs, target, weights, settled, allowed)
    if reach is None:
        return None
    best: tuple[float, float, int, float] | None = None
    for k, radius in zip(open_constants.tolist(), reach.tolist(), strict=True):
        constant = float(expression.constants[k])
        for cost, value in _readable_values(constant):
            distance = abs(value - constant)
            if distance <= radius + 1e-15 * abs(constant) and (k, value) not in tried:
                if best is None or (cost, distance / (radius + 1e-300)) < best[:2]:
                    best = (cost, distance / (radius + 1e-300), k, value)
                break
    return None if best is None else (best[2], best[3])


def _readable_values(constant: float) -> list[tuple[float, float]]:
    """Readable neighbours of a constant as `(cost, value)`, cheapest first; the cost is about its characters."""
    found: dict[float, float] = {}

    def offer(cost: float, value: float) -> None:
        if math.isfinite(value):
            found[value] = min(cost, found.get(value, math.inf))

    if constant == 0 or not 1e-12 < abs(constant) < 1e12:
        offer(1.0, 0.0)
    for unit, extra in ((1.0, 0.0), (math.pi, 1.0)):
        if abs(constant) > 1e6 * unit:
            continue
        for denominator in (1, 2, 3, 4, 5, 6, 8, 9, 12):
            fraction = Fraction(round(constant / unit * denominator), denominator)
            if unit != 1.0 and fraction == 0:
                continue
            cost = len(str(abs(fraction.numerator))) + extra
            if fraction.denominator > 1:
                cost += len(str(fraction.denominator)) + 0.5
            offer(cost, float(fraction) * unit)
    for digits in range(1, 8):
        offer(digits + 1.0, float(f"{constant:.{digits - 1}e}"))
    return sorted((cost, value) for value, cost in found.items())
