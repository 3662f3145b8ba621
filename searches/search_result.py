"""The result of a search: one class for all of them, and its plain form for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from expressions.goodness_of_fit import nmse
from expressions.measurements import Measurements
from expressions.schema import equation
from foundation.schema import (
    NOTES,
    FormatError,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    row_of,
    text,
    whole,
)
from searches.common.search_state import count, history, seconds
from searches.law_probability import LawProbability, law_probability
from searches.pareto_front import EXACT_NMSE, ROUNDEST, Candidate, ParetoFront, pick

__all__ = ["UNFINISHED", "SearchResult"]

UNFINISHED = ("interrupted", "disk")
"""The two values of `SearchResult.stopped` after which a resumed search goes on."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and what it cost.

    Attributes:
        front: Pareto front of the equations, scored on all rows.
        history: one entry per generation, the oldest first; of a long search fewer, see
            `searches.common.history.add_entry`. Every entry has `generation`, `seconds`,
            `evaluations`, `best_nmse` (lowest normalised squared error on the search rows) and `best_length`
            (tokens of that equation's program); a search may add keys of its own. Empty for a search without
            generations.
        seconds: time by the clock, the attempts before a resume included.
        evaluations: computations of one equation on all search rows, those of constant fitting included; for a
            search that counts otherwise, its own unit, such as proposed structures.
        stopped: reason for the end: `exact`, a spent budget (`generations`, `evaluations`, `seconds`, ...),
            `interrupted` (Ctrl-C), `disk` (the state could not be written), or a word of the search's own.
        counts: further totals by name, such as `generations`, `decodes` or `skeletons`.
        notes: one sentence for every request that was not carried out as it was made.
    """

    front: ParetoFront
    history: list[dict[str, float]]
    seconds: float
    evaluations: int
    stopped: str
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Candidate:
        """The equation that `searches.pareto_front.pick` picks from the front.

        Raises:
            ValueError: the front is empty.
        """
        return pick(self.front)

    def trust(self, inputs: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> LawProbability:
        """The probability that the picked equation is the law, see `searches.law_probability`.

        Args:
            inputs: values of the variables on all rows of the search. `[rows, variables]`
            target: values of the target there. `[rows]`
            weights: weights of the squared errors; None: all alike. `[rows]`

        Raises:
            ValueError: the front is empty.
        """
        return law_probability(self.front, self.best, Measurements.of(inputs, target, weights))

    def plain(self) -> dict[str, Any]:
        """The result as numbers, texts, lists and mappings, which JSON holds."""
        return {
            "front": [
                [c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse, c.charge, c.rounding]
                for c in self.front
            ],
            "history": self.history,
            "seconds": self.seconds,
            "evaluations": self.evaluations,
            "stopped": self.stopped,
            "counts": dict(self.counts),
            "notes": list(self.notes),
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> SearchResult:
        """The result that `plain` was made from; keys of others are ignored.

        Raises:
            foundation.schema.FormatError: an entry is missing, or is not what `plain` writes.
        """
        found = _RESULT(plain)
        return cls(
            front=ParetoFront([Candidate(*row) for row in found["front"]]),
            history=found["history"],
            seconds=found["seconds"],
            evaluations=found["evaluations"],
            stopped=found["stopped"],
            counts=found.get("counts", {}),
            notes=tuple(found.get("notes", ())),
        )

    def borne_out(self, inputs: np.ndarray, target: np.ndarray) -> SearchResult:
        """The result, but for equations that are worse on their rows than it says: these get their own error.

        Args:
            inputs: values of the variables on the rows that the equations were fitted to. `[rows, variables]`
            target: values of the target there. `[rows]`

        Raises:
            foundation.schema.FormatError: an equation has other variables.
        """
        front = []
        for candidate in self.front:
            if max(candidate.expression.variables, default=-1) >= inputs.shape[1]:
                raise FormatError("has an equation of other variables", "")
            own = nmse(target, candidate.expression(inputs))
            own = own if math.isfinite(own) else math.inf
            if not candidate.train_nmse >= own / _SLACK - EXACT_NMSE:
                error = max(own, candidate.validation_nmse)
                candidate = replace(candidate, train_nmse=own, validation_nmse=error)
            front.append(candidate)
        return self if front == list(self.front) else replace(self, front=ParetoFront.of(front))


_SLACK = 2.0  # between an error and the same one computed in another order
_RESULT = record(
    {
        "front": list_of(
            row_of(equation(), whole(1), number(0.0), number(0.0), optional(number(0.0)), number(0.0, ROUNDEST)),
            most=10_000,
        ),
        "history": history,
        "seconds": seconds,
        "evaluations": count,
        "stopped": text(100),
    },
    {"counts": mapping_of(count, most=100), "notes": NOTES},
    open_end=True,
)
