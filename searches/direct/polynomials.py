"""Polynomials: of high degree in few variables, or of low degree in many, behind an operator or none.

1. All monomials up to a total degree, in a basis that is orthogonal over the range of the rows, are one
   least-squares problem for the target and for what is left of it after inverting one operator. The target is a
   polynomial where its error falls to rounding at some degree.
2. Where the monomials are too many for the rows, they are chosen greedily, each with all that divide it:
   orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad 1993) over sets that are closed below.
3. What is a polynomial needs only a few of the monomials of the variables themselves: the others are eliminated
   (`searches.direct.elimination`).
4. Where a few monomials explain as much as all of them, the target may be a polynomial with noise
   (`searches.direct.noisy_polynomials`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from expressions.expression import Expression
from searches.direct.elimination import compressed
from searches.direct.monomials import below, legendre, monomials, polynomial, power_products
from searches.direct.noisy_polynomials import noisy_sums
from searches.direct.relevant_variables import relevant_variables
from searches.direct.row_weights import row_weights
from searches.direct.short_numbers import shortened
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once

__all__ = ["find", "inverted_targets"]

_ROWS = 12  # at least
_HIGHEST = 10  # degree
_MANY_VARIABLES, _FEW_VARIABLES = 6, 3  # of more, as few may be all that a polynomial of high degree needs
_COLUMNS = 0.6  # of the rows, at most, in a fit that is to tell something
_CANDIDATES = 1500  # monomials of a greedy choice
_ROUNDING = 1e-16  # error relative to the target, below which there is none
_SMALL = 1e-12  # the same, below which a target may be a polynomial without noise
_LEVEL = 8.0  # factor on an error within which it is the same but for rounding
_FALL = 1e5  # of the error at the last degree, without which many monomials are an approximation
_FEW = 1 / 3  # share of the monomials that says as much
_GREEDY = 2  # targets whose monomials are chosen greedily, beside the first
_PICKED = 0.08  # monomials of a greedy choice at a time, for each that is chosen already
_NEARLY = 0.3  # of the largest gain, from which a monomial is picked with the best
_PATIENCE = 25  # monomials of a greedy choice within which the error must fall …
_PROGRESS = 0.8  # … to this share
_NOISY_CANDIDATES = 500  # monomials of which a target with noise may be the sum
_LIKE_ALL = 1.2  # factor on the error of all monomials up to a degree, within which a few do as well
_NOISY = 0.9  # error above which nothing is explained


def find(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float = math.inf
) -> Iterator[Expression]:
    """Polynomials that explain the target, see `searches.direct.kinds.Find`."""
    varying = np.flatnonzero(np.ptp(inputs, axis=0) > 0)
    if len(target) < _ROWS or not len(varying) or not {"add", "mul"} <= set(operators):
        return
    targets = inverted_targets(target, operators)
    choices = [varying]
    if len(varying) > _MANY_VARIABLES:
        choices.append(varying[relevant_variables(inputs[:, varying], target, _FEW_VARIABLES)])
    for variables in choices:
        table = _Table(inputs[:, variables], variables, inputs.shape[1])
        law = table.first_law(targets, ends)
        if law is not None:
            yield law
            return
        if time.perf_counter() <= ends and len(variables) == len(varying):
            yield from table.noisy(target)


def inverted_targets(target: np.ndarray, operators: Collection[str]) -> list[InvertedTarget]:
    """The target, and what is left of it after inverting one operator of one argument."""
    plain = InvertedTarget((), target, np.ones_like(target))
    available = {*operators, *(["inv"] if "div" in operators else [])}
    none = np.empty((0, len(target)))
    return [plain, *inverted_once(plain, available, Divisors([], none, none))]


class _Table:
    """Rows of which several targets may be polynomials.

    Args:
        inputs: values of the variables that vary. `[rows, variables]`
        variables: numbers of these variables. `[variables]`
        width: number of variables of the table.
    """

    def __init__(self, inputs: np.ndarray, variables: np.ndarray, width: int) -> None:
        self.inputs, self.variables, self.width = inputs, variables, width
        self.rows = len(inputs)
        self.most = int(_COLUMNS * self.rows)
        self.degree = self._highest_degree(self.most)
        self.exponents = monomials(len(variables), self.degree)
        self.of_degree = self.exponents.sum(axis=1)

    def _highest_degree(self, most: int) -> int:
        """Largest total degree up to which there are at most so many monomials."""
        count = len(self.variables)
        return max((d for d in range(_HIGHEST + 1) if math.comb(count + d, d) <= most), default=0)

    # --- which monomials ----------------------------------------------------------------------------------------

    def dense_errors(self, targets: Sequence[InvertedTarget]) -> np.ndarray:
        """Errors of all monomials up to each degree, relative to the target's spread. `[targets, degrees]`"""
        basis = np.linalg.qr(legendre(self.inputs, self.exponents))[0]
        values = np.stack([one.values for one in targets], axis=1)
        shares = basis.T @ values
        left = np.square(values - basis @ shares).sum(axis=0)
        counts = np.searchsorted(self.of_degree, np.arange(self.degree + 1), side="right")
        parts = np.add.reduceat(np.square(shares), np.append(0, counts[:-1]), axis=0)
        beyond = np.cumsum(parts[::-1], axis=0)[::-1] - parts + left  # [degrees, targets]
        spread = np.square(values - values.mean(axis=0)).sum(axis=0) / self.rows
        errors = np.sqrt(np.maximum(beyond, 0.0) / (self.rows - counts)[:, None] / spread).T
        return np.asarray(np.maximum(errors, _ROUNDING))

    def support(self, values: np.ndarray, errors: np.ndarray, greedy: bool) -> tuple[np.ndarray, float] | None:
        """Monomials of which a target may be the sum, and by what the last of them divide the error.

        None where it is no polynomial. `[monomials, variables]`
        """
        if errors[-1] <= _SMALL:
            degree = int(np.flatnonzero(errors <= _LEVEL * errors[-1])[0])
            fall = float(errors[degree - 1] / errors[degree]) if degree else math.inf
            return self._needed(self.exponents[self.of_degree <= degree], values), fall
        degree = self._highest_degree(_CANDIDATES)
        if not (greedy and errors[-1] <= _NOISY) or degree <= self.degree:
            return None
        chosen = self._chosen(values, monomials(len(self.variables), degree))
        return None if chosen is None else (self._needed(chosen[0], values), chosen[1])

    def _chosen(self, values: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, float] | None:
        """A set of monomials, closed below, whose error is small, and by what the last of them divide it."""
        columns = legendre(self.inputs, candidates)
        columns /= np.linalg.norm(columns, axis=0)
        total = float(np.linalg.norm(values - values.mean()))
        new = np.flatnonzero(candidates.sum(axis=1) <= 1)
        chosen = np.zeros(len(candidates), dtype=bool)
        basis, left, apart = np.empty((self.rows, 0)), values, np.ones(len(candidates))
        errors: list[float] = [math.inf] * _PATIENCE  # after so many columns
        while basis.shape[1] + len(new) <= self.most:
            added = columns[:, new]
            for _ in range(2):  # once is not orthogonal to rounding
                added = added - basis @ (basis.T @ added)
            added = np.linalg.qr(added)[0]
            basis = np.hstack([basis, added])
            chosen[new] = True
            left = left - basis @ (basis.T @ left)
            error = float(np.linalg.norm(left)) / total
            if error <= _SMALL:
                return candidates[chosen], errors[-1] / max(error, _ROUNDING)
            errors += [error] * (basis.shape[1] - len(errors) + _PATIENCE)
            if error > _PROGRESS * errors[-1 - _PATIENCE]:
                return None
            apart -= np.square(added.T @ columns).sum(axis=0)
            gains = np.where(chosen, 0.0, np.square(left @ columns) / np.maximum(apart, 1e-3))
            best = np.argsort(-gains)[: 1 + int(_PICKED * basis.shape[1])]
            picked = np.zeros(len(candidates), dtype=bool)
            picked[best[gains[best] >= _NEARLY * gains[best[0]]]] = True
            new = np.flatnonzero(below(candidates, picked) & ~chosen)
        return None

    def _needed(self, support: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The monomials that divide one whose coefficient is not 0, which the orthogonal basis tells best."""
        design = compressed(legendre(self.inputs, support), values)
        fit = design.fit(design.independent())
        rounding = _ROUNDING * float(np.abs(values).max())
        needed = np.abs(fit.coefficients) > _LEVEL * np.maximum(fit.spreads, rounding)
        support = support[fit.columns]
        return support[below(support, needed)] if needed.any() else support

    # --- laws ---------------------------------------------------------------------------------------------------

    def first_law(self, targets: Sequence[InvertedTarget], ends: float) -> Expression | None:
        """The law of the first target that is a polynomial; None where none is."""
        if time.perf_counter() > ends:
            return None
        dense = self.dense_errors(targets)
        greedy = {0, *np.argsort(dense[:, -1], kind="stable")[:_GREEDY].tolist()}
        for number, (one, errors) in enumerate(zip(targets, dense, strict=True)):
            found = self.support(one.values, errors, number in greedy)
            law = None if found is None else self.law(one.values, *found)
            if law is not None:
                return one.restored(law)
            if time.perf_counter() > ends:
                break
        return None

    def law(self, values: np.ndarray, support: np.ndarray, fall: float) -> Expression | None:
        """The polynomial; None where it needs so many monomials that it is only an approximation."""
        design = power_products(self.inputs, support)
        columns = np.arange(len(support))
        weights = row_weights(values)
        for _ in range(3):  # the weights of the rows become those of the terms
            weighted = compressed(design[:, columns] * weights[:, None], values * weights)
            fit = weighted.eliminated(_LEVEL**2)
            columns = columns[fit.columns]
            weights = row_weights(np.abs(design[:, columns]) @ np.abs(fit.coefficients))
        weighted = compressed(design[:, columns] * weights[:, None], values * weights)
        fit = weighted.fit(np.arange(len(columns)))
        if not (fall > _FALL or len(columns) <= _FEW * len(support)):
            return None
        short = shortened(fit.coefficients, fit.spreads)
        left = float(np.square((design[:, columns] @ short - values) * weights).sum())
        return self._expression(support[columns], short if left <= _LEVEL**2 * fit.error else fit.coefficients)

    def noisy(self, values: np.ndarray) -> Iterator[Expression]:
        """Polynomials of a few sizes, where few monomials do nearly as well as all of them."""
        [errors] = self.dense_errors([InvertedTarget((), values, np.ones_like(values))])
        lowest = float(errors.min())
        if not _SMALL < lowest < _NOISY:
            return
        candidates = monomials(len(self.variables), self._highest_degree(_NOISY_CANDIDATES))
        products = power_products(self.inputs, candidates)
        allowed = (_LIKE_ALL * lowest * float(values.std())) ** 2
        for columns, factors in noisy_sums(products, values, allowed):
            left = float(np.linalg.norm(products[:, columns] @ factors - values))
            if left <= _SMALL * float(np.linalg.norm(values - values.mean())):  # few rows, and no noise: no dust
                law = self.law(values, candidates[columns], math.inf)
                if law is not None:
                    yield law
                    return
            yield self._expression(candidates[columns], factors)

    def _expression(self, support: np.ndarray, coefficients: np.ndarray) -> Expression:
        exponents = np.zeros((len(support), self.width), dtype=int)
        exponents[:, self.variables] = support
        return polynomial(exponents, coefficients)
