"""Piecewise laws: max, min, magnitudes and jumps between pieces that are sums of few functions.

1. Without noise, rows that obey one law exactly are a piece (`searches.direct.segments`); two or three of them
   are joined by max and min where that gives the target, else by jumps at a number between them, which x/abs(x)
   writes. The target may have one more column as a factor or a divisor.
2. Under noise, hinges are scanned: a line with max(x - a, 0), as in J. Friedman's "Multivariate adaptive
   regression splines" (1991), with one hinge, and the larger or smaller of two planes by turns (A. Magnani and
   S. Boyd 2009).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from expressions.canonical_form import canonical
from expressions.expression import Expression
from searches.direct.segments import Basis, Piece, bases, orderings, pieces, sum_of
from searches.direct.writing import Writer

__all__ = ["find"]

_COLUMNS = 8  # at most
_FACTORS = 5  # columns by which the target is divided and multiplied
_MOST_PIECES = 3
_SAME = 1e-9  # of the target's size
_HINGES = 24  # places in a column
_PLANE_STARTS, _TURNS = 10, 6  # halves of the rows to begin with, and turns
_GAIN = 0.8  # of the squares that a line leaves, below which a hinge is worth an equation
_FUNCTIONS = ("exp", "log", "sqrt", "sin", "cos", "inv")
_DIGITS = 12  # of the number at which there is a jump, at most


def find(inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float) -> Iterator[Expression]:
    """See `searches.direct.kinds.Find`."""
    writer = Writer(operators)
    usable = [k for k in range(inputs.shape[1]) if np.ptp(inputs[:, k]) > 0]
    if (
        not (writer.products and writer.sums and (writer.magnitudes or writer.extrema))
        or not 0 < len(usable) <= _COLUMNS
    ):
        return
    ones = [Expression.variable(k) for k in usable]
    columns = inputs[:, usable]
    names = [name for name in _FUNCTIONS if name in operators or (name == "inv" and writer.quotients)]
    targets, restored = _targets(inputs, target, ones, writer)
    for basis in bases(inputs, ones, names if len(ones) <= 2 else [], len(target)):
        if time.perf_counter() > ends:
            return
        for found, values, (name, factor) in zip(
            pieces(basis, targets, columns, _MOST_PIECES), targets, restored, strict=True
        ):
            if found is None:
                continue
            equation = _joined(basis, found, values, inputs, writer)
            if equation is not None:
                yield canonical(equation if factor is None else Expression.apply(name, equation, factor))
                return
    if time.perf_counter() < ends and len(writer.extrema) == 2:
        yield from _hinges(inputs, target, usable)


def _targets(
    inputs: np.ndarray, target: np.ndarray, ones: Sequence[Expression], writer: Writer
) -> tuple[np.ndarray, list[tuple[str, Expression | None]]]:
    """The target, and divided and multiplied by a column, of size 1; and what turns each back."""
    found = [target]
    restored: list[tuple[str, Expression | None]] = [("", None)]
    for one in ones[:_FACTORS]:
        column = one(inputs)
        if column.all():
            found.append(target / column)
            restored.append(("mul", one))
            if writer.quotients:
                found.append(target * column)
                restored.append(("div", one))
    return np.array(found), restored


# --- pieces together --------------------------------------------------------------------------------------------


def _joined(
    basis: Basis, found: Sequence[Piece], target: np.ndarray, inputs: np.ndarray, writer: Writer
) -> Expression | None:
    """The shortest equation that has the target's value on every row; None where there is none."""
    laws = [sum_of(basis, piece.coefficients) for piece in found]
    values = [piece.values for piece in found]
    choices = list(_extrema(laws, values, target, writer))
    if writer.magnitudes:
        choices += _magnitudes(basis, found, target)
    if not choices and writer.magnitudes and writer.quotients:
        choices += _jumps(basis, found, inputs, target)
    return min((canonical(choice) for choice in choices), key=len, default=None)


def _extrema(
    laws: Sequence[Expression], values: Sequence[np.ndarray], target: np.ndarray, writer: Writer
) -> Iterator[Expression]:
    """Maxima and minima of all pieces, the third beside what the first two give."""
    compute = {"max": np.maximum, "min": np.minimum}
    close = _SAME * float(np.abs(target).max())
    for order in itertools.permutations(range(len(laws))):
        if order[0] > order[1]:
            continue
        for chosen in itertools.product(writer.extrema, repeat=len(laws) - 1):
            result, law = values[order[0]], laws[order[0]]
            for name, place in zip(chosen, order[1:], strict=True):
                result = compute[name](result, values[place])
                law = Expression.apply(name, law, laws[place])
            if np.abs(result - target).max() < 10 * close:
                yield law


def _magnitudes(basis: Basis, found: Sequence[Piece], target: np.ndarray) -> Iterator[Expression]:
    """c + abs(g) or c - abs(g), of two pieces c + g and c - g."""
    if len(found) != 2:
        return
    one, other = found
    half = (one.values - other.values) / 2
    middle = (one.values + other.values) / 2
    for name, sign in (("add", 1.0), ("sub", -1.0)):
        if np.abs(middle + sign * np.abs(half) - target).max() < 10 * _SAME * float(np.abs(target).max()):
            size = np.maximum(np.abs(one.coefficients), np.abs(other.coefficients))
            both = (one.coefficients + other.coefficients, one.coefficients - other.coefficients)
            whole, part = (sum_of(basis, np.where(np.abs(each) > _SAME * size, each, 0.0) / 2) for each in both)
            yield Expression.apply(name, whole, Expression.apply("abs", part))


def _tidy(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) > _SAME * np.abs(values).max(), values, 0.0)


def _jumps(basis: Basis, found: Sequence[Piece], inputs: np.ndarray, target: np.ndarray) -> Iterator[Expression]:
    """The pieces with a jump from each to the next, in an ordering of the rows that keeps them apart."""
    for places, factors, values in orderings(inputs):
        order = sorted(range(len(found)), key=lambda k: float(values[_own(found, k)].min()))
        edges = []
        for k, following in itertools.pairwise(order):
            low, high = float(values[_own(found, k)].max()), float(values[_own(found, following)].min())
            edges.append((low, high))
        if not all(low < high for low, high in edges):
            continue
        argument = Expression.variable(places[0])
        if len(places) == 2:
            argument = Expression.apply(
                "add" if factors[1] > 0 else "sub", argument, Expression.variable(places[1])
            )
        total = (found[order[0]].coefficients + found[order[-1]].coefficients) / 2
        terms = [sum_of(basis, _tidy(total))]
        for (k, following), (low, high) in zip(itertools.pairwise(order), edges, strict=True):
            step = _tidy(found[following].coefficients - found[k].coefficients) / 2
            distance = Expression.apply("sub", argument, Expression.constant(_between(low, high)))
            sign = Expression.apply("div", distance, Expression.apply("abs", distance))
            terms.append(Expression.apply("mul", sum_of(basis, step), sign))
        equation = Expression.joined("add", terms)
        if np.abs(equation(inputs) - target).max() < 100 * _SAME * float(np.abs(target).max()):
            yield equation


def _own(found: Sequence[Piece], place: int) -> np.ndarray:
    """Rows that a piece meets and no other does; all that it meets where there is none. `[rows]` bool"""
    others = np.any([piece.met for k, piece in enumerate(found) if k != place], axis=0)
    alone = found[place].met & ~others
    return alone if alone.any() else found[place].met


def _between(low: float, high: float) -> float:
    """The number of fewest digits between two."""
    middle = (low + high) / 2
    size = np.floor(np.log10(max(abs(low), abs(high), 1e-300)))
    for digits in range(_DIGITS):
        near = float(np.round(middle, int(digits - size)))
        if low < near < high:
            return near
    return middle


# --- under noise ------------------------------------------------------------------------------------------------


def _hinges(inputs: np.ndarray, target: np.ndarray, usable: Sequence[int]) -> Iterator[Expression]:
    """A line with the best hinge of a column, and the best larger and smaller of two planes."""
    columns = inputs[:, usable]
    scale, centre = columns.std(axis=0), columns.mean(axis=0)
    plain = np.column_stack([np.ones(len(target)), (columns - centre) / scale])
    basis = np.linalg.qr(plain)[0]
    left = target - basis @ (basis.T @ target)
    squares = float(left @ left)
    if not squares > 1e-20 * float(target @ target):
        return  # a line
    shares = np.linspace(0.06, 0.94, _HINGES)
    knots = np.quantile(columns, shares, axis=0)  # [knots, columns]
    hinges = np.maximum(columns[:, None, :] - knots[None], 0.0).reshape(len(target), -1)
    apart = hinges - basis @ (basis.T @ hinges)
    sizes = np.square(apart).sum(axis=0)
    gains = np.where(
        sizes > 1e-9 * np.square(hinges).sum(axis=0), np.square(left @ apart) / np.maximum(sizes, 1e-300), 0.0
    )
    place = int(gains.argmax())
    if squares - gains[place] < _GAIN * squares:
        knot, column = divmod(place, len(usable))
        at = _refined(basis, left, columns[:, column], knots[:, column], knot)
        variable = Expression.variable(usable[column])
        hinge = Expression.apply(
            "max", Expression.apply("sub", variable, Expression.constant(at)), Expression.constant(0.0)
        )
        yield _line(inputs, target, [Expression.variable(k) for k in usable], hinge)
    yield from _planes(plain, inputs, target, usable, columns, squares)


def _refined(basis: np.ndarray, left: np.ndarray, column: np.ndarray, knots: np.ndarray, knot: int) -> float:
    """The place of a hinge between its neighbours that explains most."""
    low, high = float(knots[max(knot - 1, 0)]), float(knots[min(knot + 1, len(knots) - 1)])
    for _ in range(6):
        places = np.linspace(low, high, 9)
        hinges = np.maximum(column[:, None] - places, 0.0)
        apart = hinges - basis @ (basis.T @ hinges)
        gains = np.square(left @ apart) / np.maximum(np.square(apart).sum(axis=0), 1e-300)
        best = int(gains.argmax())
        low, high = float(places[max(best - 1, 0)]), float(places[min(best + 1, 8)])
    return float(f"{(low + high) / 2:.4g}")


def _line(inputs: np.ndarray, target: np.ndarray, ones: Sequence[Expression], hinge: Expression) -> Expression:
    """The target as a sum of columns and a hinge."""
    terms = [*ones, hinge]
    matrix = np.column_stack([np.ones(len(target)), *(term(inputs) for term in terms)])
    solved = np.linalg.lstsq(matrix, target, rcond=None)[0].tolist()
    parts = [
        Expression.apply("mul", Expression.constant(c), term) for c, term in zip(solved[1:], terms, strict=True)
    ]
    return Expression.joined("add", [*parts, Expression.constant(solved[0])])


def _planes(
    plain: np.ndarray,
    inputs: np.ndarray,
    target: np.ndarray,
    usable: Sequence[int],
    columns: np.ndarray,
    squares: float,
) -> Iterator[Expression]:
    """The larger and the smaller of two planes, from halves of the rows in every ordering."""
    if len(target) < 4 * plain.shape[1]:
        return
    for name, compute in (("max", np.maximum), ("min", np.minimum)):
        best, chosen = _GAIN * squares, None
        for _, _, values in itertools.islice(orderings(columns), _PLANE_STARTS):
            above = values > np.median(values)
            for _ in range(_TURNS):
                if min(above.sum(), (~above).sum()) < 2 * plain.shape[1]:
                    break
                planes = [np.linalg.lstsq(plain[some], target[some], rcond=None)[0] for some in (above, ~above)]
                one, other = (plain @ plane for plane in planes)
                error = float(np.square(compute(one, other) - target).sum())
                if error < best:
                    best, chosen = error, planes
                again = (one > other) if name == "max" else (one < other)
                if (again == above).all():
                    break
                above = again
        if chosen is not None:
            yield Expression.apply(name, *(_plane(plane, columns, usable, inputs) for plane in chosen))


def _plane(plane: np.ndarray, columns: np.ndarray, usable: Sequence[int], inputs: np.ndarray) -> Expression:
    slopes = plane[1:] / columns.std(axis=0)
    offset = float(plane[0] - slopes @ columns.mean(axis=0))
    return _weighted([offset, *slopes.tolist()], [Expression.variable(k) for k in usable], inputs)


def _weighted(solved: Sequence[float], terms: Sequence[Expression], inputs: np.ndarray) -> Expression:
    """A constant and multiples of terms, those left out that are only rounding."""
    sizes = [abs(solved[0])] + [
        abs(c) * float(np.abs(term(inputs)).max()) for c, term in zip(solved[1:], terms, strict=True)
    ]
    parts = [
        Expression.apply("mul", Expression.constant(c), term)
        for c, term, size in zip(solved[1:], terms, sizes[1:], strict=True)
        if size > _SAME * max(sizes)
    ]
    if not parts or sizes[0] > _SAME * max(sizes):
        parts.append(Expression.constant(solved[0]))
    return Expression.joined("add", parts)
