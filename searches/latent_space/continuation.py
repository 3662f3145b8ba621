"""Genetic programming that goes on from what a latent search has found (`polish=gp`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.evolution.settings import GeneticProgrammingSettings
from searches.genetic_programming import search as evolve
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.tables import PreparedTable
from searches.search_result import SearchResult

__all__ = ["Continuation"]


@dataclass(frozen=True)
class Continuation:
    """The data and equations that the latent search passes to genetic programming.

    Genetic programming works on the columns in ordinary units, too, and on all of them, whatever the map was
    shown.

    Attributes:
        task: rows of the search that are refined on.
        settings: settings of the latent search; its keys `polish_*` are about what is done here.
        seed: random seed.
        seeds: equations to begin with, of all columns in ordinary units, the best first.
        searched_sums: whether regression has looked at all columns already.
        seconds: time that is left; None: no limit.
    """

    task: RegressionTask
    settings: LatentSearchSettings
    seed: int
    seeds: Sequence[Expression]
    searched_sums: bool
    seconds: float | None

    def run(
        self,
        state_path: Path | None,
        on_generation: Callable[[dict[str, float], Expression], None],
        should_stop: Callable[[], bool] | None,
    ) -> tuple[SearchResult, list[Expression]]:
        """The result, and the equations of its front in the table's own units.

        Args:
            state_path: file of the state; None: no state is kept.
            on_generation: see `searches.genetic_programming.search`.
            should_stop: see there.

        Raises:
            StateError: the state cannot be written, or belongs to another search.
        """
        task = self.task
        table = PreparedTable.of(task.inputs, task.target, task.variables)
        result = evolve(
            table.inputs,
            task.target,
            self._settings(),
            seed=self.seed,
            validation=None if task.validation is None else table.scaled(*task.validation),
            seeds=self.seeds,
            state_path=state_path,
            on_generation=on_generation,
            should_stop=should_stop,
        )
        return result, [table.restored(candidate.expression) for candidate in result.front]

    def _settings(self) -> GeneticProgrammingSettings:
        settings = self.settings
        return GeneticProgrammingSettings(
            operators=settings.polish_operators,
            search_rows=settings.search_rows,
            generations=settings.polish_generations,
            seconds=self.seconds,
            stop_when_exact=settings.stop_when_exact,
            finish_iterations=settings.finish_iterations,
            polish_equations=settings.polish_equations,
            simplify_seconds=settings.simplify_seconds,
            linked_sums=0 if self.searched_sums else GeneticProgrammingSettings.linked_sums,
        )
