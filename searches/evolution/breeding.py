"""Trees of a genetic programming population: DEAP's primitive trees, crossover and mutation over our operators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from deap import base, gp

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, TOKEN

if TYPE_CHECKING:
    from searches.evolution.feature_bank import FeatureBank

# Smooth functions of one argument that are defined everywhere, best first for saturating data.
RIDGE_FUNCTIONS = ("tanh", "atan", "sin", "cos", "exp", "square")


class Fitness(base.Fitness):
    """(error, complexity), both to be minimised; DEAP's selections read it."""

    weights = (-1.0, -1.0)


class Individual(gp.PrimitiveTree):
    """A DEAP tree with its fitness and the error on the rows searched on."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        super().__init__(nodes)
        self.fitness = Fitness()
        self.nmse = float("inf")
        self.key = 0  # canonical key of the skeleton


def draw_constant() -> float:
    """A random constant: half of them near 1, half of any magnitude from 0.01 to 100, either sign.

    Uses Python's global generator, as DEAP does; `searches.evolution.island` saves and restores its state.
    """
    if random.random() < 0.5:
        return random.gauss(0.0, 1.0)
    return random.choice((-1.0, 1.0)) * 10.0 ** random.uniform(-2.0, 2.0)


class Breeder:
    """Makes, varies and translates trees over a set of operators and variables.

    Args:
        operators: names in the operator table.
        constants: whether trees may hold constants.
        columns: `[rows, variables]`, the table: new constants start on the scale of the columns they multiply.
        mutations: name of a mutation -> weight; the names are `subtree`, `node`, `insert`, `shrink`, `hoist`,
            `constant`, `affine`, `term`, `swap`,
            `factor` and `ridge` (see the methods `_mutate_*`).
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
        self.max_height = max_height
        self.max_length = max_length
        self._operators = tuple(operators)
        self.pset = gp.PrimitiveSet("equation", columns.shape[1])
        self._centres = columns.mean(axis=0).tolist()
        self._scales = [float(scale) or 1.0 for scale in columns.std(axis=0)]
        self._ridge_functions = [name for name in RIDGE_FUNCTIONS if name in operators]
        for name in operators:
            self.pset.addPrimitive(BY_NAME[name].numpy, BY_NAME[name].arity, name=name)
        self.has_constants = constants
        self.bank: FeatureBank | None = None
        self.sums_of_ridges = constants and bool(self._ridge_functions) and {"add", "mul"} <= set(operators)
        if constants:
            self.pset.addEphemeralConstant("constant", draw_constant)
        self._constant_class: Any = self.pset.mapping.get("constant")
        self._token = {name: TOKEN[name] for name in operators}
        self._token.update({name: FIRST_VARIABLE + j for j, name in enumerate(self.pset.arguments)})
        self._token["constant"] = CONSTANT
        self._terminals = [self.pset.mapping[name] for name in self.pset.arguments]
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

    # --- making and translating ---------------------------------------------------------------------------------

    def random_tree(self, low: int, high: int) -> Individual:
        """Ramped half and half (Koza 1992); with constants, half of the trees are sums of ridge functions."""
        if not (self.sums_of_ridges and random.random() < 0.5):
            return Individual(gp.genHalfAndHalf(self.pset, low, high))
        tree = self.ridge_function()
        for _ in range(random.randrange(4)):
            self._append(tree, self.ridge_function())
        return tree

    def small_tree(self) -> Individual:
        """A random tree of at most four leaves."""
        return Individual(gp.genHalfAndHalf(self.pset, 0, 2))

    def simple_trees(self, most: int) -> list[Individual]:
        """Powers and functions of each variable, then products and quotients of two, at most `most`."""
        mapping, variables = self.pset.mapping, self._terminals
        unary = [mapping[name] for name in self._operators if BY_NAME[name].arity == 1]
        pairs = [mapping[name] for name in ("mul", "div") if name in mapping]
        ones = [[x] for x in variables] + [[g, x] for g in unary for x in variables]
        if "mul" in mapping:
            for x in variables:
                power = [x]
                for _ in range(5):  # x**2 to x**6
                    power = [mapping["mul"], x, *power]
                    ones.append(power)
        twos = [[g, x, y] for g in pairs for x in variables for y in variables if x is not y]
        nested = [[g, h, x] for g in unary for h in unary for x in variables]
        return [Individual(nodes) for nodes in [*ones, *twos, *nested][:most]]

    def weighted_sum(self, terms: Sequence[Individual]) -> Individual:
        """1*t1 + 1*t2 + …, the weights to be fitted."""
        total = Individual([self.pset.mapping["mul"], self.constant_node(1.0), *terms[0]])
        for term in terms[1:]:
            self._append(total, term)
        return total

    def ridge_function(self) -> Individual:
        """A random g(a . x + b), g smooth and defined everywhere, a . x a sum over one to three variables.

        Sums of ridge functions approximate any smooth function (Cybenko 1989). Subtree mutation alone would have
        to build their affine argument by several moves, none of which pays by itself.
        """
        if not self.sums_of_ridges:
            return self.small_tree()
        mapping = self.pset.mapping
        chosen = random.sample(range(len(self._scales)), random.randint(1, min(3, len(self._scales))))
        offset = random.gauss(0.0, 1.0)
        argument: list[Any] = []
        for j in chosen:
            slope = random.gauss(0.0, 1.0) / self._scales[j]
            offset -= slope * self._centres[j]
            argument += [mapping["add"], mapping["mul"], self.constant_node(slope), self._terminals[j]]
        return Individual([mapping[random.choice(self._ridge_functions)], *argument, self.constant_node(offset)])

    def clone(self, individual: Individual) -> Individual:
        """A copy to vary; nodes are immutable and shared."""
        return Individual(individual)

    def to_expression(self, individual: Individual) -> Expression:
        """The individual as an `Expression`."""
        token = self._token
        tokens = [token[node.name] for node in individual]
        constants = [node.value for node in individual if node.name == "constant"]
        return Expression._trusted(np.array(tokens, dtype=np.int16), np.array(constants, dtype=np.float64))

    def from_expression(self, expression: Expression) -> Individual:
        """The expression as an individual.

        Raises:
            KeyError: an operator, or a constant, is not in the primitive set.
        """
        mapping = self.pset.mapping
        constants = iter(expression.constants.tolist())
        names = {token: name for name, token in self._token.items()}
        nodes = [
            self.constant_node(next(constants)) if token == CONSTANT else mapping[names[token]]
            for token in expression.tokens.tolist()
        ]
        return Individual(nodes)

    def constant_node(self, value: float) -> Any:
        """Terminal with this value.

        Raises:
            KeyError: the primitive set has no constants.
        """
        if not self.has_constants:
            raise KeyError("constant")
        node = object.__new__(self._constant_class)
        node.value = value
        return node

    def set_constants(self, individual: Individual, constants: np.ndarray) -> None:
        """Write fitted constants back into the tree, in prefix order."""
        values = iter(constants.tolist())
        individual[0:] = [self.constant_node(next(values)) if n.name == "constant" else n for n in individual]

    def within_limits(self, individual: Individual) -> bool:
        """Whether the tree respects the limits on length and height."""
        return len(individual) <= self.max_length and individual.height <= self.max_height

    # --- variation ----------------------------------------------------------------------------------------------

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

    def _append(self, individual: Individual, term: Individual) -> None:
        """tree -> tree + 1 * term, the 1 to be fitted."""
        mapping = self.pset.mapping
        individual[0:] = [mapping["add"], *individual, mapping["mul"], self.constant_node(1.0), *term]

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
