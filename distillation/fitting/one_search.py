"""One search for an output of a network, or for a part of it: what it may cost, and its course."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distillation.fitting.table import Table
from expressions.expression import Expression
from searches.common.history import add_entry
from searches.pareto_front import ParetoFront, pick
from searches.portfolio import PortfolioSettings, Progress, search

__all__ = ["ENOUGH", "Course", "Effort", "searched"]

ENOUGH = 1e-11
"""Error below which nothing is left but the rounding of float32: a search is over."""
_NEAR = 1e-5  # error with which a search is over, too, once its patience is spent
_CHOOSES = 4  # one row in so many chooses between equations, and is not fitted to


@dataclass
class Course:
    """What the searches of an output have cost so far, and who wants to know.

    Attributes:
        told: function that is called with every entry of the history and the most accurate equation; None: nobody
            wants to know.
        should_stop: function that says whether to end early.
        history: entries as of `searches.search_result.SearchResult`, of the searches of the whole output.
        evaluations: computations of one equation, of all searches.
        stopped: reason for the end of the last search.
    """

    told: Callable[[dict[str, float], Expression], None] | None = None
    should_stop: Callable[[], bool] = field(default=lambda: False)
    history: list[dict[str, float]] = field(default_factory=list)
    evaluations: int = 0
    stopped: str = "exact"
    begun: float = field(default_factory=time.perf_counter)

    def note(self, progress: Progress) -> None:
        """Add an entry."""
        best = min(progress.front, key=lambda each: each.error)
        entry: dict[str, float] = {
            "generation": 1 + (self.history[-1]["generation"] if self.history else 0),
            "seconds": time.perf_counter() - self.begun,
            "evaluations": self.evaluations + progress.evaluations,
            "best_nmse": best.error,
            "best_length": len(best.expression),
        }
        add_entry(self.history, entry)
        if self.told is not None:
            self.told(entry, best.expression)


@dataclass(frozen=True)
class Effort:
    """What a search may cost.

    Attributes:
        settings: settings of the portfolio; its budget of time is replaced.
        seconds: budget by the clock; infinite: the settings' evaluations end it.
        seed: random seed.
        workers: number of processes.
        patience: share of the time, after which an equation may be good enough.
        course: what is told of the search.
    """

    settings: PortfolioSettings
    seconds: float
    seed: int
    workers: int = 1
    patience: float = 1.0
    course: Course = field(default_factory=Course)


def searched(
    table: Table, effort: Effort, seeds: Sequence[Expression] = (), *, is_part: bool = False
) -> ParetoFront:
    """The front of one search.

    Args:
        table: rows of one output.
        effort: what the search may cost.
        seeds: equations to begin with.
        is_part: whether the output is a part of another one, whose errors say nothing of the whole.
    """
    target = table.outputs[:, 0]
    chooses = np.arange(len(target)) % _CHOOSES == _CHOOSES - 1
    if len(target) < 10 * _CHOOSES or np.ptp(target[chooses]) == 0 or np.ptp(target[~chooses]) == 0:
        chooses = np.zeros(len(target), dtype=bool)
    watch = _Watch(effort, is_part)
    result = search(
        table.inputs[~chooses],
        target[~chooses],
        replace(effort.settings, seconds=effort.seconds if math.isfinite(effort.seconds) else None),
        seed=effort.seed,
        validation=(table.inputs[chooses], target[chooses]) if chooses.any() else None,
        seeds=seeds,
        workers=effort.workers,
        on_progress=watch.see,
        should_stop=watch.is_enough,
    )
    course = effort.course
    course.evaluations += result.evaluations
    course.stopped = "exact" if result.stopped == "interrupted" and not watch.was_told else result.stopped
    return result.front


class _Watch:
    """Ends a search at the rounding of float32, and after a while where it has a good equation: others wait.

    Without a budget of time nothing depends on the clock, and so not on when this looks.
    """

    def __init__(self, effort: Effort, is_part: bool) -> None:
        self._course, self._is_part = effort.course, is_part
        self._patient_until = time.perf_counter() + effort.patience * effort.seconds
        self._error = math.inf
        self.was_told = False
        """Whether somebody wanted the search to end, rather than that it was good enough."""

    def see(self, progress: Progress) -> None:
        """Look at how far a search is."""
        if len(progress.front):
            self._error = pick(progress.front).error
            if not self._is_part:
                self._course.note(progress)

    def is_enough(self) -> bool:
        """Whether the search may end."""
        self.was_told = self._course.should_stop()
        if self.was_told or math.isinf(self._patient_until):
            return self.was_told
        return self._error < (_NEAR if time.perf_counter() > self._patient_until else ENOUGH)
