"""Symbolic regression in the latent space of a map of equations: tables in, a Pareto front of equations out.

A map of equations (GenSR: Q. Li et al., "GenSR: symbolic regression based on equation generative space", ICLR
2026) has learned p(z | numbers), q(z | numbers, equation) and p(equation | z). The prior of the table at hand says
where to look; a strategy (`searches.latent_space.strategies`) proposes latents there, a generation at a time;
their skeletons are fitted, each once (`searches.latent_space.skeleton_scores`), and say where to look next. What
is not exact in the end may be taken up by genetic programming (`searches.latent_space.continuation`).

The whole state is on disk after every generation, and a search that goes on from it equals the uninterrupted one
bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from expressions.expression import Expression
from expressions.schema import program
from expressions.skeleton import skeleton_of
from foundation.errors import UserError
from foundation.schema import FormatError, list_of, record
from searches.common.broken_powers import spelled
from searches.common.exactness import NEARLY_EXACT, ExactnessCheck
from searches.common.history import add_entry
from searches.common.refinement import Refinement, finish_seconds, near_front
from searches.common.search_state import (
    COMMON_FIELDS,
    StateError,
    checked_state,
    count,
    fingerprint,
    save_state,
)
from searches.common.whole_table import WholeTable
from searches.direct.first_equations import first_equations
from searches.latent_space.checked_map import CheckedMap
from searches.latent_space.continuation import Continuation
from searches.latent_space.equation_map import EquationMap, MapFile
from searches.latent_space.generations import LatentGenerations, scores_of
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.strategies import Strategy
from searches.latent_space.tables import PreparedTable, Table
from searches.links.sums import seconds_of_sums, sums_of_parts
from searches.pareto_front import ParetoFront
from searches.search_result import SearchResult

__all__ = ["EquationMap", "LatentSearchSettings", "MapFile", "search"]

_JOINING_SHARE, _JOINING_SECONDS = 0.05, 0.5  # of the time, and at most so long, for the fronts of both searches
_LEAST_CONTINUED_SECONDS = 0.5  # below, genetic programming would not get beyond its first population
_MOST_SUMS = 10_000  # of a state
_SUMS_CHECKED = 3  # for exactness
_RECOMBINED = 24  # equations that are put together from parts of others at a time

OnGeneration = Callable[[dict[str, float], Expression], None]
ShouldStop = Callable[[], bool]


def search(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: LatentSearchSettings | None = None,
    *,
    latent_map: EquationMap | MapFile | None,
    seed: int,
    validation: Table | None = None,
    names: Sequence[str] | None = None,
    map_identity: str = "",
    state_path: Path | str | None = None,
    on_generation: OnGeneration | None = None,
    should_stop: ShouldStop | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        settings: settings of the search; the defaults when not given.
        latent_map: map of equations, or the file to load it from; None with `method=none`.
        seed: random seed: same seed, settings, data and map, same result (with budgets other than time).
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.
        names: names of the variables, for notes.
        map_identity: fingerprint of the map, where it is not a file: a state of a search with another map is not
            gone on from.
        state_path: file that holds the state after every generation; an existing one is gone on from. Genetic
            programming has its own beside it, with the ending `.polish`.
        on_generation: function that is called with the newest entry of the history and the best equation so far.
        should_stop: function that says after every generation whether to end.

    Returns:
        The result; after Ctrl-C, that of the generations that were finished. Its `counts` are `decodes` (decoded
        latents) and `skeletons` (different ones that were scored); every entry of the history has these two,
        `sigma` and `restarts`. It ended (`stopped`) by `exact`, `decodes`, `seconds`, `interrupted`, `disk`,
        `greedy` (all done), `r2` (good enough for the paper's strategy), `map` (the map cannot be searched) or, in
        genetic programming, `generations`.

    Raises:
        ValueError: the data cannot be searched, see `searches.common.whole_table.WholeTable`.
        StateError: the state file belongs to another search or is damaged.
    """
    begun = time.perf_counter()
    settings = settings or LatentSearchSettings()
    rows = WholeTable(inputs, target, validation=validation)
    if isinstance(latent_map, MapFile):
        map_identity, latent_map = latent_map.identity, latent_map.load()
    path = Path(state_path) if state_path else None
    run = _Run(latent_map, rows, settings, seed, names, map_identity, path, begun)
    stopped = run.generations(on_generation, should_stop)
    if run.is_continued(stopped):
        return run.continued(on_generation, should_stop)
    return run.result(stopped, run.finish())


class _Run:
    """The course of one search: generations, budgets, state on disk, final equations."""

    def __init__(
        self,
        latent_map: EquationMap | None,
        rows: WholeTable,
        settings: LatentSearchSettings,
        seed: int,
        names: Sequence[str] | None,
        map_identity: str,
        state_path: Path | None,
        begun: float,
    ) -> None:
        self._start, self._seconds_before = begun, 0.0
        self.settings, self.seed, self.state_path, self.map_identity = settings, seed, state_path, map_identity
        self.rows = rows
        self.task = task = rows.task(search_rows=settings.search_rows, seed=seed)
        known = task.variables if latent_map is None else latent_map.variables
        self.table = PreparedTable.of(task.inputs, task.target, known, names)
        self.map = None if latent_map is None else CheckedMap(latent_map, self.table, seed, 8 * settings.elites)
        self.notes = () if settings.method == "none" else self.table.notes
        self.scores = scores_of(self.table, settings, seed)
        self.refinement = Refinement(
            task,
            iterations=settings.finish_iterations,
            equations=settings.polish_equations,
            simplify_seconds=settings.simplify_seconds,
        )
        self.exactness = ExactnessCheck(rows, task, self.refinement)
        self.strategy: Strategy | None = None
        self.generation = -1  # the last finished one
        self.decodes = 0
        self.history: list[dict[str, float]] = []
        self.sums: list[Expression] = []
        """What regression has found in the columns shown."""

    @cached_property
    def identity(self) -> str:
        """Fingerprint of data, settings and map, by which a state is known."""
        settings = repr(sorted(_identity(self.settings).items()))
        return fingerprint(self.rows.inputs, self.rows.target, settings, self.seed, self.map_identity)

    @property
    def seconds(self) -> float:
        """Time spent, the attempts before a resume included."""
        return self._seconds_before + time.perf_counter() - self._start

    # --- generations --------------------------------------------------------------------------------------------

    def generations(self, on_generation: OnGeneration | None, should_stop: ShouldStop | None) -> str:
        """Generations until a budget is spent or an equation is exact; why it ended."""
        if self.settings.method == "none" or self.map is None:
            return "none"
        try:
            generations = LatentGenerations(self.map, self.table, self.scores, self.settings, self.seed)
            strategy = self.strategy = generations.strategy
            self._resume(strategy)
            while (reason := self._spent(strategy, should_stop)) is None:
                self._generation(generations)
                if on_generation is not None:
                    on_generation(self.history[-1], self._leader())
        except KeyboardInterrupt:
            if self.generation < 0:
                raise
            reason = "interrupted"
        except StateError:  # after the first generation, what was found counts for more than the state
            if self.generation < 1:
                raise
            reason = "disk"
        except UserError as error:
            self.notes = (*self.notes, f"the map cannot be searched on this table: {error}")
            reason = "map"
        return reason

    def _generation(self, generations: LatentGenerations) -> None:
        settings, number = self.settings, self.generation + 1
        if number == 0 and settings.linked_sums:
            self._begin_with_sums()
        self.decodes += generations.run(
            number, None if settings.decodes is None else settings.decodes - self.decodes
        )
        self.generation = number
        self._check_leader()
        if self.scores.elites and self.exactness.exact is None and settings.recombines_after(number):
            self._recombine()
        self._record(generations.strategy)
        self._save(generations.strategy)

    def _begin_with_sums(self) -> None:
        """What regression finds: the formula itself, or elites, and seeds for genetic programming."""
        settings, task = self.settings, self.scores.fitter.task
        self.sums = first_equations(
            task.search_inputs,
            task.search_target,
            settings.polish_operators,
            settings.linked_sums,
            seconds_of_sums(settings.seconds),
        )
        self._check_sums()
        if self.exactness.exact is None or not settings.stop_when_exact:
            self.scores.errors([skeleton_of(equation) for equation in self.sums])

    def _recombine(self) -> None:
        """Put equations together from parts of the best ones: they are scored, and may become elites.

        The best of every length are among these: elites may all be long.
        """
        task = self.scores.fitter.task
        best = [*near_front(self.scores.fitter.best), *(elite.expression for elite in self.scores.elites)]
        found = sums_of_parts(
            best,
            task.search_inputs,
            task.search_target,
            self.settings.polish_operators,
            _RECOMBINED,
            self._seconds_left(),
        )
        self.scores.errors([skeleton_of(equation) for equation in found])
        self._check_leader()

    def _leader(self) -> Expression:
        """The most accurate equation, without scale and offset, of the columns shown."""
        best = self.scores.fitter.best
        if not best:
            return Expression.constant(1.0)
        return best[min(best, key=lambda size: (best[size][0], size))][1]

    def _record(self, strategy: Strategy) -> None:
        best = self.scores.fitter.best
        add_entry(
            self.history,
            {
                "generation": self.generation,
                "seconds": self.seconds,
                "decodes": self.decodes,
                "skeletons": len(self.scores),
                "evaluations": round(self.scores.evaluations),
                "best_nmse": min((error for error, _ in best.values()), default=1.0),
                "best_length": len(self._leader()),
                "sigma": strategy.sigma,
                "restarts": strategy.restarts,
            },
        )

    # --- is it exact? is it time? -------------------------------------------------------------------------------

    def _check_leader(self) -> None:
        """Whether the most accurate equation is the formula itself, on every row and in float64."""
        best, leader = self.scores.fitter.best, self._leader()
        if best and min(error for error, _ in best.values()) <= NEARLY_EXACT:
            self._check(leader)

    def _check_sums(self) -> None:
        for equation in self.sums[:_SUMS_CHECKED]:
            if self.exactness.exact is None:
                self._check(equation)

    def _check(self, found: Expression) -> None:
        """Whether an equation of the columns shown is the formula."""
        if not self.exactness.is_refuted(found):
            equation = self.table.restored(found)
            self.exactness.check(found, equation, self._fixed(equation))

    def _fixed(self, equation: Expression) -> np.ndarray:
        """Constants that are the unit of a column. `[constants]` bool"""
        return np.isin(equation.constants, list(self.table.factors))

    def _spent(self, strategy: Strategy, should_stop: ShouldStop | None) -> str | None:
        """Why the search must end now, None while it may go on."""
        settings = self.settings
        if self.generation < 0:  # however short the budget, there is something to show
            return None
        if self.exactness.exact is not None and settings.stop_when_exact:
            return "exact"
        if strategy.ended is not None:
            return strategy.ended
        if settings.decodes is not None and self.decodes >= settings.decodes:
            return "decodes"
        if self._seconds_left() <= 0.0:
            return "seconds"
        if should_stop is not None and should_stop():
            return "interrupted"
        return None

    def _seconds_left(self) -> float:
        """Time for generations: until the last fit, or until genetic programming goes on."""
        settings = self.settings
        if settings.seconds is None:
            return math.inf
        ours = settings.seconds * (1.0 - settings.polish_share if settings.polish == "gp" else 1.0)
        return ours - finish_seconds(settings.finish_share, ours) - self.rows.scoring_seconds - self.seconds

    # --- on disk ------------------------------------------------------------------------------------------------

    def _save(self, strategy: Strategy) -> None:
        if self.state_path is None:
            return
        save_state(
            self.state_path,
            {
                "identity": self.identity,
                "generation": self.generation,
                "decodes": self.decodes,
                "seconds": self.seconds,
                "history": self.history,
                "strategy": strategy.state(),
                "scores": self.scores.state(),
                "sums": [[one.tokens.tolist(), one.constants.tolist()] for one in self.sums],
            },
        )

    def _resume(self, strategy: Strategy) -> None:
        if self.state_path is None or not self.state_path.exists():
            return
        fields = {
            **COMMON_FIELDS,
            "decodes": count,
            "strategy": strategy.state_check,
            "scores": self.scores.state_check,
            "sums": list_of(self._equation_shown, most=_MOST_SUMS),
        }
        state = checked_state(self.state_path, self.identity, record(fields), "data, settings, seed or map")
        self.generation, self.decodes = state["generation"], state["decodes"]
        self.history = state["history"]
        self._seconds_before = state["seconds"]
        self.scores.load(state["scores"])
        self.sums = state["sums"]
        strategy.load(state["strategy"])
        self._check_sums()
        self._check_leader()

    def _equation_shown(self, value: Any) -> Expression:
        """Check for an equation of the columns that the map is shown."""
        equation = program(value)
        if set(equation.variables) - set(range(len(self.table.columns))):
            raise FormatError("is an equation of other variables", "")
        return equation

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self, *, rough: bool = False) -> ParetoFront:
        """Fit on more rows in the table's own units, score on all rows; prune, simplify, round unless `rough`."""
        best = {
            size: (error, self.table.restored(equation))
            for size, (error, equation) in self.scores.fitter.best.items()
        }
        mean = self.refinement.judged(Expression.constant(float(self.task.target.mean())))
        known = [mean] + ([] if self.exactness.exact is None else [self.exactness.exact])
        if rough:
            return self.refinement.rough_front(best, known, self._fixed)
        return self.refinement.front(best, known, self._fixed, self._left - self.rows.scoring_seconds)

    @property
    def _left(self) -> float:
        """Time until the end of everything."""
        return math.inf if self.settings.seconds is None else self.settings.seconds - self.seconds

    def is_continued(self, stopped: str) -> bool:
        """Whether genetic programming is to go on from here."""
        settings = self.settings
        if settings.polish == "none" or stopped in ("interrupted", "disk"):
            return False
        if self.exactness.exact is not None and settings.stop_when_exact:
            return False
        left = self._left - self.rows.scoring_seconds
        return left > _LEAST_CONTINUED_SECONDS or settings.method == "none" or stopped == "map"

    def continued(self, on_generation: OnGeneration | None, should_stop: ShouldStop | None) -> SearchResult:
        """Genetic programming from the best equations, for the rest of the time; its front and ours as one.

        It prunes, simplifies and rounds what it ends with, so our own front is left rough.
        """
        spent = self.seconds
        everything_shown = len(self.table.columns) == self.task.variables
        left = None if self.settings.seconds is None else max(0.0, self._left - self._kept_for_both())
        further = Continuation(
            self.task, self.settings, self.seed, self._seeds(), bool(self.sums) and everything_shown, left
        )

        def count_on(entry: dict[str, float], best: Expression) -> None:
            if on_generation is not None:
                on_generation(self._counted_on(entry, spent), best)

        path = None if self.state_path is None else self.state_path.with_suffix(".polish")
        try:
            result, found = further.run(path, count_on, should_stop)
        except KeyboardInterrupt:
            return self.result("interrupted", self.finish())
        except StateError as error:
            if "cannot be written" not in str(error):
                raise
            return self.result("disk", self.finish())
        self.history = [*self.history, *(self._counted_on(entry, spent) for entry in result.history)]
        judged = [self.refinement.judged(equation) for equation in found]
        front = ParetoFront.of([*self.finish(rough=True), *judged])
        return self.result(result.stopped, front, result.evaluations)

    def _kept_for_both(self) -> float:
        """Time that is kept for putting both fronts together, and scoring them on all rows."""
        assert self.settings.seconds is not None
        return min(_JOINING_SHARE * self.settings.seconds, _JOINING_SECONDS) + self.rows.scoring_seconds

    def _seeds(self) -> list[Expression]:
        """The best equations for their size, the most accurate first, then those of the elites, then the sums."""
        best = near_front(self.scores.fitter.best)
        elites = [elite.expression for elite in self.scores.elites]
        chosen = list(dict.fromkeys([*reversed(best), *elites]))[: self.settings.polish_seeds]
        return [self.table.renamed(equation) for equation in [*chosen, *self.sums]]

    def _counted_on(self, entry: dict[str, float], spent: float) -> dict[str, float]:
        """An entry of genetic programming's history as one of this search's."""
        return {
            "generation": self.generation + 1 + entry["generation"],
            "seconds": spent + entry["seconds"],
            "decodes": self.decodes,
            "skeletons": len(self.scores),
            "evaluations": round(self.scores.evaluations) + entry["evaluations"],
            "best_nmse": entry["best_nmse"],
            "best_length": entry["best_length"],
            "sigma": 0.0,
            "restarts": 0 if self.strategy is None else self.strategy.restarts,
        }

    def result(self, stopped: str, front: ParetoFront, further_evaluations: int = 0) -> SearchResult:
        """Everything together, scored on all rows."""
        front, notes = self.rows.scored(front, self.task, self._left)
        return SearchResult(
            front=spelled(front),
            history=self.history,
            seconds=self.seconds,
            evaluations=round(self.scores.evaluations) + further_evaluations,
            stopped=stopped,
            counts={"decodes": self.decodes, "skeletons": len(self.scores)},
            notes=(*self.notes, *notes),
        )


def _identity(settings: LatentSearchSettings) -> dict[str, Any]:
    """The settings that a resumed search must share; budgets may be raised, and the end be another one."""
    free = {"seconds", "decodes", "stop_when_exact", "simplify_seconds"}
    ends = ("finish_", "polish")
    return {key: value for key, value in asdict(settings).items() if key not in free and not key.startswith(ends)}
