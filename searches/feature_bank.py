"""A bank of small random functions, from which the one is drawn that explains most of what an equation misses.

Adding a random term to an equation rarely helps; adding the best of a thousand often does, and finding it is one
matrix-vector product: the correlation of every function in the bank with the equation's residual (as in matching
pursuit, Mallat and Zhang 1993, and cascade correlation, Fahlman and Lebiere 1990).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from searches.breeding import Breeder, Individual
from searches.regression import RegressionTask

_SHARE_DRAWN = 0.2  # of the bank takes part in each draw, so that two draws for one residual differ
_MOST_SIMPLE = 500  # functions of one or two variables that are always in the bank
_PATHS = 12  # greedy sums of different shares of the bank
_SHARE_OF_PATH = 0.5


@contextmanager
def lent_random_state(state: tuple[Any, ...]) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """DEAP draws from Python's global generator: lend it a state and restore what was there.

    Yields:
        A function that returns the generator's current state.
    """
    outside = random.getstate()
    random.setstate(state)
    try:
        yield random.getstate
    finally:
        random.setstate(outside)


class FeatureBank:
    """Small random functions of the inputs with their centred values on the search rows.

    Args:
        breeder: makes the functions: the simple ones (powers and functions of a variable, products of two), then
            random ones, half of them small trees, half ridge functions.
        task: gives the rows.
        size: how many to make; those that are constant or not finite are dropped.
        seed: same seed, same bank.
    """

    def __init__(self, breeder: Breeder, task: RegressionTask, size: int, seed: int) -> None:
        self._task = task
        with lent_random_state(random.Random(seed).getstate()):
            trees = breeder.simple_trees(_MOST_SIMPLE)
            trees += [breeder.small_tree() if k % 2 else breeder.ridge_function() for k in range(size)]
        values = task.values([breeder.to_expression(tree) for tree in trees])
        with np.errstate(all="ignore"):
            spread = values.std(axis=1)
        usable = np.flatnonzero(np.isfinite(spread) & (spread > 1e-6 * np.abs(values).max(axis=1)))
        self._trees = [trees[k] for k in usable]
        self._values = values[usable]
        with np.errstate(all="ignore"):
            centred = self._values - self._values.mean(axis=1, keepdims=True)
            self._directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)

    def term_for(self, individual: Individual, breeder: Breeder) -> Individual | None:
        """A function g for which individual + c * g comes closest to the target, of a random share of the bank."""
        residual = self._task.residual(breeder.to_expression(individual))[1]
        if residual is None or not self._trees:
            return None
        drawn = self._draw()
        return self._trees[drawn[int(np.argmax(np.abs(self._directions[drawn] @ residual)))]]

    def factor_for(self, individual: Individual, breeder: Breeder) -> Individual | None:
        """A function g for which individual * (1 + c * g) comes closest, of a random share of the bank."""
        values, residual = self._task.residual(breeder.to_expression(individual))
        if residual is None or values is None or not self._trees:
            return None
        drawn = self._draw()
        with np.errstate(all="ignore"):
            product = self._values[drawn] * values
            product -= product.mean(axis=1, keepdims=True)
            score = np.abs(product @ residual) / np.linalg.norm(product, axis=1)
        return self._trees[drawn[int(np.argmax(np.nan_to_num(score)))]]

    def greedy_sums(self, breeder: Breeder, most_terms: int) -> list[Individual]:
        """Sums of 1 to `most_terms` functions, grown by orthogonal matching pursuit (Pati et al. 1993).

        Each path works on a random share of the bank: forward selection takes a wrong turn where functions are
        alike, and not every share leads it there.
        """
        sums: list[Individual] = []
        for _ in range(_PATHS):
            places = np.array(random.sample(range(len(self._trees)), int(_SHARE_OF_PATH * len(self._trees))))
            chosen: list[int] = []
            residual = self._task.centred_target
            for _ in range(min(most_terms, len(places))):
                scores = np.abs(self._directions[places] @ residual)
                chosen.append(int(places[int(np.argmax(scores))]))
                basis = self._directions[chosen].T
                residual = self._task.centred_target - basis @ np.linalg.lstsq(basis, self._task.centred_target)[0]
                sums.append(breeder.weighted_sum([self._trees[k] for k in chosen]))
        return sums

    def _draw(self) -> np.ndarray:
        count = max(1, int(_SHARE_DRAWN * len(self._trees)))
        return np.array(random.sample(range(len(self._trees)), count))
