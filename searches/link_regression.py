"""Sums of small functions, under steps that can be undone: equations that regression finds, in a second or two.

Much of what is looked for in tables is, once an outer step or two is undone (`searches.links.inverse_links`),
linear in small functions of few variables (`searches.links.terms`): m0 / sqrt(1 - v**2/c**2) is m0 over the root
of a sum of two products of powers, (u + v) / (1 + u*v/c**2) a sum over a sum.

1. Thousands of undone targets are regressed on all small functions at once, by orthogonal matching pursuit (Pati,
   Rezaiifar and Krishnaprasad 1993) in a few products of matrices. Residuals are weighted by what they cost in y.
2. The best of every number of steps go through stepwise regression with exchanges, in the end with functions that
   may be multiplied by others while that helps.

Sums without such steps are FFX (T. McConaghy, "FFX: fast, scalable, deterministic symbolic regression technology",
2011). Nothing here is random.

A search that has found equations of its own can have sums of THEIR parts in the same way (`sums_of_parts`): where
`atan(x**2 - x)` is in one equation and `x` in another, their sum is found without a draw.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress

import numpy as np

from expressions.expression import Expression
from searches.links.inverse_links import Divisors, Undone, undone_once
from searches.links.term_library import Library, Material

__all__ = ["linked_sums", "seconds_of_sums", "sums_of_parts"]

_ROWS = 200  # looked at
_ROWS_A_TERM = 5  # at least: fewer rows than that are explained by anything
_DEPTH, _DEPTH_OF_PARTS = 6, 2  # steps undone at most
_FUNCTION_DEPTH = 2  # of which so many may be with a function or a sum
_BEAM = 48  # undone targets from which the next ones are made
_BLOCK = 512  # targets a product of matrices
_FIRST_TERMS = 3  # of the pursuit
_REFINED = 64  # undone targets of a depth whose chosen functions are exchanged
_REFINEMENTS = 2  # rounds of exchanges
_CAREFUL = 6  # undone targets of a depth that get a stepwise regression
_TERMS, _TERMS_OF_PARTS = 5, 3  # of it
_EXCHANGES = 3  # rounds
_GROWN = 3  # factors that a function may get, one after the other
_WORTH = 0.98  # of the error, at which a change is one
_EXACT = 1e-18  # error relative to the variance, where nothing is left to find
_PARALLEL = 1e-6  # squared sine of the angle to what is chosen, below which float32 sees nothing new
_NOTHING = 1e-12  # of the largest term: a term that is rounding
_SHARE_OF_A_SEARCH = 0.25  # of its time, at most


def seconds_of_sums(seconds: float | None) -> float | None:
    """How long a search of so many seconds may look for sums; None: no limit."""
    return None if seconds is None else _SHARE_OF_A_SEARCH * seconds


def linked_sums(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], most: int, seconds: float | None = None
) -> list[Expression]:
    """Equations of the target, the best first: of two as good, the shorter.

    Args:
        inputs: `[rows, variables]`, finite.
        target: `[rows]`, finite, not constant.
        operators: names that may occur, beside `neg` and powers; `div` stands for `inv`, and `mul` for `square`.
        most: how many equations are wanted.
        seconds: after which nothing new is begun; None: no limit, and always the same equations.
    """
    return _equations(
        inputs,
        target,
        lambda some, values: Material.of_small_functions(some, values, operators),
        most,
        math.inf if seconds is None else seconds,
        _DEPTH,
        _TERMS,
    )


def sums_of_parts(
    equations: Sequence[Expression],
    inputs: np.ndarray,
    target: np.ndarray,
    operators: Collection[str],
    most: int,
    seconds: float = math.inf,
) -> list[Expression]:
    """Equations whose terms and factors are parts of others, or functions of one variable; the best first.

    Args:
        equations: the best first: of two parts that are alike, the first counts.
        inputs: `[rows, variables]`, finite.
        target: `[rows]`, finite, not constant.
        operators: names that may occur around the parts, as for `linked_sums`.
        most: how many equations are wanted.
        seconds: after which nothing new is begun; infinity: no limit, and always the same equations.
    """
    return _equations(
        inputs,
        target,
        lambda some, _: Material.of_parts(equations, some, operators),
        most,
        seconds,
        _DEPTH_OF_PARTS,
        _TERMS_OF_PARTS,
    )


def _equations(
    inputs: np.ndarray,
    target: np.ndarray,
    material: Callable[[np.ndarray, np.ndarray], Material],
    most: int,
    seconds: float,
    depth: int,
    terms: int,
) -> list[Expression]:
    """The search on evenly spread rows; no equations where there are too few to tell anything."""
    ends = time.perf_counter() + seconds
    rows = np.unique(np.linspace(0, len(target) - 1, _ROWS).round().astype(int))
    if len(rows) < 2 * _ROWS_A_TERM or not most:
        return []
    inputs, target = inputs[rows], target[rows]
    with np.errstate(all="ignore"):  # a function that is not finite on a row is left out, and so is an equation
        return _Search(inputs, target, material(inputs, target), depth, terms, ends).equations(most)


class _Search:
    """Undone targets, and what each is a sum of."""

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        material: Material,
        depth: int,
        terms: int,
        ends: float,
    ) -> None:
        self.inputs, self.target, self.ends, self.depth = inputs, target, ends, depth
        self.material = material
        self.scatter = float(np.square(target - target.mean()).sum())
        self.terms = min(terms, len(target) // _ROWS_A_TERM - 1)
        self.pursuits = [_Pursuit(each.values, min(_FIRST_TERMS, self.terms)) for each in material.libraries]

    def equations(self, most: int) -> list[Expression]:
        """See `linked_sums`."""
        found: dict[Expression, tuple[float, int]] = {}
        exact = False
        for promising, target in self._promising() if self.material.libraries else []:
            if (exact and not promising) or (found and time.perf_counter() > self.ends):
                break
            with suppress(np.linalg.LinAlgError):  # LAPACK may give up on a least-squares problem
                for equation in self._sums(target):
                    error = float(np.square(equation(self.inputs) - self.target).sum()) / self.scatter
                    if np.isfinite(error):
                        found[equation] = max(error, _EXACT), len(equation)
                        exact |= error < _EXACT
        return sorted(found, key=lambda equation: found[equation])[:most]

    # --- which targets ------------------------------------------------------------------------------------------

    def _promising(self) -> list[tuple[bool, Undone]]:
        """The target itself and undone ones by beam search, and whether each is known to be an exact sum.

        As many of each number of steps: long chains explain much by chance. Where there are exact ones, those with
        a step more may be shorter.
        """
        beam = [Undone((), self.target, np.full_like(self.target, self.scatter**-0.5))]
        exact = bool(self._errors(_Pursuit.refined, beam)[0] < _EXACT)
        found, seen, steps = [(not exact, 0, 0, beam[0])], {beam[0].key()}, 0
        while beam and steps < self.depth:
            last, steps = exact, steps + 1
            divisors = self.material.divisors if steps <= _FUNCTION_DEPTH else self.material.powers
            made = list(self._undone(beam, seen, divisors))
            if not made:
                break
            errors = self._errors(_Pursuit.errors, made)
            # Half of the beam is what one term explains best: more terms also explain what is no simpler.
            orders = np.stack(
                [np.argsort(errors[0], kind="stable"), np.argsort(errors[-1], kind="stable")], axis=1
            )
            order = list(dict.fromkeys(orders.ravel().tolist()))
            beam = [made[k] for k in order[:_BEAM]]
            best = [made[k] for k in order[:_REFINED]]
            refined = self._errors(_Pursuit.refined, best)
            ranks = np.argsort(refined, kind="stable")[:_CAREFUL].tolist()
            found += [(refined[k] >= _EXACT, rank, steps, best[k]) for rank, k in enumerate(ranks)]
            exact |= bool(refined.min() < _EXACT)
            if last or time.perf_counter() > self.ends:
                break
        return [(not inexact, target) for inexact, _, _, target in sorted(found, key=lambda one: one[:3])]

    def _undone(self, beam: Sequence[Undone], seen: set[bytes], divisors: Divisors) -> Iterator[Undone]:
        """With one step more undone, those that were not seen before."""
        for parent in beam:
            for target in undone_once(parent, self.material.operators, divisors):
                if (key := target.key()) not in seen:
                    seen.add(key)
                    yield target

    def _errors(
        self, errors: Callable[[_Pursuit, np.ndarray, np.ndarray], np.ndarray], targets: Sequence[Undone]
    ) -> np.ndarray:
        """Errors in y relative to the variance, with the functions that do best. `[…, targets]`"""
        values, weights = _in_units(
            np.array([target.values for target in targets]), np.array([target.slopes for target in targets])
        )
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(targets), _BLOCK)]
        found = [
            np.concatenate([errors(pursuit, values[block], weights[block]) for block in blocks], axis=-1)
            for pursuit in self.pursuits
        ]
        return np.minimum.reduce(found)

    # --- what they are sums of ----------------------------------------------------------------------------------

    def _sums(self, target: Undone) -> Iterator[Expression]:
        """Equations by stepwise regression, from one term to as many as help."""
        libraries = self.material.libraries
        choices = [*((library, None) for library in libraries), (libraries[-1], self.material.factors)]
        for library, growing in choices:
            regression = _Stepwise(library, growing, target)
            for _ in range(self.terms):
                error = regression.add()
                equation = regression.equation(self.inputs)
                if equation is not None:
                    yield equation
                if error < _EXACT:
                    return


def _in_units(values: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of ordinary size, and what their errors cost. Each `[…, rows]`"""
    size = np.abs(values)
    unit = np.median(size, axis=-1, keepdims=True)
    unit = np.where(unit > 0, unit, size.max(axis=-1, keepdims=True))  # of a target that is mostly 0
    return values / unit, slopes * unit


class _Pursuit:
    """Regressions of many targets at once, each with weights of its own, on a few of many functions.

    Args:
        functions: `[functions, rows]`, of magnitude 1 at most.
        terms: that are chosen.
    """

    def __init__(self, functions: np.ndarray, terms: int) -> None:
        self.functions = functions
        self.single = functions.astype(np.float32)
        self.squares = np.square(self.single)
        self.terms = terms

    def errors(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of squares that orthogonal matching pursuit leaves after each term. `[terms, targets]`

        Args:
            values: targets. `[targets, rows]`
            weights: of their errors. `[targets, rows]`
        """
        everyone = np.arange(len(values))
        heavy = np.square(weights)
        total = heavy.sum(axis=1)
        lengths = self.squares @ heavy.astype(np.float32).T
        spreads = lengths - np.square(self.single @ heavy.astype(np.float32).T) / total
        usable = spreads > _PARALLEL * lengths
        goal = weights * values
        left = goal - weights * ((weights * goal).sum(axis=1) / total)[:, None]
        columns, errors = [weights], []
        for _ in range(self.terms):
            gains = np.where(usable, self._squared_products(weights * left) / spreads, 0.0)
            chosen = gains.argmax(axis=0)
            usable[chosen, everyone] = False
            columns.append(weights * self.functions[chosen])
            left = _residual(np.stack(columns, axis=2), goal)
            errors.append(np.square(left).sum(axis=1))
        return np.array(errors)

    def refined(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of squares that are left after all terms, each exchanged for the best beside the others.

        Orthogonal least squares (Chen, Billings and Luo 1989): of a function, the part counts that the others do
        not have. `[targets]`
        """
        goal = weights * values
        lengths = self.squares @ np.square(weights).astype(np.float32).T
        chosen: list[np.ndarray] = []
        for turn in range(self.terms * (1 + _REFINEMENTS)):
            others = chosen[1:] if turn >= self.terms else chosen
            columns = [weights, *(weights * self.functions[places] for places in others)]
            basis = np.linalg.qr(np.stack(columns, axis=2))[0]
            left = goal - (basis @ (basis.transpose(0, 2, 1) @ goal[:, :, None]))[:, :, 0]
            apart = lengths.copy()
            for k in range(basis.shape[2]):
                apart -= self._squared_products(weights * basis[:, :, k])
            gains = np.where(apart > _PARALLEL * lengths, self._squared_products(weights * left) / apart, 0.0)
            chosen = [*others, gains.argmax(axis=0)]
        columns = [weights, *(weights * self.functions[places] for places in chosen)]
        return np.square(_residual(np.stack(columns, axis=2), goal)).sum(axis=1)

    def _squared_products(self, vectors: np.ndarray) -> np.ndarray:
        """Of every function with every one of `vectors [targets, rows]`. `[functions, targets]`"""
        return np.square(self.single @ vectors.astype(np.float32).T)


def _residual(basis: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What the best combinations of columns leave of targets. `[targets, rows, columns]`, `[targets, rows]`"""
    basis = basis / np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), 1e-300)
    gram = basis.transpose(0, 2, 1) @ basis + 1e-12 * np.eye(basis.shape[2])
    for _ in range(2):  # normal equations square what is nearly parallel; a second solution makes up for that
        projected = basis.transpose(0, 2, 1) @ target[:, :, None]
        target = target - (basis @ np.linalg.solve(gram, projected))[:, :, 0]
    return target


class _Stepwise:
    """Stepwise regression of one undone target, with exchanges.

    Args:
        library: functions to choose from.
        growing: by which a chosen function may be multiplied, if it may.
        target: to be explained.
    """

    def __init__(self, library: Library, growing: Library | None, target: Undone) -> None:
        self.library, self.growing, self.target = library, growing, target
        values, self.weights = _in_units(target.values, target.slopes)
        self.goal = self.weights * values
        self.columns = (library.values * self.weights).astype(np.float32)
        self.lengths = np.square(self.columns).sum(axis=1)
        self.chosen: list[tuple[Expression, np.ndarray]] = []  # functions, and their weighted values
        self.error = float("inf")

    def add(self) -> float:
        """One term more, then exchanges; the weighted sum of squares that is left."""
        self.chosen.append(self._best(self.chosen))
        self.error = self._error(self.chosen)
        for _ in range(_EXCHANGES):
            if len(self.chosen) < 2 or self.error < _EXACT or not self._exchange():
                break
        return self.error

    def _exchange(self) -> bool:
        """Replace every term by the best one beside the others; whether that helped."""
        before = self.error
        for _ in range(len(self.chosen)):
            first, *others = self.chosen
            changed = [*others, self._best(others)]
            error = self._error(changed)
            better = error < _WORTH * self.error
            self.chosen, self.error = (changed, error) if better else ([*others, first], self.error)
        return self.error < before

    def _best(self, others: Sequence[tuple[Expression, np.ndarray]]) -> tuple[Expression, np.ndarray]:
        """The function that explains most of what others leave, multiplied by factors as long as that helps."""
        basis, left = self._left(others)
        gains = _gains(self.columns, self.lengths, basis.astype(np.float32), left.astype(np.float32))
        place, gain = int(gains.argmax()), float(gains.max())
        function, column = self.library.functions[place], self.library.values[place] * self.weights
        for _ in range(_GROWN if self.growing else 0):
            assert self.growing is not None
            columns = self.growing.values * column
            gains = _gains(columns, np.square(columns).sum(axis=1), basis, left)
            if not len(gains) or gains.max() * _WORTH <= gain:
                break
            place, gain = int(gains.argmax()), float(gains.max())
            function, column = Expression.apply("mul", self.growing.functions[place], function), columns[place]
        return function, column

    def _left(self, terms: Sequence[tuple[Expression, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """An orthonormal basis of the constant and the terms, `[rows, columns]`, and what it leaves. `[rows]`"""
        columns = np.stack([self.weights, *(column for _, column in terms)], axis=1)
        basis = np.linalg.qr(columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300))[0]
        return basis, self.goal - basis @ (basis.T @ self.goal)

    def _error(self, terms: Sequence[tuple[Expression, np.ndarray]]) -> float:
        return float(np.square(self._left(terms)[1]).sum())

    def equation(self, inputs: np.ndarray) -> Expression | None:
        """The equation of y that the chosen terms give, with its constants, on `inputs [rows, variables]`.

        None where a term or a constant is beyond float64 in the table's own units.
        """
        functions = [function for function, _ in self.chosen]
        columns = np.stack([np.ones(len(inputs)), *(function(inputs) for function in functions)], axis=1)
        slopes = self.target.slopes
        if not np.isfinite(columns * slopes[:, None]).all():
            return None
        solved = _solved(columns * slopes[:, None], self.target.values * slopes)
        if not np.isfinite(solved).all():
            return None
        sizes = np.abs(columns * solved).max(axis=0)
        terms = [Expression.constant(solved[0])] if sizes[0] > _NOTHING * sizes.max() else []
        for function, coefficient, size in zip(functions, solved[1:], sizes[1:], strict=True):
            if size > _NOTHING * sizes.max():
                terms.append(Expression.apply("mul", Expression.constant(coefficient), function))
        return self.target.redone(Expression.joined("add", terms))


def _solved(columns: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Least squares on columns of ordinary size. `[columns]`"""
    size = np.maximum(np.abs(columns).max(axis=0), 1e-300)  # whose square may be beyond float64
    return np.linalg.lstsq(columns / size, goal)[0] / size


def _gains(columns: np.ndarray, lengths: np.ndarray, basis: np.ndarray, left: np.ndarray) -> np.ndarray:
    """By how much each of `columns [columns, rows]`, beside an orthonormal basis, lowers the squares left."""
    apart = lengths - np.square(columns @ basis).sum(axis=1)
    return np.where(apart > _PARALLEL * lengths, np.square(columns @ left) / apart, 0.0)
