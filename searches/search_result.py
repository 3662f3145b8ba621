"""The result of a search: one class for all of them, and its plain form for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expressions.parsing import parse
from searches.pareto_front import Candidate, ParetoFront, pick

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

    def plain(self) -> dict[str, Any]:
        """The result as numbers, texts, lists and mappings, which JSON holds."""
        return {
            "front": [
                [c.expression.infix(), c.complexity, c.train_nmse, c.validation_nmse, c.price] for c in self.front
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
            KeyError: an entry is missing.
            expressions.parsing.ParseError: an equation cannot be read.
        """
        candidates = [Candidate(parse(infix), *scores) for infix, *scores in plain["front"]]
        return cls(
            front=ParetoFront(candidates),
            history=plain["history"],
            seconds=plain["seconds"],
            evaluations=plain["evaluations"],
            stopped=plain["stopped"],
            counts=plain.get("counts", {}),
            notes=tuple(plain.get("notes", ())),
        )
