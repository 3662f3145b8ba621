"""How the next latents are proposed: by CMA-ES with elites, by the prior alone, or as GenSR's public code does.

A strategy is asked for a generation of latents and told what their decoded skeletons were worth. Its state is
plain numbers and texts. Everything random comes from generators that are seeded by the search's seed and the
number of the generation or start, so that a state need not hold any; NumPy's global generator is never touched.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from searches.latent_space.settings import LEAST_OWN, LatentSearchSettings
from searches.latent_space.skeleton_scores import Elite, shares_by_rank
from searches.latent_space.tables import PreparedTable, Table

__all__ = ["CMAStrategy", "GreedyStrategy", "Outcome", "PaperStrategy", "Prior", "PriorStrategy", "Strategy"]

_BETTER = 1e-3  # that much lower must a score be to count as progress
_SIGMAS = (1e-3, 1e3)  # step sizes between which CMA-ES is still looking for something
_STREAMS = {"elites": 2, "cma": 3, "prior": 5, "paper": 6}  # of random numbers, beside each other


@dataclass(frozen=True)
class Outcome:
    """What became of a generation of latents; all arrays are `[latents]`.

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
    """What the search needs of a strategy."""

    @property
    def sigma(self) -> float:
        """Its step size, for the record; 0 where there is none."""

    @property
    def restarts(self) -> int:
        """How often it has begun anew."""

    @property
    def temperature(self) -> float:
        """At which its latents are decoded."""

    def ask(self, generation: int) -> np.ndarray:
        """The latents of a generation. `[population, latents]`"""

    def tell(self, outcome: Outcome) -> None:
        """What became of them."""

    @property
    def ended(self) -> str | None:
        """Why it proposes nothing more, None while it does."""

    def state(self) -> dict[str, Any]:
        """Numbers and texts to go on from."""

    def load(self, state: dict[str, Any]) -> None:
        """Go on from them."""


class PriorStrategy:
    """Fresh samples of the prior in every generation."""

    sigma, restarts = 0.0, 0
    ended: str | None = None

    def __init__(self, prior: Prior, settings: LatentSearchSettings, seed: int) -> None:
        self.prior, self.seed = prior, seed
        self.population, self.temperature = settings.population, settings.temperature

    def ask(self, generation: int) -> np.ndarray:
        return self.prior.samples(self.population, _prior_draws(self.seed, generation))

    def tell(self, outcome: Outcome) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        pass


def _prior_draws(seed: int, generation: int) -> np.random.Generator:
    return np.random.default_rng([seed, _STREAMS["prior"], generation])


class GreedyStrategy:
    """The mean of the clean view's prior, once, each token the most probable one."""

    sigma, restarts, temperature = 0.0, 0, 0.0

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.ended: str | None = None

    def ask(self, generation: int) -> np.ndarray:
        return self.prior.means[:1]

    def tell(self, outcome: Outcome) -> None:
        self.ended = "greedy"

    def state(self) -> dict[str, Any]:
        return {"ended": self.ended}

    def load(self, state: dict[str, Any]) -> None:
        self.ended = state["ended"]


class CMAStrategy:
    """CMA-ES from the prior, and beside it elites and fresh samples of the prior.

    CMA-ES (N. Hansen and A. Ostermeier, Completely derandomized self-adaptation in evolution strategies, 2001,
    here with a diagonal covariance: R. Ros and N. Hansen, A simple modification in CMA-ES achieving linear time
    and space complexity, 2008) moves in coordinates u of which the prior is the unit normal distribution,
    `z = mean + deviation * u`, and only in those dimensions whose prior is widest.

    A share of a generation does not come from its distribution but from around elites, where q(z | numbers,
    skeleton) has its mean: `z = m + sqrt(1 - step**2) * (mean of q - m) + step * deviation * noise` with the
    prior's mean m and deviation, which for a latent that is distributed as the prior gives one that is, too
    (as in S. L. Cotter et al., MCMC methods for functions, 2013). So what was found stays within reach
    however far CMA-ES has gone, and a skeleton that came of an improbable choice of tokens gets a latent that
    stands for it. CMA-ES is told about these as about its own samples, and of the means themselves with the
    scores that their skeletons have, which draws it to where elites are; points that lie further from its
    mean than its own would are clipped (N. Hansen, Injecting external solutions into CMA-ES, 2011).

    A share of a generation is what sampling alone would try, so that a search that learns the wrong thing still
    finds what sampling finds. CMA-ES is not told about these.

    Args:
        prior: of the views.
        settings: of the search; `rewritten` latents of a generation are not this strategy's.
        seed: of the search.
        elites: gives the elites there are, best first.
        posterior: mean of the posterior of an elite, `[latents]`; None where there is none.
    """

    def __init__(
        self,
        prior: Prior,
        settings: LatentSearchSettings,
        seed: int,
        elites: Callable[[], Sequence[Elite]],
        posterior: Callable[[Elite], np.ndarray | None],
    ) -> None:
        self.prior, self.settings, self.seed = prior, settings, seed
        self.temperature = settings.temperature
        self.elites, self.posterior = elites, posterior
        self.ended: str | None = None
        widest = np.argsort(-prior.deviations[0], kind="stable")[: settings.dimensions]
        self.moving = np.sort(widest)
        self.restarts = 0
        self._start()

    @property
    def sigma(self) -> float:
        """The step size of CMA-ES, in prior standard deviations."""
        return float(self._cma.sigma)

    def _start(self) -> None:
        """Begin at the prior of the next view."""
        self.view = self.restarts % len(self.prior.means)
        self._cma = _cma(len(self.moving), self.settings, [self.seed, _STREAMS["cma"], self.restarts])
        self._told: list[dict[str, str]] = []  # since the start: what it takes to come to the same state again
        self._best, self._idle = math.inf, 0

    # --- a generation -------------------------------------------------------------------------------------------

    def ask(self, generation: int) -> np.ndarray:
        """Samples of CMA-ES first, then those around elites, then those of the prior."""
        elites = list(self.elites())
        rng = np.random.default_rng([self.seed, _STREAMS["elites"], generation])
        around = self._around(elites, rng)
        injected = self._injected(elites, rng)
        own = self.settings.guided - len(around)
        self._own = np.array(self._cma.ask(number=own))
        latents = np.repeat(self.prior.means[self.view][None], own, axis=0)
        latents[:, self.moving] += self.prior.deviations[self.view][self.moving] * self._own
        foreign = np.concatenate([around, *(place[None] for _, place in injected)])
        here = (foreign - self.prior.means[self.view]) / self.prior.deviations[self.view]
        self._others = here[:, self.moving].astype(np.float32)  # as they are kept on disk
        self._known_scores = np.array([elite.score for elite, _ in injected])
        plain = self.prior.samples(self.settings.plain, _prior_draws(self.seed, generation))
        return np.concatenate([latents, around, plain])

    def _around(self, elites: Sequence[Elite], rng: np.random.Generator) -> np.ndarray:
        """Latents near those of elites: with `elite_step` 1, samples of the prior. `[some, latents]`"""
        latents = self.prior.means.shape[1]
        guided = self.settings.guided
        count = min(round(self.settings.elite_share * guided), guided - LEAST_OWN) if elites else 0
        if not count:
            return np.empty((0, latents))
        shares = shares_by_rank(len(elites), self.settings.power)
        parents = [elites[k] for k in rng.choice(len(elites), count, p=shares)]
        placed = [place for elite in parents if (place := self.posterior(elite)) is not None]
        if not placed:
            return np.empty((0, latents))
        mean, step = self.prior.means[0], self.settings.elite_step
        noise = self.prior.deviations[0] * rng.normal(size=(len(placed), latents))
        return np.asarray(mean + math.sqrt(1.0 - step**2) * (np.stack(placed) - mean) + step * noise)

    def _injected(self, elites: Sequence[Elite], rng: np.random.Generator) -> list[tuple[Elite, np.ndarray]]:
        """Different elites that CMA-ES is told about, and where; their scores are known, so nothing is decoded."""
        count = min(self.settings.inject, len(elites))
        if not count:
            return []
        shares = shares_by_rank(len(elites), self.settings.power)
        chosen = rng.choice(len(elites), count, replace=False, p=shares)
        found = [(elites[k], self.posterior(elites[k])) for k in chosen]
        return [(elite, place) for elite, place in found if place is not None]

    def tell(self, outcome: Outcome) -> None:
        """Let CMA-ES learn, or begin anew."""
        scores = np.concatenate([outcome.scores[: self.settings.guided], self._known_scores])
        self._learn(scores, self._own, self._others)
        self._told.append({"scores": _text(scores), "others": _text(self._others)})
        best = float(outcome.scores.min())
        if best < self._best - _BETTER:
            self._best, self._idle = best, 0
        else:
            self._idle += 1
        if self._idle >= self.settings.patience or not _SIGMAS[0] < self.sigma < _SIGMAS[1]:
            self.restarts += 1
            self._start()

    def _learn(self, scores: np.ndarray, own: np.ndarray, others: np.ndarray) -> None:
        self._cma.tell([*own, *others.astype(np.float64)], scores.tolist())

    # --- on disk ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What CMA-ES was told since it began: told the same again, it is in the same state."""
        return {"restarts": self.restarts, "told": self._told, "best": self._best, "idle": self._idle}

    def load(self, state: dict[str, Any]) -> None:
        """Begin at the same view, and tell the same."""
        self.restarts = state["restarts"]
        self._start()
        for told in state["told"]:
            scores = _array(told["scores"], np.float64)
            others = _array(told["others"], np.float32).reshape(-1, len(self.moving))
            own = len(scores) - len(others)
            self._learn(scores, np.array(self._cma.ask(number=own)), others)
        self._told, self._best, self._idle = list(state["told"]), state["best"], state["idle"]


def _cma(dimensions: int, settings: LatentSearchSettings, seed: Sequence[int]) -> Any:
    """A silent CMA-ES with a generator of its own."""
    import cma  # takes a second, and not every method needs it

    rng = np.random.default_rng(seed)
    # Negative weights would drive it away from points that it has not made: its manual advises against them.
    options = {
        "CMA_diagonal": True,
        "CMA_active": False,
        "popsize": settings.guided,
        "randn": lambda *shape: rng.normal(size=shape),
        "seed": np.nan,  # 0 would be the clock, and any other number would seed NumPy's own generator
        "verbose": -9,
        "verb_log": 0,
    }
    return cma.CMAEvolutionStrategy(np.zeros(dimensions), settings.step, options)


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
        table: the table, for the noisy sub-samples.
        encode: prior of views.
        settings: of the search; `population`, `step`, and `dimensions` are read.
        seed: of the search.
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
        rng = np.random.default_rng([self.seed, _STREAMS["paper"], generation])
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
        arrays = {name: _text(getattr(self, name)) for name in ("mean", "step_path", "path", "variance")}
        moving = getattr(self, "_moving", np.empty(0, dtype=bool))
        return {**arrays, "moving": moving.tolist(), "sigma": self.sigma, "best_r2": self.best_r2}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("mean", "step_path", "path", "variance"):
            setattr(self, name, _array(state[name], np.float64))
        self._moving = np.array(state["moving"], dtype=bool)
        self.sigma, self.best_r2 = state["sigma"], state["best_r2"]


def _noisy(table: PreparedTable, count: int, seed: int) -> list[Table]:
    """Half of the rows, at most two hundred, with more and more noise on the target, as in the public code."""
    rng = np.random.default_rng([seed, _STREAMS["paper"]])
    rows = len(table.target)
    taken = 200 if rows > 200 else max(1, rows // 2)
    deviation = float(np.std(table.target))
    tables = []
    for number in range(count):
        noisy = table.target + 0.01 * (number / 5 + 1) * deviation * rng.normal(size=rows)
        chosen = rng.choice(rows, taken, replace=False)
        tables.append((table.inputs[chosen], noisy[chosen]))
    return tables


def _text(numbers: np.ndarray) -> str:
    """Every bit of an array."""
    return base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode()


def _array(text: str, kind: type) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind).copy()
