"""What a search in the latent space of a map of equations can be told, checked as soon as it is said.

Imports nothing heavy, so that a command line can be refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from expressions.operators import BY_NAME
from foundation.errors import near
from searches.common.setting_checks import SettingsError, check_number, check_share, check_switch, check_whole
from searches.evolution.settings import DEFAULT_OPERATORS

__all__ = ["LEAST_OWN", "METHODS", "LatentSearchSettings", "SettingsError"]

METHODS = ("cmaes", "prior", "greedy", "paper", "none")
POLISHES = ("gp", "none")
LEAST_OWN = 2
"""Samples of CMA-ES in a generation at least: `cma` fails when it is asked for one at a time."""


@dataclass(frozen=True)
class LatentSearchSettings:
    """Settings of a search; the defaults are ours, `search=cmaes_paper` holds the paper's.

    Attributes:
        method: how latents are proposed.
            `cmaes`: CMA-ES from the prior of the table, with elites injected through their posteriors, and samples
                of the priors of rewritten targets beside it.
            `prior`: fresh samples of the prior, nothing learned: what the others must beat at equal `decodes`.
            `greedy`: the prior mean, decoded greedily, once.
            `paper`: the evolution strategy of GenSR's public code, see
            `searches.latent_space.strategies.PaperStrategy`. `none`: no latent at all; with `polish=gp`, genetic
            programming alone at the same budget.
        seconds: of the whole search by the clock, from the first encoding to the last rounding; None: no limit.
        decodes: latents decoded at most; None: no limit.
        views: versions of the table (sub-samples, noise) of which the priors are taken; the first is clean.
        dimensions: only so many latents move, those of largest prior deviation.
        population: latents a generation. As many as go through the decoder and the fits at once are cheapest: of
            64, each takes 8 to 10 ms on one core, of 16, 28 ms. Where decodes are counted and not seconds, small
            generations learn more often: 16, with `prior_share=0`, `rewritten_share=0.6`, `question_samples=1`.
        prior_share: share of a generation of `cmaes` that is fresh samples of the prior, nothing learned.
        step: initial step of CMA-ES, in prior standard deviations.
        temperature: of the decoder's sampling; 0: the most probable token.
        parsimony: what a token more must lower the logarithm of the normalised squared error by.
        inject: elites a generation whose posterior means CMA-ES is told about, with their scores; 0: none.
        elite_share: share of what is neither of the two that is sampled around posterior means of elites; 0: none.
        elite_step: how far from them, 0 to 1: 0 is the mean itself, 1 a sample of the prior.
        rewritten_share: share of a generation of `cmaes` that is sampled from the priors of rewritten targets, see
            `searches.latent_space.target_rewriting`; 0: none.
        question_samples: of one rewritten target, of those in a generation.
        linked_sums: how many equations that regression alone finds (`searches.links.sums`: a few seconds,
            and a quarter of `seconds` at most) the search begins with, beside the first latents; 0: none, until
            the polish finds its own.
        recombine_every: generations of `cmaes` after which equations are put together from parts of the elites, by
            regression (`searches.links.sums.sums_of_parts`), and scored as what is decoded; 0: never.
        elites: skeletons that are remembered as elites.
        power: of the power law on its rank by which an elite is drawn.
        patience: generations without progress after which CMA-ES begins anew, at the next view.
        fitted_share: a screened skeleton is fitted if its score is better than that of the elite at this share of
            the elites.
        longest: tokens beyond which a skeleton is not looked at.
        search_rows, screen_rows, frequency_starts, starts, screen_iterations, fit_iterations: of the fits, see
            `searches.common.skeleton_fitting`. A skeleton is fitted once: its constants get more starts than
            elsewhere.
        stop_when_exact: end as soon as an equation is exact on all rows.
        finish_share: share of the time of the latent search kept for the last fit, simplification and rounding.
        finish_iterations: steps of the last fit, on up to 4,000 rows.
        polish_equations: how many equations of the front are pruned, rounded and simplified at the end.
        simplify_seconds: SymPy's time limit for the picked one, and for all others together; 0: no SymPy.
        polish: `gp`: what is not exact is taken up by genetic programming; `none`.
        polish_share: share of `seconds` that is kept for it.
        polish_generations: of it at most; None: as many as the time allows.
        polish_seeds: equations of the latent search that it begins with, at most.
        polish_operators: its operators, names in the operator table.

    Raises:
        SettingsError: a value is not allowed.
    """

    method: str = "cmaes"
    seconds: float | None = 20.0
    decodes: int | None = None
    views: int = 8
    dimensions: int = 128
    population: int = 64
    prior_share: float = 0.25
    step: float = 1.0
    temperature: float = 1.0
    parsimony: float = 0.1
    inject: int = 1
    elite_share: float = 0.75
    elite_step: float = 0.7
    rewritten_share: float = 0.5
    question_samples: int = 32
    linked_sums: int = 0
    recombine_every: int = 4
    elites: int = 64
    power: float = 1.5
    patience: int = 10
    fitted_share: float = 0.5
    longest: int = 60
    search_rows: int = 300
    screen_rows: int = 64
    frequency_starts: int = 16
    starts: int = 8
    screen_iterations: int = 10
    fit_iterations: int = 30
    stop_when_exact: bool = True
    finish_share: float = 0.15
    finish_iterations: int = 10
    polish_equations: int = 6
    simplify_seconds: float = 3.0
    polish: str = "gp"
    polish_share: float = 0.6
    polish_generations: int | None = None
    polish_seeds: int = 40
    polish_operators: tuple[str, ...] = DEFAULT_OPERATORS

    def __post_init__(self) -> None:
        if not isinstance(self.polish_operators, list | tuple):
            raise SettingsError(
                f"polish_operators={self.polish_operators!r} is not allowed: it must be a list, such as [add,mul]"
            )
        object.__setattr__(self, "polish_operators", tuple(self.polish_operators))
        _check_settings(self)

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

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> LatentSearchSettings:
        """Settings from a configuration.

        Raises:
            SettingsError: an option is unknown or not allowed.
        """
        known = [item.name for item in fields(cls)]
        for name in options:
            if name not in known:
                raise SettingsError(f"{name} is not a setting of the search; {near(name, known)}")
        return cls(**options)


_LEAST: dict[str, int] = {
    "views": 1,
    "dimensions": 1,
    "population": 4,
    "question_samples": 1,
    "inject": 0,
    "linked_sums": 0,
    "recombine_every": 0,
    "elites": 1,
    "patience": 1,
    "longest": 1,
    "search_rows": 2,
    "screen_rows": 2,
    "frequency_starts": 1,
    "starts": 1,
    "screen_iterations": 0,
    "fit_iterations": 0,
    "finish_iterations": 0,
    "polish_equations": 0,
    "polish_seeds": 0,
}
_NOT_NEGATIVE = ("temperature", "parsimony", "power", "simplify_seconds")
_SHARES = (
    *("prior_share", "elite_share", "elite_step", "rewritten_share"),
    *("fitted_share", "finish_share", "polish_share"),
)


def _check_settings(settings: LatentSearchSettings) -> None:
    for name, words in (("method", METHODS), ("polish", POLISHES)):
        value = getattr(settings, name)
        if value not in words:
            raise SettingsError(f"{name}={value!r} is unknown; {near(str(value), words)}")
    for name, least in _LEAST.items():
        check_whole(name, getattr(settings, name), least)
    for name in _NOT_NEGATIVE:
        check_number(name, getattr(settings, name))
    check_number("step", settings.step, above=True)
    for name in _SHARES:
        check_share(name, getattr(settings, name))
    check_switch("stop_when_exact", settings.stop_when_exact)
    for name in settings.polish_operators:
        if name not in BY_NAME:
            raise SettingsError(f"polish_operators: the operator {name!r} is unknown; {near(str(name), BY_NAME)}")
    if not any(BY_NAME[name].arity == 2 for name in settings.polish_operators):
        raise SettingsError("polish_operators holds none with two arguments: add one, such as add")
    _check_budgets(settings)


def _check_budgets(settings: LatentSearchSettings) -> None:
    if settings.seconds is not None:
        check_number("seconds", settings.seconds, above=True)
    for name in ("decodes", "polish_generations"):
        if getattr(settings, name) is not None:
            check_whole(name, getattr(settings, name), 1)
    if settings.method == "none" and settings.polish == "none":
        raise SettingsError("method=none with polish=none would search nothing: choose one of the two")
    if settings.seconds is None:
        if settings.method not in ("none", "greedy") and settings.decodes is None:
            raise SettingsError("the search has no budget: set seconds or decodes")
        if settings.polish == "gp" and settings.polish_generations is None:
            raise SettingsError("polish=gp has no budget: set seconds or polish_generations, or polish=none")
