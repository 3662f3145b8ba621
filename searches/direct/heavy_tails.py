"""Products of functions, found by their logarithms: targets over ten orders of magnitude, which three rows rule.

log|y| is a sum of logarithms of small functions and of exponents, chosen by stepwise regression in which every
row counts alike (`searches.direct.log_products`). Where errors are relative to y, or there are none, this is as
good as a fit of y itself, and sees all its rows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from searches.direct.log_products import EXACT_LOG, Factor, pruned, written
from searches.direct.writing import Writer

__all__ = ["find"]

_TERMS = 6  # at most, beside those that a regression begins with
_ROWS_A_TERM = 8  # at least
_EXCHANGES = 3  # rounds
_PAIRED = 6  # columns whose sums, products and quotients are looked at
_ALONE = 20  # columns whose functions are looked at
_PARALLEL = 1e-10  # share of a column's squares beside what is chosen, below which it brings nothing
_WORTH = 0.98  # of the error, at which an exchange is one
_NO_LAW = 0.05  # of the variance of log|y|, left by all terms: not worth an equation


def find(inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float) -> Iterator[Expression]:
    """See `searches.direct.kinds.Find`."""
    writer = Writer(operators)
    counted = target != 0
    if not writer.products or 2 * counted.sum() < len(target):
        return
    inputs, target = inputs[counted], target[counted]
    goal = np.log(np.abs(target))
    if not np.ptp(goal) > 0:
        return
    factors = _usable(list(_candidates(inputs, goal, writer, frozenset(operators))), inputs)
    if not factors:
        return
    regression = _Regression(factors, goal)
    plain = [k for k, factor in enumerate(factors) if len(factor.function) == 1]
    for begun in ([], plain):
        if time.perf_counter() > ends or len(target) < _ROWS_A_TERM * (len(begun) + 2):
            return
        for chosen, error in regression.grown(begun):
            exact = error < EXACT_LOG
            if not exact and (begun or error > _NO_LAW * regression.spread):
                continue
            fits = pruned([factors[k] for k in chosen], goal)
            for kept, fit in fits if exact else fits[:1]:
                yield from written(kept, fit, inputs, target, writer)
            if exact:
                return


# --- what may be a factor ---------------------------------------------------------------------------------------


def _candidates(
    inputs: np.ndarray, goal: np.ndarray, writer: Writer, operators: frozenset[str]
) -> Iterator[tuple[Expression, bool]]:
    """Functions, the simplest first, and whether each stands in an exponent."""
    columns = _relevant(inputs, goal)
    ones = [Expression.variable(k) for k in columns]
    yield from ((one, False) for one in ones)
    if writer.exponentials:
        yield from ((one, True) for one in ones)
        yield from ((Expression.apply("square", one), True) for one in ones)
        if writer.quotients:
            yield from ((Expression.apply("inv", one), True) for one in ones)
    for name in ("sin", "cos", "log", "tanh"):
        if name in operators:
            yield from ((Expression.apply(name, one), False) for one in ones)
    if writer.sums:
        one_more = Expression.constant(1.0)
        for one in ones:
            square = Expression.apply("square", one)
            yield Expression.apply("add", square, one_more), False
            for name in ("add", "sub"):
                yield Expression.apply(name, one, one_more), False
                if writer.exponentials:
                    yield Expression.apply(name, Expression.apply("exp", one), one_more), False
    for pair in itertools.combinations(ones[:_PAIRED], 2):
        yield from _of_two(*pair, writer)


def _of_two(one: Expression, other: Expression, writer: Writer) -> Iterator[tuple[Expression, bool]]:
    if writer.sums:
        squares = [Expression.apply("square", each) for each in (one, other)]
        for name in ("add", "sub"):
            yield Expression.apply(name, one, other), False
            yield Expression.apply(name, *squares), False
    if writer.exponentials:
        yield Expression.apply("mul", one, other), True
        for above, below in ((one, other), (other, one)):
            if writer.quotients:
                yield Expression.apply("div", above, below), True
            yield Expression.apply("mul", Expression.apply("square", above), below), True


def _relevant(inputs: np.ndarray, goal: np.ndarray) -> list[int]:
    """Columns in the order of what they, their squares and their logarithms say of the target's logarithm."""
    centred = goal - goal.mean()
    gains = []
    for column in inputs.T:
        functions = np.stack([column, column**2, np.log(np.abs(column) + 1e-300)])
        functions = functions - functions.mean(axis=1, keepdims=True)
        sizes = np.square(functions).sum(axis=1)
        gains.append(float(np.where(sizes > 0, np.square(functions @ centred) / sizes, 0.0).max()))
    order = np.argsort(-np.nan_to_num(np.array(gains)), kind="stable").tolist()
    return [k for k in order[:_ALONE] if np.ptp(inputs[:, k]) > 0]


def _usable(candidates: Sequence[tuple[Expression, bool]], inputs: np.ndarray) -> list[Factor]:
    """Those that are finite, that vary, and of which none is 0 where its logarithm is taken."""
    values = Evaluator(inputs, np.float64).values([function for function, _ in candidates])
    found = []
    for (function, is_exponent), row in zip(candidates, values, strict=True):
        size = float(np.abs(row).max())
        varies = np.isfinite(size) and np.ptp(row if is_exponent else np.abs(row)) > 1e-9 * size
        if varies and (is_exponent or row.all()):
            found.append(Factor(function, row, is_exponent))
    return found


# --- stepwise regression ----------------------------------------------------------------------------------------


class _Regression:
    """Stepwise regression of log|y| with exchanges.

    Args:
        factors: what it may choose from.
        goal: logarithms of the target's magnitude. `[rows]`
    """

    def __init__(self, factors: Sequence[Factor], goal: np.ndarray) -> None:
        logs = np.stack([factor.logs for factor in factors])
        logs = logs - logs.mean(axis=1, keepdims=True)
        self.columns = logs / np.sqrt(np.square(logs).sum(axis=1, keepdims=True))
        self.aim = goal - goal.mean()
        self.spread = float(np.sqrt(np.mean(np.square(self.aim))))

    def grown(self, begun: Sequence[int]) -> Iterator[tuple[list[int], float]]:
        """Choices of one factor more each time, and the root mean square of what they leave."""
        chosen = list(begun)
        most = min(len(begun) + _TERMS, len(self.aim) // _ROWS_A_TERM, len(self.columns))
        while len(chosen) < most:
            chosen.append(self._best(chosen))
            error = self._error(chosen)
            for _ in range(_EXCHANGES):
                if error < EXACT_LOG or len(chosen) - len(begun) < 2:
                    break
                before = error
                for place in range(len(begun), len(chosen)):
                    others = chosen[:place] + chosen[place + 1 :]
                    changed = [*others, self._best(others)]
                    found = self._error(changed)
                    if found < _WORTH * error:
                        chosen, error = changed, found
                if error >= before:
                    break
            yield list(chosen), error
            if error < EXACT_LOG:
                return

    def _basis(self, chosen: Sequence[int]) -> np.ndarray:
        return np.linalg.qr(self.columns[list(chosen)].T)[0]

    def _best(self, chosen: Sequence[int]) -> int:
        """The factor that explains most beside the chosen ones."""
        basis = self._basis(chosen)
        left = self.aim - basis @ (basis.T @ self.aim)
        apart = 1.0 - np.square(self.columns @ basis).sum(axis=1)
        gains = np.where(apart > _PARALLEL, np.square(self.columns @ left) / np.maximum(apart, _PARALLEL), -1.0)
        gains[list(chosen)] = -2.0
        return int(gains.argmax())

    def _error(self, chosen: Sequence[int]) -> float:
        basis = self._basis(chosen)
        left = self.aim - basis @ (basis.T @ self.aim)
        return float(np.sqrt(np.mean(np.square(left))))
