"""The best structures that a Gumbel-max search has found, and new ones from them.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
    Algorithm 1: a new instance copies an elite, chosen by a power law on its rank, and draws 20 % of its
    connections anew. Here structures are hard, no two elites have the same skeleton, and some structures are drawn
    wholly anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Elite", "StructureRepository"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Elite:
    """A structure among the best.

    Attributes:
        score: score of its fitted skeleton; lower is better.
        tokens: program of its skeleton.
        structure: choices of its places. `[places]`
        used: mask of the places that its skeleton depends on. `[places]` bool
    """

    score: float
    tokens: Tokens
    structure: np.ndarray
    used: np.ndarray


class StructureRepository:
    """Elites by rank, each with a skeleton of its own.

    Args:
        capacity: most elites that are kept.
        power: exponent of the power law by which one is chosen, `rank ** -power`.
        resampled: share of a copy's places that are drawn anew.
        fresh: share of the new structures that copy no elite.
    """

    def __init__(
        self, capacity: int = 400, power: float = 1.5, resampled: float = 0.2, fresh: float = 0.1
    ) -> None:
        self.capacity, self.power = capacity, power
        self.resampled, self.fresh = resampled, fresh
        self.elites: list[Elite] = []
        self._known: set[Tokens] = set()

    def __len__(self) -> int:
        return len(self.elites)

    def bar(self, share: float) -> float:
        """Score of the elite at a share of the capacity, inf where there are not that many: what to beat."""
        rank = int(share * self.capacity)
        return self.elites[rank].score if rank < len(self.elites) else np.inf

    def add(self, candidates: Sequence[Elite]) -> None:
        """Take in those candidates that are new and good enough."""
        for candidate in candidates:
            if candidate.tokens not in self._known:
                self._known.add(candidate.tokens)
                self.elites.append(candidate)
        self.elites.sort(key=lambda elite: (elite.score, elite.tokens))
        for dropped in self.elites[self.capacity :]:
            self._known.remove(dropped.tokens)
        del self.elites[self.capacity :]

    def clear(self) -> None:
        """Forget all."""
        self.elites, self._known = [], set()

    def parents(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What new structures copy, and which places of it they draw anew.

        At least one place that matters is drawn anew: most of a large network is idle.

        Returns:
            structures: copies of elites. `[count, places]`
            anew: mask of the places to draw anew. `[count, places]` bool
        """
        weights = np.arange(1.0, len(self.elites) + 1) ** -self.power
        chosen = [self.elites[k] for k in rng.choice(len(self.elites), count, p=weights / weights.sum())]
        structures = np.stack([elite.structure for elite in chosen])
        used = np.stack([elite.used for elite in chosen])
        anew = rng.random(structures.shape) < self.resampled
        one = np.argmax(rng.random(structures.shape) * used, axis=1)
        anew[np.arange(count), one] = True
        anew[rng.random(count) < self.fresh] = True
        return structures, anew

    def examples(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Elites to learn from, all with the same probability.

        Returns:
            structures: choices of the elites. `[count, places]`
            used: mask of the places that their skeletons depend on. `[count, places]` bool
        """
        chosen = [self.elites[k] for k in rng.integers(len(self.elites), size=count)]
        return np.stack([elite.structure for elite in chosen]), np.stack([elite.used for elite in chosen])
