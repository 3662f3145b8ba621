"""Laws in two parts without a common variable, f(x, z) + g(u) or f(x, z)*g(u), each searched alone.

Polynomials in two parts (`searches.direct.split_surrogates`), with the fast waves that the target was seen to
have, say which variables stand apart, and what the parts are on the rows, up to an error that rows left out tell.
With that error as its noise, one part is searched; fitted beside a polynomial in the other's place, it must tell
the rows as well as before, and the other part is what it leaves of the target. Both are fitted together in the
end: what the polynomials did not tell is no longer in them, and what is not the law does not become exact.
As in S.-M. Udrescu et al., "AI Feynman 2.0: Pareto-optimal symbolic regression exploiting graph modularity",
NeurIPS 2020, where a network takes the part of the polynomials.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import CONSTANT, TOKEN
from searches.common.chosen_rows import evenly_spread
from searches.direct.split_surrogates import Groups, Parts, SplitSurrogates
from searches.direct.surrogates import surrogate
from searches.direct.symmetries import replaced
from searches.direct.wave_spelling import shortened

__all__ = ["Search", "equations_of_parts"]

Search = Callable[[np.ndarray, np.ndarray, float], Mapping[Expression, float]]
"""Function of inputs `[rows, variables]`, target `[rows]`, and the squared error that is the target's noise, over
its variance: equations with their squared errors over the variance."""

_FEWEST_ROWS, _MOST_ROWS = 60, 400
_FEWEST_ROWS_OF_A_PART = 24
_MOST_VARIABLES = 5
_TRIED = 2  # splits
_TOLD = 0.1  # error up to which parts are told
_TOLD_OF_A_PART = 0.1  # the same of a part alone, which may be the smaller one
_NOISE = 3.0  # times the estimated error of a part, up to which an equation may be the part
_NO_WORSE = 1.3  # times the error of the polynomials that an equation in the place of one may have
_SMALLEST = 0.1  # of a factor, in units of its typical size, by which a target is divided
_AS_GOOD = 100.0  # times the error of the best split, up to which another is one
_SEARCHES = 4  # at most: parts of two splits, or both of one after the other
_SECONDS = 2  # equations of the second part that are fitted with the first
_SURE = 0.01  # times the error of the polynomials, below which an equation is the part, whatever the other is
_STEPS, _FEWER = 6, 0.7  # of an equation and a polynomial in turns, while an error falls so much
_REFITTED, _ITERATIONS = 10, 30  # steps of a fit of one part, and of both
_ABOUT = 1.5  # of the error of a product and a constant: the product alone does as well
_LEAST = 1e-20  # error that is rounding
_NODE_NATS = 2.0
_ROUNDED, _NOTHING = 12, 1e-23  # digits that constants of an exact law are tried with, and the error they may add


def equations_of_parts(
    inputs: np.ndarray,
    target: np.ndarray,
    known: Mapping[Expression, float],
    operators: Collection[str],
    search: Search,
    exact: float,
    ends: float = math.inf,
) -> Iterator[Expression]:
    """Sums and products of two equations without a common variable, up to an exact one.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        known: equations of the target with their errors, of which the waves are of interest.
        operators: names of the operators that may occur.
        search: the search for the equations of a part.
        exact: squared error over the variance, up to which an equation is exact.
        ends: time (`time.perf_counter`) after which nothing new is begun.
    """
    varying = np.flatnonzero(np.ptp(inputs, axis=0) > 0).tolist()
    names = [name for name in ("add", "mul") if name in operators]
    if not names or len(target) < _FEWEST_ROWS or not 2 <= len(varying) <= _MOST_VARIABLES:
        return
    rows = evenly_spread(len(target), _MOST_ROWS)
    surrogates = SplitSurrogates(inputs[rows], target[rows], _waves(known))
    search = _at_most(_SEARCHES, search, ends)
    for parts in _told(surrogates, varying, names):
        for equation, error in _Pair(surrogates, parts, search).equations(exact):
            yield equation
            if error <= exact:
                return


def _at_most(count: int, search: Search, ends: float) -> Search:
    """A search that finds nothing any more after so many calls, or when the time is over."""
    left = iter(range(count))

    def limited(inputs: np.ndarray, target: np.ndarray, noise: float) -> Mapping[Expression, float]:
        if time.perf_counter() > ends or next(left, None) is None:
            return {}
        return search(inputs, target, noise)

    return limited


def _waves(known: Mapping[Expression, float]) -> list[Expression]:
    """Sines and cosines of the arguments in the best equation that has any, and products of those in one term."""
    waves = {TOKEN["sin"], TOKEN["cos"]}
    having = [equation for equation in known if waves & set(equation.tokens.tolist())]
    if not having:
        return []
    found: dict[Expression, None] = {}
    for term in _terms(min(having, key=known.__getitem__)):
        places = [place for place in range(len(term)) if term.tokens[place] in waves]
        arguments = [term.subtree(place).subtree(1) for place in places]
        pairs = [[Expression.apply(name, one) for name in ("sin", "cos")] for one in arguments if one.variables]
        found |= dict.fromkeys(itertools.chain(*pairs))
        if len(pairs) == 2:
            products = itertools.product(*pairs)
            found |= dict.fromkeys(Expression.apply("mul", one, other) for one, other in products)
    return list(found)


def _terms(equation: Expression) -> list[Expression]:
    """Summands of a sum, but for their signs."""
    if equation.tokens[0] in (TOKEN["add"], TOKEN["sub"]):
        return [term for child in equation.children() for term in _terms(child)]
    return [equation]


def _told(surrogates: SplitSurrogates, variables: Sequence[int], names: Collection[str]) -> list[Parts]:
    """Splits that tell rows as well as one polynomial of all variables does, the best first."""
    found = [parts for groups in _splits(variables) for parts in surrogates.first(groups)]
    likely = sorted((parts for parts in found if parts.name in names), key=lambda parts: parts.error)[:_TRIED]
    best = [surrogates.best(parts) for parts in likely]
    limit = min(_TOLD, surrogate(surrogates.inputs[:, list(variables)], surrogates.values).error)
    limit = min(limit, _AS_GOOD * min((parts.error for parts in best), default=0.0) + _LEAST)
    return sorted((parts for parts in best if parts.error < limit), key=lambda parts: parts.error)


def _splits(variables: Sequence[int]) -> Iterator[Groups]:
    """All ways to put variables into two groups."""
    first, *others = variables
    for count in range(len(others)):
        for more in itertools.combinations(others, count):
            rest = tuple(variable for variable in others if variable not in more)
            yield (first, *more), rest


class _Pair:
    """The equations of both parts of a target.

    Args:
        surrogates: polynomials in two parts through the rows.
        parts: those of the target.
        search: the search for the equations of a part.
    """

    def __init__(self, surrogates: SplitSurrogates, parts: Parts, search: Search) -> None:
        self.surrogates, self.parts, self.search = surrogates, parts, search
        self.inputs, self.target = surrogates.inputs, surrogates.values
        self.variance = float(np.var(self.target))

    def equations(self, exact: float) -> Iterator[tuple[Expression, float]]:
        """Sums or products of an equation for each part, with their errors."""
        waves = [len(self.surrogates.functions_of(group)) for group in self.parts.groups]
        for place in sorted((0, 1), key=lambda each: (-waves[each], len(self.parts.groups[each]))):
            guesses = self._part(place, self.parts)
            if not guesses:
                continue
            first, parts = self._sharpened(place, guesses[0])
            if parts is None or not parts.error <= _NO_WORSE * max(self.parts.error, _LEAST):
                continue
            for second in self._part(1 - place, parts)[:_SECONDS]:
                found = self._together(first, second, exact)
                yield found
                if found[1] <= exact:
                    return
            if parts.error < _SURE * self.parts.error:
                return

    def _part(self, place: int, parts: Parts) -> list[Expression]:
        """Equations of one of the parts that leave no more than its noise, the shortest code first."""
        rows, values, noises = self._seen(place, parts)
        if len(rows) < _FEWEST_ROWS_OF_A_PART or not np.ptp(values) > 0:
            return []
        share = float(np.mean(noises) / np.var(values))
        if not share < _TOLD_OF_A_PART:
            return []
        noise = max(_NOISE * share, _LEAST)
        group = parts.groups[place]
        found = self.search(self.inputs[rows][:, list(group)], values, noise)

        def code(equation: Expression) -> float:
            fit = 0.5 * len(rows) * math.log(max(found[equation], _LEAST))
            return fit + _NODE_NATS * len(equation) + 0.5 * math.log(len(rows)) * len(equation.constants)

        likely = [equation for equation in found if equation.variables and found[equation] <= noise]
        columns = [Expression.variable(variable) for variable in group]
        return [replaced(equation, columns) for equation in sorted(likely, key=code)]

    def _seen(self, place: int, parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows on which a part is seen, what the other one leaves of the target, and its noise's variances."""
        other, noise = parts.values[1 - place], parts.error * self.variance
        if parts.name == "add":
            return np.arange(len(other)), self.target - other, np.full(len(other), noise)
        typical = float(np.sqrt(np.mean(np.square(other))))
        rows = np.flatnonzero(np.abs(other) > _SMALLEST * typical)
        return rows, (self.target[rows] - parts.offset) / other[rows], noise / np.square(other[rows])

    def _sharpened(self, place: int, equation: Expression) -> tuple[Expression, Parts | None]:
        """An equation of a part, fitted in turns with the polynomial of the other, and both parts then."""
        best: tuple[Expression, Parts | None] = equation, None
        allowed = math.inf
        for _ in range(_STEPS):
            parts = self.surrogates.beside(self.parts, place, equation(self.inputs))
            if parts is None or not parts.error < allowed:
                break
            best, allowed = (equation, parts), _FEWER * parts.error
            rows, values, noises = self._seen(place, parts)
            weights = noises.min() / noises if noises.min() > 0 else None
            fit = fit_constants([equation], self.inputs[rows], values, weights=weights, iterations=_REFITTED)
            equation = fit.expressions[0]
        return best

    def _together(self, first: Expression, second: Expression, exact: float) -> tuple[Expression, float]:
        """Both parts as one equation, with no constant that means the same as another, and its error."""
        name = self.parts.name
        if _without_constant(name, first) != first:
            second = _without_constant(name, second)
        trials = [Expression.apply(name, first, second)]
        if name == "mul":
            trials.append(Expression.apply("add", trials[0], Expression.constant(self.parts.offset)))
        fit = fit_constants(trials, self.inputs, self.target, iterations=_ITERATIONS)
        errors = fit.errors / self.variance
        best = 0 if errors[0] <= max(exact, _ABOUT * errors[-1]) else 1
        found, error = fit.expressions[best], float(errors[best])
        if error <= exact:
            short = shortened(found, _ROUNDED)
            left = float(np.mean(np.square(short(self.inputs) - self.target))) / self.variance
            if left <= max(_NOTHING, error):
                return short, left
        return found, error


def _without_constant(name: str, expression: Expression) -> Expression:
    """A sum without its constant terms, or a product without its constant factors."""
    token = int(expression.tokens[0])
    if token != TOKEN[name] and not (name == "add" and token == TOKEN["sub"]):
        return expression
    one, other = expression.children()
    if len(other) == 1 and other.tokens[0] == CONSTANT:
        return _without_constant(name, one)
    if len(one) == 1 and one.tokens[0] == CONSTANT and token == TOKEN[name]:
        return _without_constant(name, other)
    if token == TOKEN[name]:
        return Expression.apply(name, _without_constant(name, one), _without_constant(name, other))
    return Expression.apply("sub", _without_constant(name, one), other)
