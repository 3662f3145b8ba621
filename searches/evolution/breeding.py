"""Variation in a genetic programming population: DEAP's crossover and mutations, and mutations of our own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from deap import gp

from searches.evolution.feature_bank import FeatureBank
from searches.evolution.trees import Individual, TreeFactory

__all__ = ["Breeder"]


class Breeder(TreeFactory):
    """A tree factory that also varies trees.

    Args:
        operators: names in the operator table.
        columns: the table, `[rows, variables]`; new constants start on the scale of the columns they multiply.
        constants: whether trees may hold constants.
        mutations: weight of every mutation by name; the names are `subtree`, `node`, `insert`, `shrink`, `hoist`,
            `constant`, `affine`, `term`, `swap`, `factor` and `ridge` (see the methods `_mutate_*`).
        max_height: height limit of every tree.
        max_length: limit on the number of nodes.

    Raises:
        ValueError: no mutation can be used.
    """

    def __init__(
        self,
        operators: Sequence[str],
        columns: np.ndarray,
        *,
        constants: bool,
        mutations: dict[str, float],
        max_height: int,
        max_length: int,
    ) -> None:
        super().__init__(operators, columns, constants=constants, max_height=max_height, max_length=max_length)
        self.bank: FeatureBank | None = None
        """Source of the functions that `term`, `swap` and `factor` add; without one, these are random."""
        available = self._available_mutations(operators)
        chosen = {name: weight for name, weight in mutations.items() if name in available and weight > 0}
        self._mutations = [available[name] for name in chosen]
        self._mutation_weights = list(chosen.values())
        if not chosen:
            raise ValueError(
                f"none of the mutations {', '.join(mutations) or '(none)'} works with these operators"
                f"{'' if constants else ' without constants'}: add others, such as {', '.join(available)}"
            )

    def _available_mutations(self, operators: Sequence[str]) -> dict[str, Callable[[Individual], None]]:
        known: dict[str, Callable[[Individual], None]] = {
            "subtree": self._mutate_subtree,
            "node": self._mutate_node,
            "insert": self._mutate_insert,
            "shrink": self._mutate_shrink,
            "hoist": self._mutate_hoist,
        }
        if self.has_constants:
            known["constant"] = self._mutate_constant
            if {"add", "mul"} <= set(operators):
                known |= {
                    "term": self._mutate_term,
                    "swap": self._mutate_swap,
                    "affine": self._mutate_affine,
                    "factor": self._mutate_factor,
                }
            if self.sums_of_ridges:
                known["ridge"] = self._mutate_ridge
        return known

    def crossover(self, first: Individual, second: Individual) -> tuple[Individual, Individual]:
        """DEAP's one-point subtree crossover of two clones."""
        return gp.cxOnePoint(first, second)

    def mutate(self, individual: Individual) -> Individual:
        """One mutation, drawn by weight, in place."""
        random.choices(self._mutations, self._mutation_weights)[0](individual)
        return individual

    def _mutate_subtree(self, individual: Individual) -> None:
        """Replace a random subtree by a new random one."""
        gp.mutUniform(individual, lambda pset, type_: gp.genHalfAndHalf(pset, 0, 2, type_), self.pset)

    def _mutate_node(self, individual: Individual) -> None:
        """Replace one node by another of the same arity."""
        gp.mutNodeReplacement(individual, self.pset)

    def _mutate_insert(self, individual: Individual) -> None:
        """Put an operator between a node and its parent."""
        gp.mutInsert(individual, self.pset)

    def _mutate_shrink(self, individual: Individual) -> None:
        """Replace an operator by one of its arguments."""
        gp.mutShrink(individual)

    def _mutate_hoist(self, individual: Individual) -> None:
        """Replace the whole tree by one of its subtrees."""
        start = random.randrange(len(individual))
        individual[0:] = individual[individual.searchSubtree(start)]

    def _mutate_constant(self, individual: Individual) -> None:
        """Scale every constant by a random factor, and now and then flip its sign."""
        for k, node in enumerate(individual):
            if node.name == "constant":
                sign = -1.0 if random.random() < 0.1 else 1.0
                individual[k] = self.constant_node(sign * node.value * 2.0 ** random.gauss(0.0, 1.0))

    def _mutate_term(self, individual: Individual) -> None:
        """tree -> tree + c * g: the move that lets an equation grow by a summand.

        g is the small function of the bank that explains most of the tree's residual; a random one without a bank.
        """
        term = self.bank.term_for(individual, self) if self.bank else None
        self._append(individual, term or self.small_tree())

    def _mutate_swap(self, individual: Individual) -> None:
        """Drop a random summand, then add the best one from the bank."""
        sums = list(self._top_sums(individual))
        if sums:
            start = random.choice(sums)
            left = individual.searchSubtree(start + 1)
            right = individual.searchSubtree(left.stop)
            kept = random.choice((left, right))
            individual[start : right.stop] = individual[kept]
        self._mutate_term(individual)

    def _top_sums(self, individual: Individual) -> Iterator[int]:
        """Positions of the additions that the root's value is a sum of."""
        work = [0]
        while work:
            start = work.pop()
            if individual[start].name in ("add", "sub"):
                yield start
                left = individual.searchSubtree(start + 1)
                work += [start + 1, left.stop]

    def _mutate_factor(self, individual: Individual) -> None:
        """tree -> tree * (1 + c * g), g from the bank as in `_mutate_term`."""
        factor = self.bank.factor_for(individual, self) if self.bank else None
        mapping = self.pset.mapping
        individual[0:] = [
            mapping["mul"],
            *individual,
            mapping["add"],
            self.constant_node(1.0),
            mapping["mul"],
            self.constant_node(0.1),
            *(factor or self.small_tree()),
        ]

    def _mutate_ridge(self, individual: Individual) -> None:
        """A random subtree becomes a random ridge function."""
        part = individual.searchSubtree(random.randrange(len(individual)))
        individual[part] = list(self.ridge_function())

    def _mutate_affine(self, individual: Individual) -> None:
        """A random non-constant subtree s -> c1 * s + c2, so that fitted constants can shift and stretch it."""
        places = [k for k, node in enumerate(individual) if node.name != "constant"]
        if not places:
            return
        part = individual.searchSubtree(random.choice(places))
        mapping = self.pset.mapping
        shift = self.constant_node(0.1 * random.gauss(0.0, 1.0))
        individual[part] = [mapping["add"], mapping["mul"], self.constant_node(1.0), *individual[part], shift]
