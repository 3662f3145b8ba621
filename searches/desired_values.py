"""What a part of an equation would have to be for the whole to be the target.

Semantic backpropagation: T. P. Pawlak, B. Wieloch and K. Krawiec, "Semantic backpropagation for designing search
operators in genetic programming", IEEE Transactions on Evolutionary Computation 19, 2015. From the root down to
the part, every operator is solved for the argument in question, the other one being what it is. What is new here
is that every wanted value knows what its errors cost in the target, as in `searches.undoing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.operators import ARITY, FIRST_VARIABLE, operator
from searches.undoing import Hole, Undone, are_targets

__all__ = ["desired_values"]

_LEAST_ROWS = 0.7  # share of the rows on which a part must be able to do what is wanted of it
_TURN = 2.0 * np.pi

Solve = Callable[..., np.ndarray]
"""`solve(wanted, number, *arguments)`: what argument `number` must be for the operator to give what is wanted."""


def desired_values(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> list[Undone]:
    """What every part of an equation but the whole should be, its numbers included.

    The whole stands for `scale * equation + offset`: with the best of both, with the best scale alone, with none.
    A row on which a part cannot do what is wanted (a sine that should be 2) keeps the value that the part has
    there, and counts for nothing.

    Args:
        equation: to be improved.
        inputs: `[rows, variables]`
        target: `[rows]`, not constant.

    Returns:
        Targets for a part each, of which `redone` gives the whole; none where the equation is not finite on all
        rows, or constant.
    """
    starts = range(len(equation))
    values = Evaluator(inputs, np.float64).values([equation.subtree(start) for start in starts])
    if not (np.isfinite(values[0]).all() and np.ptp(values[0]) > 0):
        return []
    found: list[Undone] = []
    for scale, offset in _scalings(values[0], target):
        scaled = Expression.apply("mul", Expression.constant(scale), equation)
        whole = Expression.apply("add", scaled, Expression.constant(offset))
        first = len(whole) - 1 - len(equation)  # token of it at which the equation starts
        wanted = list(_wanted(equation, values, (target - offset) / scale, abs(scale) / _spread(target)))
        if wanted:
            usable = are_targets(np.array([each[1] for each in wanted]), np.array([each[2] for each in wanted]))
            found += [
                Undone((), values_, slopes, Hole(whole, first + start))
                for (start, values_, slopes), kept in zip(wanted, usable, strict=True)
                if kept
            ]
    return found


def _spread(target: np.ndarray) -> float:
    return float(np.sqrt(np.square(target - target.mean()).sum()))


def _scalings(values: np.ndarray, target: np.ndarray) -> Iterator[tuple[float, float]]:
    """Scales and offsets of an equation: the best of both, the best scale alone, and none.

    The best ones are those of the equation as it is. Where its scale can be in its part, as in a product, that
    does not matter; a sine or a logarithm, most often, has none.
    """
    for ones in (1.0, 0.0):
        columns = np.stack([values, np.full_like(values, ones)], axis=1)
        size = np.maximum(np.abs(columns).max(axis=0), 1e-300)
        scale, offset = (np.linalg.lstsq(columns / size, target)[0] / size).tolist()
        if scale != 0 and np.isfinite(scale) and np.isfinite(offset):
            yield scale, offset
    yield 1.0, 0.0


def _wanted(
    equation: Expression, values: np.ndarray, target: np.ndarray, slope: float
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """From the root down: the token at which a part starts, what it should be, and what an error of that costs.

    Args:
        equation: the whole.
        values: of the parts that start at its tokens. `[tokens, rows]`
        target: what the whole should be. `[rows]`
        slope: what an error of the whole costs.
    """
    pending = [(0, target, np.full_like(target, slope))]
    while pending:
        start, wanted, slopes = pending.pop()
        if start:
            usable = np.isfinite(wanted) & np.isfinite(slopes) & (slopes > 0)
            if usable.mean() < _LEAST_ROWS:
                continue
            yield start, np.where(usable, wanted, values[start]), np.where(usable, slopes, 0.0)
        token = int(equation.tokens[start])
        if not ARITY[min(token, FIRST_VARIABLE)] or operator(token).name not in _SOLVED:
            continue
        row = operator(token)
        places = [start + 1] if row.arity == 1 else [start + 1, equation.subtree_end(start + 1)]
        with np.errstate(all="ignore"):
            for number, place in enumerate(places):
                arguments = [values[each] for each in places]
                arguments[number] = _SOLVED[row.name](wanted, number, *arguments)
                partials = row.partials(np, row.numpy(*arguments, np.empty_like(wanted)), *arguments)
                pending.append((place, arguments[number], slopes * np.abs(partials[number])))


def _inverse(inverse: Callable[[np.ndarray], np.ndarray]) -> Solve:
    return lambda wanted, number, now: inverse(wanted)


def _signed(root: Callable[[np.ndarray], np.ndarray]) -> Solve:
    """Of the two solutions that differ in sign, the one that has that of the part as it is."""
    return lambda wanted, number, now: np.copysign(root(wanted), now)


def _nearest(period: float, solutions: Callable[[np.ndarray], list[np.ndarray]]) -> Solve:
    """Of all angles, the one nearest to the part as it is."""

    def solve(wanted: np.ndarray, number: int, now: np.ndarray) -> np.ndarray:
        turned = np.array([one + period * np.round((now - one) / period) for one in solutions(wanted)])
        return np.take_along_axis(turned, np.abs(turned - now).argmin(axis=0)[None], axis=0)[0]

    return solve


def _within(low: float, high: float, inverse: Callable[[np.ndarray], np.ndarray]) -> Solve:
    """Where what is wanted lies in what the operator can give; NaN elsewhere."""
    return lambda wanted, number, now: np.where((wanted >= low) & (wanted <= high), inverse(wanted), np.nan)


_SOLVED: dict[str, Solve] = {
    "add": lambda wanted, number, a, b: wanted - (a if number else b),
    "sub": lambda wanted, number, a, b: a - wanted if number else wanted + b,
    "mul": lambda wanted, number, a, b: wanted / (a if number else b),
    "div": lambda wanted, number, a, b: a / wanted if number else wanted * b,
    "neg": _inverse(np.negative),
    "inv": _inverse(lambda wanted: 1.0 / wanted),
    "square": _signed(np.sqrt),
    "cube": _inverse(np.cbrt),
    "pow4": _signed(lambda wanted: wanted**0.25),
    "pow5": _inverse(lambda wanted: np.copysign(np.abs(wanted) ** 0.2, wanted)),
    "pow6": _signed(lambda wanted: wanted ** (1.0 / 6.0)),
    "sqrt": _within(0.0, np.inf, np.square),
    "exp": _inverse(np.log),
    "log": _inverse(np.exp),
    "sin": _nearest(_TURN, lambda wanted: [np.arcsin(wanted), np.pi - np.arcsin(wanted)]),
    "cos": _nearest(_TURN, lambda wanted: [np.arccos(wanted), -np.arccos(wanted)]),
    "tan": _nearest(np.pi, lambda wanted: [np.arctan(wanted)]),
    "asin": _within(-np.pi / 2.0, np.pi / 2.0, np.sin),
    "acos": _within(0.0, np.pi, np.cos),
    "atan": _within(-np.pi / 2.0, np.pi / 2.0, np.tan),
    "sinh": _inverse(np.arcsinh),
    "cosh": _signed(np.arccosh),
    "tanh": _inverse(np.arctanh),
}
