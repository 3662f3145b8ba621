"""What the latent search needs of a trained map of equations, and the file that such a map is loaded from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from expressions.skeleton import Skeleton
from searches.latent_space.tables import Table

__all__ = ["EquationMap", "MapFile"]


class EquationMap(Protocol):
    """A trained map between tables, equations and latents. NumPy in and out, float64."""

    variables: int
    """Number of variables that the map knows; tables have as many or fewer."""
    latents: int
    """Number of latents of an equation."""

    def prior(self, tables: Sequence[Table]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of p(z | numbers). Each `[tables, latents]`"""

    def posterior(self, table: Table, skeletons: Sequence[Skeleton]) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of q(z | numbers, equation). Each `[skeletons, latents]`"""

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        """A skeleton for every one of `latents [n, latents]`, of the first `variables` variables."""


@dataclass(frozen=True)
class MapFile:
    """A map of equations on disk; it can be pickled.

    Attributes:
        path: file with the weights.
        map_class: place of the class that reads it, `package.module.Class`, by `load(path, device=...)`.
        identity: fingerprint of the weights.
        device: device that the map runs on.
    """

    path: str
    map_class: str
    identity: str
    device: str = "cpu"

    def load(self) -> EquationMap:
        """The map, on one thread where it runs on the processor: the other cores have searches of their own."""
        module, name = self.map_class.rsplit(".", 1)
        kind = getattr(importlib.import_module(module), name)
        if self.device == "cpu" and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        loaded: EquationMap = kind.load(self.path, device=self.device)
        return loaded
