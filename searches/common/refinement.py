"""The end of every search: from equations that were good while searching to the front that a person reads.

Constants are fitted on more rows, equations are scored on all of them and on the held-out ones, functions and
terms that the data do not need are taken out, constants are rounded where the error allows it, and the whole is
simplified.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from expressions import sympy_worker
from expressions.canonical_form import canonical
from expressions.complexity import complexity
from expressions.constant_rounding import snap
from expressions.expression import Expression
from expressions.simplest_form import simplify
from searches.common.equivalent_forms import digits, doubled, spellings, tied, unrooted, unsigned, widened
from searches.common.regression_task import RegressionTask
from searches.common.shorter_codes import shortened
from searches.pareto_front import EXACT_NMSE, Candidate, ParetoFront, pick

__all__ = ["Refinement", "finish_seconds", "near_front"]

_NEAR_FRONT = 1.3  # factor on the lowest error of shorter equations, within which one is fitted on all rows
_SNAP_TOLERANCE = 0.01  # relative rise of the error that rounder constants may cost
_SNAP_RISE = 1e-3  # the same within the rounding of one equation, before its noise is taken into account
_ALMOST = 0.9  # of what the digits given allow: the rows that are rounded on are not all rows
_SAME = 1e-9  # relative rise of the error that is only rounding, where an equation is written in another way
_CHI_SQUARE = 9.0  # three standard deviations of one constant
_LONGEST_FINISH = 60.0  # seconds; it takes no longer on any table
_GRACE_SECONDS = 0.2  # for the picked equation, when there is no time left
_STRAIGHT = 1e-3  # relative squared error of a line, or a parabola, below which a function is tried as one


def finish_seconds(share: float, seconds: float) -> float:
    """Time that is kept for the end of a search of so many seconds, given the share that may be kept."""
    return min(share * seconds, _LONGEST_FINISH)


class Refinement:
    """How a search ends: a last fit of constants, then shorter forms and rounder constants.

    Args:
        task: data of the search.
        iterations: steps of the last fit of constants, on up to 4,000 rows.
        equations: number of equations of the front that are pruned, rounded and simplified.
        simplify_seconds: time limit for SymPy on the picked equation, and on all others together, beyond which the
            canonical forms stand; 0: no SymPy.
        constants: whether equations have constants at all.
    """

    def __init__(
        self,
        task: RegressionTask,
        *,
        iterations: int = 10,
        equations: int = 6,
        simplify_seconds: float = 3.0,
        constants: bool = True,
    ) -> None:
        self.task = task
        self.iterations = iterations
        self.equations = equations
        self.simplify_seconds = simplify_seconds
        self.constants = constants
        self._ends = math.inf
        sympy_worker.start()

    def front(
        self,
        best: Mapping[int, tuple[float, Expression]],
        known: Sequence[Candidate] = (),
        fixed: Callable[[Expression], np.ndarray] | None = None,
        seconds: float = math.inf,
        rivals: Sequence[Candidate] = (),
    ) -> ParetoFront:
        """The Pareto front of what a search found, refined.

        Args:
            best: lowest error and equation of every size, as the search has them.
            known: candidates that are complete already.
            fixed: function that says which constants of an equation keep their value in the last fit,
                `[constants]` bool; None: none.
            seconds: time that is left, see `refined`.
            rivals: complete candidates of short codes, see `refined`.
        """
        ends = time.monotonic() + seconds
        front = self.rough_front(best, known, fixed)
        return self.refined(front, ends - time.monotonic(), rivals)

    def rough_front(
        self,
        best: Mapping[int, tuple[float, Expression]],
        known: Sequence[Candidate] = (),
        fixed: Callable[[Expression], np.ndarray] | None = None,
    ) -> ParetoFront:
        """The same before its equations are made shorter and rounder."""
        everything = [equation for _, (_, equation) in sorted(best.items())]
        front = ParetoFront.of(known)
        for kept in (near_front(best), everything):  # the good ones may all be undefined on a held-out row
            equations = self.task.complete(
                kept,
                self.iterations if self.constants else 0,
                None if fixed is None else [fixed(equation) for equation in kept],
            )
            front = ParetoFront.of([*(self.judged(e) for e in equations), *known])
            if len(front):
                break
        return front

    def judged(self, equation: Expression) -> Candidate:
        """An equation in its canonical form, scored on all rows, and with what it costs."""
        return self.task.charged(self._judged(equation))

    def _judged(self, equation: Expression) -> Candidate:
        return self._scored(canonical(equation))

    def _scored(self, equation: Expression) -> Candidate:
        return self.task.judge(equation, complexity(equation))

    def refined(
        self, front: ParetoFront, seconds: float = math.inf, rivals: Sequence[Candidate] = ()
    ) -> ParetoFront:
        """Shorter forms and rounder constants: of the picked equation, then of others of short code or low error.

        A number of equations rather than a time, so that without `seconds` what is found does not depend on how
        busy the machine is, but for SymPy, which seldom makes an equation shorter and can take forever. The picked
        one gets most of the work. Where it is exact, longer ones differ by rounding and are dropped; shorter
        ones stay as they are, unless it is exact only to the digits given, as they may then become so, too.

        Args:
            front: front before its equations are made shorter and rounder.
            seconds: time after which no equation but the picked one is begun, and that one is left as it is soon.
            rivals: candidates that are not on the front, of which one may be the best once it is pruned.
        """
        ends = time.monotonic() + seconds
        self._ends = ends + _GRACE_SECONDS
        if not len(front):
            return front
        known = {candidate.expression for candidate in front}
        candidates = [*front, *(rival for rival in rivals if rival.expression not in known)]
        picked = pick(ParetoFront(candidates))
        order = _in_turns(candidates, picked)
        count = self.equations
        if picked.exact:
            candidates = candidates[: order[0] + 1]
            order = [k for k in order if k < len(candidates)]
        if picked.error < EXACT_NMSE:
            count = min(1, count)
        refined: list[Candidate] = []
        for number, k in enumerate(order[:count]):
            if number and time.monotonic() > ends:
                break
            forms = self._refined_once(candidates[k], spellings=1 if number else None)
            refined.append(min(forms, key=lambda each: each.code) if not forms[0].exact else forms[0])
            candidates[k] = forms[0]
            candidates += forms[1:]
        left = min(self.simplify_seconds, max(0.0, seconds))
        leader = min(refined, key=lambda each: each.code, default=picked)
        for candidate in dict.fromkeys([leader, *refined]) if refined else ():
            begun = time.monotonic()
            left = min(left, ends - begun)
            if left <= 0:
                break
            rewritten = simplify(candidate.expression, seconds=left)
            if candidate is not leader:  # the time of the leader is its own
                left -= time.monotonic() - begun
            if rewritten != candidate.expression:  # multiplied out, it may have terms that cancel
                again = self._widened(self._rounded(self._pruned(self._judged(rewritten))))
                candidates.append(self.task.charged(again))
        return ParetoFront.of(candidates)

    def _refined_once(self, candidate: Candidate, spellings: int | None) -> list[Candidate]:
        """Shorter and rounder forms of a candidate, the usual one first.

        Args:
            candidate: equation of a front.
            spellings: number of its spellings that are rounded; None: all.
        """
        pruned = self.task.charged(self._pruned(self._straightened(candidate)))
        forms = [self.task.charged(self._widened(self._rounded(pruned, tried=spellings)))]
        better = min(pruned, candidate, key=lambda each: each.code)
        if better.code < forms[0].code and not forms[0].exact:  # a step cost more than it saved: both stand
            forms.append(better)
        shortest = self._shortened(min(forms, key=lambda each: each.code))
        return forms if shortest is None else [*forms, shortest]

    def _straightened(self, candidate: Candidate) -> Candidate:
        """The candidate without functions of which the data see no more than a straight or a parabolic piece.

        A fit that has no use for a function makes its argument tiny: `1e9*tanh(1e-9*u)` is `u`, and `cos` becomes
        a square.
        """
        if not self.constants:
            return candidate
        limit = _limit(candidate)
        start = 0
        while start < len(candidate.expression) and time.monotonic() < self._ends:
            for piece in self._straight_pieces(candidate.expression.subtree(start)):
                equation = candidate.expression.with_subtree(start, piece)
                shorter = self._without(equation, candidate.complexity)
                if shorter is not None and shorter.error <= limit:
                    candidate, start = shorter, -1  # what is left may be ordered anew
                    break
            start += 1
        return candidate

    def _straight_pieces(self, function: Expression) -> Iterator[Expression]:
        """Lines and parabolas of its argument, without and with an offset, that a function is like on the data."""
        if len(function.children()) != 1:
            return
        [inner] = function.children()
        values = self._values(function)
        if not np.ptp(values) > 0:  # constant, or not finite
            return
        for argument in (inner, Expression.apply("square", inner)):
            x = self._values(argument)
            with np.errstate(over="ignore"):
                size = np.sqrt(np.mean(x * x))
            if not (np.isfinite(size) and size > 0):
                continue
            for offset in (0.0, 1.0):
                basis = np.stack([x / size, np.full_like(x, offset)], axis=1)
                line = np.linalg.lstsq(basis, values)[0]
                if np.mean(np.square(basis @ line - values)) <= _STRAIGHT * np.var(values):
                    scaled = Expression.apply("mul", Expression.constant(line[0] / size), argument)
                    yield Expression.apply("add", scaled, Expression.constant(line[1])) if offset else scaled

    def _values(self, expression: Expression) -> np.ndarray:
        """On the search rows. `[rows]`"""
        inputs = self.task.search_inputs
        with np.errstate(all="ignore"):
            return np.broadcast_to(expression(inputs), len(inputs))

    def _pruned(self, candidate: Candidate) -> Candidate:
        """The candidate without the constants that the data do not need: set to 0, else to 1, else to another one.

        The others are fitted again. Under noise even a superfluous constant lowers the error, by 1/n of it on
        average for n rows: each that is taken out may cost three standard deviations of that.
        """
        taken = 0
        limit = _limit(candidate)
        noise = _CHI_SQUARE / len(self.task.target) * candidate.error
        for value in (0.0, 1.0):  # a term less is worth more than a factor less
            k = 0
            while k < len(candidate.expression.constants) and time.monotonic() < self._ends:
                constants = candidate.expression.constants.copy()
                constants[k] = value
                shorter = self._without(candidate.expression.with_constants(constants), candidate.complexity)
                k += 1
                if shorter is not None and shorter.error <= limit + (taken + 1) * noise:
                    candidate, k, taken = shorter, 0, taken + 1  # what is left may be ordered anew
        while time.monotonic() < self._ends:
            tied_once = self._tied_once(candidate, limit + (taken + 1) * noise)
            if tied_once is None:
                break
            candidate, taken = tied_once, taken + 1
        return candidate

    def _shortened(self, candidate: Candidate) -> Candidate | None:
        """The candidate without what costs more nats than it saves; None where there is nothing of the kind."""
        if not self.constants or candidate.exact:
            return None
        shortest = shortened(candidate, self.task, self._ends)
        if shortest is candidate:
            return None
        rounded = self.task.charged(self._widened(self._rounded(shortest, tried=1)))
        return min(shortest, rounded, key=lambda each: each.code)

    def _tied_once(self, candidate: Candidate, limit: float) -> Candidate | None:
        """The candidate with one constant less, two being equal; None where the data tell all of them apart."""
        for form in tied(candidate.expression) if self.constants else ():
            settled = form.constants == 1.0
            # Not the canonical form, which has each factor in a term of its own.
            fitted = self._scored(self.task.refit(form, fixed=settled))
            fewer = np.count_nonzero(~settled) < len(candidate.expression.constants)
            if fewer and fitted.complexity <= candidate.complexity and fitted.error <= limit:
                return fitted
        return None

    def _widened(self, candidate: Candidate) -> Candidate:
        """The candidate without what only narrows where it is finite, or makes no difference on the data."""
        for change in (widened, unrooted, unsigned, doubled):
            found = self._judged(change(candidate.expression))
            # SymPy's count does not see `0*log(x)`, which it takes for 0 at once.
            shorter = (found.complexity, len(found.expression)) < (candidate.complexity, len(candidate.expression))
            if shorter and (found.exact or found.error <= (1.0 + _SAME) * candidate.error):
                candidate = self._rounded(self._pruned(found))
        return candidate

    def _without(self, equation: Expression, complexity: int) -> Candidate | None:
        """An equation from which something has just been taken out, fitted again; None if it is no shorter."""
        shorter = self._judged(equation)
        if shorter.complexity >= complexity:
            return None
        if not self.constants or shorter.exact:
            return shorter
        again = self._judged(self.task.refit(shorter.expression))
        # Fitted constants that leave 0 or 1 again would make it as long as before, and the pruning endless.
        return again if again.error < shorter.error and again.complexity <= shorter.complexity else shorter

    def _rounded(self, candidate: Candidate, tried: int | None = None) -> Candidate:
        """The candidate with the shortest constants, where no error rises by more than snapping may cost.

        Args:
            candidate: to be rounded.
            tried: how many spellings of it, its own first; None: all.
        """
        if not self.constants:
            return candidate
        task = self.task
        limit = _limit(candidate)
        tolerance = _SNAP_RISE
        if candidate.exact and candidate.error >= EXACT_NMSE:  # whatever meets the digits given is as good
            tolerance = max(tolerance, _ALMOST * (limit / candidate.error - 1.0))
        best = candidate
        for spelling in spellings(candidate.expression)[:tried]:
            snapped = snap(spelling, task.search_inputs, task.search_target, tolerance=tolerance)
            for form in (canonical(snapped), widened(snapped)):  # the canonical one may move the factor back
                rounded = self._scored(form)
                if rounded.error <= limit and _reads_better(rounded, best):
                    best = rounded
        return best


def _in_turns(candidates: Sequence[Candidate], picked: Candidate) -> list[int]:
    """Places of the candidates: the picked one, then by code and by error in turns."""
    places = range(len(candidates))
    by_code = sorted(places, key=lambda k: candidates[k].code)
    by_error = sorted(places, key=lambda k: candidates[k].error)
    turns = [k for pair in zip(by_code, by_error, strict=True) for k in pair]
    return list(dict.fromkeys([*(k for k in places if candidates[k] is picked), *turns]))


def _limit(candidate: Candidate) -> float:
    """The error up to which a shorter or rounder form is as good; below the rounding of the data all are."""
    error = (1.0 + _SNAP_TOLERANCE) * candidate.error + EXACT_NMSE
    return max(error, candidate.rounding) if candidate.exact else error


def _reads_better(one: Candidate, other: Candidate) -> bool:
    """Shorter, or with fewer digits."""
    return (one.complexity, digits(one.expression)) < (other.complexity, digits(other.expression))


def near_front(best: Mapping[int, tuple[float, Expression]]) -> list[Expression]:
    """Equations on the front of the search rows, or so near to it that all rows may decide otherwise."""
    kept: list[Expression] = []
    lowest = float("inf")
    for _, (error, expression) in sorted(best.items()):
        if error < _NEAR_FRONT * lowest:
            kept.append(expression)
        lowest = min(lowest, error)
    return kept
