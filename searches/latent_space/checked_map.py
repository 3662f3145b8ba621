"""A map of equations, asked about one table: priors that are checked, posteriors that are remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.skeleton import Skeleton
from foundation.errors import UserError
from searches.latent_space.equation_map import EquationMap
from searches.latent_space.random_streams import STREAMS
from searches.latent_space.skeleton_scores import Elite
from searches.latent_space.strategies import Prior
from searches.latent_space.tables import PreparedTable, Table

__all__ = ["CheckedMap"]


class CheckedMap:
    """A map of equations for one table, with checked priors and cached posteriors.

    Args:
        latent_map: map of equations.
        table: table of the search.
        seed: random seed of the search.
        remembered: number of cached posteriors.
    """

    def __init__(self, latent_map: EquationMap, table: PreparedTable, seed: int, remembered: int) -> None:
        self.map, self.seed, self.remembered = latent_map, seed, remembered
        self.variables = len(table.columns)
        self.clean = table.views(1, seed)[0]
        """Inputs `[rows, columns]` and target `[rows]` of the clean view."""
        self._posteriors: dict[Skeleton, np.ndarray | None] = {}

    def prior(self, views: Sequence[Table]) -> Prior:
        """p(z | numbers) of several tables.

        Raises:
            UserError: it is not finite.
        """
        means, deviations = (np.asarray(part, dtype=np.float64) for part in self.map.prior(views))
        if not (np.isfinite(means).all() and np.isfinite(deviations).all() and (deviations > 0).all()):
            raise UserError("its prior is not finite")
        return Prior(means, deviations)

    def prior_of(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of p(z | numbers) of one table, each `[latents]`; raises as `prior` does."""
        prior = self.prior([table])
        return prior.means[0], prior.deviations[0]

    def posterior(self, elite: Elite) -> np.ndarray | None:
        """Mean of q(z | numbers, elite), remembered; None where the map cannot say, as of too long an elite.

        One elite a call: in a batch, its last bits would depend on the others, which a resumed search does not
        ask for again.
        """
        if elite.decoded not in self._posteriors:
            if len(self._posteriors) > self.remembered:
                self._posteriors.clear()
            try:
                mean, _ = self.map.posterior(self.clean, [elite.decoded])
                self._posteriors[elite.decoded] = np.asarray(mean[0], dtype=np.float64)
            except UserError:  # it was put together from several that the map has written
                self._posteriors[elite.decoded] = None
        return self._posteriors[elite.decoded]

    def decode(self, generation: int, latents: np.ndarray, temperature: float) -> list[Skeleton]:
        """A skeleton for every one of `latents [n, latents]` of a generation."""
        seed = int(np.random.SeedSequence([self.seed, STREAMS["decoding"], generation]).generate_state(1)[0])
        return self.map.decode(latents, self.variables, temperature=temperature, seed=seed)
