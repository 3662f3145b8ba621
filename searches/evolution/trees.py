"""Trees of a genetic programming population: DEAP's primitive trees over our operators, made and translated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import base, gp

from expressions.expression import Expression
from expressions.operators import BY_NAME, CONSTANT, FIRST_VARIABLE, TOKEN

__all__ = ["RIDGE_FUNCTIONS", "Fitness", "Individual", "TreeFactory", "draw_constant"]

# Smooth functions of one argument that are defined everywhere, best first for saturating data.
RIDGE_FUNCTIONS = ("tanh", "atan", "sin", "cos", "exp", "square")


class Fitness(base.Fitness):
    """(error, size), both to be minimised; DEAP's selections read it."""

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


def _centres_and_scales(columns: np.ndarray) -> tuple[list[float], list[float]]:
    """Means and standard deviations of columns, 1 for a column that does not vary. `[columns]` each

    Of a column whose squares leave float64, the largest magnitude.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        centres, scales = columns.mean(axis=0), columns.std(axis=0)
    centres = np.where(np.isfinite(centres), centres, columns[0])
    scales = np.where(np.isfinite(scales), scales, np.abs(columns).max(axis=0))
    return centres.tolist(), [scale or 1.0 for scale in scales.tolist()]


class TreeFactory:
    """Makes trees over a set of operators and variables, and translates them to expressions and back.

    Args:
        operators: names in the operator table.
        columns: the table, `[rows, variables]`; new constants start on the scale of the columns they multiply.
        constants: whether trees may hold constants.
        max_height: height limit of every tree.
        max_length: limit on the number of nodes.
    """

    def __init__(
        self,
        operators: Sequence[str],
        columns: np.ndarray,
        *,
        constants: bool,
        max_height: int,
        max_length: int,
    ) -> None:
        self.max_height = max_height
        self.max_length = max_length
        self._operators = tuple(operators)
        self.pset = gp.PrimitiveSet("equation", columns.shape[1])
        self._centres, self._scales = _centres_and_scales(columns)
        self._ridge_functions = [name for name in RIDGE_FUNCTIONS if name in operators]
        for name in operators:
            self.pset.addPrimitive(BY_NAME[name].numpy, BY_NAME[name].arity, name=name)
        self.has_constants = constants
        self.sums_of_ridges = constants and bool(self._ridge_functions) and {"add", "mul"} <= set(operators)
        if constants:
            self.pset.addEphemeralConstant("constant", draw_constant)
        self._constant_class: Any = self.pset.mapping.get("constant")
        self._token = {name: TOKEN[name] for name in operators}
        self._token.update({name: FIRST_VARIABLE + j for j, name in enumerate(self.pset.arguments)})
        self._token["constant"] = CONSTANT
        self._terminals = [self.pset.mapping[name] for name in self.pset.arguments]

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

    def _append(self, individual: Individual, term: Individual) -> None:
        """tree -> tree + 1 * term, the 1 to be fitted."""
        mapping = self.pset.mapping
        individual[0:] = [mapping["add"], *individual, mapping["mul"], self.constant_node(1.0), *term]
