"""Where fits of compositions begin: the best of all pairs of some hundred functions of simple polynomials.

`log(p) + sin(q)` is judged for all p and q of a list at once, by correlations alone, in a few products of
matrices; so is `log(p)*sin(q)`. The best pairs of every two functions are where fits begin.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from searches.direct.composition_models import FUNCTIONS, NONE, Models

__all__ = ["Starts"]

_NAMES = list(FUNCTIONS)
_MOST_DIRECTIONS = 60
_SPREADS = {  # of a polynomial inside, and what is added to it, in units of its spread
    "sin": [(spread, shift) for spread in (0.7, 1.5, 3.0, 5.0) for shift in (0.0, 0.5 * np.pi)],
    "exp": [(spread, 0.0) for spread in (0.6, -0.6, 1.8, -1.8)],
    "tanh": [(spread, shift) for spread in (0.8, 2.5) for shift in (0.0, -1.0, 1.0)],
}
_SMALLEST = (0.1, 1.0)  # values of a polynomial inside a logarithm, a root or a quotient, in units of its spread
_EACH, _EACH_SINGLE = 5, 16  # models of a shape and two functions, or one
_RIDGE = 1e-4
_PARALLEL = 0.99  # squared correlation of functions that are taken for one
_ALONE = ("exp", "sqrt", "inv")  # a product of two is one of a product or sum inside


@dataclass(frozen=True)
class _Start:
    """Functions of simple polynomials.

    Attributes:
        functions: numbers of the functions, in rising order. `[starts]`
        directions: numbers of the polynomials, but for their sizes and constants. `[starts]`
        inner: coefficients of the polynomials. `[starts, monomials]`
        values: their values. `[starts, rows]`
    """

    functions: np.ndarray
    directions: np.ndarray
    inner: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, monomials: np.ndarray, names: Collection[str]) -> _Start:
        """All there are for monomials `[monomials, rows]`, the first of which is 1, and the functions named."""
        found = [
            (number, direction, row)
            for number, name in enumerate(_NAMES)
            if name in names
            for direction, along in enumerate(_directions(monomials))
            for row in _polynomials(along, monomials, name)
        ]
        numbers, directions = (np.array([each[k] for each in found]) for k in (0, 1))
        coefficients = np.array([row for _, _, row in found])
        values = np.empty((len(found), monomials.shape[1]))
        for number in np.unique(numbers).tolist():
            which = numbers == number
            values[which] = FUNCTIONS[_NAMES[number]](coefficients[which] @ monomials)[0]
        usable = np.isfinite(values).all(axis=1) & (np.ptp(values, axis=1) > 1e-6 * np.abs(values).max(axis=1))
        return cls(numbers[usable], directions[usable], coefficients[usable], values[usable])


def _directions(monomials: np.ndarray) -> np.ndarray:
    """Coefficients of one or two monomials whose sum has mean 0 and spread 1. `[directions, monomials]`"""
    count = len(monomials)
    means, spreads = monomials.mean(axis=1), monomials.std(axis=1)
    found = []
    pairs = sorted(itertools.combinations(range(1, count), 2), key=sum)
    chosen: list[tuple[tuple[int, float], ...]] = [((j, 1.0),) for j in range(1, count)]
    chosen += [((i, 1.0), (j, sign)) for i, j in pairs for sign in (1.0, -1.0)]
    for parts in chosen[:_MOST_DIRECTIONS]:
        row = np.zeros(count)
        for j, sign in parts:
            row[j] = sign / spreads[j]
        spread = float(np.std(row @ monomials))
        if spread > 1e-3:
            row /= spread
            row[0] = -float(row[1:] @ means[1:])
            found.append(row)
    return np.array(found)


def _polynomials(row: np.ndarray, monomials: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """Polynomials for a function, of some sizes and constants, in one direction. Each `[monomials]`"""
    if name in _SPREADS:
        for spread, shift in _SPREADS[name]:
            polynomial = spread * row
            polynomial[0] += shift
            yield polynomial
        return
    for sign in (1.0, -1.0):
        lowest = float((sign * row @ monomials).min())
        for smallest in _SMALLEST:
            polynomial = sign * row
            polynomial[0] += smallest - lowest
            yield polynomial


class Starts:
    """Models to begin fits with.

    Args:
        monomials: values of the monomials, the first is 1. `[monomials, rows]`
        names: functions that may occur.
    """

    def __init__(self, monomials: np.ndarray, names: Collection[str]) -> None:
        self.monomials = monomials
        self.start = _Start.of(monomials, names)
        self._products = self.start.values[:, None] * monomials
        self._products -= self._products.mean(axis=2, keepdims=True)
        self._products /= np.maximum(np.linalg.norm(self._products, axis=2, keepdims=True), 1e-300)
        self._products = self._products.astype(np.float32)
        self._gram = self._products @ self._products.transpose(0, 2, 1) + _RIDGE * np.eye(len(monomials))

    def models(self, target: np.ndarray, single: bool) -> list[Models]:
        """The best ones of every shape and every two functions.

        Args:
            target: values of ordinary size. `[rows]`
            single: whether only shapes with one function are of interest.
        """
        goal = target - target.mean()
        goal = goal / np.linalg.norm(goal)
        start, values = self.start, self.start.values
        found = (
            []
            if single
            else [
                _pairs(start, "sum", _sums(values, goal), _EACH),
                _pairs(start, "product", _products(values, goal), _EACH),
            ]
        )
        return [
            *found,
            _singles(start, "plus", _beside(values, self.monomials, goal), _EACH_SINGLE),
            _singles(start, "times", self._multiplied(goal), _EACH_SINGLE),
        ]

    def _multiplied(self, goal: np.ndarray) -> np.ndarray:
        """Squares that a function times a polynomial explains. `[starts]`"""
        projected = self._products @ goal.astype(np.float32)
        solved = np.linalg.solve(self._gram, projected[:, :, None])[:, :, 0]
        explained: np.ndarray = (solved * projected).sum(axis=1)
        return explained


def _sums(values: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Squares that two functions explain. `[starts, starts]`"""
    units = values - values.mean(axis=1, keepdims=True)
    units = (units / np.linalg.norm(units, axis=1, keepdims=True)).astype(np.float32)
    alike = units @ units.T
    of_each = units @ goal.astype(np.float32)
    alone = np.square(of_each)
    apart = 1.0 - np.square(alike)
    both = alone[:, None] + alone - 2.0 * np.outer(of_each, of_each) * alike
    return np.where(apart > 1.0 - _PARALLEL, both / np.maximum(apart, 1e-6), 0.0)


def _products(values: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Squares that a product of two functions explains. `[starts, starts]`"""
    units = (values / np.sqrt(np.square(values).mean(axis=1, keepdims=True))).astype(np.float32)
    rows = units.shape[1]
    means = units @ units.T / rows
    squares = np.square(units) @ np.square(units).T / rows
    spreads = squares - np.square(means)
    projected = (units * goal.astype(np.float32)) @ units.T
    return np.where(spreads > 1e-4 * squares, np.square(projected) / (rows * np.maximum(spreads, 1e-30)), 0.0)


def _beside(values: np.ndarray, monomials: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Squares that a function beside a polynomial explains. `[starts]`"""
    basis = np.linalg.qr(monomials.T)[0]
    left = values - (values @ basis) @ basis.T
    lengths = np.square(left).sum(axis=1)
    rest = goal - basis @ (basis.T @ goal)
    usable = lengths > 1e-6 * np.square(values).sum(axis=1)
    return np.where(usable, np.square(left @ rest) / np.maximum(lengths, 1e-300), 0.0)


def _pairs(start: _Start, shape: str, gains: np.ndarray, each: int) -> Models:
    numbers = np.unique(start.functions).tolist()
    chosen: list[tuple[int, int]] = []
    for first, second in itertools.combinations_with_replacement(numbers, 2):
        if shape == "product" and first == second and _NAMES[first] in _ALONE:
            continue
        rows, columns = np.flatnonzero(start.functions == first), np.flatnonzero(start.functions == second)
        block = gains[np.ix_(rows, columns)]
        partners = block.argmax(axis=1)
        best = np.argsort(-block[np.arange(len(rows)), partners], kind="stable")
        chosen += _apart(
            [(int(rows[k]), int(columns[partners[k]])) for k in best.tolist()], start.directions, each
        )
    one, other = (np.array([pair[k] for pair in chosen], dtype=int) for k in (0, 1))
    inner = np.stack([start.inner[one], start.inner[other]], axis=1)
    return Models.begun(shape, start.functions[one], start.functions[other], inner)


def _apart(pairs: Sequence[tuple[int, int]], directions: np.ndarray, most: int) -> list[tuple[int, int]]:
    """The first ones, of which no two have the same polynomials, but for sizes and constants."""
    found: dict[frozenset[int], tuple[int, int]] = {}
    for pair in pairs:
        found.setdefault(frozenset(directions[list(pair)].tolist()), pair)
        if len(found) == most:
            break
    return list(found.values())


def _singles(start: _Start, shape: str, gains: np.ndarray, each: int) -> Models:
    chosen: list[int] = []
    for number in np.unique(start.functions).tolist():
        which = np.flatnonzero(start.functions == number)
        best = which[np.argsort(-gains[which], kind="stable")].tolist()
        chosen += [pair[0] for pair in _apart([(place, place) for place in best], start.directions, each)]
    places = np.array(chosen, dtype=int)
    none = np.full(len(places), NONE)
    return Models.begun(shape, start.functions[places], none, start.inner[places][:, None])
