"""The equations of a front as rivals: how much longer each of them makes the description of the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from expressions.canonical_form import canonical_key
from expressions.constant_fitting import fit_constants
from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.measurements import Measurements
from searches.common.chosen_rows import evenly_spread
from searches.common.description_length import MOST_ROWS
from searches.pareto_front import EXACT_NMSE, Candidate

__all__ = ["Rivalry"]

_CHECKED = 50.0  # nats, up to which a longer description is looked at
_COMPARED_ROWS = 200
_ROWS_A_CONSTANT = 2
_STEPS = 20
_UNDEFINED = 1e12  # squared error over the variance, where an equation is not defined
_SAME = 1e-8  # squared deviation over the variance, below which two equations have the same values


@dataclass(frozen=True)
class Rivalry:
    """A picked equation and those of other structures, on the same rows.

    Structures are the same where their canonical forms are, constants aside. Of each structure, the equation of
    the shortest description stands for all. One that can express the picked equation with its own constants, and
    does not shorten the description, is no rival: every law has such neighbours, as `y = a*x + 0.01` of `y = a*x`,
    and other spellings, as `exp(log(x) - z)` of `x*exp(-z)`.

    Attributes:
        chosen: picked equation.
        others: equations of other structures, the shortest description first.
        inputs: values of the variables, on at most `MOST_ROWS` rows. `[rows, variables]`
        residuals: target minus the chosen equation; NaN or infinite where that is not defined. `[rows]`
        weights: weights of the squared errors; of mean 1, but where the errors are known. `[rows]`
        known_errors: whether the errors' variances are the inverse weights themselves.
        squares: squared errors over the variance of the target, 1e12 at most, as where an equation is not
            defined: of the chosen one first, then of the others. `[1 + others, rows]`
        lengths: nats of the description by each of them. `[1 + others]`
    """

    chosen: Candidate
    others: tuple[Candidate, ...]
    inputs: np.ndarray
    residuals: np.ndarray
    weights: np.ndarray
    known_errors: bool
    squares: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, front: Iterable[Candidate], chosen: Candidate, measurements: Measurements) -> Rivalry:
        """The rivals of a picked equation.

        Args:
            front: equations that a search ended with.
            chosen: equation of the front that is picked.
            measurements: all rows that the search had, those that chose included.
        """
        some = evenly_spread(len(measurements.target), MOST_ROWS)
        inputs, target = measurements.inputs[some], measurements.target[some]
        weights = np.ones(len(some)) if measurements.weights is None else measurements.weights[some]
        known = measurements.known_errors
        weights = weights if known else weights / weights.mean()
        own = canonical_key(chosen.expression, constants=False)
        keyed = [(canonical_key(each.expression, constants=False), each) for each in front]
        every = [chosen, *(each for key, each in keyed if key != own)]
        keys = [own, *(key for key, _ in keyed if key != own)]
        residuals = target - Evaluator(inputs, np.float64).values([each.expression for each in every])
        squares = _over_variance(residuals, target, weights)
        lengths = np.array([_nats(each, row, weights) for each, row in zip(every, squares, strict=True)])
        kept = _first_of_each(keys, lengths)
        longer = [k for k in kept if lengths[0] <= lengths[k] < lengths[0] + _CHECKED]
        fuller = _able_to_express(chosen.expression, [every[k].expression for k in longer], inputs)
        kept = [k for k in kept if k == 0 or k not in longer or not fuller[longer.index(k)]]
        return cls(
            chosen=chosen,
            others=tuple(every[k] for k in kept[1:]),
            inputs=inputs,
            residuals=residuals[0],
            weights=weights,
            known_errors=known,
            squares=squares[kept],
            lengths=lengths[kept],
        )

    @property
    def gaps(self) -> np.ndarray:
        """Nats by which descriptions are longer than by the chosen equation; rising. `[others]`"""
        return np.asarray(self.lengths[1:] - self.lengths[0])

    def error(self, place: int = 0) -> float:
        """Mean squared error over the target's variance, not below the rounding of the data.

        Args:
            place: 0 for the chosen equation, 1 for the first of the others, and so on.
        """
        candidate = (self.chosen, *self.others)[place]
        return _floored(candidate, self.squares[place], self.weights)


def _able_to_express(one: Expression, others: Sequence[Expression], inputs: np.ndarray) -> list[bool]:
    """Whether some equations, of no fewer constants, have another one's values with constants of their own."""
    some = inputs[evenly_spread(len(inputs), _COMPARED_ROWS)]
    with np.errstate(all="ignore"):
        values = np.broadcast_to(one(some), len(some))
        spread = float(np.var(values))
    least, most = len(one.constants), len(some) // _ROWS_A_CONSTANT
    able = [least <= len(each.constants) <= most for each in others]
    which = [each for each, possible in zip(others, able, strict=True) if possible]
    if not which or not 0.0 < spread < math.inf:
        return [False] * len(others)
    errors = iter(fit_constants(which, some, values, iterations=_STEPS).errors.tolist())
    return [possible and next(errors) < _SAME * spread for possible in able]


def _over_variance(residuals: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Squared residuals over the variance of the target."""
    spread = float(np.average(np.square(target - np.average(target, weights=weights)), weights=weights))
    with np.errstate(all="ignore"):
        squares = np.square(residuals) / (spread or 1.0)
    return np.where(squares < _UNDEFINED, squares, _UNDEFINED)


def _floored(candidate: Candidate, squares: np.ndarray, weights: np.ndarray) -> float:
    return max(float(np.average(squares, weights=weights)), candidate.rounding, EXACT_NMSE)


def _nats(candidate: Candidate, squares: np.ndarray, weights: np.ndarray) -> float:
    """Length of the description of these rows by an equation, see `Candidate.code`."""
    return 0.5 * len(weights) * (math.log(_floored(candidate, squares, weights)) + candidate.toll)


def _first_of_each(keys: list[bytes], lengths: np.ndarray) -> list[int]:
    """Places of the chosen equation, and of the best one of every other structure, the shortest first."""
    kept, known = [0], {keys[0]}
    for place in np.argsort(lengths, kind="stable").tolist():
        if keys[place] not in known:
            kept.append(place)
            known.add(keys[place])
    return kept
