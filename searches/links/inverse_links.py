"""Targets after inverting their outermost operators: if y = sqrt(v), then v = y**2; if y = v / x0, v = y * x0.

After S.-M. Udrescu and M. Tegmark, "AI Feynman: a physics-inspired method for symbolic regression", Science
Advances 2020, who invert one operator at a time, too. What is new here is that an inverted target knows what its
errors cost in y, so that all of them can be compared, and fitted as well as y itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.operators import BY_NAME, OPERATORS, inverted

__all__ = ["Divisors", "InvertedTarget", "inverted_once"]

_MOST_LINKS = 2  # operators of one argument in a chain
_LARGEST = 1e6  # of an inverted target, relative to its median: beyond, one row is all that is left of the table
_SAME = 1e-9
_FLATTEST = 1e-9  # spread relative to the size, below which nothing is left but rounding

_INVERTIBLE = tuple(row.name for row in OPERATORS if row.inverse is not None and row.name != "neg")
_WITH_A_SCALE = frozenset(name for name in _INVERTIBLE if BY_NAME[name].passes == "none" and name != "exp")
"""Inverted right only where the target is not multiplied by anything, so they stand alone; a factor of an
exponential is a term of its exponent."""
_ONE_SIGN = frozenset(name for name in _INVERTIBLE if BY_NAME[name].non_negative and name not in _WITH_A_SCALE)
"""Give positive values alone; those of a negative target are negated first."""
_TURNED_BACK = frozenset((name, BY_NAME[name].inverse) for name in _INVERTIBLE)


@dataclass(frozen=True)
class Divisors:
    """Functions, their values and one over these. Each `[functions, rows]`"""

    functions: list[Expression]
    values: np.ndarray
    inverses: np.ndarray

    @classmethod
    def of(cls, functions: Sequence[Expression], inputs: np.ndarray) -> Divisors:
        """On a table `[rows, variables]`."""
        values = Evaluator(inputs, np.float64).values(functions)
        with np.errstate(all="ignore"):
            return cls(list(functions), values, 1.0 / values)


Step = tuple[str, Expression | None]
"""An operator, and for a product or quotient what the values are multiplied with or divided by."""


@dataclass(frozen=True)
class InvertedTarget:
    """A target after inverting its outermost operators.

    Attributes:
        steps: inverted operators, the outermost first: y = steps[0](steps[1](… values)).
        values: values of the inverted target. `[rows]`
        slopes: magnitudes of dy / dvalues, in any unit: the errors in y per error of the values. `[rows]`
        relative: whether errors are relative to y, so that `slopes` are divided by |y|: the values may then be of
            any size.
    """

    steps: tuple[Step, ...]
    values: np.ndarray
    slopes: np.ndarray
    relative: bool = False

    def may_invert(self, name: str) -> bool:
        """Whether an operator of one argument is worth inverting after the others of the chain."""
        links = [step for step, other in self.steps if other is None and step != "neg"]
        if name in _WITH_A_SCALE or any(link in _WITH_A_SCALE for link in links):
            return not links
        turned_back = bool(self.steps) and (self.steps[-1][0], name) in _TURNED_BACK
        return len(links) < _MOST_LINKS and not turned_back

    def restored(self, expression: Expression) -> Expression:
        """An equation of y, given one of what is left."""
        for name, other in reversed(self.steps):
            arguments = (expression,) if other is None else (expression, other)
            expression = Expression.apply(name, *arguments)
        return expression

    def key(self) -> bytes:
        """Equal for targets that are equal but for a factor, as after other orders of inversion."""
        values = self.values[:: max(1, len(self.values) // 32)]
        return (np.round(values / np.abs(values).max() * np.sign(values[0]), 6) + 0.0).tobytes()


def inverted_once(target: InvertedTarget, operators: Collection[str], divisors: Divisors) -> list[InvertedTarget]:
    """The target with one operator more inverted: one of one argument, a factor or a divisor.

    Args:
        target: target to go on from.
        operators: names of the operators that may occur.
        divisors: functions by which the target may be divided and multiplied.
    """
    with np.errstate(all="ignore"):
        linked = [
            _without_link(target, name) for name in _INVERTIBLE if name in operators and target.may_invert(name)
        ]
        found = [one for one in linked if one is not None]
        for name, opposite, factors in (("mul", "div", divisors.inverses), ("div", "mul", divisors.values)):
            values, slopes = target.values * factors, target.slopes / np.abs(factors)
            found += [
                InvertedTarget(
                    (*target.steps, (name, divisors.functions[k])), values[k], slopes[k], target.relative
                )
                for k in np.flatnonzero(_are_targets(values, slopes, target.relative)).tolist()
                if not target.steps or target.steps[-1] != (opposite, divisors.functions[k])
            ]
    return found


def _without_link(target: InvertedTarget, name: str) -> InvertedTarget | None:
    """The target without its outermost operator of one argument; None where that cannot be."""
    values, steps = target.values, target.steps
    if name in _ONE_SIGN and (values < 0).all():
        values, steps = -values, (*steps, ("neg", None))
    left = inverted(name, values)
    again = BY_NAME[name].numpy(left, np.empty_like(left))
    if not np.allclose(again, values, rtol=_SAME, atol=0.0):  # as where a root would have to be negative
        return None
    [partial] = BY_NAME[name].partials(np, values, left)
    slopes = target.slopes * np.abs(partial)
    usable = _are_targets(left[None], slopes[None], target.relative)[0]
    return InvertedTarget((*steps, (name, None)), left, slopes, target.relative) if usable else None


def _are_targets(values: np.ndarray, slopes: np.ndarray, relative: bool) -> np.ndarray:
    """Which of them can be regressed at all: finite, not constant, no row beyond measure. `[targets]`"""
    size = np.abs(values)
    largest = size.max(axis=1)
    finite = np.isfinite(largest) & np.isfinite(slopes).all(axis=1)
    varying = np.ptp(values, axis=1) > _FLATTEST * largest
    if relative:  # what counts is how far the values themselves reach in y
        size = size * slopes
        return finite & varying & (size.max(axis=1) <= _LARGEST * np.median(size, axis=1))
    tame = largest <= _LARGEST * np.median(size, axis=1)
    return finite & varying & tame & (slopes.max(axis=1) <= _LARGEST * np.median(slopes, axis=1))
