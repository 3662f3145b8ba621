"""Maps of equations for the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expressions.skeleton import Skeleton

InputsAndTarget = tuple[np.ndarray, np.ndarray]


def load_map(weights: str) -> Any:
    """The map of a file, or `pretrained`, the one that comes with the package; one thread."""
    import torch

    from modules.networks.equation_map.latent_map import PRETRAINED, LatentMap

    torch.set_num_threads(1)
    return LatentMap.load(PRETRAINED if weights == "pretrained" else weights)


class ForeignPrior:
    """A map that takes every table for another one, and all else as it is: the control of a search.

    Args:
        latent_map: map to stand in for.
        table: inputs `[rows, variables]` and target `[rows]` whose prior stands for every other.
    """

    def __init__(self, latent_map: Any, table: InputsAndTarget) -> None:
        self._map, self._table = latent_map, table
        self.variables, self.latents, self.longest = latent_map.variables, latent_map.latents, latent_map.longest

    def prior(self, tables: Sequence[InputsAndTarget]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the other table, for each."""
        mean, deviation = self._map.prior([(self._table[0][:200], self._table[1][:200])])
        return np.repeat(mean, len(tables), axis=0), np.repeat(deviation, len(tables), axis=0)

    def posterior(self, table: InputsAndTarget, skeletons: Sequence[Skeleton]) -> tuple[np.ndarray, np.ndarray]:
        """What the map says itself."""
        found: tuple[np.ndarray, np.ndarray] = self._map.posterior(table, skeletons)
        return found

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        """What the map says itself."""
        found: list[Skeleton] = self._map.decode(latents, variables, temperature=temperature, seed=seed)
        return found
