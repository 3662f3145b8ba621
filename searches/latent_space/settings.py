"""Settings of a search in the latent space of a map of equations, checked as soon as they are given.

Imports nothing heavy, so that a command line can be refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.settings import Settings, SettingsError, setting
from searches.evolution.settings import DEFAULT_OPERATORS, check_operators

__all__ = ["LEAST_OWN", "METHODS", "LatentSearchSettings"]

METHODS = ("cmaes", "prior", "greedy", "paper", "none")
_BYTES_A_LATENT = 100_000  # of a latent while it is decoded, and of a view of the table
LEAST_OWN = 2
"""Smallest number of samples of CMA-ES in a generation: `cma` fails when it is asked for one at a time."""


@dataclass(frozen=True, kw_only=True)
class LatentSearchSettings(Settings):
    """Settings of a search; the defaults are ours, `search=cmaes_paper` holds the paper's.

    Attributes:
        method: how latents are proposed.
            `cmaes`: CMA-ES from the prior of the table, with elites injected through their posteriors, and samples
                of the priors of rewritten targets beside it.
            `prior`: fresh samples of the prior, nothing learned: what the others must beat at equal `decodes`.
            `greedy`: the prior mean, decoded greedily, once.
            `paper`: the evolution strategy of GenSR's public code, see
                `searches.latent_space.paper_strategy.PaperStrategy`.
            `none`: no latent at all; with `polish=gp`, genetic programming alone at the same budget.
        seconds: budget of the whole search by the clock, from the first encoding to the last rounding; None: no
            limit.
        decodes: largest number of decoded latents; None: no limit.
        views: number of versions of the table (sub-samples, noise) whose priors are taken; the first is clean.
        dimensions: number of latents that move, those of largest prior deviation.
        population: number of latents in a generation. Large generations are cheaper: on one core a latent takes 8
            to 10 ms in a generation of 64, and 28 ms in one of 16. Under a budget of decodes instead of seconds,
            small generations learn more often: 16, with `prior_share=0`, `rewritten_share=0.6`,
            `question_samples=1`.
        prior_share: share of a generation of `cmaes` that is fresh samples of the prior, nothing learned.
        step: initial step of CMA-ES, in prior standard deviations.
        temperature: temperature of the decoder's sampling; 0: the most probable token.
        parsimony: amount by which a further token must lower the logarithm of the normalised squared error.
        inject: number of elites in a generation whose posterior means CMA-ES is told about, with their scores; 0:
            none.
        elite_share: share of what is neither plain nor rewritten that is sampled around posterior means of elites;
            0: none.
        elite_step: distance of these samples, 0 to 1: 0 is the mean itself, 1 a sample of the prior.
        rewritten_share: share of a generation of `cmaes` that is sampled from the priors of rewritten targets, see
            `searches.latent_space.target_rewriting`; 0: none.
        question_samples: number of samples for one rewritten target in a generation.
        linked_sums: number of equations of regression alone (`searches.links.sums`: a few seconds, and a
            quarter of `seconds` at most) that the search begins with, beside the first latents; 0: none, until
            genetic programming finds its own.
        recombine_every: generations of `cmaes` after which equations are put together from parts of the elites, by
            regression (`searches.links.sums.sums_of_parts`), and scored as what is decoded; 0: never.
        elites: number of skeletons that are remembered as elites.
        power: exponent of the power law on its rank by which an elite is drawn.
        patience: number of generations without progress after which CMA-ES begins anew, at the next view.
        fitted_share: share of the elites down to which a screened skeleton must reach to be fitted.
        longest: number of tokens beyond which a skeleton is not looked at.
        search_rows: number of rows that constants are fitted on.
        screen_rows: number of rows of the first, quick fit, see `searches.common.skeleton_fitting`.
        frequency_starts: number of frequencies that are tried inside a sine or cosine.
        starts: number of starting points of the quick fit. A skeleton is fitted once: its constants get more
            starts than elsewhere.
        screen_iterations: number of steps of the quick fit.
        fit_iterations: number of steps of the full fit.
        stop_when_exact: whether the search ends as soon as an equation is exact on all rows.
        finish_share: share of the time of the latent search kept for the last fit, simplification and rounding.
        finish_iterations: number of steps of the last fit, on up to 4,000 rows.
        polish_equations: number of equations of the front that are pruned, rounded and simplified at the end.
        simplify_seconds: SymPy's time limit for the picked one, and for all others together; 0: no SymPy.
        polish: search that takes up what is not exact: `gp`, genetic programming, or `none`.
        polish_share: share of `seconds` that is kept for it.
        polish_generations: largest number of its generations; None: as many as the time allows.
        polish_seeds: largest number of equations of the latent search that it begins with.
        polish_operators: names of its operators, from the operator table.

    Raises:
        SettingsError: a value is not allowed.
    """

    group = "search"

    method: str = setting("cmaes", choices=METHODS)
    seconds: float | None = setting(20.0, above=0)
    decodes: int | None = setting(None, least=1)
    views: int = setting(8, least=1)
    dimensions: int = setting(128, least=1)
    population: int = setting(64, least=4)
    prior_share: float = setting(0.25, least=0, most=1)
    step: float = setting(1.0, above=0)
    temperature: float = setting(1.0, least=0)
    parsimony: float = setting(0.1, least=0)
    inject: int = setting(1, least=0)
    elite_share: float = setting(0.75, least=0, most=1)
    elite_step: float = setting(0.7, least=0, most=1)
    rewritten_share: float = setting(0.5, least=0, most=1)
    question_samples: int = setting(32, least=1)
    linked_sums: int = setting(0, least=0)
    recombine_every: int = setting(4, least=0)
    elites: int = setting(64, least=1)
    power: float = setting(1.5, least=0)
    patience: int = setting(10, least=1)
    fitted_share: float = setting(0.5, least=0, most=1)
    longest: int = setting(60, least=1, most=150)
    search_rows: int = setting(300, least=2)
    screen_rows: int = setting(64, least=2)
    frequency_starts: int = setting(16, least=1)
    starts: int = setting(8, least=1)
    screen_iterations: int = setting(10, least=0)
    fit_iterations: int = setting(30, least=0)
    stop_when_exact: bool = setting(True)
    finish_share: float = setting(0.15, least=0, most=1)
    finish_iterations: int = setting(10, least=0)
    polish_equations: int = setting(6, least=0)
    simplify_seconds: float = setting(3.0, least=0)
    polish: str = setting("gp", choices=("gp", "none"))
    polish_share: float = setting(0.6, least=0, most=1)
    polish_generations: int | None = setting(None, least=1)
    polish_seeds: int = setting(40, least=0)
    polish_operators: tuple[str, ...] = setting(DEFAULT_OPERATORS)

    def needed_memory(self) -> dict[tuple[str, ...], float]:
        """Bytes of the latents of a generation while they are decoded, of the elites, and of the views."""
        return {
            ("population",): float(_BYTES_A_LATENT * self.population),
            ("elites",): float(_BYTES_A_LATENT * self.elites),
            ("views",): float(_BYTES_A_LATENT * self.views),
        }

    @property
    def rewritten(self) -> int:
        """Latents a generation that answer rewritten questions; CMA-ES keeps some."""
        if self.method != "cmaes":
            return 0
        return min(round(self.rewritten_share * self.population), self.population - LEAST_OWN)

    @property
    def plain(self) -> int:
        """Latents a generation that are fresh samples of the prior."""
        if self.method != "cmaes":
            return 0
        return min(round(self.prior_share * self.population), self.population - LEAST_OWN - self.rewritten)

    @property
    def guided(self) -> int:
        """Latents a generation that are CMA-ES's own or lie around elites."""
        return self.population - self.rewritten - self.plain

    def recombines_after(self, generation: int) -> bool:
        """Whether parts of elites are put together after this generation, the first of which is 0."""
        every = self.recombine_every if self.method == "cmaes" else 0
        return every > 0 and (generation + 1) % every == 0

    def _check_together(self) -> None:
        check_operators("polish_operators", self.polish_operators)
        if self.method == "none" and self.polish == "none":
            raise SettingsError("search.method=none with polish=none would search nothing: choose one of the two")
        if self.seconds is not None:
            return
        if self.method not in ("none", "greedy") and self.decodes is None:
            raise SettingsError("the search has no budget: set search.seconds or search.decodes")
        if self.polish == "gp" and self.polish_generations is None:
            raise SettingsError(
                "search.polish=gp has no budget: set search.seconds or polish_generations, or polish=none"
            )
