"""Strategies, which propose the latents of a generation: their interface, and the two that sample the prior alone.

A strategy proposes a generation of latents and then receives the scores of their decoded skeletons. Its state is
plain numbers and texts. CMA-ES with elites is in `searches.latent_space.cma_strategy`, the strategy of GenSR's
public code in `searches.latent_space.paper_strategy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from foundation.schema import Check, choice, optional, record
from searches.latent_space.random_streams import STREAMS
from searches.latent_space.settings import LatentSearchSettings

__all__ = ["GreedyStrategy", "Outcome", "Prior", "PriorStrategy", "Strategy", "prior_draws"]


@dataclass(frozen=True)
class Outcome:
    """Results of a generation of latents; all arrays are `[latents]`.

    Attributes:
        errors: normalised squared errors, inf where there is none.
        scores: `log(error) + parsimony * length`, finite.
        lengths: tokens of the skeletons.
        known: whether a skeleton had been scored before this generation.
    """

    errors: np.ndarray
    scores: np.ndarray
    lengths: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Prior:
    """p(z | numbers) of several views of a table.

    Attributes:
        means, deviations: `[views, latents]`.
    """

    means: np.ndarray
    deviations: np.ndarray

    def sample(self, view: int, rng: np.random.Generator) -> np.ndarray:
        """One latent. `[latents]`"""
        return np.asarray(self.means[view] + self.deviations[view] * rng.normal(size=self.means.shape[1]))

    def samples(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Half of them from the clean view, the others from all others in turn. `[count, latents]`"""
        others = len(self.means) - 1
        views = [1 + (k // 2) % others if k % 2 and others else 0 for k in range(count)]
        return np.array([self.sample(view, rng) for view in views]).reshape(count, self.means.shape[1])


class Strategy(Protocol):
    """Interface of a strategy."""

    @property
    def sigma(self) -> float:
        """Its step size, for the record; 0 where there is none."""

    @property
    def restarts(self) -> int:
        """How often it has begun anew."""

    @property
    def temperature(self) -> float:
        """Temperature at which its latents are decoded."""

    def ask(self, generation: int) -> np.ndarray:
        """The latents of a generation. `[population, latents]`"""

    def tell(self, outcome: Outcome) -> None:
        """Learn from the results of the generation."""

    @property
    def ended(self) -> str | None:
        """Why it proposes nothing more, None while it does."""

    def state(self) -> dict[str, Any]:
        """Numbers and texts to go on from."""

    @property
    def state_check(self) -> Check:
        """Check for these, before `load` is given them."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from them."""


class PriorStrategy:
    """Fresh samples of the prior in every generation."""

    sigma, restarts = 0.0, 0
    ended: str | None = None

    def __init__(self, prior: Prior, settings: LatentSearchSettings, seed: int) -> None:
        self.prior, self.seed = prior, seed
        self.population, self.temperature = settings.population, settings.temperature

    def ask(self, generation: int) -> np.ndarray:
        """Samples of the prior. `[population, latents]`"""
        return self.prior.samples(self.population, prior_draws(self.seed, generation))

    def tell(self, outcome: Outcome) -> None:
        """Learn nothing."""
        pass

    def state(self) -> dict[str, Any]:
        """No state: the generation alone determines the samples."""
        return {}

    state_check = staticmethod(record({}))
    """Check for no state."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""
        pass


def prior_draws(seed: int, generation: int) -> np.random.Generator:
    """The generator of a generation's fresh samples of the prior."""
    return np.random.default_rng([seed, STREAMS["prior"], generation])


class GreedyStrategy:
    """The mean of the clean view's prior, once, each token the most probable one."""

    sigma, restarts, temperature = 0.0, 0, 0.0

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.ended: str | None = None

    def ask(self, generation: int) -> np.ndarray:
        """The mean of the clean view's prior. `[1, latents]`"""
        return self.prior.means[:1]

    def tell(self, outcome: Outcome) -> None:
        """End after this one generation."""
        self.ended = "greedy"

    def state(self) -> dict[str, Any]:
        """Whether the mean has been decoded."""
        return {"ended": self.ended}

    state_check = staticmethod(record({"ended": optional(choice("greedy"))}))
    """Check for what `state` returned, before `load` is given it."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state()`."""
        self.ended = state["ended"]
