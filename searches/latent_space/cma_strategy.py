"""Latents by CMA-ES from the prior, and beside it around elites."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foundation.schema import Check, FormatError, list_of, number, record, whole
from searches.common.search_state import count, packed_array, text_of
from searches.latent_space.random_streams import STREAMS
from searches.latent_space.settings import LEAST_OWN, LatentSearchSettings
from searches.latent_space.skeleton_scores import Elite, shares_by_rank
from searches.latent_space.strategies import Outcome, Prior, prior_draws

__all__ = ["CMAStrategy"]

_BETTER = 1e-3  # that much lower must a score be to count as progress
_LARGEST_SCORE, _FARTHEST = 1e6, 1e9  # of a told score, and of a told point in prior standard deviations
_MOST_RESTARTS, _MOST_TOLD = 1_000_000, 200
_SIGMAS = (1e-3, 1e3)  # step sizes between which CMA-ES is still looking for something


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
        prior: priors of the views.
        settings: settings of the search; `rewritten` latents of a generation are not this strategy's.
        seed: random seed of the search.
        elites: function that gives the elites there are, best first.
        posterior: function that gives the posterior mean of an elite, `[latents]`; None where there is none.
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
        self._cma = _cma(len(self.moving), self.settings, [self.seed, STREAMS["cma"], self.restarts])
        self._told: list[dict[str, str]] = []  # since the start: what it takes to come to the same state again
        self._best, self._idle = math.inf, 0

    # --- a generation -------------------------------------------------------------------------------------------

    def ask(self, generation: int) -> np.ndarray:
        """Samples of CMA-ES first, then those around elites, then those of the prior."""
        elites = list(self.elites())
        rng = np.random.default_rng([self.seed, STREAMS["elites"], generation])
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
        plain = self.prior.samples(self.settings.plain, prior_draws(self.seed, generation))
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
        self._told.append({"scores": text_of(scores), "others": text_of(self._others)})
        best = float(outcome.scores.min())
        if best < self._best - _BETTER:
            self._best, self._idle = best, 0
        else:
            self._idle += 1
        is_long = len(self._told) >= _MOST_TOLD  # the state on disk holds all that was told
        if is_long or self._idle >= self.settings.patience or not _SIGMAS[0] < self.sigma < _SIGMAS[1]:
            self.restarts += 1
            self._start()

    def _learn(self, scores: np.ndarray, own: np.ndarray, others: np.ndarray) -> None:
        self._cma.tell([*own, *others.astype(np.float64)], scores.tolist())

    # --- on disk ------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What CMA-ES was told since it began: told the same again, it is in the same state."""
        return {"restarts": self.restarts, "told": self._told, "best": self._best, "idle": self._idle}

    @property
    def state_check(self) -> Check:
        """Check for what `state` returned, before `load` is given it."""
        settings, moving = self.settings, len(self.moving)
        most = settings.guided + settings.inject
        told = record(
            {
                "scores": packed_array(np.float64, least=settings.guided, most=most, size=_LARGEST_SCORE),
                "others": packed_array(np.float32, most=most * moving, size=_FARTHEST),
            }
        )

        def pair(value: Any) -> dict[str, np.ndarray]:
            found: dict[str, np.ndarray] = told(value)
            others, rest = divmod(len(found["others"]), moving)
            if rest or others >= len(found["scores"]):
                raise FormatError("has a number of points that does not go with its scores", "")
            return found

        return record(
            {
                "restarts": whole(0, _MOST_RESTARTS),
                "told": list_of(pair, most=_MOST_TOLD),
                "best": number(infinite=True),
                "idle": count,
            }
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Begin at the same view, and tell the same."""
        self.restarts = state["restarts"]
        self._start()
        for told in state["told"]:
            scores, others = told["scores"], told["others"].reshape(-1, len(self.moving))
            own = len(scores) - len(others)
            self._learn(scores, np.array(self._cma.ask(number=own)), others)
            self._told.append({name: text_of(numbers) for name, numbers in told.items()})
        self._best, self._idle = state["best"], state["idle"]


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
