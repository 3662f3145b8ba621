"""Populations to time evaluators on: random ones, and ones that genetic programming really evolved.

What an evaluator gains by sharing subtrees depends on how alike the individuals are, so an evolved population must
come from selection and crossover and not from a generator that imitates them. The loop is DEAP's textbook one:
tournament selection of five, one-point subtree crossover (90 %), uniform subtree mutation (10 %) and a limit on
the size; the fitness is the squared correlation with a neural latent, a 2-16-8-1 tanh network with random weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from deap import creator, gp, tools
from deap.base import Fitness

from expressions.evaluation import Evaluator
from expressions.expression import Expression
from expressions.operators import BY_NAME

OPERATOR_SET = ("add", "sub", "mul", "div", "exp", "log", "sin", "cos", "sqrt", "square", "tanh")
"""What this project, DEAP (through NumPy) and pyoperon can all evaluate."""

_CROSSOVER, _MUTATION, _TOURNAMENT = 0.9, 0.1, 5
_FITNESS_ROWS = 2_000

_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "sqrt": np.sqrt,
    "square": np.square,
    "tanh": np.tanh,
}


def primitive_set() -> gp.PrimitiveSet:
    """`OPERATOR_SET` as NumPy functions over two variables x0 and x1 and constants between -2 and 2."""
    primitives = gp.PrimitiveSet("benchmark", 2, prefix="x")
    for name in OPERATOR_SET:
        primitives.addPrimitive(_NUMPY[name], BY_NAME[name].arity, name=name)
    primitives.addEphemeralConstant("constant", _constant)
    return primitives


def _constant() -> float:
    return random.uniform(-2.0, 2.0)


def random_population(primitives: gp.PrimitiveSet, count: int, size: int) -> list[gp.PrimitiveTree]:
    """Ramped half-and-half trees of different sizes whose mean is near `size` nodes.

    Depths rise until trees of `size` nodes occur; sizes between 0.5 and 1.6 times `size` are kept.
    """
    population: list[gp.PrimitiveTree] = []
    deepest = max(4, round(np.log2(size)) + 3)
    while len(population) < count:
        tree = gp.PrimitiveTree(gp.genHalfAndHalf(primitives, 2, deepest))
        if 0.5 * size <= len(tree) <= 1.6 * size:
            population.append(tree)
    return population


def neural_latent(inputs: np.ndarray, seed: int) -> np.ndarray:
    """Output of a random 2-16-8-1 tanh network on standardised inputs `[rows, 2]`. `[rows]`"""
    rng = np.random.default_rng(seed)
    values = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    for width in (16, 8):
        weights = rng.normal(0.0, 1.5 / np.sqrt(values.shape[1]), (values.shape[1], width))
        values = np.tanh(values @ weights + rng.normal(0.0, 0.5, width))
    return values @ rng.normal(0.0, 1.0, values.shape[1])


def evolved_population(
    primitives: gp.PrimitiveSet,
    inputs: np.ndarray,
    *,
    count: int,
    size: int,
    generations: int,
    distinct: bool,
    seed: int,
) -> list[gp.PrimitiveTree]:
    """A population after `generations` of selection, crossover and mutation.

    Args:
        inputs: `[rows, 2]`; the fitness looks at up to 2,000 of the rows.
        count: individuals.
        size: mean number of nodes to start from; children of more than 1.4 times that are replaced by a parent,
            which holds the mean near `size` against the growth that crossover brings.
        distinct: refuse a child whose program is in the population already, as this project's search does.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(inputs))[:_FITNESS_ROWS])
    fitness = _correlation(inputs[rows], neural_latent(inputs, seed)[rows], primitives)
    limit = gp.staticLimit(key=len, max_value=round(1.4 * size))
    mate = limit(gp.cxOnePoint)
    mutate = limit(partial(_mutate, primitives=primitives))  # the limit takes every argument for an individual
    population = [_individual(tree) for tree in random_population(primitives, count, size)]
    for _ in range(generations):
        fitness(population)
        children: list[Any] = []
        seen: set[str] = set()
        while len(children) < count:
            for child in _pair(population, mate, mutate):
                # Trees below half the size would make the mean sink: selection has nothing against them.
                if len(child) < 0.5 * size or len(children) == count:
                    continue
                text = str(child) if distinct else ""
                if distinct and text in seen:
                    continue
                seen.add(text)
                children.append(child)
        population = children
    return population


def _individual(tree: gp.PrimitiveTree) -> Any:
    if not hasattr(creator, "BenchmarkIndividual"):
        creator.create("BenchmarkFitness", Fitness, weights=(1.0,))
        creator.create("BenchmarkIndividual", gp.PrimitiveTree, fitness=creator.BenchmarkFitness)
    return creator.BenchmarkIndividual(tree)


def _mutate(tree: Any, primitives: gp.PrimitiveSet) -> tuple[Any]:
    mutated: tuple[Any] = gp.mutUniform(tree, lambda pset, type_: gp.genFull(pset, 0, 2, type_), primitives)
    return mutated


def _pair(population: Sequence[Any], mate: Callable[..., Any], mutate: Callable[..., Any]) -> list[Any]:
    """Two children of two tournament winners."""
    pair = [_individual(parent) for parent in tools.selTournament(population, 2, _TOURNAMENT)]
    if random.random() < _CROSSOVER:
        pair = list(mate(*pair))
    return [mutate(child)[0] if random.random() < _MUTATION else child for child in pair]


def _correlation(
    inputs: np.ndarray, target: np.ndarray, primitives: gp.PrimitiveSet
) -> Callable[[Sequence[Any]], None]:
    """Function that gives every individual its squared correlation with `target`; -1 where it is not finite."""
    evaluator = Evaluator(inputs, np.float64)
    centred = target - target.mean()

    def assign(population: Sequence[Any]) -> None:
        values = evaluator.values([Expression.from_deap(tree, primitives) for tree in population])
        with np.errstate(all="ignore"):
            values = values - values.mean(axis=1, keepdims=True)
            squares = np.einsum("ij,ij->i", values, values) * (centred @ centred)
            scores = np.where(squares > 0, (values @ centred) ** 2 / squares, -1.0)
        for individual, score in zip(population, scores, strict=True):
            individual.fitness.values = (float(score) if np.isfinite(score) else -1.0,)

    return assign
