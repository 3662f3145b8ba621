"""Genetic programming as a member of a portfolio: one island, whose immigrants are what the others find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.evolution.island import Island
from searches.evolution.seeding import adapted
from searches.evolution.settings import GeneticProgrammingSettings
from searches.portfolio_members.member import Best, Offer

__all__ = ["EvolutionMember"]

_MOST_TAKEN = 40
_NEAR = 1.5  # factor on the error of the best of its size or less, within which an individual is a candidate
_FEWEST_INDIVIDUALS, _EVALUATIONS_AN_INDIVIDUAL = 20, 60  # where the budget is one of evaluations


class EvolutionMember:
    """An island of genetic programming.

    Args:
        task: data of the search.
        offer: what the member needs to begin.
    """

    def __init__(self, task: RegressionTask, offer: Offer) -> None:
        usual = GeneticProgrammingSettings(operators=offer.operators, max_length=offer.max_length, linked_sums=0)
        self.settings = usual if offer.evaluations is None else _small(usual, offer.evaluations)
        self.island = Island(task, self.settings, offer.seed)
        self._waiting: list[Expression] = list(offer.guesses)
        self._began = False

    is_done = False

    @property
    def evaluations(self) -> int:
        """Computations of one equation on the search rows so far."""
        return self.island.evaluations

    @property
    def best(self) -> Best:
        """What the island has found so far."""
        return self.island.best

    @property
    def candidates(self) -> list[Expression]:
        """Individuals that are nearly as accurate as the best of their size."""
        return self.island.near_best(_NEAR)

    def take(self, equations: Sequence[Expression]) -> None:
        """Keep the equations until the next generation begins."""
        self._waiting += equations

    def step(self) -> None:
        """One generation, or the first population."""
        newcomers = self._newcomers()
        if not self._began:
            self._began = True
            self.island.begin(newcomers)
            return
        if newcomers:
            self.island.immigrate(newcomers)
        self.island.step()

    def _newcomers(self) -> list[Expression]:
        """The waiting equations in the operators of the island, the last ones where there are many."""
        settings = self.settings
        waiting, self._waiting = self._waiting[-_MOST_TAKEN:], []
        return adapted(
            waiting, settings.operators, constants=settings.constants, linear_scaling=settings.linear_scaling
        )


def _small(usual: GeneticProgrammingSettings, evaluations: int) -> GeneticProgrammingSettings:
    """The settings with a population, and a bank of functions, for which a few evaluations are enough."""
    population = min(usual.population, max(_FEWEST_INDIVIDUALS, evaluations // _EVALUATIONS_AN_INDIVIDUAL))
    share = population / usual.population
    bank, terms = round(share * usual.bank_size), math.ceil(share * usual.greedy_terms)
    return replace(usual, population=population, bank_size=bank, greedy_terms=terms)
