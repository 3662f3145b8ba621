"""One of several searches: its name, its rows, and what is said of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from reports.findings import Finding
from searches.pareto_front import Candidate, ParetoFront
from searches.search_result import SearchResult

__all__ = ["Rows", "SearchJob", "constant_result"]

_CONSTANT = 1e-6  # range over magnitude, below which float32 shows rounding and no function

Rows = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SearchJob:
    """One of several searches.

    Attributes:
        label: name of the search, also of its files.
        identity: fingerprint of its data and settings: a result on disk with another one does not count.
        known: result, where it needs no search.
        title: name of the search in a sentence.
        problem: short name of what is searched for, in reports.
        target: description of the quantity that is searched for.
        rows: inputs and target by split: `train`, `validation` and `test`.
        names: names of the variables.
        trial: number of the repetition.
        truth: formula behind the rows, where it is known.
        measured: name of a measured target as its table has it; None where a network gave the values.
    """

    label: str
    identity: str
    known: SearchResult | None = None
    title: str
    problem: str
    target: str
    rows: Mapping[str, Rows]
    names: tuple[str, ...]
    trial: int = 0
    truth: Expression | None = None
    measured: str | None = None

    def finding(self, result: SearchResult) -> Finding:
        """A result with the data that it is reported on."""
        return Finding(
            problem=self.problem,
            target=self.target,
            trial=self.trial,
            front=result.front,
            chosen=result.best,
            history=result.history,
            seconds=result.seconds,
            evaluations=result.evaluations,
            stopped=result.stopped,
            train=self.rows["train"],
            test=self.rows["test"],
            truth=self.truth,
            names=self.names,
            measured=self.measured,
        )


def constant_result(values: np.ndarray) -> SearchResult | None:
    """The equation of a target that is constant up to rounding; None for one that is to be searched."""
    if float(np.ptp(values)) > _CONSTANT * float(np.abs(values).max()):
        return None
    candidate = Candidate(Expression.constant(float(values[0])), 1, 0.0, 0.0)
    return SearchResult(ParetoFront([candidate]), history=[], seconds=0.0, evaluations=0, stopped="constant")
