"""Hard structures of an equation learner (GMEQL) as a member of a portfolio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.default_layers import DEFAULT_LAYERS
from expressions.equation_learner.structure_space import StructureSpace
from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.evolution.seeding import adapted
from searches.gumbel_structures.course import SearchCourse
from searches.gumbel_structures.proposers import RandomProposer
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.portfolio_members.member import Best, Offer

__all__ = ["STRUCTURE_OPERATORS", "StructureMember"]

STRUCTURE_OPERATORS = frozenset({"add", "mul", "div", "square", "sqrt", "exp", "log", "sin", "cos"})
"""Operators of the network's structures; powers are written as products where they are not allowed themselves."""


class StructureMember:
    """A repository of elite structures, most of whose proposals copy an elite.

    It hands over what it finds. It takes nothing: an equation has no structure in the network but by chance.

    Args:
        task: data of the search.
        offer: what the member needs to begin.
    """

    is_done = False

    def __init__(self, task: RegressionTask, offer: Offer) -> None:
        space = StructureSpace(Architecture(DEFAULT_LAYERS, task.variables))
        settings = StructureSearchSettings(
            longest=max(3, offer.max_length), search_rows=len(task.search_target), proposals=300
        )
        self.seed = offer.seed
        self.course = SearchCourse(
            task.search_inputs,
            task.search_target,
            space,
            settings,
            seed=int(np.random.SeedSequence(offer.seed).generate_state(1)[0]),
        )
        self.proposer = RandomProposer(space)
        self._operators = offer.operators
        self._best: dict[int, tuple[float, Expression]] = {}

    @property
    def evaluations(self) -> int:
        """Computations of one equation on the search rows so far."""
        return round(self.course.fitter.evaluations)

    @property
    def best(self) -> Best:
        """What the search has found so far, written in the allowed operators."""
        for size, (error, equation) in self.course.fitter.best.items():
            if error < self._best.get(size, (np.inf,))[0]:
                written = adapted([equation], self._operators, constants=True, linear_scaling=False)
                self._best[size] = (error, written[0] if written else equation)
        return self._best

    @property
    def candidates(self) -> list[Expression]:
        """The best equations of every size."""
        return [equation for _, equation in self.best.values()]

    def take(self, equations: Sequence[Expression]) -> None:
        """Do nothing."""

    def step(self) -> None:
        """One generation; its draws follow from the seed and its number."""
        course = self.course
        if not course.progress.starts:
            course.begin(self.proposer)
        course.generation(self.proposer, np.random.default_rng([*self.seed, course.progress.generations]))
