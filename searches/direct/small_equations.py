"""Every small equation: laws of few constants, told from others by the length of a description.

Where the target has noise, no inverted operator is linear in anything and no residual is 0: a small law must be
met as it stands. So all of them are: a pool of the smallest functions of the columns; products, quotients, sums,
and differences of two of the pool, bare and under a function; sums of two of any of these with a factor between
them. Each stands for its best a*f + b, which takes one product of matrices for thousands.

After D. Bartlett, H. Desmond and P. Ferreira, Exhaustive symbolic regression, 2023, but for equations of twice the
size, of which parts are known. Nothing here is random.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, TOKEN, Operator
from searches.common.chosen_rows import evenly_spread
from searches.common.description_length import NODE_NATS
from searches.evolution.tree_size import tree_size

__all__ = ["loosened", "small_equations", "steep_functions"]

_ROWS = 60  # looked at
_FEWEST_ROWS = 8
_COLUMNS = 6  # of wider tables, those that are most correlated with the target
_LARGEST_SIZE = 8
_POOL = 250  # functions of which all pairs are looked at
_BLOCK = 4096  # pairs at a time: their values stay in the cache
_USUAL = 6  # functions that every pair is also looked at beside
_KEPT = 400  # of the best pairs, for sums with others
_CONSTANT_NATS = 3.0
_STEEP = (("exp", -2.0), ("exp", -0.5), ("exp", 0.5), ("exp", 2.0), ("tanh", 0.5), ("tanh", 2.0))
"""Functions, and factors of their arguments, in standard deviations of a column, to begin a fit with."""
_FINEST = 1e-6  # error below which single precision tells nothing apart
_LARGEST = 1e6  # values of a function beyond which one row is all that counts
_FUNCTIONS = ("square", "sqrt", "exp", "log", "sin", "cos", "tanh")
_CURVED = {TOKEN[name] for name in ("exp", "log", "sin", "cos", "tanh")}  # of which none is directly in another
_OF_PRODUCTS = ("", "exp", "sin", "cos", "tanh")  # the root of a product is a product of roots
_OF_SUMS = ("inv", "square", "sqrt", "exp", "log", "sin", "cos", "tanh")
_JOINING = {"mul": _OF_PRODUCTS, "div": _OF_PRODUCTS, "add": _OF_SUMS, "sub": _OF_SUMS}
_COMMUTATIVE = ("mul", "add")


class _Best(NamedTuple):
    """Pairs of the shortest codes, each alone or beside another function.

    Attributes:
        codes: their codes. `[kept]`
        outer: places of the functions around them. `[kept]`
        joins: places of the operators between them. `[kept]`
        pairs: members of the pool. `[kept, 2]`
        beside: place of the function of the pool that is added to each; -1: none. `[kept]`
    """

    codes: np.ndarray
    outer: np.ndarray
    joins: np.ndarray
    pairs: np.ndarray
    beside: np.ndarray

    def with_others(self, other: _Best) -> _Best:
        """The best of two."""
        if not len(other.codes):
            return self
        merged = [np.concatenate(both) for both in zip(self, other, strict=True)]
        order = np.argsort(merged[0], kind="stable")[:_KEPT]
        return _Best(*(each[order] for each in merged))


def small_equations(
    inputs: np.ndarray,
    target: np.ndarray,
    operators: Collection[str],
    most: int,
    ends: float = math.inf,
    weights: np.ndarray | None = None,
) -> list[Expression]:
    """Equations of the shortest codes, without outer scale and offset; the best first.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values. `[rows]`
        operators: names of the operators that may occur; `div` stands for `inv`, and `mul` for `square`.
        most: largest number of equations.
        ends: time (`time.perf_counter`) after which no further pairs are looked at.
        weights: weights of the rows' squared errors; None: all alike. `[rows]`
    """
    rows = evenly_spread(len(target), _ROWS)
    if len(target[rows]) < _FEWEST_ROWS or not np.ptp(target[rows]) > 0:
        return []
    allowed = {*operators, *(["inv"] if "div" in operators else []), *(["square"] if "mul" in operators else [])}
    with np.errstate(all="ignore"):
        listing = _Listing(inputs[rows], target[rows], allowed, None if weights is None else weights[rows])
        return listing.equations(most, ends)


def loosened(expression: Expression) -> Expression:
    """The equation with a factor, still 1, on the argument of every function: `exp(x)` as `exp(1*x)`.

    Args:
        expression: any equation.
    """

    def combine(row: Operator, *arguments: Expression) -> Expression:
        if TOKEN[row.name] in _CURVED and row.name != "log" and arguments[0].variables:
            arguments = (Expression.apply("mul", Expression.constant(1.0), arguments[0]),)
        return Expression.apply(row.name, *arguments)

    loose: Expression = expression.fold(_leaf, combine)
    return loose


def steep_functions(inputs: np.ndarray) -> list[Expression]:
    """`exp(c*x)` and `tanh(c*x)` of every column, alone and times another, with several c to begin a fit with.

    Args:
        inputs: values of the variables. `[rows, variables]`
    """
    found = []
    for k in range(min(inputs.shape[1], _COLUMNS)):
        spread = float(inputs[:, k].std()) or 1.0
        column = Expression.variable(k)
        for name, steepness in _STEEP:
            scaled = Expression.apply("mul", Expression.constant(steepness / spread), column)
            function = Expression.apply(name, scaled)
            others = [Expression.variable(j) for j in range(min(inputs.shape[1], _COLUMNS)) if j != k]
            found += [function, *(Expression.apply("mul", other, function) for other in others)]
    return found


def _leaf(token: int, value: float) -> Expression:
    return Expression.constant(value) if token == CONSTANT else Expression([token])


class _Listing:
    """The pool, its pairs, and what each is worth.

    Args:
        inputs: values of the variables. `[rows, variables]`
        target: values of the target. `[rows]`
        operators: names of the operators that may occur.
        weights: weights of the squared errors; None: all alike. `[rows]`
    """

    def __init__(
        self, inputs: np.ndarray, target: np.ndarray, operators: Collection[str], weights: np.ndarray | None
    ) -> None:
        self._operators = operators
        weights = np.ones(len(target)) if weights is None else weights
        self._weights = (weights / weights.sum()).astype(np.float32)
        self._goal = self._in_units(target[None])[0]
        self._rows = len(target)
        self._functions: list[Expression] = []
        self._values = np.empty((0, len(target)), np.float32)
        self._fill(inputs)
        self._sizes = np.array([tree_size(each) for each in self._functions])

    def equations(self, most: int, ends: float) -> list[Expression]:
        """See `small_equations`."""
        if not self._functions:
            return []
        pool_codes = self._codes(self._errors(self._values), self._sizes)
        best = self._best_pairs(self._usual_terms(pool_codes), ends)
        listed = [*self._functions, *(self._pair(best, k) for k in range(len(best.codes)))]
        values = np.concatenate([self._values, self._pair_values(best)])
        codes = np.concatenate([pool_codes, np.where(best.beside < 0, best.codes, np.inf)])
        sums, sum_codes = self._sums(listed, values, most)
        everything = [*listed, *sums]
        ranked = np.concatenate([codes, sum_codes])
        order = np.argsort(ranked, kind="stable").tolist()
        return [everything[k] for k in order[:most] if math.isfinite(ranked[k])]

    def _usual_terms(self, codes: np.ndarray) -> np.ndarray:
        """Places of the functions that pairs are also looked at beside: the columns, and those of short codes."""
        columns = np.flatnonzero(self._sizes == 1)
        usual = dict.fromkeys([*columns.tolist(), *np.argsort(codes, kind="stable").tolist()])
        return np.array([k for k in usual if math.isfinite(codes[k])][:_USUAL], int)

    # --- the pool -----------------------------------------------------------------------------------------------

    def _fill(self, inputs: np.ndarray) -> None:
        """The smallest functions, each values' shortest one, until the pool is full."""
        known: set[bytes] = set()
        by_size: dict[int, list[int]] = {}
        columns = np.argsort(-np.abs(self._in_units(inputs.T) @ self._goal), kind="stable")[:_COLUMNS]
        leaves = [Expression.variable(int(k)) for k in np.sort(columns)] + [Expression.constant(1.0)]
        values: list[np.ndarray] = []
        for size in range(_LARGEST_SIZE):  # where the constant, which is 1, counts nothing
            if size > 1:
                found = list(self._made(size, by_size, values))
            else:
                some = leaves[-1:] if size == 0 else leaves[:-1]
                found = [(leaf, np.broadcast_to(leaf(inputs), self._rows)) for leaf in some]
            for function, row in found:
                row = np.asarray(row, np.float32)
                largest = float(np.abs(row).max())
                if not 0.0 < largest < _LARGEST or (size and np.ptp(row) < 1e-5 * largest):
                    continue
                key = np.round(row / np.float32(2.0 ** math.ceil(math.log2(largest))), 5).tobytes() + bytes(
                    str(math.ceil(math.log2(largest))), "ascii"
                )
                if key not in known and len(values) < _POOL:
                    known.add(key)
                    by_size.setdefault(size, []).append(len(values))
                    values.append(row)
                    self._functions.append(function)
            if len(values) == _POOL:
                break
        self._values = np.array(values, np.float32).reshape(len(values), self._rows)

    def _made(
        self, size: int, by_size: dict[int, list[int]], values: Sequence[np.ndarray]
    ) -> Iterator[tuple[Expression, np.ndarray]]:
        """Functions of so many tokens: joined ones first, as there are fewer of them."""
        for left in range(size):
            for i in by_size.get(left, []):
                for j in by_size.get(size - 1 - left, []):
                    for name in _JOINING:
                        if name in self._operators and (i <= j or name not in _COMMUTATIVE) and i != j:
                            function = Expression.apply(name, self._functions[i], self._functions[j])
                            yield function, _VALUES[name](values[i], values[j])
        for i in by_size.get(size - 1, []):
            inner = self._functions[i]
            for name in ("inv", *_FUNCTIONS):
                if name not in self._operators or not inner.variables:
                    continue
                if not (TOKEN[name] in _CURVED and int(inner.tokens[0]) in _CURVED):
                    yield Expression.apply(name, inner), _VALUES_OF[name](values[i])

    # --- pairs --------------------------------------------------------------------------------------------------

    def _best_pairs(self, usual: np.ndarray, ends: float) -> _Best:
        """The best functions of two of the pool, the shortest first while there is time."""
        one, other = np.triu_indices(len(self._functions))
        order = np.argsort(self._sizes[one] + self._sizes[other], kind="stable")
        one, other = one[order], other[order]
        nothing = np.empty(0, int)
        best = _Best(np.empty(0), nothing, nothing, np.empty((0, 2), int), nothing)
        for start in range(0, len(one), _BLOCK):
            if time.perf_counter() > ends:
                break
            block = np.stack([one[start : start + _BLOCK], other[start : start + _BLOCK]], axis=1)
            for joint, name in enumerate(_JOINING):
                if name not in self._operators:
                    continue
                for pairs in (block,) if name in _COMMUTATIVE else (block, block[:, ::-1]):
                    for outer, function in enumerate(_JOINING[name]):
                        if not function or function in self._operators:
                            best = self._with_pairs(best, joint, outer, pairs, usual)
        return best

    def _with_pairs(self, best: _Best, joint: int, outer: int, pairs: np.ndarray, usual: np.ndarray) -> _Best:
        """The best, those among `pairs [pairs, 2]` with one operator between and one function around them."""
        name = list(_JOINING)[joint]
        function = _JOINING[name][outer]
        sizes = self._sizes[pairs].sum(axis=1) + (3 if name in ("div", "sub") else 1)
        if function:
            sizes += 2 if function in ("inv", "square", "sqrt") else 1
        joined = _VALUES[name](self._values[pairs[:, 0]], self._values[pairs[:, 1]])
        codes = self._codes_beside(_VALUES_OF[function](joined) if function else joined, sizes, usual)
        limit = best.codes[-1] if len(best.codes) == _KEPT else np.inf
        places, beside = np.nonzero(codes < limit)
        found = codes[places, beside]
        if len(found) > _KEPT:
            top = np.argpartition(found, _KEPT)[:_KEPT]
            places, beside, found = places[top], beside[top], found[top]
        marks = np.full(len(found), outer), np.full(len(found), joint)
        return best.with_others(_Best(found, *marks, pairs[places], np.append(usual, -1)[beside - 1]))

    def _codes_beside(self, values: np.ndarray, sizes: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """Codes of functions alone, and beside each of the usual terms. `[functions, 1 + terms]`"""
        terms = self._in_units(self._values[usual])
        pull = (terms @ self._goal).astype(np.float64)
        centred = self._centred(values)
        lengths = np.sqrt(np.einsum("fr,fr->f", centred, centred))[:, None]
        shares = ((centred @ np.concatenate([self._goal[None], terms]).T) / lengths).astype(np.float64)
        alone, alike = shares[:, :1], shares[:, 1:]
        beside = pull**2 + np.square(alone - alike * pull) / np.maximum(1.0 - alike**2, 1e-3)
        explained = np.concatenate([alone**2, beside], axis=1)
        more = np.concatenate([[0.0], NODE_NATS * (self._sizes[usual] + 3.0) + _CONSTANT_NATS])
        return self._codes(_left(explained), sizes[:, None]) + more

    def _pair(self, best: _Best, k: int) -> Expression:
        name = list(_JOINING)[best.joins[k]]
        function = _JOINING[name][best.outer[k]]
        joined = Expression.apply(name, *(self._functions[i] for i in best.pairs[k].tolist()))
        return Expression.apply(function, joined) if function else joined

    def _pair_values(self, best: _Best) -> np.ndarray:
        """Values of the pairs. `[pairs, rows]`"""
        found = np.empty((len(best.codes), self._rows), np.float32)
        for k, (i, j) in enumerate(best.pairs.tolist()):
            name = list(_JOINING)[best.joins[k]]
            function = _JOINING[name][best.outer[k]]
            joined = _VALUES[name](self._values[i], self._values[j])
            found[k] = _VALUES_OF[function](joined) if function else joined
        return found

    # --- sums ---------------------------------------------------------------------------------------------------

    def _sums(
        self, listed: Sequence[Expression], values: np.ndarray, most: int
    ) -> tuple[list[Expression], np.ndarray]:
        """The best sums of two functions, with the factor of the second, and their codes."""
        vectors = self._in_units(values)
        usable = np.flatnonzero(np.isfinite(vectors).all(axis=1)).tolist()
        vectors = vectors[usable].astype(np.float64)
        lengths = np.einsum("fr,fr->f", vectors, self._centred(values[usable]).astype(np.float64))
        sizes = np.array([tree_size(listed[k]) for k in usable])
        gram, pull = vectors @ vectors.T, vectors @ self._goal.astype(np.float64)
        alone = 1.0 - gram**2
        explained = (pull[:, None] ** 2 + pull**2 - 2.0 * pull[:, None] * pull * gram) / alone
        errors = np.where(alone > 1e-4, _left(explained), np.inf)
        codes = self._codes(errors, sizes[:, None] + sizes + 3) + _CONSTANT_NATS
        codes[np.tril_indices(len(codes))] = np.inf
        order = np.argpartition(codes, min(most, codes.size - 1), axis=None)[:most]
        sums, kept = [], []
        for i, j in zip(*np.unravel_index(order, codes.shape), strict=True):
            if not math.isfinite(codes[i, j]):
                continue
            slopes = np.linalg.solve([[1.0, gram[i, j]], [gram[i, j], 1.0]], [pull[i], pull[j]])
            factor = slopes[1] / slopes[0] * lengths[i] / lengths[j]
            if math.isfinite(factor) and factor:
                term = Expression.apply("mul", Expression.constant(float(factor)), listed[usable[j]])
                sums.append(Expression.apply("add", listed[usable[i]], term))
                kept.append(codes[i, j])
        return sums, np.array(kept)

    # --- what they are worth ------------------------------------------------------------------------------------

    def _in_units(self, values: np.ndarray) -> np.ndarray:
        """Values less their mean, times the roots of the weights, of length 1. `[functions, rows]`"""
        values = self._centred(values)
        return np.asarray(values / np.sqrt(np.einsum("fr,fr->f", values, values))[:, None])

    def _centred(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, np.float32)
        return np.asarray((values - (values @ self._weights)[:, None]) * np.sqrt(self._weights))

    def _errors(self, values: np.ndarray) -> np.ndarray:
        """Squared errors over the variance of the best a*f + b. `[functions]`"""
        explained = np.square((self._in_units(values) @ self._goal).astype(np.float64))
        return _left(explained)

    def _codes(self, errors: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Nats, up to a constant; infinite where a value is not finite."""
        codes = 0.5 * self._rows * np.log(errors) + NODE_NATS * sizes
        return np.where(np.isfinite(codes), codes, np.inf)


def _left(explained: np.ndarray) -> np.ndarray:
    """Errors, given the shares of the variance that are explained; infinite where these are no numbers."""
    errors = np.maximum(1.0 - explained, _FINEST)
    return np.where((explained >= 0.0) & (explained < 1.0 + 1e-3), errors, np.inf)


_VALUES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mul": np.multiply,
    "div": np.divide,
    "add": np.add,
    "sub": np.subtract,
}
_VALUES_OF: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inv": np.reciprocal,
    "square": np.square,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}
