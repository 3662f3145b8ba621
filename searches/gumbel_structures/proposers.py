"""Sources of new structures: what a search asks of them, and the one that learns nothing."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from expressions.equation_learner.structure_space import StructureSpace

__all__ = ["Proposer", "RandomProposer"]

_OPEN_GATES = 0.27  # probability of an open gate; with more, most sums would have most terms


class Proposer(Protocol):
    """A source of new structures, which may learn from those that were found to be good.

    Attributes:
        memory: everything that was learned, as one array that goes into the state on disk.
    """

    memory: np.ndarray

    def begin(self, rng: np.random.Generator) -> None:
        """Forget what was learned: the search begins anew."""

    def propose(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """New structures. `[count, places]`"""

    def learn(self, structures: np.ndarray, used: np.ndarray) -> None:
        """Learn from elites.

        Args:
            structures: choices of the elites. `[elites, places]`
            used: mask of the places that their skeletons depend on. `[elites, places]` bool
        """


class RandomProposer:
    """Structures at random, every source of a connection with the same probability.

    Args:
        space: structures to draw from.
        open_gates: probability that a gate is open.
    """

    def __init__(self, space: StructureSpace, open_gates: float = _OPEN_GATES) -> None:
        self.space, self.open_gates = space, open_gates
        self.memory = np.empty(0)

    def begin(self, rng: np.random.Generator) -> None:
        """Nothing was learned."""

    def propose(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """New structures. `[count, places]`"""
        drawn = rng.random((count, len(self.space.choices)))
        return np.where(self.space.is_gate, drawn < self.open_gates, (drawn * self.space.choices).astype(np.int64))

    def learn(self, structures: np.ndarray, used: np.ndarray) -> None:
        """Nothing is learned."""
