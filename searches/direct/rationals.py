"""Rational functions of several variables, behind an operator or none, from a null space.

Where v = p(x) / q(x), the columns of monomials of p and those of q times v depend on one another: the smallest
singular value of all of them falls to rounding at the degree at which p and q are complete, and its vector holds
their coefficients. Monomials are in a basis that is orthogonal over the range of the rows until it is known
which of them are needed at all; then those of the variables themselves are eliminated
(`searches.direct.elimination`), with the surest of them as the target of a regression on the others.

Smooth functions that are not rational come close to rounding, too, with enough monomials: a rational function must
need few of them, or its error must fall at the last degree as that of no smooth function does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from searches.direct.elimination import compressed
from searches.direct.monomials import below, legendre, monomials, polynomial, power_products
from searches.direct.noisy_rationals import noisy_fractions
from searches.direct.null_space import NullSpace, in_units, shortest_multiple, vanishing
from searches.direct.polynomials import inverted_targets
from searches.direct.quotients import quotient
from searches.direct.relevant_variables import relevant_variables
from searches.direct.row_weights import row_weights
from searches.direct.short_numbers import shortened

__all__ = ["find"]

_ROWS = 20  # at least
_HIGHEST = 8  # degree
_FEW_VARIABLES = 4  # of which a target may be a rational function of higher degree than of all
_COLUMNS = 0.4  # of the rows, at most, in a null space that is to tell something
_MOST_COLUMNS = 120
_VANISHED = 2e-15  # the same, below which something vanishes
_AMONG_MANY = 30.0  # factor on the smallest singular value of many columns, within which something vanishes, too
_SMALL = 3e-14  # the same, below which a target may be rational
_LEVEL = 8.0  # factor on an error within which it is the same but for rounding
_FALL = 1e5  # of the error at the last degree, without which many monomials are an approximation
_FEW = 1 / 3  # share of the monomials that says as much
_FIT_STEPS = 10  # of a fit to a target with noise


def find(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float = math.inf
) -> Iterator[Expression]:
    """Rational functions that explain the target, see `searches.direct.kinds.Find`."""
    varying = np.flatnonzero(np.ptp(inputs, axis=0) > 0)
    if len(target) < _ROWS or not len(varying) or not {"add", "mul", "div"} <= set(operators):
        return
    relevant = varying[relevant_variables(inputs[:, varying], target, _FEW_VARIABLES)]
    for variables in [varying, *([relevant] if len(relevant) < len(varying) else [])]:
        table = _Table(inputs, variables)
        for number, one in enumerate(inverted_targets(target, operators)):
            if time.perf_counter() > ends:
                return
            if one.steps and one.steps[-1][0] == "inv":  # rational as the target itself
                continue
            law = table.law(one.values)
            if law is not None:
                yield one.restored(law)
                return
            if number == 0 and table.left > _SMALL and len(variables) == len(relevant):
                yield from table.noisy(target)


class _Table:
    """Rows of which several targets may be rational functions.

    Args:
        inputs: finite values. `[rows, variables]`
        variables: numbers of the variables that vary. `[varying]`
    """

    def __init__(self, inputs: np.ndarray, variables: np.ndarray) -> None:
        self.table, self.variables = inputs, variables
        self.inputs = inputs[:, variables]
        most = min(_MOST_COLUMNS, int(_COLUMNS * len(inputs))) // 2
        count = len(variables)
        degree = max((d for d in range(_HIGHEST + 1) if math.comb(count + d, d) <= most), default=0)
        exponents = monomials(count, degree)
        basis = legendre(self.inputs, exponents)
        independent = compressed(basis, np.zeros(len(inputs))).independent()
        self.exponents, self.basis = exponents[independent], basis[:, independent]
        self.of_degree = self.exponents.sum(axis=1)
        self.left = math.inf
        """Smallest singular value of the last target."""

    # --- without noise ------------------------------------------------------------------------------------------

    def law(self, values: np.ndarray) -> Expression | None:
        """The rational function that a target is; None where it is none."""
        values, unit = in_units(values)
        weighted = self.basis / np.hypot(1.0, values)[:, None]
        order = np.argsort(np.tile(self.of_degree, 2), kind="stable")
        space = NullSpace(np.hstack([weighted, weighted * values[:, None]])[:, order])
        self.left = space.smallest(len(order))
        if not self.left <= _SMALL:
            return None
        counts = [2 * int(np.count_nonzero(self.of_degree <= d)) for d in range(int(self.of_degree.max()) + 1)]
        errors = [space.smallest(count) for count in counts]
        # Among many combinations that vanish, one is smaller than the rest.
        degree = next(d for d, error in enumerate(errors) if error <= max(_AMONG_MANY * errors[-1], _VANISHED))
        needed = np.zeros(len(order), dtype=bool)
        needed[order[: counts[degree]]] = space.needed(counts[degree])
        above, under = (self._closed(part) for part in np.split(needed, 2))
        if degree == 0 or not len(above) or not len(under):
            return None
        sharp = errors[degree - 1] > _FALL * errors[degree]
        most = math.inf if sharp else _FEW * (len(above) + len(under))
        return self._sparse(values, unit, above, under, most)

    def _closed(self, needed: np.ndarray) -> np.ndarray:
        """The monomials that divide a needed one. `[monomials, variables]`"""
        return self.exponents[below(self.exponents, needed)] if needed.any() else self.exponents[:0]

    def _sparse(
        self, values: np.ndarray, unit: float, above: np.ndarray, under: np.ndarray, most: float
    ) -> Expression | None:
        """The rational function of as few monomials as elimination reaches; None where they are too many.

        Args:
            values: target in its unit. `[rows]`
            unit: unit of the target.
            above: monomials of the numerator. `[monomials, variables]`
            under: monomials of the divisor. `[monomials, variables]`
            most: largest number of monomials.
        """
        exponents = np.vstack([above, under])
        design = power_products(self.inputs, exponents)
        design[:, len(above) :] *= -values[:, None]
        fit = vanishing(design, 1.0 / np.hypot(1.0, values))
        of_divisor = fit.columns >= len(above)
        exponents = exponents[fit.columns]
        if len(exponents) > most or of_divisor.all() or not of_divisor.any():
            return None
        if not exponents[of_divisor].any():  # a polynomial
            factor = unit / float(fit.coefficients[of_divisor][0])
            own = shortened(fit.coefficients[~of_divisor] * factor, fit.spreads[~of_divisor] * abs(factor))
            return polynomial(self._of_table(exponents[~of_divisor]), own)
        factors = np.where(of_divisor, 1.0 / unit, 1.0)
        short = shortest_multiple(fit.coefficients * factors, fit.spreads * factors, of_divisor)
        sizes = np.abs(design[:, fit.columns]) @ np.abs(fit.coefficients)
        left = np.square((design[:, fit.columns] @ (short / factors)) * row_weights(sizes)).sum()
        scale = (short / factors / fit.coefficients)[0]
        if left > (_LEVEL * scale) ** 2 * fit.error:
            short = fit.coefficients * factors
        return self._fraction(exponents[~of_divisor], exponents[of_divisor], short[~of_divisor], short[of_divisor])

    # --- with noise ---------------------------------------------------------------------------------------------

    def noisy(self, target: np.ndarray) -> list[Expression]:
        """Rational functions of a few sizes that explain most of a target."""
        found = [
            self._fraction(one.above, one.below, one.numerator, one.divisor)
            for one in noisy_fractions(self.inputs, target, self.exponents, self.basis)
        ]
        return fit_constants(found, self.table, target, iterations=_FIT_STEPS).expressions

    def _fraction(
        self, above: np.ndarray, under: np.ndarray, numerator: np.ndarray, divisor: np.ndarray
    ) -> Expression:
        """The quotient of two sums of monomials with coefficients."""
        return quotient(self._of_table(above), numerator, self._of_table(under), divisor)

    def _of_table(self, exponents: np.ndarray) -> np.ndarray:
        """Monomials in all variables of the table. `[terms, all variables]`"""
        found = np.zeros((len(exponents), self.table.shape[1]), dtype=int)
        found[:, self.variables] = exponents
        return found
