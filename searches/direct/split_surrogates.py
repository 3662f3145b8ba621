"""Smooth functions through the rows of a table in two parts: p(x, z) + q(u), or p(x, z)*q(u) + c, of polynomials.

A product is found from the polynomial whose monomials are products of both parts' (its coefficients are a table,
of which the first singular vectors are the parts'), then by fits of one part beside the other in turns, and of
both together by Gauss and Newton.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expressions.expression import Expression
from searches.direct.monomials import legendre, monomials

__all__ = ["Groups", "Parts", "SplitSurrogates"]

Groups = tuple[tuple[int, ...], tuple[int, ...]]
"""Variables of both parts."""

_COLUMNS = 0.4  # of the rows, at most
_SCREENED = 12  # monomials of a part when many splits are compared
_SIZES = (4, 7, 20, 32, 50)  # that are tried then
_CHANGES = ((1, 0), (0, 1), (2, -1), (-1, 2))  # of both degrees, from the best of these on
_BETTER = 0.8  # of the error, for which one goes on
_HIGHEST = {1: 40, 2: 14}  # degree by the number of variables
_HIGHEST_OF_MANY = 8
_BEGUN = 6  # monomials of each part of a product, whose products are fitted to begin with
_SWEEPS, _NEWTON = 3, 6  # steps of the fit of a product
_SETTLED = 0.99  # of an error, by which a step lowers it too little to go on
_FUNCTIONS = 16
_SLOW, _APART = 12, 1e-3  # monomials that leave less than that share of a function that is none
_MISSES = 4  # degrees at which an error did not fall, after which no other is tried
_DEPENDENT = 1e-11
_SEEN_TWICE = 1e-9  # least share of a row's error that leaving it out leaves


@dataclass(frozen=True)
class Parts:
    """A sum or a product of two functions, of variables of their own.

    Attributes:
        name: `add` or `mul`.
        groups: variables of both.
        values: values of both on the rows. `[2, rows]`
        error: mean squared error of every row by the others' fit (leave-one-out), over the variance.
        degrees: degrees of both polynomials.
        coefficients: coefficients of both.
        offset: what is added to a product.
    """

    name: str
    groups: Groups
    values: np.ndarray
    error: float
    degrees: tuple[int, int]
    coefficients: tuple[np.ndarray, np.ndarray]
    offset: float = 0.0


class SplitSurrogates:
    """Polynomials in two parts through the rows of a table.

    Args:
        inputs: values of the variables, which all vary. `[rows, variables]`
        values: finite values, not all equal. `[rows]`
        functions: functions that a part of all their variables has beside its monomials.
    """

    def __init__(self, inputs: np.ndarray, values: np.ndarray, functions: Sequence[Expression] = ()) -> None:
        self.inputs, self.values = inputs, values
        self._variance = float(np.var(values))
        self._bases: dict[tuple[tuple[int, ...], int], np.ndarray] = {}
        self._functions: list[tuple[set[int], np.ndarray]] = []
        for function in functions:
            self._add(function)

    def _add(self, function: Expression) -> None:
        """One more function, unless monomials of its variables and others do as well."""
        group = function.variables
        with np.errstate(all="ignore"):
            values = function(self.inputs)
        if not np.isfinite(values).all() or len(self._functions) >= _FUNCTIONS:
            return
        columns = self._basis(group, _degree(len(group), _SLOW))
        fit = _fit(columns, values)
        if fit is not None and float(np.mean(np.square(fit[2]))) > _APART * float(np.var(values)):
            self._functions.append((set(group), values))
        self._bases.clear()

    def first(self, groups: Groups) -> list[Parts]:
        """The sum and the product of few monomials, those that can be told."""
        degrees = _degrees(groups, _SCREENED)
        found = [self._sum(groups, degrees), self._product(groups, degrees, self._start(groups))]
        return [parts for parts in found if parts is not None]

    def best(self, parts: Parts) -> Parts:
        """The same sum or product, of the degrees at which rows are told best by the others."""
        for size in _SIZES:
            parts = self._better(parts, _degrees(parts.groups, size), 1.0)
        going = True
        while going:
            before = parts
            for one, other in _CHANGES:
                degrees = max(1, parts.degrees[0] + one), max(1, parts.degrees[1] + other)
                parts = self._better(parts, degrees, _BETTER)
            going = parts is not before
        return parts

    def _better(self, parts: Parts, degrees: tuple[int, int], share: float) -> Parts:
        if parts.name == "add":
            found = self._sum(parts.groups, degrees)
        else:
            found = self._product(parts.groups, degrees, parts.coefficients)
        return found if found is not None and found.error < share * parts.error else parts

    def _columns(self, groups: Sequence[tuple[int, ...]], degrees: Sequence[int]) -> list[np.ndarray] | None:
        """Monomials of both parts, each `[rows, monomials]`; None where they are too many."""
        counts = [
            math.comb(len(group) + degree, degree) + len(self.functions_of(group))
            for group, degree in zip(groups, degrees, strict=True)
        ]
        if sum(counts) > _COLUMNS * len(self.values):
            return None
        return [self._basis(group, degree) for group, degree in zip(groups, degrees, strict=True)]

    def _basis(self, group: tuple[int, ...], degree: int) -> np.ndarray:
        key = group, degree
        if key not in self._bases:
            columns = legendre(self.inputs[:, group], monomials(len(group), degree))
            self._bases[key] = np.column_stack([columns[:, :1], *self.functions_of(group), columns[:, 1:]])
        return self._bases[key]

    def beside(self, parts: Parts, place: int, values: np.ndarray) -> Parts | None:
        """The same parts with other values of one, and those of the other that go best with them.

        Args:
            parts: both parts.
            place: which of them has values.
            values: its values. `[rows]`
        """
        group = parts.groups[1 - place]
        best: Parts | None = None
        misses = 0
        for degree in range(1, _highest(len(group)) + 1):
            columns = self._basis(group, degree)
            if columns.shape[1] > _COLUMNS * len(values) or misses > _MISSES:
                break
            if parts.name == "add":
                fit = _fit(columns, self.values - values)
            else:
                fit = _fit(np.hstack([columns * values[:, None], np.ones((len(columns), 1))]), self.values)
            if fit is None:
                break
            error = self._left_out(fit[1], fit[2])
            misses = 0 if best is None or error < best.error else misses + 1
            if not misses:
                other = columns @ fit[0][: columns.shape[1]]
                both = np.stack([values, other] if place == 0 else [other, values])
                offset = 0.0 if parts.name == "add" else float(fit[0][-1])
                best = replace(parts, values=both, error=error, offset=offset)
        return best

    def functions_of(self, group: tuple[int, ...]) -> list[np.ndarray]:
        """Values of the functions that a part has. Each `[rows]`"""
        return [values for variables, values in self._functions if variables <= set(group)]

    def _left_out(self, basis: np.ndarray, left: np.ndarray) -> float:
        """Leave-one-out error, given what a fit with an orthonormal basis leaves."""
        alone = np.maximum(1.0 - np.square(basis).sum(axis=1), _SEEN_TWICE)
        return float(np.mean(np.square(left / alone)) / self._variance)

    def _sum(self, groups: Groups, degrees: tuple[int, int]) -> Parts | None:
        columns = self._columns(groups, degrees)
        if columns is None:
            return None
        one, other = columns
        fit = _fit(np.concatenate([one, other[:, 1:]], axis=1), self.values)
        if fit is None:
            return None
        solved, basis, left = fit
        coefficients = solved[: one.shape[1]], np.concatenate([[0.0], solved[one.shape[1] :]])
        values = np.stack([one @ coefficients[0], other @ coefficients[1]])
        return Parts("add", groups, values, self._left_out(basis, left), degrees, coefficients)

    # --- products -----------------------------------------------------------------------------------------------

    def _start(self, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the product nearest to a polynomial whose monomials are products of both parts'."""
        one, other = (self._basis(group, _degree(len(group), _BEGUN)) for group in groups)
        most = int(math.sqrt(2.0 * _COLUMNS * len(one)))
        one, other = one[:, :most], other[:, :most]
        columns = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
        table = np.linalg.lstsq(columns, self.values)[0].reshape(one.shape[1], -1)
        left, sizes, right = np.linalg.svd(table)
        return left[:, 0] * sizes[0], right[0]

    def _product(
        self,
        groups: Groups,
        degrees: tuple[int, int],
        start: tuple[np.ndarray, np.ndarray],
    ) -> Parts | None:
        columns = self._columns(groups, degrees)
        if columns is None:
            return None
        one, other = columns
        p, q = (_of_length(each, part.shape[1]) for each, part in zip(start, columns, strict=True))
        ones, offset = np.ones((len(one), 1)), 0.0
        for _ in range(_SWEEPS):
            first = _fit(np.hstack([one * (other @ q)[:, None], ones]), self.values)
            if first is None:
                return None
            second = _fit(np.hstack([other * (one @ first[0][:-1])[:, None], ones]), self.values)
            if second is None:
                return None
            size = float(np.linalg.norm(second[0][:-1])) or 1.0
            p, q, offset = first[0][:-1] * size, second[0][:-1] / size, float(second[0][-1])
        left = self.values - (one @ p) * (other @ q) - offset
        basis = np.zeros((len(left), 0))
        for _ in range(_NEWTON):
            held = int(np.abs(q).argmax())  # whose coefficient is the scale of the parts
            slopes = [one * (other @ q)[:, None], np.delete(other, held, axis=1) * (one @ p)[:, None], ones]
            fit = _fit(np.hstack(slopes), left)
            if fit is None:
                return None
            basis = fit[1]
            more_p, more_q, more = np.split(fit[0], [len(p), -1])
            next_p, next_q = p + more_p, q + np.insert(more_q, held, 0.0)
            next_offset = offset + float(more[0])
            trial = self.values - (one @ next_p) * (other @ next_q) - next_offset
            before, after = float(left @ left), float(trial @ trial)
            if not after < before:
                break
            p, q, offset, left = next_p, next_q, next_offset, trial
            if after > _SETTLED * before:
                break
        unit = float(np.sqrt(np.mean(np.square(other @ q)))) or 1.0
        p, q = p * unit, q / unit
        values = np.stack([one @ p, other @ q])
        return Parts("mul", groups, values, self._left_out(basis, left), degrees, (p, q), offset)


def _of_length(coefficients: np.ndarray, length: int) -> np.ndarray:
    """Coefficients of a polynomial of another degree: monomials are by rising degree."""
    found = np.zeros(length)
    found[: len(coefficients)] = coefficients[:length]
    return found


def _degrees(groups: Groups, size: int) -> tuple[int, int]:
    """Degrees of both parts, each of at most so many monomials."""
    one, other = groups
    return _degree(len(one), size), _degree(len(other), size)


def _degree(variables: int, size: int) -> int:
    """The degree of at most so many monomials, 1 at least."""
    degrees = range(1, _highest(variables) + 1)
    return max(degree for degree in degrees if degree == 1 or math.comb(variables + degree, degree) <= size)


def _highest(variables: int) -> int:
    return _HIGHEST.get(variables, _HIGHEST_OF_MANY)


def _fit(columns: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Coefficients, an orthonormal basis, and what is left; None where columns depend on one another."""
    sizes = np.linalg.norm(columns, axis=0)
    with np.errstate(all="ignore"):
        basis, corner = np.linalg.qr(columns / sizes)
    if not np.abs(np.diagonal(corner)).min() > _DEPENDENT:
        return None
    seen = basis.T @ values
    return np.linalg.solve(corner, seen) / sizes, basis, values - basis @ seen
