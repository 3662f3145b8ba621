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

from searches.common.regression_task import RegressionTask
from searches.evolution.trees import Individual, TreeFactory

_SHARE_DRAWN = 0.2  # of the bank takes part in each draw, so that two draws for one residual differ
_MOST_SIMPLE = 500  # functions of one or two variables that are always in the bank
_PATHS = 12  # greedy sums of different shares of the bank
_SHARE_OF_SIMPLE, _SHARE_OF_ALL = 0.9, 0.5
_TWIN = 1e-6  # of a correlation short of 1, to which float32 knows it
_EXCHANGES = 3  # rounds
_PARALLEL = 1e-5  # squared sine of the angle to the chosen functions, below which float32 sees nothing new


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
        factory: makes the functions: the simple ones (powers and functions of a variable, products of two), then
            random ones, half of them small trees, half ridge functions.
        task: gives the rows.
        size: how many to make; those that are constant or not finite are dropped.
        seed: same seed, same bank.
    """

    def __init__(self, factory: TreeFactory, task: RegressionTask, size: int, seed: int) -> None:
        self._task = task
        with lent_random_state(random.Random(seed).getstate()):
            trees = factory.simple_trees(_MOST_SIMPLE)
            simple = len(trees)
            trees += [factory.small_tree() if k % 2 else factory.ridge_function() for k in range(size)]
        values = task.values([factory.to_expression(tree) for tree in trees])
        with np.errstate(all="ignore"):
            spread = values.std(axis=1)
        usable = np.flatnonzero(np.isfinite(spread) & (spread > 1e-6 * np.abs(values).max(axis=1)))
        with np.errstate(all="ignore"):
            centred = values[usable] - values[usable].mean(axis=1, keepdims=True)
            directions = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        different = _without_twins(directions, int(np.count_nonzero(usable < simple)))
        usable = usable[different]
        self._trees = [trees[k] for k in usable]
        self._values = values[usable]
        self._directions = directions[different]
        self._simple = int(np.count_nonzero(usable < simple))

    def term_for(self, individual: Individual, factory: TreeFactory) -> Individual | None:
        """A function g for which individual + c * g comes closest to the target, of a random share of the bank."""
        residual = self._task.residual(factory.to_expression(individual))[1]
        if residual is None or not self._trees:
            return None
        drawn = self._draw()
        return self._trees[drawn[int(np.argmax(np.abs(self._directions[drawn] @ residual)))]]

    def factor_for(self, individual: Individual, factory: TreeFactory) -> Individual | None:
        """A function g for which individual * (1 + c * g) comes closest, of a random share of the bank."""
        values, residual = self._task.residual(factory.to_expression(individual))
        if residual is None or values is None or not self._trees:
            return None
        drawn = self._draw()
        with np.errstate(all="ignore"):
            product = self._values[drawn] * values
            product -= product.mean(axis=1, keepdims=True)
            score = np.abs(product @ residual) / np.linalg.norm(product, axis=1)
        return self._trees[drawn[int(np.argmax(np.nan_to_num(score)))]]

    def greedy_sums(self, factory: TreeFactory, most_terms: int) -> list[Individual]:
        """Sums of 1 to `most_terms` functions, grown one after the other and improved by exchanges.

        Every second path works on the simple functions, the others on a random share of the whole bank: forward
        selection takes a wrong turn where functions are alike, and not every share leads it there.
        """
        sums: list[Individual] = []
        for path in range(_PATHS):
            pool = range(self._simple) if path % 2 == 0 else range(len(self._trees))
            share = _SHARE_OF_SIMPLE if path % 2 == 0 else _SHARE_OF_ALL
            places = np.array(random.sample(pool, int(share * len(pool))), dtype=np.int64)
            chosen: list[int] = []
            for _ in range(min(most_terms, len(places))):
                chosen.append(self._best_addition(chosen, places))
                self._exchange(chosen, places)
                sums.append(factory.weighted_sum([self._trees[k] for k in chosen]))
        return sums

    def _exchange(self, chosen: list[int], places: np.ndarray) -> None:
        """Replace one of the chosen functions after the other while another one explains more."""
        for _ in range(_EXCHANGES):
            before = list(chosen)
            for _ in range(len(chosen)):
                chosen.pop(0)
                chosen.append(self._best_addition(chosen, places))
            if sorted(chosen) == sorted(before):
                return

    def _best_addition(self, chosen: list[int], places: np.ndarray) -> int:
        """The function that lowers the least-squares error most, given those chosen already.

        Orthogonal least squares (Chen, Billings and Luo 1989): what counts is only the part of a function that is
        orthogonal to the chosen ones, relative to its length. On powers of one variable, which are nearly
        parallel, plain matching pursuit goes astray.
        """
        directions = self._directions[places]
        residual = self._task.centred_target
        left = np.ones(len(places), dtype=np.float32)
        if chosen:
            basis = np.linalg.qr(self._directions[chosen].T.astype(np.float64))[0].astype(np.float32)
            residual = residual - basis @ (basis.T @ residual)
            left = 1.0 - np.square(directions @ basis).sum(axis=1)
        gain = np.square(directions @ residual) / np.maximum(left, 1e-30)
        gain[left < _PARALLEL] = 0.0
        return int(places[int(np.argmax(gain))])

    def _draw(self) -> np.ndarray:
        count = max(1, int(_SHARE_DRAWN * len(self._trees)))
        return np.array(random.sample(range(len(self._trees)), count))


def _without_twins(directions: np.ndarray, simple: int) -> np.ndarray:
    """Indices of a bank without the simple functions that equal an earlier one here, as |x| equals x > 0."""
    alike = np.abs(directions[:simple] @ directions[:simple].T) > 1.0 - _TWIN
    twins = np.flatnonzero(np.triu(alike, k=1).any(axis=0))
    return np.setdiff1d(np.arange(len(directions)), twins)
