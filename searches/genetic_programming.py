"""Symbolic regression by genetic programming: tables in, a Pareto front of equations out.

DEAP gives the trees and the operators of evolution; values, constants, canonical forms and scores come from
`expressions`, a whole population at a time. Islands evolve side by side, exchange their best along a ring, and are
spread over processes. The whole state is on disk after every generation, and a search that goes on from it equals
the uninterrupted one bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from expressions.expression import Expression
from foundation.schema import list_of, record
from searches.common.broken_powers import spelled
from searches.common.exactness import NEARLY_EXACT, ExactnessCheck
from searches.common.history import add_entry
from searches.common.refinement import Refinement, finish_seconds
from searches.common.regression_task import RegressionTask
from searches.common.search_state import COMMON_FIELDS, StateError, checked_state, fingerprint, save_state
from searches.common.whole_table import WholeTable
from searches.evolution.island_hosts import open_hosts
from searches.evolution.island_state import island_state
from searches.evolution.settings import GeneticProgrammingSettings
from searches.search_result import SearchResult

_CHECKED_AT_ONCE = 3  # nearly exact equations that are checked after a generation
_BUDGETS = frozenset(
    {
        "generations",
        "evaluations",
        "seconds",
        "finish_share",
        "finish_iterations",
        "polish_equations",
        "simplify_seconds",
        "stop_when_exact",
    }
)
"""Settings that a resumed search may change."""


def search(
    inputs: np.ndarray,
    target: np.ndarray,
    settings: GeneticProgrammingSettings | None = None,
    *,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    seeds: Sequence[Expression] = (),
    workers: int = 1,
    state_path: Path | str | None = None,
    on_generation: Callable[[dict[str, float], Expression], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Search for equations of `target` in terms of the columns of `inputs`.

    Args:
        inputs: finite values of the variables. `[rows, variables]`
        target: finite values, not all equal. `[rows]`
        settings: settings of the search; the defaults when not given.
        seed: random seed: same seed, settings and data, same result, however many workers (with budgets other than
            time).
        validation: held-out `(inputs, target)` by which equations are picked; training rows when not given.
        seeds: equations to start from, say from an archive.
        workers: number of processes to spread the islands over.
        state_path: file that holds the state after every generation; an existing one is gone on from.
        on_generation: function that is called with the newest entry of the history and the best equation so far.
        should_stop: function that says after every generation whether to end.

    Returns:
        The result; after Ctrl-C, that of the generations that were finished. Its `counts` are `generations`
        (number of the last one; the first population is 0); every entry of the history has
        `evaluations_per_second` and `front_size`, too. It ended (`stopped`) by `exact`, `generations`,
        `evaluations`, `seconds`, `interrupted` or `disk`.

    Raises:
        ValueError: the data cannot be searched (see `RegressionTask`), or no equation was finite on all rows.
        StateError: the state file belongs to another search or is damaged.
    """
    begun = time.perf_counter()
    settings = settings or GeneticProgrammingSettings()
    table = WholeTable(inputs, target, validation=validation)
    task = table.task(search_rows=settings.search_rows, linear_scaling=settings.linear_scaling, seed=seed)
    run = _Run(table, task, settings, seed, seeds, Path(state_path) if state_path else None, begun)
    with open_hosts(task, settings, seed, seeds, min(workers, settings.islands)) as hosts:
        stopped = run.evolve(hosts, on_generation, should_stop)
    return run.finished(stopped)


class _Run:
    """The course of one search: generations, budgets, state on disk, final equations."""

    def __init__(
        self,
        table: WholeTable,
        task: RegressionTask,
        settings: GeneticProgrammingSettings,
        seed: int,
        seeds: Sequence[Expression],
        state_path: Path | None,
        begun: float,
    ) -> None:
        self.table, self.task = table, task
        self.settings, self.seed, self.seeds = settings, seed, seeds
        self.state_path = state_path
        self.generation = -1  # the last finished one; the first population is number 0
        self.history: list[dict[str, float]] = []
        self.best: dict[int, tuple[float, Expression]] = {}
        self.evaluations = 0
        self._refinement = Refinement(
            task,
            iterations=settings.finish_iterations,
            equations=settings.polish_equations,
            simplify_seconds=settings.simplify_seconds,
            constants=settings.constants,
        )
        self._exactness = ExactnessCheck(table, task, self._refinement)
        self._seconds_before = 0.0
        self._start = begun

    @cached_property
    def identity(self) -> str:
        """Fingerprint of data and settings, by which a state is known."""
        settings = repr(sorted(_identity(self.settings).items()))
        seeds = [each.infix() for each in self.seeds]
        return fingerprint(self.table.inputs, self.table.target, settings, self.seed, seeds)

    @property
    def seconds(self) -> float:
        """Time spent, the attempts before a resume included."""
        return self._seconds_before + time.perf_counter() - self._start

    # --- generations --------------------------------------------------------------------------------------------

    def evolve(
        self,
        hosts: Any,
        on_generation: Callable[[dict[str, float], Expression], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> str:
        try:
            self._resume(hosts)
            while (reason := self._spent(should_stop)) is None:
                self._generation(hosts)
                if on_generation is not None and self.history:
                    on_generation(self.history[-1], self._leader()[1])
        except KeyboardInterrupt:
            if not self.best:
                raise
            reason = "interrupted"
        except StateError:  # after the first generation, what was found counts for more than the state
            if self.generation < 1:
                raise
            reason = "disk"
        return reason

    def _resume(self, hosts: Any) -> None:
        if self.state_path is None or not self.state_path.exists():
            return
        islands = self.settings.islands
        island = island_state(self.settings, self.task.variables)
        check = record({**COMMON_FIELDS, "islands": list_of(island, least=islands, most=islands)})
        state = checked_state(self.state_path, self.identity, check)
        hosts.load(state["islands"])
        self.generation = state["generation"]
        self.history = state["history"]
        self._seconds_before = state["seconds"]
        self._collect(hosts.reports())
        if self.best:
            self._check_exact()

    def _generation(self, hosts: Any) -> None:
        number = self.generation + 1
        reports = hosts.begin() if number == 0 else hosts.step()
        if number and self.settings.islands > 1 and number % self.settings.migration_interval == 0:
            reports = hosts.migrate(self.settings.migrants)
        self._collect(reports)
        self.generation = number
        if self.best:
            self._check_exact()
            self._record()
        if self.state_path is not None:
            save_state(
                self.state_path,
                {
                    "identity": self.identity,
                    "generation": self.generation,
                    "seconds": self.seconds,
                    "history": self.history,
                    "islands": hosts.states(),
                },
            )

    def _collect(self, reports: Iterable[dict[str, Any]]) -> None:
        # From the start each time: which of two equal errors counts must not depend on when they were found.
        evaluations = 0
        best: dict[int, tuple[float, Expression]] = {}
        for report in reports:
            evaluations += report["evaluations"]
            for size, (error, expression) in report["best"].items():
                if error < best.get(size, (np.inf,))[0]:
                    best[size] = (error, expression)
        self.evaluations, self.best = evaluations, best

    def _leader(self) -> tuple[float, Expression]:
        return self.best[min(self.best, key=lambda size: (self.best[size][0], size))]

    def _record(self) -> None:
        error, leader = self._leader()
        seconds = self.seconds
        add_entry(
            self.history,
            {
                "generation": self.generation,
                "seconds": seconds,
                "evaluations": self.evaluations,
                "evaluations_per_second": self.evaluations / max(seconds, 1e-9),
                "best_nmse": error,
                "best_length": len(leader),
                "front_size": _front_size(self.best),
            },
        )

    def _check_exact(self) -> None:
        """Whether one of the most accurate equations, the shortest first, is exact on every row and in float64."""
        near = [expression for _, (error, expression) in sorted(self.best.items()) if error <= NEARLY_EXACT]
        unknown = [expression for expression in near if not self._exactness.is_refuted(expression)]
        for expression in unknown[:_CHECKED_AT_ONCE]:
            if self._exactness.check(expression):
                return

    def _spent(self, should_stop: Callable[[], bool] | None) -> str | None:
        """Why the search must end now, None while it may go on."""
        settings = self.settings
        if self.generation < 0:  # however short the budget, there is something to show
            return None
        if self._exactness.exact is not None and settings.stop_when_exact:
            return "exact"
        if settings.generations is not None and self.generation >= settings.generations:
            return "generations"
        if settings.evaluations is not None and self.evaluations >= settings.evaluations:
            return "evaluations"
        if settings.seconds is not None and self.seconds >= settings.seconds - self._kept(settings.seconds):
            return "seconds"
        if should_stop is not None and should_stop():
            return "interrupted"
        return None

    def _kept(self, seconds: float) -> float:
        """How much of so many seconds is kept for the end."""
        return finish_seconds(self.settings.finish_share, seconds) + self.table.scoring_seconds

    def finished(self, stopped: str) -> SearchResult:
        """The result: fit the front on more rows, prune, simplify, snap, score it on all rows, and pick."""
        seconds = math.inf if self.settings.seconds is None else self.settings.seconds
        exact = self._exactness.exact
        left = seconds - self.table.scoring_seconds - self.seconds
        front = self._refinement.front(self.best, [] if exact is None else [exact], seconds=left)
        front, notes = self.table.scored(front, self.task, seconds - self.seconds)
        return SearchResult(
            front=spelled(front),
            history=self.history,
            seconds=self.seconds,
            evaluations=self.evaluations,
            stopped=stopped,
            counts={"generations": self.generation},
            notes=notes,
        )


def _identity(settings: GeneticProgrammingSettings) -> dict[str, Any]:
    """The settings that a resumed search must share; budgets may be raised."""
    return {key: value for key, value in asdict(settings).items() if key not in _BUDGETS}


def _front_size(best: Mapping[int, tuple[float, Expression]]) -> int:
    """How many of the best equations of their size are more accurate than all smaller ones."""
    lowest = [np.inf]
    for _, (error, _) in sorted(best.items()):
        if error < lowest[-1]:
            lowest.append(error)
    return len(lowest) - 1
