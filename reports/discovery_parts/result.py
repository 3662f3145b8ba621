"""`Discovery`: what a search for the formula of a table's column has found, and beside what it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from expressions.constant_intervals import ConstantIntervals
from reports.polynomial_baselines import Rows
from searches.law_probability import LawProbability
from searches.pareto_front import Candidate, ParetoFront

__all__ = ["CUBIC", "EQUATION", "GRADIENT_BOOSTING", "LINEAR", "Discovery", "Score"]

EQUATION, LINEAR, CUBIC, GRADIENT_BOOSTING = "this equation", "linear", "cubic", "gradient boosting"
"""Names of `Discovery.scores`, in the order in which they are shown."""


@dataclass(frozen=True)
class Score:
    """How well a model predicts rows that it was not fitted to.

    Attributes:
        r2: R2 on the held-out rows, -inf where a prediction is not finite.
        complexity: size of the model: nodes of an equation, coefficients of a polynomial; None where a number says
            nothing, as for an ensemble of trees.
    """

    r2: float
    complexity: int | None = None


@dataclass(frozen=True)
class Discovery:
    """What a search for the formula of one column has found.

    Attributes:
        source: label of the table, such as the name of its file.
        target: name of the target as it stands in the table.
        features: names of the features as they stand in the table, in the order of the inputs' columns.
        target_name: name of the target in equations.
        names: names of the features in equations, each `[A-Za-z_][A-Za-z0-9_]*`, no two alike.
        front: Pareto front of the equations, shortest first.
        chosen: equation of the front that is picked.
        scores: score by the model's name, see `EQUATION` and the names behind it; empty where too few rows are
            held out to claim anything.
        train: rows that the equations were fitted to; None for a discovery that was read from disk.
        held_out: rows that nothing was fitted to; None where there are too few rows to spare any, and for a
            discovery that was read from disk.
        rows: number of rows of the table.
        seconds: time that the search took, by the clock.
        evaluations: computations of one equation on all rows of the search.
        stopped: reason for the end of the search, see `searches.search_result.SearchResult`.
        seed: random seed of the search.
        notes: sentences about the table and the search that a reader should know.
        intervals: intervals of the constants of every equation of the front, None where nothing is known; empty
            where they were not computed.
        trust: probability that the picked equation is the law, and what the data cannot tell from it; None where
            it was not computed.
    """

    source: str
    target: str
    features: tuple[str, ...]
    target_name: str
    names: tuple[str, ...]
    front: ParetoFront
    chosen: Candidate
    scores: Mapping[str, Score] = field(default_factory=dict)
    train: Rows | None = None
    held_out: Rows | None = None
    rows: int = 0
    seconds: float = 0.0
    evaluations: int = 0
    stopped: str = ""
    seed: int = 0
    notes: tuple[str, ...] = ()
    intervals: tuple[ConstantIntervals | None, ...] = ()
    trust: LawProbability | None = None

    def intervals_of(self, candidate: Candidate) -> ConstantIntervals | None:
        """The intervals of an equation of the front; None where nothing is known."""
        return dict(zip(self.front, self.intervals, strict=False)).get(candidate)
