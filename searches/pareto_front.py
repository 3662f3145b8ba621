"""Pareto fronts of equations, and the one rule by which an equation is picked from a front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from expressions.complexity import complexity
from expressions.expression import Expression
from expressions.goodness_of_fit import nmse

# An equation whose normalised squared error is below this is the formula itself, up to rounding (NRMSE < 1e-11).
# The true one leaves 1e-30 or so; a cosine of a tiny angle in the place of a square reaches 1e-19.
EXACT_NMSE = 1e-22
# Error beyond which no equation is exact, in however few digits the data are written.
ROUNDEST = 1e-3
# How much lower the error must be, per node, for a longer equation to be picked over a shorter one.
GAIN_PER_NODE = 0.95


@dataclass(frozen=True)
class Candidate:
    """An equation with its scores.

    Attributes:
        expression: the equation, in the units of the data.
        complexity: nodes of its SymPy tree, as SRBench counts.
        train_nmse: mean squared error over the target's variance, both on the training rows.
        validation_nmse: mean squared error over the target's variance, both on rows that the search never saw;
            `train_nmse` where there are none.
        charge: decrease of the error's logarithm that the equation must bring to be worth its length, see
            `searches.common.description_length`; None: not known, and 5 % a node.
        rounding: error that the rounding of the data alone leaves: one below it is exact to the digits given. 0
            where the equation has so many constants that nothing is ever exact.
    """

    expression: Expression
    complexity: int
    train_nmse: float
    validation_nmse: float
    charge: float | None = None
    rounding: float = EXACT_NMSE

    @classmethod
    def of(cls, expression: Expression, inputs: np.ndarray, target: np.ndarray) -> Candidate:
        """An equation judged on the only rows that there are.

        Args:
            expression: the equation, in the units of the data.
            inputs: values of the variables. `[rows, variables]`
            target: values that the equation should have. `[rows]`
        """
        error = nmse(target, expression(inputs))
        return cls(expression, complexity(expression), error, error)

    @property
    def error(self) -> float:
        """The larger of the two errors: an equation that explodes on unseen rows is as bad as it is there."""
        return max(self.train_nmse, self.validation_nmse)

    @property
    def toll(self) -> float:
        """The charge; 5 % a node where none is known."""
        return -math.log(GAIN_PER_NODE) * self.complexity if self.charge is None else self.charge

    @property
    def code(self) -> float:
        """Length of a description of the data, in halves of a nat a row; errors below rounding gain nothing."""
        return math.log(max(self.error, self.rounding, EXACT_NMSE)) + self.toll

    @property
    def exact(self) -> bool:
        """Whether the equation leaves nothing but the rounding of the data."""
        return self.error < self.rounding


@dataclass
class ParetoFront:
    """Candidates of which none is both shorter and more accurate than another, shortest first.

    The one of the shortest code is among them in any case: it may be less accurate than an equation that is as
    long and has two constants more (`Candidate.toll`).
    """

    candidates: list[Candidate] = field(default_factory=list)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    def __getitem__(self, index: int) -> Candidate:
        return self.candidates[index]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> ParetoFront:
        """The front of any set of candidates; those with an error that is not finite are left out."""
        kept: list[Candidate] = []
        finite = [c for c in candidates if math.isfinite(c.error)]
        shortest_code = min(finite, key=lambda c: c.code, default=None)
        lowest = math.inf
        for candidate in sorted(finite, key=lambda c: (c.complexity, c.error)):
            if candidate.error < lowest or candidate is shortest_code:
                kept.append(candidate)
            lowest = min(lowest, candidate.error)
        return cls(kept)


def pick(front: ParetoFront) -> Candidate:
    """The equation to show first: the project's one rule.

    The shortest exact equation, which fits the data to the digits in which they are given, where there is one;
    otherwise the one by which the data have the shortest description (`Candidate.charge`).

    Few digits are met by many an equation that is long enough, so exactness to them is no reason by itself: where
    another description is shorter by more than a node is worth, errors below the digits gaining nothing, that one
    is picked. With all digits of float64, what is exact is no accident.

    Raises:
        ValueError: the front is empty.
    """
    if not len(front):
        raise ValueError("the front is empty: no equation was finite on every row")
    briefest = min(front, key=lambda candidate: candidate.code)
    exact = next((candidate for candidate in front if candidate.exact), None)
    if exact is None:
        return briefest
    is_no_accident = exact.error < EXACT_NMSE
    return exact if is_no_accident or exact.code <= briefest.code + exact.toll / exact.complexity else briefest
