"""Sums of small functions under invertible operators: equations that regression finds, in a second or two.

Much of what is looked for in tables is, once an outermost operator or two is inverted
(`searches.links.inverse_links`), linear in small functions of few variables (`searches.links.terms`):
m0 / sqrt(1 - v**2/c**2) is m0 over the root of a sum of two products of powers, (u + v) / (1 + u*v/c**2) a sum
over a sum.

1. Thousands of inverted targets are regressed on all small functions at once, by orthogonal matching pursuit
   (Pati, Rezaiifar and Krishnaprasad 1993) in a few products of matrices (`searches.links.matching_pursuit`).
   Residuals are weighted by what they cost in y.
2. The best after every number of inversions go through stepwise regression with exchanges, in the end with
   functions that may be multiplied by others while that helps (`searches.links.stepwise`).

Where a target spans many orders of magnitude, a few rows rule its squares; there the same is done with errors
relative to y. Of an exact law both see the same, but for the rows.

Sums without such operators are FFX (T. McConaghy, "FFX: fast, scalable, deterministic symbolic regression
technology", 2011). Nothing here is random.

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
from searches.links.inverse_links import Divisors, InvertedTarget, inverted_once
from searches.links.matching_pursuit import Pursuit, in_units
from searches.links.stepwise import EXACT, Stepwise
from searches.links.term_library import Material

__all__ = ["linked_sums", "seconds_of_sums", "sums_of_parts"]

_ROWS = 200  # looked at
_ROWS_A_TERM = 5  # at least: fewer rows than that are explained by anything
_DEPTH, _DEPTH_OF_PARTS = 6, 2  # operators inverted at most
_FUNCTION_DEPTH = 2  # of which so many may be with a function or a sum
_BEAM = 48  # inverted targets from which the next ones are made
_BLOCK = 512  # targets a product of matrices
_FIRST_TERMS = 3  # of the pursuit
_REFINED = 64  # inverted targets of a depth whose chosen functions are exchanged
_CAREFUL = 6  # inverted targets of a depth that get a stepwise regression
_TERMS, _TERMS_OF_PARTS = 5, 3  # of it
_HEAVY = 1e3  # largest size of a target over its median, from which relative errors are looked at, too
_SHARE_OF_A_SEARCH = 0.25  # of its time, at most


def seconds_of_sums(seconds: float | None) -> float | None:
    """How long a search of so many seconds may look for sums; None: no limit."""
    return None if seconds is None else _SHARE_OF_A_SEARCH * seconds


def linked_sums(
    inputs: np.ndarray, target: np.ndarray, operators: Collection[str], most: int, seconds: float | None = None
) -> list[Expression]:
    """Equations of the target, the best first: of two as good, the shorter.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        operators: names of the operators that may occur, beside `neg` and powers; `div` stands for `inv`, and
            `mul` for `square`.
        most: largest number of equations.
        seconds: time after which nothing new is begun; None: no limit, and always the same equations.
    """
    ends = math.inf if seconds is None else time.perf_counter() + seconds

    def found(relative: bool) -> list[Expression]:
        return _equations(
            inputs,
            target,
            lambda some, values: Material.of_small_functions(some, values, operators),
            most,
            max(0.0, ends - time.perf_counter()),
            _DEPTH,
            _TERMS,
            relative,
        )

    equations = found(relative=False)
    if not _has_heavy_tails(target) or time.perf_counter() > ends:
        return equations
    if equations and _error(equations[0], inputs, target) < EXACT:
        return equations
    everything = dict.fromkeys([*equations, *found(relative=True)])
    errors = {equation: max(_error(equation, inputs, target), EXACT) for equation in everything}
    return sorted(errors, key=lambda equation: (errors[equation], len(equation)))[:most]


def _has_heavy_tails(target: np.ndarray) -> bool:
    """Whether few rows rule the squares of a target that has no zeros, so that relative errors see more."""
    size = np.abs(target)
    return bool(size.min() > 0 and size.max() > _HEAVY * np.median(size))


def _error(equation: Expression, inputs: np.ndarray, target: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        error = float(np.square(equation(inputs) - target).sum() / np.square(target - target.mean()).sum())
    return error if math.isfinite(error) else math.inf


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
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        operators: operators that may occur around the parts, as for `linked_sums`.
        most: largest number of equations.
        seconds: time after which nothing new is begun; infinity: no limit, and always the same equations.
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
    relative: bool = False,
) -> list[Expression]:
    """The search on evenly spread rows; no equations where there are too few to tell anything."""
    ends = time.perf_counter() + seconds
    rows = np.unique(np.linspace(0, len(target) - 1, _ROWS).round().astype(int))
    if len(rows) < 2 * _ROWS_A_TERM or not most:
        return []
    inputs, target = inputs[rows], target[rows]
    with np.errstate(all="ignore"):  # a function that is not finite on a row is left out, and so is an equation
        return _Search(inputs, target, material(inputs, target), depth, terms, ends, relative).equations(most)


class _Search:
    """Inverted targets, and what each is a sum of."""

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        material: Material,
        depth: int,
        terms: int,
        ends: float,
        relative: bool,
    ) -> None:
        self.inputs, self.target, self.ends, self.depth = inputs, target, ends, depth
        self.relative = relative
        self.material = material
        self.scatter = float(np.square(target - target.mean()).sum())
        self.terms = min(terms, len(target) // _ROWS_A_TERM - 1)
        self.pursuits = [Pursuit(each.values, min(_FIRST_TERMS, self.terms)) for each in material.libraries]

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
                        found[equation] = max(error, EXACT), len(equation)
                        exact |= error < EXACT
        return sorted(found, key=lambda equation: found[equation])[:most]

    # --- which targets ------------------------------------------------------------------------------------------

    def _promising(self) -> list[tuple[bool, InvertedTarget]]:
        """The target itself and inverted ones by beam search, and whether each is known to be an exact sum.

        As many of each number of steps: long chains explain much by chance. Where there are exact ones, those with
        a step more may be shorter.
        """
        slopes = np.full_like(self.target, self.scatter**-0.5)
        if self.relative:
            slopes = 1.0 / (np.abs(self.target) * math.sqrt(len(self.target)))
        beam = [InvertedTarget((), self.target, slopes, self.relative)]
        exact = bool(self._errors(Pursuit.refined, beam)[0] < EXACT)
        found, seen, steps = [(not exact, 0, 0, beam[0])], {beam[0].key()}, 0
        while beam and steps < self.depth:
            last, steps = exact, steps + 1
            divisors = self.material.divisors if steps <= _FUNCTION_DEPTH else self.material.powers
            made = list(self._inverted(beam, seen, divisors))
            if not made:
                break
            errors = self._errors(Pursuit.errors, made)
            # Half of the beam is what one term explains best: more terms also explain what is no simpler.
            orders = np.stack(
                [np.argsort(errors[0], kind="stable"), np.argsort(errors[-1], kind="stable")], axis=1
            )
            order = list(dict.fromkeys(orders.ravel().tolist()))
            beam = [made[k] for k in order[:_BEAM]]
            best = [made[k] for k in order[:_REFINED]]
            refined = self._errors(Pursuit.refined, best)
            ranks = np.argsort(refined, kind="stable")[:_CAREFUL].tolist()
            found += [(refined[k] >= EXACT, rank, steps, best[k]) for rank, k in enumerate(ranks)]
            exact |= bool(refined.min() < EXACT)
            if last or time.perf_counter() > self.ends:
                break
        return [(not inexact, target) for inexact, _, _, target in sorted(found, key=lambda one: one[:3])]

    def _inverted(
        self, beam: Sequence[InvertedTarget], seen: set[bytes], divisors: Divisors
    ) -> Iterator[InvertedTarget]:
        """With one operator more inverted, those that were not seen before."""
        for parent in beam:
            for target in inverted_once(parent, self.material.operators, divisors):
                if (key := target.key()) not in seen:
                    seen.add(key)
                    yield target

    def _errors(
        self, errors: Callable[[Pursuit, np.ndarray, np.ndarray], np.ndarray], targets: Sequence[InvertedTarget]
    ) -> np.ndarray:
        """Errors in y relative to the variance, with the functions that do best. `[…, targets]`

        Those of the first targets alone where time is up.
        """
        values, weights = in_units(
            np.array([target.values for target in targets]), np.array([target.slopes for target in targets])
        )
        found: list[np.ndarray] = []
        for start in range(0, len(targets), _BLOCK):
            if found and time.perf_counter() > self.ends:
                break
            block = slice(start, start + _BLOCK)
            found.append(
                np.minimum.reduce([errors(each, values[block], weights[block]) for each in self.pursuits])
            )
        return np.concatenate(found, axis=-1)

    # --- what they are sums of ----------------------------------------------------------------------------------

    def _sums(self, target: InvertedTarget) -> Iterator[Expression]:
        """Equations by stepwise regression, from one term to as many as help."""
        libraries = self.material.libraries
        choices = [*((library, None) for library in libraries), (libraries[-1], self.material.factors)]
        for library, growing in choices:
            regression = Stepwise(library, growing, target)
            for _ in range(self.terms):
                error = regression.add()
                equation = regression.equation(self.inputs)
                if equation is not None:
                    yield equation
                if error < EXACT:
                    return
