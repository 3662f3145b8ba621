"""Fitted compositions as a person writes them: no two constants that mean the same, no phase beyond a right angle.

The scale of a polynomial in a root is that of the root, one of a quotient is that of what is divided, the constant
of an exponential is its factor, and the scale in a logarithm is an offset: each is written once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from searches.direct.composition_models import FUNCTIONS, Models, linear_fit
from searches.direct.wave_spelling import shortened, wave
from searches.links.inverse_links import InvertedTarget

__all__ = ["Speller"]

_NAMES = list(FUNCTIONS)
_EXACT = 1e-17
_DUST = 1e-11  # of the target's spread: an offset that is rounding
_ROUNDED = 12  # digits that constants of an exact law are tried with
_NOTHING = 1e-23
_ITERATIONS = 20
_LARGEST = 300.0  # exponent of a factor

Row = dict[int, float]
"""Coefficients of a polynomial by the number of the monomial; 0 is the constant."""


class Speller:
    """Equations of fitted models.

    Args:
        monomials: monomials of their polynomials; None: 1.
        units: what the monomials were divided by. `[monomials]`
        values: the divided monomials. `[monomials, rows]`
        operators: names of the operators that may occur.
    """

    def __init__(
        self,
        monomials: Sequence[Expression | None],
        units: np.ndarray,
        values: np.ndarray,
        operators: Collection[str],
    ) -> None:
        self.monomials, self.units, self.values, self.operators = monomials, units, values, operators
        self.waves = [name for name in ("sin", "cos") if name in operators]

    def equation(
        self, model: Models, goal: InvertedTarget, inputs: np.ndarray, target: np.ndarray
    ) -> Expression | None:
        """The equation of one model, its constants fitted once more; None where it is beyond float64.

        Args:
            model: one model.
            goal: target after inverting an operator, of which the model is one.
            inputs: values of the variables. `[rows, variables]`
            target: values in their own units. `[rows]`
        """
        linear = linear_fit(model, self.values, goal.values)[0]
        try:
            linear = np.where(model.linear_free[0], linear, 0.0)
            if abs(linear[0]) < _DUST * goal.values.std():
                linear[0] = 0.0
            parts = self._parts(model, linear)
        except (ValueError, OverflowError, ZeroDivisionError, StopIteration):  # a constant beyond float64
            return None
        if not parts:
            return None
        equation = goal.restored(Expression.joined("add", parts))
        fit = fit_constants([equation], inputs, target, iterations=_ITERATIONS)
        if not math.isfinite(fit.errors[0]):
            return None
        equation = fit.expressions[0]
        scatter = float(np.var(target))
        if fit.errors[0] < _EXACT * scatter:
            short = shortened(equation, _ROUNDED)
            if np.mean(np.square(short(inputs) - target)) < _NOTHING * scatter:
                return short
        return equation

    # --- the shapes ---------------------------------------------------------------------------------------------

    def _parts(self, model: Models, linear: np.ndarray) -> list[Expression]:
        """Terms of the sum that a model is, see `searches.direct.composition_models.SHAPES`."""
        names = [_NAMES[int(model.first[0])]]
        if len(model.inner[0]) > 1:
            names.append(_NAMES[int(model.second[0])])
        rows = [self._row(inner, free) for inner, free in zip(model.inner[0], model.inner_free[0], strict=True)]
        offset, coefficients = float(linear[0]), linear[1:].tolist()
        if model.shape == "product":
            parts = [self._product(coefficients[0], names, rows)]
        elif model.shape == "times":
            polynomial = self._row(linear[1:], model.linear_free[0, 1:])
            alone = list(polynomial) == [0]
            factor, function = self._function(polynomial[0] if alone else 1.0, names[0], rows[0], folds=alone)
            polynomial = {0: factor} if alone else _times(polynomial, factor)
            parts = [self._multiplied(polynomial, names[0], function)] if polynomial else []
        else:
            if model.shape == "plus":
                polynomial = self._row(linear[:-1], model.linear_free[0, :-1])
                offset, coefficients = polynomial.pop(0, 0.0), [float(linear[-1])]
                others = self._terms(polynomial)
            else:
                others = []
            offset, parts = self._sum(offset, coefficients, names, rows)
            parts += others
        if offset:
            parts.append(Expression.constant(offset))
        return parts

    def _sum(
        self, offset: float, coefficients: Sequence[float], names: Sequence[str], rows: Sequence[Row]
    ) -> tuple[float, list[Expression]]:
        """What is left of the offset, and terms; the offset is inside the first logarithm, where there is one."""
        parts, scaled = [], list(map(dict, rows))
        logarithms = [number for number, name in enumerate(names) if name == "log" and coefficients[number]]
        for number in logarithms[1:]:
            unit = abs(_leading(scaled[number]))
            scaled[number] = _times(scaled[number], 1.0 / unit)
            offset += coefficients[number] * math.log(unit)
        if logarithms:
            exponent = offset / coefficients[logarithms[0]]
            if abs(exponent) < _LARGEST:
                scaled[logarithms[0]] = _times(scaled[logarithms[0]], math.exp(exponent))
                offset = 0.0
        for coefficient, name, row in zip(coefficients, names, scaled, strict=True):
            if coefficient:
                factor, function = self._function(coefficient, name, row, folds=True)
                parts.append(_with_factor(factor, function))
        return offset, parts

    def _product(self, coefficient: float, names: Sequence[str], rows: Sequence[Row]) -> Expression:
        """Both functions and their factor; quotients last, and a root takes the factor in."""
        order = sorted(range(2), key=lambda k: ("inv", "sin", "tanh", "log", "exp", "sqrt").index(names[k]))
        functions: list[tuple[str, Expression]] = []
        for number, k in enumerate(order):
            coefficient, function = self._function(coefficient, names[k], rows[k], folds=number == 1)
            functions.append((names[k], function))
        (first, one), (second, other) = functions
        if first == "inv" and second != "inv":
            return self._divided(_with_factor(coefficient, other), one)
        return _with_factor(coefficient, self._joined(one, second, other))

    def _multiplied(self, polynomial: Row, name: str, function: Expression) -> Expression:
        terms = self._terms(polynomial)
        if name == "inv":
            return self._divided(Expression.joined("add", terms), function)
        if len(terms) == 1 and 0 not in polynomial:
            [(number, coefficient)] = polynomial.items()
            return _with_factor(coefficient, Expression.apply("mul", self._monomial(number), function))
        if len(terms) == 1:
            return _with_factor(polynomial[0], function)
        return Expression.apply("mul", Expression.joined("add", terms), function)

    def _joined(self, one: Expression, name: str, other: Expression) -> Expression:
        return self._divided(one, other) if name == "inv" else Expression.apply("mul", one, other)

    def _divided(self, one: Expression, inverse: Expression) -> Expression:
        """The product with an inverse as a quotient, where that operator is there."""
        if "div" not in self.operators:
            return Expression.apply("mul", one, inverse)
        return Expression.apply("div", one, inverse.children()[-1])

    # --- their parts --------------------------------------------------------------------------------------------

    def _function(self, coefficient: float, name: str, row: Row, folds: bool) -> tuple[float, Expression]:
        """`coefficient * name(row)` as another factor and a function.

        Args:
            coefficient: factor before the function.
            name: name of the function.
            row: its polynomial.
            folds: whether a root may take the factor in.
        """
        if name == "sin":
            phase = row.get(0, 0.0)
            argument = {number: value for number, value in row.items() if number}
            if _leading(argument) < 0:
                argument, phase, coefficient = _times(argument, -1.0), -phase, -coefficient
            sine, cosine = coefficient * math.cos(phase), coefficient * math.sin(phase)
            return wave(sine, cosine, self._polynomial(argument), self.waves)
        if name == "exp":
            constant = row.get(0, 0.0)
            coefficient *= math.exp(constant) if abs(constant) < _LARGEST else math.inf
            return coefficient, self._apply("exp", {number: value for number, value in row.items() if number})
        if name == "tanh":
            sign = math.copysign(1.0, _leading(row))
            return sign * coefficient, self._apply("tanh", _times(row, sign))
        if name in ("log", "sqrt") and self._is_negative(row):
            row = _times(row, -1.0)
        if name == "log":
            return coefficient, self._apply("log", row)
        if name == "inv":
            unit = _leading(row)
            return coefficient / unit, self._apply("inv", _times(row, 1.0 / unit))
        if folds:
            return math.copysign(1.0, coefficient), self._apply("sqrt", _times(row, coefficient * coefficient))
        unit = abs(_leading(row))
        return coefficient * math.sqrt(unit), self._apply("sqrt", _times(row, 1.0 / unit))

    def _apply(self, name: str, row: Row) -> Expression:
        polynomial = self._polynomial(row)
        if name == "inv" and "inv" not in self.operators:
            return Expression.apply("div", Expression.constant(1.0), polynomial)
        return Expression.apply(name, polynomial)

    def _row(self, coefficients: np.ndarray, free: np.ndarray) -> Row:
        """Coefficients in the units of the variables, but those that are not there."""
        raw = coefficients / self.units
        return {number: float(raw[number]) for number in np.flatnonzero(free & (raw != 0.0)).tolist()}

    def _is_negative(self, row: Row) -> bool:
        values = sum(value * self.units[number] * self.values[number] for number, value in row.items())
        return bool(np.median(values) < 0)

    def _polynomial(self, row: Row) -> Expression:
        return Expression.joined("add", self._terms(row))

    def _terms(self, row: Row) -> list[Expression]:
        """Multiples of monomials, the constant last."""
        found = [_with_factor(value, self._monomial(number)) for number, value in row.items() if number]
        return [*found, Expression.constant(row[0])] if 0 in row else found

    def _monomial(self, number: int) -> Expression:
        found = self.monomials[number]
        assert found is not None  # only the first is the constant
        return found


def _leading(row: Row) -> float:
    """The coefficient of the first monomial that varies."""
    return next(value for number, value in row.items() if number)


def _times(row: Row, factor: float) -> Row:
    return {number: factor * value for number, value in row.items()}


def _with_factor(factor: float, function: Expression) -> Expression:
    return function if factor == 1.0 else Expression.apply("mul", Expression.constant(factor), function)
