"""Latents by the evolution strategy of GenSR's public code."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foundation.schema import Check, list_of, number, record, truth
from searches.common.search_state import packed_array, text_of
from searches.latent_space.random_streams import STREAMS
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.strategies import Outcome, Prior
from searches.latent_space.tables import PreparedTable, Table

__all__ = ["PaperStrategy"]

_LARGEST = 1e100  # magnitude of a number of the state


class PaperStrategy:
    """The evolution strategy of GenSR's public code.

    The first generation is the prior mean, half a population of prior means of noisy sub-samples, and half a
    population of the mean under normal noise of random width. Its best fifth, weighted as in CMA-ES, gives the
    mean, and the weighted prior variances of that fifth, brought to 0 to 1, the diagonal covariance; dimensions
    other than the `dimensions` widest do not move. From then on the paths of CMA-ES are followed in plain
    coordinates: the step path is not normalised by the covariance, and the mean is compared with that of the
    population. Skeletons seen before are worth 0, as are those that cannot be fitted; a fitness is R2, less
    `length / 400` from 0.5 on, and R2 above 0.99 ends it. The public code decodes by a beam of two and later stops
    at 0.95; here both are as in the paper.

    Args:
        table: table of the search, for the noisy sub-samples.
        encode: function that gives the priors of views.
        settings: settings of the search, of which `population`, `step`, and `dimensions` are read.
        seed: random seed of the search.
    """

    temperature = 0.0
    restarts = 0

    def __init__(
        self,
        table: PreparedTable,
        encode: Callable[[Sequence[Table]], Prior],
        settings: LatentSearchSettings,
        seed: int,
    ) -> None:
        self.settings, self.seed = settings, seed
        self.parents = max(1, settings.population // 5)
        ranks = np.arange(1, self.parents + 1)
        weights = math.log(self.parents + 0.5) - np.log(ranks)
        self.weights = weights / weights.sum()
        self.sigma = settings.step
        self.best_r2 = 0.0
        self._generation = -1
        self._views = encode([*table.views(1, seed), *_noisy(table, settings.population // 2, seed)])
        dimensions = self._views.means.shape[1]
        self.mean = self._views.means[0]
        self.step_path, self.path = np.zeros(dimensions), np.zeros(dimensions)
        self.variance = np.ones(dimensions)
        self._asked = np.empty((0, dimensions))

    @property
    def ended(self) -> str | None:
        """`r2` once an equation was good enough for the paper."""
        return "r2" if self.best_r2 > 0.99 else None

    def ask(self, generation: int) -> np.ndarray:
        """The mean itself comes first."""
        self._generation = generation
        rng = np.random.default_rng([self.seed, STREAMS["paper"], generation])
        if generation == 0:
            count = self.settings.population - (len(self._views.means) - 1)
            widths = 2.0 * rng.random((count, 1))
            noise = widths * rng.normal(size=(count, len(self.mean)))
            self._asked = np.concatenate([self._views.means, self.mean + noise])
        else:
            steps = rng.normal(size=(self.settings.population, len(self.mean)))
            moved = self.mean + self.sigma * np.sqrt(self.variance) * steps
            self._asked = np.concatenate([self.mean[None], moved])
        return self._asked

    def tell(self, outcome: Outcome) -> None:
        """Move the mean, and follow it with paths, variances and step."""
        r2 = np.maximum(0.0, 1.0 - outcome.errors)
        worth = np.where(r2 < 0.5, r2, r2 - outcome.lengths / 400.0)
        self.best_r2 = max(self.best_r2, float(r2.max()))
        fitness = np.where(outcome.known | ~np.isfinite(outcome.errors), 0.0, worth)
        chosen = np.argsort(-fitness, kind="stable")[: self.parents]
        if self._generation == 0:
            self._first_variance(chosen)
        self._move(self._asked[chosen])

    def _first_variance(self, chosen: np.ndarray) -> None:
        """From the priors of the best; copies of the mean under noise have the prior of the mean."""
        deviations = self._views.deviations[np.where(chosen < len(self._views.means), chosen, 0)]
        variance = np.exp(self.weights @ (2.0 * np.log(deviations)))
        spread = variance.max() - variance.min()
        variance = (variance - variance.min()) / spread if spread > 0 else np.ones_like(variance)
        moving = np.zeros(len(variance), dtype=bool)
        moving[np.argsort(-variance, kind="stable")[: self.settings.dimensions]] = True
        self._moving = moving
        self.variance = np.where(moving, variance, 0.0)

    def _move(self, best: np.ndarray) -> None:
        dimensions = len(self.mean)
        effective = 1.0 / float(np.sum(self.weights**2))
        cs = (effective + 2.0) / (dimensions + effective + 3.0)
        damping = 1.0 + 2.0 * max(0.0, math.sqrt(effective / dimensions) - 1.0) + cs
        cc = (4.0 + effective / dimensions) / (dimensions + 4.0 + 2.0 * effective / dimensions)
        c1 = 2.0 / ((dimensions + 1.3) ** 2 + effective)
        expected = math.sqrt(dimensions) * (1.0 - 1.0 / (4.0 * dimensions) + 1.0 / (21.0 * dimensions**2))
        mean = self.weights @ best
        shift = (mean - self._asked.mean(axis=0)) / self.sigma
        self.step_path = (1.0 - cs) * self.step_path + math.sqrt(cs * (2.0 - cs) * effective) * shift
        self.path = (1.0 - cc) * self.path + math.sqrt(cc * (2.0 - cc) * effective) * shift
        self.variance = np.where(self._moving, (1.0 - c1) * self.variance + c1 * self.path**2, 0.0)
        longer = float(np.linalg.norm(self.step_path)) / expected - 1.0
        self.sigma *= math.exp(min(700.0, cs / damping * longer))
        self.mean = mean

    def state(self) -> dict[str, Any]:
        """Mean, paths, variances, step size and best R2."""
        arrays = {name: text_of(getattr(self, name)) for name in ("mean", "step_path", "path", "variance")}
        moving = getattr(self, "_moving", np.empty(0, dtype=bool))
        return {**arrays, "moving": moving.tolist(), "sigma": self.sigma, "best_r2": self.best_r2}

    @property
    def state_check(self) -> Check:
        """Check for what `state` returned, before `load` is given it."""
        dimensions = len(self.mean)
        vector = packed_array(np.float64, least=dimensions, most=dimensions, size=_LARGEST)
        arrays = dict.fromkeys(("mean", "step_path", "path", "variance"), vector)
        moving = list_of(truth, least=dimensions, most=dimensions)
        return record({**arrays, "moving": moving, "sigma": number(0.0), "best_r2": number(0.0, 1.0)})

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state()`."""
        for name in ("mean", "step_path", "path", "variance"):
            setattr(self, name, state[name])
        self._moving = np.array(state["moving"], dtype=bool)
        self.sigma, self.best_r2 = state["sigma"], state["best_r2"]


def _noisy(table: PreparedTable, count: int, seed: int) -> list[Table]:
    """Half of the rows, at most two hundred, with more and more noise on the target, as in the public code."""
    rng = np.random.default_rng([seed, STREAMS["paper"]])
    rows = len(table.target)
    taken = 200 if rows > 200 else max(1, rows // 2)
    deviation = float(np.std(table.target))
    tables = []
    for each in range(count):
        noisy = table.target + 0.01 * (each / 5 + 1) * deviation * rng.normal(size=rows)
        chosen = rng.choice(rows, taken, replace=False)
        tables.append((table.inputs[chosen], noisy[chosen]))
    return tables
