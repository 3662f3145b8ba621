"""The course of a structure search: how far it is, and what it has found, one generation at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from expressions.equation_learner.structure_space import StructureSpace
from expressions.expression import Expression
from foundation.schema import Check
from searches.common.broken_powers import spelled
from searches.common.history import add_entry
from searches.common.refinement import Refinement, finish_seconds
from searches.common.skeleton_fitting import Fitted, SkeletonFitter
from searches.common.whole_table import WholeTable
from searches.gumbel_structures.course_state import MOST_SEEN, course_state
from searches.gumbel_structures.proposers import Proposer
from searches.gumbel_structures.repository import Elite, StructureRepository
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.search_result import SearchResult

__all__ = ["Found", "Progress", "SearchCourse"]

_BETTER = 1e-3  # decrease of the best score that counts as progress
_FINISH_SHARE = 0.15  # of the time, kept for the last fit, pruning and rounding
_STARTS = 1_000_003  # tells the draws of a start from those of a generation

Found = tuple[list[tuple[Elite, Fitted]], list[int]]
"""New elites with their fits, and hashes of all skeletons that were tried."""


@dataclass
class Progress:
    """How far a search is, in plain numbers for its state on disk.

    Attributes:
        generations: generations done.
        instances: structures proposed.
        skeletons: skeletons that no earlier generation had tried.
        starts: number of times that the search began.
        seconds: time of earlier attempts.
        idle: new skeletons since the last progress of this start.
        best_score: lowest score of this start.
        best_nmse: lowest normalised error of all starts.
        stopped: reason for the end, empty while there is none.
    """

    generations: int = 0
    instances: int = 0
    skeletons: int = 0
    starts: int = 0
    seconds: float = 0.0
    idle: int = 0
    best_score: float = math.inf
    best_nmse: float = math.inf
    stopped: str = ""


class SearchCourse:
    """A search in progress; its owner calls `begin` and `generation`, and has the proposer learn in between.

    Args:
        inputs: `[rows, variables]`
        target: `[rows]`
        space: structures to search in.
        settings: settings of the search.
        seed: random seed for every draw of a start and of a fit.
        validation: held-out `(inputs, target)` for the final choice; training rows when not given.
        names: names of the variables in the history.

    Raises:
        ValueError: the data cannot be searched (see `RegressionTask`).

    Attributes:
        history: one entry for each improvement, with the equation as text.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        space: StructureSpace,
        settings: StructureSearchSettings,
        *,
        seed: int,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.space, self.settings, self.seed, self.names = space, settings, seed, names
        self.table = WholeTable(inputs, target, validation=validation)
        self.task = self.table.task(search_rows=settings.search_rows, seed=seed)
        self.fitter = SkeletonFitter(
            self.task.inputs,
            self.task.target,
            validation=self.task.validation,
            seed=seed,
            parsimony=settings.parsimony,
            longest=settings.longest,
            search_rows=settings.search_rows,
            screen_rows=settings.screen_rows,
            frequency_starts=settings.frequency_starts,
            starts=settings.starts,
        )
        self.repository = StructureRepository(
            settings.capacity, settings.power, settings.resampled, settings.fresh
        )
        self.progress = Progress()
        self.history: list[dict[str, Any]] = []
        self._seen: dict[int, None] = {}  # hashes of skeletons, those of other processes too, oldest first
        self._clock: float | None = None

    # --- generations ----------------------------------------------------------------------------------------

    def begin(self, proposer: Proposer) -> None:
        """Begin anew, by the same draws in all processes; the best equations are kept."""
        self.repository.clear()
        proposer.begin(np.random.default_rng([self.seed, _STARTS, self.progress.starts]))
        self.progress.starts += 1
        self.progress.best_score, self.progress.idle = math.inf, 0

    def examples(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Elites for the proposer to learn from; none where there are none yet.

        Returns:
            structures: choices of the elites. `[examples, places]`
            used: mask of the places that their skeletons depend on. `[examples, places]` bool
        """
        if len(self.repository):
            return self.repository.examples(self.settings.examples, rng)
        shape = (0, len(self.space.choices))
        return np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.bool_)

    def generation(
        self,
        proposer: Proposer,
        rng: np.random.Generator,
        exchange: Callable[[Found], list[Found]] = lambda mine: [mine],
    ) -> None:
        """Propose structures, fit the promising ones and keep the best; begin anew where nothing gets better.

        Args:
            proposer: source of new structures.
            rng: random numbers of this generation and process.
            exchange: gives the findings of all processes for those of this one, in the same order everywhere.
        """
        parts = exchange(self._find(proposer, rng))
        found = [each for founds, _ in parts for each in founds]
        self._count_new(dict.fromkeys(number for _, numbers in parts for number in numbers))
        self.repository.add([elite for elite, _ in found])
        for elite, fitted in found:
            self.fitter.note(elite.tokens, fitted)
        self.progress.generations += 1
        self.progress.instances += self.settings.proposals * len(parts)
        self._note_progress()
        if self.progress.idle > self.settings.patience:
            self.begin(proposer)

    def _find(self, proposer: Proposer, rng: np.random.Generator) -> Found:
        """New structures that are good enough, with their fits."""
        structures = proposer.propose(self.settings.proposals, rng)
        if len(self.repository):
            parents, anew = self.repository.parents(self.settings.proposals, rng)
            structures = np.where(anew, structures, parents)
        decoded = [self.space.decode(structure) for structure in structures]
        bar = self.repository.bar(self.settings.fitted_share)
        fits = self.fitter.fit([each.tokens for each in decoded], bar)
        found = [
            (Elite(fit.score, each.tokens, structure, each.used), fit)
            for fit, each, structure in zip(fits, decoded, structures, strict=True)
            if fit is not None
        ]
        return found, [hash(each.tokens) for each in decoded if len(each.tokens) <= self.settings.longest]

    def _count_new(self, tried: dict[int, None]) -> None:
        """Count the skeletons that no generation has tried before.

        Which these are is a part of the state, not what the fitter remembers: a resumed run must lose its patience
        when the uninterrupted one does.
        """
        new = len(tried.keys() - self._seen.keys())
        self._seen |= tried
        for number in list(self._seen)[: max(0, len(self._seen) - MOST_SEEN)]:
            del self._seen[number]
        self.progress.skeletons += new
        self.progress.idle += new

    def _note_progress(self) -> None:
        if not len(self.repository):
            return
        if self.repository.elites[0].score < self.progress.best_score - _BETTER:
            self.progress.best_score, self.progress.idle = self.repository.elites[0].score, 0
        error, equation = self._best()
        if error < self.progress.best_nmse:
            self.progress.best_nmse = error
            add_entry(
                self.history,
                {
                    "generation": self.progress.generations,
                    "instances": self.progress.instances,
                    "seconds": self.seconds,
                    "best_nmse": error,
                    "best_length": len(equation),
                    "equation": equation.infix(self.names),
                },
            )

    def _best(self) -> tuple[float, Expression]:
        return min(self.fitter.best.values(), key=lambda found: found[0])

    @property
    def equation(self) -> Expression | None:
        """The equation of lowest error so far."""
        return self._best()[1] if self.fitter.best else None

    # --- the end --------------------------------------------------------------------------------------------

    @property
    def finished(self) -> str | None:
        """Reason for the end that is the same in all processes, `exact` or `instances`; None: none yet."""
        if self.settings.stop_when_exact and self.fitter.exact:
            return "exact"
        limit = self.settings.instances
        return "instances" if limit is not None and self.progress.instances >= limit else None

    @property
    def late(self) -> bool:
        """Whether the time is used up, but for what is kept for the end."""
        seconds = self.settings.seconds
        if seconds is None:
            return False
        return self.seconds >= seconds - finish_seconds(_FINISH_SHARE, seconds) - self.table.scoring_seconds

    @property
    def share_spent(self) -> float:
        """Share of the budget that is spent, from 0 to 1."""
        limits = ((self.seconds, self.settings.seconds), (self.progress.instances, self.settings.instances))
        return min(1.0, max((used / limit for used, limit in limits if limit), default=0.0))

    def result(self) -> SearchResult:
        """The best equations of all lengths, fitted, pruned and rounded; the front may be empty."""
        refinement = Refinement(
            self.fitter.task,
            equations=self.settings.polish_equations,
            simplify_seconds=self.settings.simplify_seconds,
        )
        numbers = [{key: value for key, value in entry.items() if key != "equation"} for entry in self.history]
        progress = self.progress
        left = math.inf if self.settings.seconds is None else self.settings.seconds - self.seconds
        ends = time.perf_counter() + left  # the clock of the search may have been stopped
        front = refinement.front(self.fitter.best, seconds=left - self.table.scoring_seconds)
        front, notes = self.table.scored(front, self.task, ends - time.perf_counter())
        return SearchResult(
            front=spelled(front),
            history=[{**entry, "evaluations": entry["instances"]} for entry in numbers],
            seconds=self.seconds,
            evaluations=progress.instances,
            stopped=progress.stopped,
            counts={
                "generations": progress.generations,
                "skeletons": progress.skeletons,
                "starts": progress.starts,
            },
            notes=notes,
        )

    # --- time and state -------------------------------------------------------------------------------------

    def start_clock(self, begun: float | None = None) -> None:
        """Let time run.

        Args:
            begun: time by `time.perf_counter` from which on it counts; None: now.
        """
        self._clock = time.perf_counter() if begun is None else begun

    def stop_clock(self) -> None:
        """Keep the time so far, and let no more run."""
        self.progress.seconds, self._clock = self.seconds, None

    @property
    def seconds(self) -> float:
        """Time of the search, the attempts before a resume included."""
        return self.progress.seconds + (0.0 if self._clock is None else time.perf_counter() - self._clock)

    def state(self) -> dict[str, Any]:
        """The state as numbers, texts and arrays (`structures`, `used` and `seen`)."""
        elites, places = self.repository.elites, len(self.space.choices)
        return {
            "course": {**asdict(self.progress), "seconds": self.seconds},
            "history": self.history,
            "best": self.fitter.state(),
            "elites": [[elite.score, list(elite.tokens)] for elite in elites],
            "structures": _stacked([elite.structure for elite in elites], places, np.int16),
            "used": _stacked([elite.used for elite in elites], places, np.bool_),
            "seen": np.fromiter(self._seen, np.int64, len(self._seen)),
        }

    def state_check(self, memory: tuple[int, ...] | None = None) -> Check:
        """Check for what `state` returned, before `load` is given it.

        Args:
            memory: shape of what the proposer has learned, where that is a part of the state as `memory`.
        """
        return course_state(self.settings, self.space, self.fitter, memory)

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned.

        No elite counts for better than the best equation of its length, whose error is computed again.
        """
        self.progress = Progress(**state["course"])
        self.history = list(state["history"])
        self._seen = dict.fromkeys(state["seen"].tolist())
        self.fitter.load(state["best"])
        self.repository.clear()
        rows = zip(state["elites"], state["structures"], state["used"], strict=True)
        self.repository.add(
            [
                Elite(max(score, self.fitter.lowest_score(len(skeleton))), skeleton, chosen, used)
                for (score, skeleton), chosen, used in rows
            ]
        )


def _stacked(rows: Sequence[np.ndarray], places: int, dtype: type) -> np.ndarray:
    return np.stack(rows).astype(dtype) if rows else np.empty((0, places), dtype=dtype)
