"""One population of genetic programming and its generation step.

A generation: parents by tournament (NSGA-II's on front and crowding, or DEAP's on the error), offspring by DEAP's
crossover, its mutations and ours, exhausted skeletons refused, all values in one batch, constants of the promising
ones fitted, survivors by NSGA-II on (error, size) or by generational replacement, as in the paper.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from deap import tools

from expressions.canonical_form import canonical_key
from expressions.expression import Expression
from searches.common.regression_task import RegressionTask
from searches.common.stored_scores import believed
from searches.evolution.breeding import Breeder
from searches.evolution.feature_bank import FeatureBank, lent_random_state
from searches.evolution.island_state import MEMORY
from searches.evolution.settings import GeneticProgrammingSettings
from searches.evolution.tree_size import tree_size
from searches.evolution.trees import Individual

_WORST = 1e30  # DEAP compares fitness values; an infinite error must still be a number it can subtract


class Island:
    """A population that evolves by itself.

    Args:
        task: data and scoring.
        settings: settings of the search.
        seed: random seed for the island's own two generators.
    """

    def __init__(self, task: RegressionTask, settings: GeneticProgrammingSettings, seed: Sequence[int]) -> None:
        self.task = task
        self.settings = settings
        self.breeder = Breeder(
            settings.operators,
            task.search_inputs,
            constants=settings.constants,
            mutations=settings.mutation_weights,
            max_height=settings.max_height,
            max_length=settings.max_length,
        )
        self.seed = list(seed)
        self.generation = 0
        self._bank_epoch: int | None = None
        self.rng = np.random.default_rng(self.seed)
        self._python_state = random.Random(int(self.rng.integers(2**63))).getstate()
        self.tried: dict[int, int] = {}  # skeleton -> tries, oldest first
        self.best: dict[int, tuple[float, Expression]] = {}  # per size: the island's own front
        self.population: list[Individual] = []
        self.evaluations = 0

    # --- a generation -------------------------------------------------------------------------------------------

    def begin(self, seeds: Sequence[Expression] = ()) -> None:
        """Make and score the first population.

        Args:
            seeds: expressions that the population holds beside random trees.
        """
        self._renew_bank()
        with self._own_random_state():
            first = self._scored(list(self._first_individuals(seeds)), self.settings.polish_iterations)
            if not first:
                raise ValueError(
                    f"no random tree is within max_length={self.settings.max_length} and "
                    f"max_height={self.settings.max_height}: allow more"
                )
            self.population = self._survivors(first)

    def step(self) -> None:
        """One generation."""
        self.generation += 1
        self._renew_bank()
        with self._own_random_state():
            offspring = self._scored(list(self._offspring()))
            if self.settings.selection == "nsga2":
                self.population = self._survivors([*self.population, *offspring])
            else:
                self.population = offspring or self.population

    def _first_individuals(self, seeds: Sequence[Expression]) -> Iterator[Individual]:
        for expression in seeds:
            try:
                individual = self.breeder.from_expression(expression)
            except KeyError:  # a seed with an operator that this search was not given
                continue
            if self.breeder.within_limits(individual):
                yield individual
        if self.breeder.bank is not None and self.breeder.sums_of_ridges:
            for individual in self.breeder.bank.greedy_sums(self.breeder, self.settings.greedy_terms):
                if self.breeder.within_limits(individual):
                    yield individual
        low, high = self.settings.first_height
        for _ in range(self.settings.population):
            individual = self.breeder.random_tree(low, high)
            if self.breeder.within_limits(individual):
                yield individual

    def _offspring(self) -> Iterator[Individual]:
        settings, breeder = self.settings, self.breeder
        fresh = round(settings.fresh_share * settings.population)
        for _ in range(fresh):
            tree = breeder.random_tree(*settings.first_height)
            if breeder.within_limits(tree):
                yield tree
        for first, second in self._pairs(settings.population - fresh):
            a, b = breeder.clone(first), breeder.clone(second)
            varied = False
            if random.random() < settings.crossover:
                a, b = breeder.crossover(a, b)
                varied = True
            for child, parent in ((a, first), (b, second)):
                changed = varied
                if random.random() < settings.mutation or (settings.always_vary and not varied):
                    breeder.mutate(child)
                    changed = True
                if not breeder.within_limits(child):
                    # Koza's static limit: a child that is too large is replaced by its parent.
                    child, changed = breeder.clone(parent), False
                if changed or not settings.always_vary:
                    yield child

    def _pairs(self, wanted: int) -> Iterator[tuple[Individual, Individual]]:
        count = wanted + wanted % 2
        if self.settings.selection == "nsga2":
            parents = [self._dominance_tournament() for _ in range(count)]
        else:
            parents = tools.selTournament(self.population, count, self.settings.tournament)
        return zip(parents[::2], parents[1::2], strict=True)

    def _dominance_tournament(self) -> Individual:
        """Binary tournament of NSGA-II (Deb et al. 2002): front first, then the less crowded."""
        a, b = random.choice(self.population), random.choice(self.population)
        key_a = (a.fitness.rank, -a.fitness.crowding_dist)
        key_b = (b.fitness.rank, -b.fitness.crowding_dist)
        return a if key_a <= key_b else b

    # --- scoring ------------------------------------------------------------------------------------------------

    def _scored(self, individuals: list[Individual], iterations: int | None = None) -> list[Individual]:
        """Score individuals, leaving out exhausted skeletons, and fit the constants of the promising ones."""
        fresh: list[Individual] = []
        expressions: list[Expression] = []
        for individual in individuals:
            expression = self.breeder.to_expression(individual)
            if not self._may_try(individual, expression):
                continue
            fresh.append(individual)
            expressions.append(expression)
        self._forget()
        if not fresh:
            return []
        errors = self.task.screen(expressions)
        self.evaluations += len(expressions)
        settings = self.settings
        if settings.constants:
            sizes = [tree_size(expression) for expression in expressions]
            promising = self._most_promising(errors, sizes, settings.fit_share)
            self._fit(fresh, expressions, errors, iterations or settings.fit_iterations, promising)
            promising = self._most_promising(errors, sizes, settings.polish_share)
            self._fit(fresh, expressions, errors, settings.polish_iterations, promising)
        for individual, expression, error in zip(fresh, expressions, errors, strict=True):
            self._assign(individual, expression, float(error))
        return fresh

    def _may_try(self, individual: Individual, expression: Expression) -> bool:
        """Whether the individual's canonical skeleton has tries left; without constants it has one."""
        settings = self.settings
        if not settings.refuse_duplicates:
            return True
        key = canonical_key(expression, constants=not settings.constants)
        individual.key = int.from_bytes(key[:8], "little")
        tries = self.tried.get(individual.key, 0)
        if tries >= (settings.skeleton_tries if settings.constants else 1):
            return False
        self.tried[individual.key] = tries + 1
        return True

    def _most_promising(self, errors: np.ndarray, sizes: Sequence[int], share: float) -> np.ndarray:
        """The share of a batch whose error is lowest against the best known of its size or less."""
        finite = np.flatnonzero(np.isfinite(errors))
        limit = self._lowest_errors(max(sizes, default=0))
        known = np.where(np.isfinite(limit), limit, 1.0)
        ratio = errors[finite] / known[np.array(sizes)[finite]]
        return finite[np.argsort(ratio, kind="stable")[: int(np.ceil(share * len(finite)))]]

    def _lowest_errors(self, largest: int) -> np.ndarray:
        """Lowest known error of an equation of every size or less; infinite where none is known. `[sizes]`"""
        limit = np.full(max([largest, *self.best]) + 1, np.inf)
        for size, (error, _) in self.best.items():
            limit[size] = max(error, 1e-30)
        return np.asarray(np.minimum.accumulate(limit))

    def _fit(
        self,
        individuals: list[Individual],
        expressions: list[Expression],
        errors: np.ndarray,
        iterations: int,
        chosen: Sequence[int] | np.ndarray,
    ) -> None:
        """Fit the constants of the chosen individuals; write what got better into all three lists."""
        places = [k for k in chosen if len(expressions[k].constants)]
        if not places:
            return
        fitted, fitted_errors = self.task.fit([expressions[k] for k in places], iterations, rng=self.rng)
        self.evaluations += len(places) * iterations
        for k, expression, error in zip(places, fitted, fitted_errors, strict=True):
            if error < errors[k]:
                expressions[k], errors[k] = expression, error
                self.breeder.set_constants(individuals[k], expression.constants)

    def _assign(self, individual: Individual, expression: Expression, error: float) -> None:
        individual.nmse = error
        size = tree_size(expression)
        individual.fitness.values = (min(error, _WORST), float(size))
        if np.isfinite(error) and error < self.best.get(size, (np.inf,))[0]:
            self.best[size] = (error, expression)

    def _forget(self) -> None:
        """Bound the memory of tried skeletons: the oldest go first."""
        for key in list(self.tried)[: max(0, len(self.tried) - MEMORY)]:
            del self.tried[key]

    # --- selection ----------------------------------------------------------------------------------------------

    def _survivors(self, individuals: list[Individual]) -> list[Individual]:
        """The next population: NSGA-II fronts and crowding, or simply the best."""
        size = self.settings.population
        if self.settings.selection != "nsga2":
            return individuals[:size]
        finite = _best_of_each_skeleton([i for i in individuals if np.isfinite(i.nmse)] or individuals)
        fronts = tools.emo.sortLogNondominated(finite, min(size, len(finite)))
        survivors: list[Individual] = []
        for rank, front in enumerate(fronts):
            tools.emo.assignCrowdingDist(front)
            for individual in front:
                individual.fitness.rank = rank
            room = size - len(survivors)
            if len(front) > room:
                front = sorted(front, key=lambda i: -i.fitness.crowding_dist)[:room]
            survivors += front
        return survivors

    def near_best(self, factor: float) -> list[Expression]:
        """Individuals whose error is within a factor of the lowest one of their size or less."""
        limit = self._lowest_errors(max((int(i.fitness.values[1]) for i in self.population), default=0))
        return [
            self.breeder.to_expression(individual)
            for individual in self.population
            if individual.nmse <= factor * limit[int(individual.fitness.values[1])]
        ]

    def emigrants(self, count: int) -> list[Expression]:
        """The `count` most accurate individuals."""
        ranked = sorted(self.population, key=lambda i: i.fitness.values)
        return [self.breeder.to_expression(individual) for individual in ranked[:count]]

    def immigrate(self, expressions: Sequence[Expression]) -> None:
        """Take in individuals of another island."""
        with self._own_random_state():
            newcomers = self._scored([self.breeder.from_expression(e) for e in expressions])
            if self.settings.selection == "nsga2":
                self.population = self._survivors([*self.population, *newcomers])
            else:
                ranked = sorted(self.population, key=lambda i: i.fitness.values)
                self.population = [*ranked[: len(ranked) - len(newcomers)], *newcomers]

    # --- state --------------------------------------------------------------------------------------------------

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        with lent_random_state(self._python_state) as current:
            try:
                yield
            finally:
                self._python_state = current()

    def _renew_bank(self) -> None:
        """A new bank of small functions now and then; it depends on the seed and the generation alone."""
        interval = self.settings.bank_interval
        epoch = self.generation // interval if interval else -1
        if self.settings.bank_size and self.settings.constants and epoch != self._bank_epoch:
            seed = int(np.random.SeedSequence([*self.seed, 1 + epoch]).generate_state(1)[0])
            self.breeder.bank = FeatureBank(self.breeder, self.task, self.settings.bank_size, seed)
            self._bank_epoch = epoch

    def state(self) -> dict[str, Any]:
        """Everything that the next generation depends on, as numbers and lists of numbers."""
        best = sorted(self.best.items())
        return {
            "population": [_packed(self.breeder.to_expression(i)) for i in self.population],
            "nmse": [i.nmse for i in self.population],
            "fitness": [list(i.fitness.values) for i in self.population],
            "rank": [getattr(i.fitness, "rank", 0) for i in self.population],
            "crowding": [getattr(i.fitness, "crowding_dist", 0.0) for i in self.population],
            "tried": [list(pair) for pair in self.tried.items()],
            "keys": [i.key for i in self.population],
            "best": [[size, error, *_packed(expression)] for size, (error, expression) in best],
            "evaluations": self.evaluations,
            "generation": self.generation,
            "python_random": [self._python_state[0], list(self._python_state[1]), self._python_state[2]],
            "numpy_random": self.rng.bit_generator.state,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`, as `searches.evolution.island_state.island_state` has checked it.

        An equation that is worse than its stored score has its own one instead.
        """
        errors = believed(self.task, state["population"], state["nmse"])
        self.population = []
        for k, expression in enumerate(state["population"]):
            individual = self.breeder.from_expression(expression)
            individual.nmse = errors[k]
            changed = errors[k] != state["nmse"][k]
            individual.fitness.values = (
                (min(errors[k], _WORST), float(tree_size(expression))) if changed else tuple(state["fitness"][k])
            )
            individual.key = state["keys"][k]
            individual.fitness.rank = state["rank"][k]
            individual.fitness.crowding_dist = state["crowding"][k]
            self.population.append(individual)
        self.tried = dict(state["tried"])
        best = [expression for _, expression in state["best"]]
        errors = believed(self.task, best, [error for error, _ in state["best"]])
        self.best = {
            tree_size(expression): (error, expression) for error, expression in zip(errors, best, strict=True)
        }
        self.evaluations = state["evaluations"]
        self.generation = state["generation"]
        version, numbers, gauss = state["python_random"]
        self._python_state = (version, tuple(numbers), gauss)
        self.rng.bit_generator.state = state["numpy_random"]


def _best_of_each_skeleton(individuals: Sequence[Individual]) -> list[Individual]:
    """One individual a skeleton, so that fits of one structure do not fill the population."""
    best: dict[int, Individual] = {}
    for individual in individuals:
        if individual.key not in best or individual.nmse < best[individual.key].nmse:
            best[individual.key] = individual
    return list(best.values())


def _packed(expression: Expression) -> list[list[Any]]:
    return [expression.tokens.tolist(), expression.constants.tolist()]
