"""The map of equations as a member of a portfolio: CMA-ES in its latent space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.expression import Expression
from expressions.skeleton import skeleton_of
from foundation.errors import UserError
from searches.common.regression_task import RegressionTask
from searches.latent_space.checked_map import CheckedMap
from searches.latent_space.equation_map import EquationMap, MapFile
from searches.latent_space.generations import LatentGenerations, scores_of
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.tables import PreparedTable
from searches.portfolio_members.member import Best, Offer

__all__ = ["LatentMember"]


class LatentMember:
    """A search in the latent space of a map, whose elites are also what the others find.

    The map is loaded at the first step, since torch takes seconds to import.

    Args:
        task: data of the search.
        offer: what the member needs to begin.
        latent_map: map of equations, or the file to load it from.
    """

    def __init__(self, task: RegressionTask, offer: Offer, latent_map: EquationMap | MapFile) -> None:
        self.task, self.offer = task, offer
        self.settings = LatentSearchSettings(
            search_rows=len(task.search_target), longest=offer.max_length, population=32
        )
        self.is_done = False
        self._map = latent_map
        self._table: PreparedTable | None = None
        self._generations: LatentGenerations | None = None
        self._waiting: list[Expression] = []
        self._number = 0

    @property
    def evaluations(self) -> int:
        """Computations of one equation on the search rows so far."""
        return 0 if self._generations is None else round(self._generations.scores.evaluations)

    @property
    def best(self) -> Best:
        """What the search has found so far, of the columns of the task."""
        if self._generations is None or self._table is None:
            return {}
        found = self._generations.scores.fitter.best
        return {size: (error, self._table.renamed(equation)) for size, (error, equation) in found.items()}

    @property
    def candidates(self) -> list[Expression]:
        """The best equations of every size."""
        return [equation for _, equation in self.best.values()]

    def take(self, equations: Sequence[Expression]) -> None:
        """Keep the equations until the next generation begins."""
        self._waiting += equations

    def step(self) -> None:
        """One generation; a map that has nothing to say about this table is done."""
        try:
            generations = self._generations or self._begin()
        except UserError:
            self.is_done = True
            return
        if self._waiting and self._table is not None:
            shown = set(self._table.columns)
            taken = [e for e in self._waiting if shown.issuperset(e.variables)]
            generations.scores.errors([skeleton_of(self._table.shown(e)) for e in taken])
            self._waiting = []
        generations.run(self._number)
        self._number += 1
        self.is_done = generations.strategy.ended is not None

    def _begin(self) -> LatentGenerations:
        task, settings = self.task, self.settings
        latent_map = self._map.load() if isinstance(self._map, MapFile) else self._map
        seed = int(np.random.SeedSequence(self.offer.seed).generate_state(1)[0])
        self._table = PreparedTable.of(task.search_inputs, task.search_target, latent_map.variables)
        asked = CheckedMap(latent_map, self._table, seed, 8 * settings.elites)
        scores = scores_of(self._table, settings, seed)
        self._generations = LatentGenerations(asked, self._table, scores, settings, seed)
        return self._generations
