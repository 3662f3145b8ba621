"""Many regressions at once, each on a few of many functions: matching pursuit and its refinement by exchanges."""

from __future__ import annotations

import numpy as np

__all__ = ["PARALLEL", "Pursuit", "in_units"]

PARALLEL = 1e-6
"""Squared sine of the angle to what is chosen, below which float32 sees nothing new."""
_REFINEMENTS = 2  # rounds of exchanges


def in_units(values: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets of ordinary size, and what their errors cost in the new unit. Each `[…, rows]`

    Args:
        values: targets. `[…, rows]`
        slopes: cost of their errors. `[…, rows]`
    """
    size = np.abs(values)
    unit = np.median(size, axis=-1, keepdims=True)
    unit = np.where(unit > 0, unit, size.max(axis=-1, keepdims=True))  # of a target that is mostly 0
    return values / unit, slopes * unit


class Pursuit:
    """Regressions of many targets at once, each with weights of its own, on a few of many functions.

    Args:
        functions: values of magnitude 1 at most. `[functions, rows]`
        terms: number of functions that are chosen.
    """

    def __init__(self, functions: np.ndarray, terms: int) -> None:
        self.functions = functions
        self.single = functions.astype(np.float32)
        self.squares = np.square(self.single)
        self.terms = terms

    def errors(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of squares that orthogonal matching pursuit leaves after each term. `[terms, targets]`

        Args:
            values: targets. `[targets, rows]`
            weights: weights on their errors. `[targets, rows]`
        """
        everyone = np.arange(len(values))
        heavy = np.square(weights)
        total = heavy.sum(axis=1)
        lengths = self.squares @ heavy.astype(np.float32).T
        spreads = lengths - np.square(self.single @ heavy.astype(np.float32).T) / total
        usable = spreads > PARALLEL * lengths
        goal = weights * values
        left = goal - weights * ((weights * goal).sum(axis=1) / total)[:, None]
        columns, errors = [weights], []
        for _ in range(self.terms):
            gains = np.where(usable, self._squared_products(weights * left) / spreads, 0.0)
            chosen = gains.argmax(axis=0)
            usable[chosen, everyone] = False
            columns.append(weights * self.functions[chosen])
            left = _residual(np.stack(columns, axis=2), goal)
            errors.append(np.square(left).sum(axis=1))
        return np.array(errors)

    def refined(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted sums of squares that are left after all terms, each exchanged for the best beside the others.

        Orthogonal least squares (Chen, Billings and Luo 1989): of a function, the part counts that the others do
        not have. `[targets]`
        """
        goal = weights * values
        lengths = self.squares @ np.square(weights).astype(np.float32).T
        chosen: list[np.ndarray] = []
        for turn in range(self.terms * (1 + _REFINEMENTS)):
            others = chosen[1:] if turn >= self.terms else chosen
            columns = [weights, *(weights * self.functions[places] for places in others)]
            basis = np.linalg.qr(np.stack(columns, axis=2))[0]
            left = goal - (basis @ (basis.transpose(0, 2, 1) @ goal[:, :, None]))[:, :, 0]
            apart = lengths.copy()
            for k in range(basis.shape[2]):
                apart -= self._squared_products(weights * basis[:, :, k])
            gains = np.where(apart > PARALLEL * lengths, self._squared_products(weights * left) / apart, 0.0)
            chosen = [*others, gains.argmax(axis=0)]
        columns = [weights, *(weights * self.functions[places] for places in chosen)]
        return np.square(_residual(np.stack(columns, axis=2), goal)).sum(axis=1)

    def _squared_products(self, vectors: np.ndarray) -> np.ndarray:
        """Of every function with every one of `vectors [targets, rows]`. `[functions, targets]`"""
        return np.square(self.single @ vectors.astype(np.float32).T)


def _residual(basis: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What the best combinations of columns leave of targets. `[targets, rows, columns]`, `[targets, rows]`"""
    basis = basis / np.maximum(np.linalg.norm(basis, axis=1, keepdims=True), 1e-300)
    gram = basis.transpose(0, 2, 1) @ basis + 1e-12 * np.eye(basis.shape[2])
    for _ in range(2):  # normal equations square what is nearly parallel; a second solution makes up for that
        projected = basis.transpose(0, 2, 1) @ target[:, :, None]
        target = target - (basis @ np.linalg.solve(gram, projected))[:, :, 0]
    return target
