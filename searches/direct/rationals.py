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
from searches.direct.elimination import Fit, compressed
from searches.direct.monomials import below, legendre, monomials, power_products
from searches.direct.noisy_rationals import noisy_fractions
from searches.direct.polynomials import inverted_targets, row_weights
from searches.direct.quotients import quotient
from searches.direct.short_numbers import shortened, text_lengths

__all__ = ["find"]

_ROWS = 20  # at least
_HIGHEST = 8  # degree
_COLUMNS = 0.4  # of the rows, at most, in a null space that is to tell something
_MOST_COLUMNS = 120
_ROUNDING = 3e-17  # singular value relative to the largest, below which there is none
_VANISHED = 2e-15  # the same, below which something vanishes
_AMONG_MANY = 30.0  # factor on the smallest singular value of many columns, within which something vanishes, too
_SMALL = 1e-11  # the same, below which a target may be rational
_LEVEL = 8.0  # factor on an error within which it is the same but for rounding
_FALL = 1e5  # of the error at the last degree, without which many monomials are an approximation
_FEW = 1 / 3  # share of the monomials that says as much
_PASSES = 3  # of elimination, each with weights of the rows from the last
_FIT_STEPS = 10  # of a fit to a target with noise
_WHOLE = 100  # numbers that a coefficient may be made, to have the others short


def find(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float = math.inf
) -> Iterator[Expression]:
    """Rational functions that explain the target, see `searches.direct.kinds.Find`."""
    varying = np.flatnonzero(np.ptp(inputs, axis=0) > 0)
    if len(target) < _ROWS or not len(varying) or not {"add", "mul", "div"} <= set(operators):
        return
    table = _Table(inputs, varying)
    for number, one in enumerate(inverted_targets(target, operators)):
        if time.perf_counter() > ends:
            return
        if one.steps and one.steps[-1][0] == "inv":  # rational as the target itself
            continue
        law = table.law(one.values)
        if law is not None:
            yield one.restored(law)
            return
        if number == 0 and table.left > _SMALL:
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
        values, unit = _in_units(values)
        weighted = self.basis / np.hypot(1.0, values)[:, None]
        order = np.argsort(np.tile(self.of_degree, 2), kind="stable")
        space = _NullSpace(np.hstack([weighted, weighted * values[:, None]])[:, order])
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
        fit = _vanishing(design, 1.0 / np.hypot(1.0, values))
        of_divisor = fit.columns >= len(above)
        exponents = exponents[fit.columns]
        if len(exponents) > most or of_divisor.all() or not exponents[of_divisor].any():
            return None
        factors = np.where(of_divisor, 1.0 / unit, 1.0)
        short = _short(fit.coefficients * factors, fit.spreads * factors, of_divisor)
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


def _in_units(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values of ordinary size, and their unit, a power of two so that no digit changes."""
    size = float(np.median(np.abs(values))) or float(np.abs(values).max())
    unit = 2.0 ** round(math.log2(size))
    return values / unit, unit


class _NullSpace:
    """Columns of which some combination may vanish, those of low degree first.

    Args:
        design: columns. `[rows, columns]`
    """

    def __init__(self, design: np.ndarray) -> None:
        self.rows = len(design)
        scale = np.linalg.norm(design, axis=0)
        self.factor = np.asarray(np.linalg.qr(design / np.where(scale > 0, scale, 1.0), mode="r"))

    def smallest(self, count: int) -> float:
        """Smallest singular value of the first columns, relative to the largest."""
        values = np.linalg.svd(self.factor[:count, :count], compute_uv=False)
        return max(float(values[-1] / values[0]), _ROUNDING)

    def _vector(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The smallest singular vector of the first columns, and its standard deviations. Each `[count]`"""
        decomposed = np.linalg.svd(self.factor[:count, :count])
        values = np.maximum(decomposed.S, _ROUNDING * decomposed.S[0])
        error = float(values[-1]) / math.sqrt(max(1, self.rows - count))
        spreads = error * np.sqrt(np.square(decomposed.Vh[:-1] / values[:-1, None]).sum(axis=0))
        return decomposed.Vh[-1], np.maximum(spreads, 1e-300)

    def needed(self, count: int) -> np.ndarray:
        """Which of the first columns have a part in what vanishes. `[count]` bool"""
        vector, spreads = self._vector(count)
        return np.asarray(np.abs(vector) > _LEVEL * spreads)

    def surest(self) -> int:
        """The column whose part in what vanishes is known best."""
        vector, spreads = self._vector(self.factor.shape[1])
        return int(np.argmax(np.abs(vector) / spreads))


def _vanishing(design: np.ndarray, weights: np.ndarray) -> Fit:
    """The combination of as few columns as elimination reaches that vanishes, the coefficient of one of them 1.

    Args:
        design: columns. `[rows, columns]`
        weights: weights of the rows to begin with. `[rows]`
    """
    columns = np.arange(design.shape[1])
    for _ in range(_PASSES):  # the weights of the rows become those of the terms
        weighted = design[:, columns] * weights[:, None]
        surest = _NullSpace(weighted).surest()
        others = np.delete(np.arange(len(columns)), surest)
        fit = compressed(weighted[:, others], -weighted[:, surest]).eliminated(_LEVEL**2)
        columns = columns[np.append(others[fit.columns], surest)]
        coefficients = np.append(fit.coefficients, 1.0)
        weights = row_weights(np.abs(design[:, columns]) @ np.abs(coefficients))
    left = np.square(design[:, columns] @ coefficients * weights).sum()
    return Fit(columns, coefficients, np.append(fit.spreads, 0.0), float(left))


def _short(coefficients: np.ndarray, spreads: np.ndarray, of_divisor: np.ndarray) -> np.ndarray:
    """Coefficients of a fraction times the number that makes them shortest. `[coefficients]`"""
    relative = spreads / np.abs(coefficients)
    best: tuple[float, np.ndarray] = math.inf, coefficients
    for pivot in np.argsort(~of_divisor, kind="stable").tolist():
        scaled = np.arange(1, _WHOLE)[:, None] * (coefficients / coefficients[pivot])
        rooms = np.abs(scaled) * np.hypot(relative, relative[pivot])
        rooms[:, pivot] = 0.0
        lengths = text_lengths(scaled, rooms).sum(axis=1)
        place = int(lengths.argmin())
        if lengths[place] < best[0]:
            best = float(lengths[place]), shortened(scaled[place], rooms[place])
    found = best[1]
    return -found if found[of_divisor].sum() < 0 else found
