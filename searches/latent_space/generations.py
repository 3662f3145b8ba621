"""Generations of a search in a map of equations: latents are proposed, decoded, scored and learned from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.skeleton import Skeleton
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_space.checked_map import CheckedMap
from searches.latent_space.cma_strategy import CMAStrategy
from searches.latent_space.paper_strategy import PaperStrategy
from searches.latent_space.settings import LatentSearchSettings
from searches.latent_space.skeleton_scores import Elite, SkeletonScores
from searches.latent_space.strategies import GreedyStrategy, Outcome, PriorStrategy, Strategy
from searches.latent_space.tables import PreparedTable
from searches.latent_space.target_rewriting import Rewriter, Rewriting

__all__ = ["LatentGenerations", "scores_of"]


def scores_of(table: PreparedTable, settings: LatentSearchSettings, seed: int) -> SkeletonScores:
    """Where skeletons are fitted; the paper's method fits each from one start, and all of them."""
    paper = settings.method == "paper"
    fitter = SkeletonFitter(
        table.inputs,
        table.target,
        seed=seed,
        parsimony=settings.parsimony,
        longest=settings.longest,
        search_rows=settings.search_rows,
        screen_rows=settings.screen_rows,
        frequency_starts=1 if paper else settings.frequency_starts,
        starts=1 if paper else settings.starts,
        linear_scaling=True,
        screen_iterations=settings.screen_iterations,
        fit_iterations=settings.fit_iterations,
    )
    return SkeletonScores(fitter, settings.elites, None if paper else settings.fitted_share)


class LatentGenerations:
    """Proposes latents by a strategy, decodes them, and has their skeletons scored.

    Args:
        asked: map of equations, about the table at hand.
        table: table of the search.
        scores: where skeletons are fitted, and the best of them kept.
        settings: settings of the search.
        seed: random seed of the search.

    Raises:
        foundation.errors.UserError: the map has no finite prior for the table.

    Attributes:
        strategy: how latents are proposed, by `settings.method`.
    """

    def __init__(
        self,
        asked: CheckedMap,
        table: PreparedTable,
        scores: SkeletonScores,
        settings: LatentSearchSettings,
        seed: int,
    ) -> None:
        self.asked, self.table, self.scores, self.settings, self.seed = asked, table, scores, settings, seed
        self._rewriter: Rewriter | None = None
        self.strategy = self._strategy()

    def _strategy(self) -> Strategy:
        settings, seed, asked = self.settings, self.seed, self.asked
        if settings.method == "paper":
            return PaperStrategy(self.table, asked.prior, settings, seed)
        views = self.table.views(1 if settings.method == "greedy" else settings.views, seed)
        prior = asked.prior(views)
        if settings.method == "greedy":
            return GreedyStrategy(prior)
        if settings.method == "prior":
            return PriorStrategy(prior, settings, seed)

        def elites() -> list[Elite]:
            return self.scores.elites

        if settings.rewritten:
            self._rewriter = Rewriter(asked.clean, asked.prior_of, elites, settings.power, seed)
        return CMAStrategy(prior, settings, seed, elites, asked.posterior)

    def run(self, number: int, most: int | None = None) -> int:
        """A generation.

        Args:
            number: number of the generation, from 0, which seeds its draws.
            most: largest number of latents to decode; None: no limit.

        Returns:
            The number of decoded latents.
        """
        own = self.strategy.ask(number)
        questions = self._questions(number)
        latents = np.concatenate([own, *(latent[None] for latent, _ in questions)])
        whole = most is None or len(latents) <= most
        decoded = self.asked.decode(number, latents if whole else latents[:most], self.strategy.temperature)
        outcome = self._outcome(decoded, len(own), [one for _, one in questions])
        if whole:  # a generation that the budget has cut short is the last: nobody learns from it
            self.strategy.tell(outcome)
        return len(decoded)

    def _questions(self, generation: int) -> list[tuple[np.ndarray, Rewriting]]:
        """Latents that answer other questions about the table, with these questions."""
        if self._rewriter is None:
            return []
        return self._rewriter.ask(generation, self.settings.rewritten, self.settings.question_samples)

    def _outcome(self, decoded: Sequence[Skeleton], own: int, questions: Sequence[Rewriting]) -> Outcome:
        """Score all skeletons; what became of the first `own`, which are the strategy's."""
        ours, answers = decoded[:own], decoded[own:]
        known = np.array([self.scores.is_known(skeleton) for skeleton in ours])
        skeletons = [*ours, *(one.answered(answer) for one, answer in zip(questions, answers, strict=False))]
        errors, scores = self.scores.errors(skeletons), self.scores.scores(skeletons)
        lengths = np.array([len(skeleton) for skeleton in ours])
        return Outcome(errors[:own], scores[:own], lengths, known)
