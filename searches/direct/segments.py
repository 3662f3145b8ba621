"""Rows of a table that obey one law of few terms exactly, while other rows obey another.

Rows that are neighbours in a column, or in a sum or a difference of two, mostly lie in one piece of a piecewise
law. What fits some of them exactly is tried on all rows (M. Fischler and R. Bolles 1981, "Random sample
consensus", but nothing here is random): the rows that it meets are a piece. Rows of one value are one, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression

__all__ = ["Basis", "Piece", "bases", "orderings", "pieces", "sum_of"]

_SPARE = 8  # rows of a window beyond the functions: they tell an exact fit from any fit
_SHARES, _SHARES_OF_TWO = (0.15, 0.3, 0.48), (0.25,)  # of the rows, in windows at both ends of an ordering
_MIDDLE = (0.4, 0.6)  # the window in the middle
_LEAST_SHARE, _LEAST_ROWS = 0.08, 4  # of all rows, and beyond the functions, that a piece has
_EXACT = 1e-9  # of the target's size, within which a row is met
_PAIRED = 5  # columns whose sums and differences order the rows
_DIGITS = 13  # of coefficients: the others are rounding
_NOTHING = 1e-9  # of the target's size: a term that is rounding


@dataclass(frozen=True)
class Basis:
    """Functions of which a piece is a sum, and their values. `[functions, rows]`"""

    functions: list[Expression]
    values: np.ndarray


@dataclass(frozen=True)
class Piece:
    """A law that some rows obey.

    Attributes:
        coefficients: those of the functions of a basis; 0 for those that do not occur. `[functions]`
        values: values of the law on all rows. `[rows]`
        met: rows that obey it. `[rows]` bool
    """

    coefficients: np.ndarray
    values: np.ndarray
    met: np.ndarray


def orderings(inputs: np.ndarray) -> Iterator[tuple[tuple[int, ...], tuple[float, ...], np.ndarray]]:
    """Columns, sums and differences of two by which rows can be told apart: columns, factors and values."""
    for column in range(inputs.shape[1]):
        yield (column,), (1.0,), inputs[:, column]
    for one, other in itertools.combinations(range(min(_PAIRED, inputs.shape[1])), 2):
        for sign in (-1.0, 1.0):
            yield (one, other), (1.0, sign), inputs[:, one] + sign * inputs[:, other]


def windows(inputs: np.ndarray, count: int) -> np.ndarray:
    """Rows at both ends and in the middle of every ordering. `[windows, count]`"""
    rows = len(inputs)
    found = []
    for places, _, values in orderings(inputs):
        order = np.argsort(values, kind="stable")
        shares = _SHARES if len(places) == 1 else _SHARES_OF_TWO
        spans = [(0.0, share) for share in shares] + [(1.0 - share, 1.0) for share in shares]
        spans += [_MIDDLE] if len(places) == 1 else []
        for start, end in spans:
            some = order[int(start * rows) : int(end * rows)]
            if len(some) >= count:
                found.append(some[np.linspace(0, len(some) - 1, count).round().astype(int)])
    return np.array(found, dtype=int).reshape(-1, count)


def pieces(basis: Basis, targets: np.ndarray, inputs: np.ndarray, most: int) -> list[list[Piece] | None]:
    """For every target, pieces that meet all rows together, the largest first; None where there are no such.

    Args:
        basis: functions that the pieces are sums of.
        targets: targets of ordinary size. `[targets, rows]`
        inputs: values of the variables, by which neighbours are told. `[rows, variables]`
        most: largest number of pieces.
    """
    functions = len(basis.functions)
    scale = np.maximum(np.abs(basis.values).max(axis=1), 1e-300)
    columns = (basis.values / scale[:, None]).T  # [rows, functions]
    chosen = windows(inputs, functions + _SPARE)
    if not len(chosen):
        return [None] * len(targets)
    designs = columns[chosen]  # [windows, some rows, functions]
    aims = targets.T[chosen]  # [windows, some rows, targets]
    basis_vectors, corners = np.linalg.qr(designs)
    diagonal = np.abs(np.einsum("wkk->wk", corners))
    sound = diagonal.min(axis=1) > 1e-9 * diagonal.max(axis=1)
    seen = basis_vectors.transpose(0, 2, 1) @ aims
    left = np.abs(aims - basis_vectors @ seen).max(axis=1)  # [windows, targets]
    size = np.abs(targets).max(axis=1)
    found: list[list[Piece] | None] = []
    for k, target in enumerate(targets):
        exact = np.flatnonzero(sound & (left[:, k] < _EXACT * size[k]))
        solved = np.array([np.linalg.solve(corners[w], seen[w, :, k]) for w in exact.tolist()])
        laws = np.concatenate([_levels(target, functions), solved.reshape(-1, functions)])
        found.append(_cover(columns, scale, target, laws, most))
    return found


def _levels(target: np.ndarray, functions: int) -> np.ndarray:
    """Constants that many rows have, as laws. `[at most 2, functions]`"""
    unit = _EXACT * float(np.abs(target).max())
    _, first, counts = np.unique(np.round(target / unit), return_index=True, return_counts=True)
    values = target[first]
    order = np.argsort(-counts, kind="stable")[:2]
    levels = [float(values[k]) for k in order.tolist() if counts[k] >= _LEAST_SHARE * len(target)]
    laws = np.zeros((len(levels), functions))
    laws[:, 0] = levels  # the first function is 1
    return laws


def _cover(
    columns: np.ndarray, scale: np.ndarray, target: np.ndarray, solved: np.ndarray, most: int
) -> list[Piece] | None:
    """Pieces that meet all rows together; None where a row is left, or one piece meets all."""
    size = float(np.abs(target).max())
    rows, functions = columns.shape
    least = max(int(_LEAST_SHARE * rows), functions + _LEAST_ROWS)
    left = np.ones(rows, dtype=bool)
    laws = columns @ solved.T  # [rows, windows]
    met = np.abs(laws - target[:, None]) < _EXACT * size * 10.0
    found: list[Piece] = []
    while left.any() and len(found) < most:
        counts = met[left].sum(axis=0)
        place = int(counts.argmax()) if len(counts) else -1
        if place >= 0 and counts[place] >= min(least, int(left.sum())):
            some = met[:, place] & left
        elif int(left.sum()) >= functions + _LEAST_ROWS:
            some = left.copy()  # what is left may be a law that no window lay in
        else:
            return None
        piece = _fitted(columns, scale, target, some)
        if piece is None or not (piece.met & left).any() or piece.met.all():
            return None
        found.append(piece)
        left &= ~piece.met
    return found if not left.any() and len(found) > 1 else None


def _fitted(columns: np.ndarray, scale: np.ndarray, target: np.ndarray, some: np.ndarray) -> Piece | None:
    """The law of some rows, without the terms that are rounding; None where they obey none."""
    size = float(np.abs(target).max())
    kept = np.arange(columns.shape[1])
    coefficients = np.zeros(columns.shape[1])
    while len(kept):
        solved = np.linalg.lstsq(columns[np.ix_(some, kept)], target[some], rcond=1e-12)[0]
        reach = np.abs(columns[some][:, kept] * solved).max(axis=0)
        if reach.min() > _NOTHING * size:
            coefficients[kept] = solved
            break
        kept = np.delete(kept, int(reach.argmin()))
    values = columns @ coefficients
    met = np.abs(values - target) < _EXACT * size
    return Piece(coefficients / scale, values, met) if met[some].all() else None


def sum_of(basis: Basis, coefficients: np.ndarray) -> Expression:
    """The sum of a basis's functions with their coefficients; 0 where there is none."""
    terms = [
        (float(f"{value:.{_DIGITS}g}"), function)
        for value, function in zip(coefficients, basis.functions, strict=True)
        if value != 0.0
    ]
    parts = [
        Expression.constant(value)
        if not function.variables
        else function
        if value == 1.0
        else Expression.apply("mul", Expression.constant(value), function)
        for value, function in terms
    ]
    return Expression.joined("add", parts) if parts else Expression.constant(0.0)


def bases(inputs: np.ndarray, ones: Sequence[Expression], functions: Sequence[str], rows: int) -> Iterator[Basis]:
    """Lines, parabolas with products, and lines with functions of one variable, as far as the rows allow."""
    constant = Expression.constant(1.0)
    squares = [Expression.apply("square", one) for one in ones]
    products = [Expression.apply("mul", *pair) for pair in itertools.combinations(ones, 2)]
    others = [Expression.apply(name, one) for name in functions for one in ones]
    for extra in ([], [*squares, *products], [*squares, *others]):
        chosen = [constant, *ones, *extra]
        values = [np.broadcast_to(each(inputs), len(inputs)) for each in chosen]
        usable = [k for k, row in enumerate(values) if np.isfinite(row).all()]
        if 6 * len(usable) <= rows:
            yield Basis([chosen[k] for k in usable], np.array([values[k] for k in usable]))
