"""What a fit has found for one target, and its plain form for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from expressions.complexity import complexity
from expressions.constant_intervals import ConstantIntervals
from expressions.constant_rounding import readable
from expressions.expression import Expression
from expressions.limits import MAX_TOKENS
from expressions.measurements import Measurements
from expressions.numbering import plain, restored
from expressions.parsing import too_large
from expressions.schema import tokens
from expressions.stored_intervals import INTERVALS, plain_intervals, restored_intervals
from foundation.schema import FormatError, list_of, mapping_of, number, optional, record, text, whole
from searches.common.shifted_intervals import intervals_beside_centres
from searches.law_probability import LawProbability, law_probability
from searches.pareto_front import Candidate, ParetoFront, pick
from searches.search_result import SearchResult
from searches.trust.stored import TRUST, plain_trust, restored_trust

__all__ = ["TargetFit"]

_REMEDY = "write the model anew with the version that wrote it"


@dataclass(frozen=True)
class TargetFit:
    """The equations of one target.

    Attributes:
        name: name of the target.
        candidates: Pareto front of the equations, shortest first.
        chosen: place of the picked equation in the front.
        shown: every equation with the digits that the data support.
        losses: mean squared error of every equation on all rows, by their weights.
        low, high, mean: smallest, largest and mean value of the target.
        stopped: reason for the end of the search.
        evaluations: computations of one equation on the search rows.
        measurements: rows that intervals are computed from when they are asked for; None: none are left.
        known: intervals as a file holds them; None: none are known.
        known_trust: trust in the picked equation as a file holds it; None: none is known.
    """

    name: str
    candidates: tuple[Candidate, ...]
    chosen: int
    shown: tuple[Expression, ...]
    losses: tuple[float, ...]
    low: float
    high: float
    mean: float
    stopped: str
    evaluations: int
    measurements: Measurements | None = field(default=None, compare=False, repr=False)
    known: tuple[ConstantIntervals | None, ...] | None = field(default=None, compare=False, repr=False)
    known_trust: LawProbability | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        name: str,
        result: SearchResult,
        inputs: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None,
        count: int,
    ) -> TargetFit:
        """The fit that a search ends with.

        Args:
            name: name of the target.
            result: result of the search.
            inputs: values of the columns on all rows. `[rows, columns]`
            target: values of the target on all rows. `[rows]`
            weights: weights of the rows; None: all alike. `[rows]`
            count: number of rows as they were given, equal ones counted one by one.
        """
        front = list(result.front)
        picked = pick(ParetoFront(front))
        return cls(
            name=name,
            candidates=tuple(front),
            chosen=next(k for k, candidate in enumerate(front) if candidate is picked),
            shown=tuple(readable(candidate.expression, inputs, target) for candidate in front),
            losses=tuple(mean_square(candidate.expression, inputs, target, weights) for candidate in front),
            low=float(target.min()),
            high=float(target.max()),
            mean=float(np.average(target, weights=weights)),
            stopped=result.stopped,
            evaluations=result.evaluations,
            measurements=Measurements.of(inputs, target, weights, count=count),
        )

    @classmethod
    def of_constant(cls, name: str, value: float) -> TargetFit:
        """The fit of a target that is the same on every row."""
        equation = Expression.constant(value)
        only = Candidate(equation, complexity(equation), 0.0, 0.0)
        return cls(name, (only,), 0, (equation,), (0.0,), value, value, value, "exact", 0)

    @cached_property
    def intervals(self) -> tuple[ConstantIntervals | None, ...]:
        """Intervals of every equation; None where it is exact, or nothing is known. `[equations]`"""
        if self.measurements is None:
            return self.known or (None,) * len(self.candidates)
        return tuple(self._measured(place) for place in range(len(self.candidates)))

    def _measured(self, place: int) -> ConstantIntervals | None:
        assert self.measurements is not None
        if self.candidates[place].exact:
            return None
        found = intervals_beside_centres(self.measurements, self.candidates[place].expression)
        return found if found.noise > 0 else None

    @cached_property
    def trust(self) -> LawProbability | None:
        """The probability that the picked equation is the law; None where nothing is known."""
        if self.measurements is None:
            return self.known_trust
        return law_probability(self.candidates, self.candidates[self.chosen], self.measurements)

    def margins(self, place: int, inputs: np.ndarray, level: float, curve: bool) -> np.ndarray:
        """Half widths of the interval around an equation's values: 0 where it is exact, NaN of what is not known.

        Args:
            place: place of the equation in the front.
            inputs: values of the columns. `[rows, columns]`
            level: probability that an interval is to hold the true value.
            curve: whether of the mean of many measurements, not of a single one.
        """
        candidate, intervals = self.candidates[place], self.intervals[place]
        if candidate.exact:
            return np.zeros(len(inputs))
        if intervals is None:
            return np.full(len(inputs), np.nan)
        intervals = replace(intervals, level=level)
        return (intervals.curve if curve else intervals.measurement)(candidate.expression, inputs)

    def latex(self, place: int, names: Sequence[str], intervals: bool) -> str:
        """An equation in LaTeX, with the digits that the data support.

        Args:
            place: place of the equation in the front.
            names: names of the features.
            intervals: whether constants have their intervals, where these are known.
        """
        known = self.intervals[place] if intervals else None
        if known is None:
            return self.shown[place].latex(names, digits=15)
        return self.shown[place].with_constants(known.constants).latex(names, 15, known.ends.tolist())

    def values(self, place: int, inputs: np.ndarray) -> tuple[np.ndarray, int]:
        """Values of an equation, and on how many rows it is not defined.

        There, an infinite value is replaced by the largest or smallest value of the target in the fit, another one
        by the mean.

        Args:
            place: place of the equation in the front.
            inputs: values of the columns. `[rows, columns]`
        """
        values = self.candidates[place].expression(inputs)
        bad = int(np.count_nonzero(~np.isfinite(values)))
        return np.nan_to_num(values, copy=False, nan=self.mean, posinf=self.high, neginf=self.low), bad

    def plain(self) -> dict[str, Any]:
        """The fit as numbers, texts, lists and mappings, which JSON holds."""
        rows = zip(self.candidates, self.shown, self.losses, self.intervals, strict=True)
        return {
            "name": self.name,
            "chosen": self.chosen,
            "equations": [
                {
                    "equation": plain(candidate.expression),
                    "shown": shown.constants.tolist(),
                    "complexity": candidate.complexity,
                    "train_nmse": candidate.train_nmse,
                    "validation_nmse": candidate.validation_nmse,
                    "charge": candidate.charge,
                    "rounding": candidate.rounding,
                    "loss": loss,
                    "intervals": plain_intervals(intervals),
                }
                for candidate, shown, loss, intervals in rows
            ],
            "range": [self.low, self.high, self.mean],
            "stopped": self.stopped,
            "evaluations": self.evaluations,
            "trust": plain_trust(self.trust, self.candidates),
        }

    @classmethod
    def of_plain(cls, found: Mapping[str, Any], source: str, columns: int) -> TargetFit:
        """The fit that `plain` was made from.

        Args:
            found: what `plain` returned.
            source: name of the file, to begin a sentence with.
            columns: number of columns of the inputs.

        Raises:
            expressions.numbering.NumberingError: an operator is not known here.
            KeyError, TypeError, ValueError: an entry is missing or of another kind.
        """
        rows: Sequence[Mapping[str, Any]] = found["equations"]
        equations = [restored(row["equation"], source, _REMEDY) for row in rows]
        for equation in equations:
            if reason := too_large(equation):
                raise FormatError(f"is no model for this program ({reason})", "")
        scores = [[float(row[key]) for key in ("train_nmse", "validation_nmse", "loss")] for row in rows]
        low, high, mean = map(float, found["range"])
        chosen = int(found["chosen"])
        if not 0 <= chosen < len(rows) or not all(map(math.isfinite, (low, high, mean))):
            raise ValueError("the picked equation, or the range of the target, is not there")
        candidates = tuple(
            Candidate(equation, int(row["complexity"]), errors[0], errors[1], row["charge"], row["rounding"])
            for equation, row, errors in zip(equations, rows, scores, strict=True)
        )
        return cls(
            name=str(found["name"]),
            candidates=candidates,
            chosen=chosen,
            shown=tuple(e.with_constants(row["shown"]) for e, row in zip(equations, rows, strict=True)),
            losses=tuple(errors[2] for errors in scores),
            low=low,
            high=high,
            mean=mean,
            stopped=str(found["stopped"]),
            evaluations=int(found["evaluations"]),
            known=tuple(
                restored_intervals(row.get("intervals"), e) for e, row in zip(equations, rows, strict=True)
            ),
            known_trust=restored_trust(found.get("trust"), candidates, columns),
        )


FIT = record(
    {
        "name": text(),
        "chosen": whole(),
        "equations": list_of(
            record(
                {
                    "equation": record(
                        {
                            "tokens": tokens,
                            "constants": list_of(number(), most=MAX_TOKENS),
                            "numbers": mapping_of(whole(0, 100_000), most=10_000),
                        }
                    ),
                    "shown": list_of(number(), most=MAX_TOKENS),
                    "complexity": whole(),
                    "train_nmse": number(0.0, infinite=True),
                    "validation_nmse": number(0.0, infinite=True),
                    "charge": optional(number(0.0)),
                    "rounding": number(0.0),
                    "loss": number(0.0, infinite=True),
                },
                {"intervals": INTERVALS},
            ),
            least=1,
            most=10_000,
        ),
        "range": list_of(number(), least=3, most=3),
        "stopped": text(100),
        "evaluations": whole(),
    },
    {"trust": TRUST},
)
"""Check for what `TargetFit.plain` returned."""


def mean_square(equation: Expression, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None) -> float:
    """Mean squared error of an equation, by the rows' weights; infinite where it is not defined on a row."""
    with np.errstate(all="ignore"):
        error = float(np.average(np.square(equation(inputs) - target), weights=weights))
    return error if math.isfinite(error) else math.inf
