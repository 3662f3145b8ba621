"""Combinations of columns that vanish: whether there is one, of which columns, and with which coefficients."""

from __future__ import annotations

import math

import numpy as np

from searches.direct.elimination import Fit, compressed
from searches.direct.row_weights import row_weights
from searches.direct.short_numbers import shortened, text_lengths

__all__ = ["NullSpace", "in_units", "shortest_multiple", "vanishing"]

_ROUNDING = 3e-17  # singular value relative to the largest, below which there is none
_LEVEL = 8.0  # factor on an error within which it is the same but for rounding
_PASSES = 3  # of elimination, each with weights of the rows from the last
_WHOLE = 100  # numbers that a coefficient may be made, to have the others short


def in_units(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values of ordinary size, and their unit, a power of two so that no digit changes."""
    size = float(np.median(np.abs(values))) or float(np.abs(values).max())
    unit = 2.0 ** round(math.log2(size))
    return values / unit, unit


class NullSpace:
    """Columns of which some combination may vanish, those of low degree first.

    Args:
        design: columns. `[rows, columns]`
    """

    def __init__(self, design: np.ndarray) -> None:
        self.rows = len(design)
        scale = np.linalg.norm(design, axis=0)
        self.factor = np.asarray(np.linalg.qr(design / np.where(scale > 0, scale, 1.0), mode="r"))

    def smallest(self, count: int) -> float:
        """Smallest singular value of the first columns, relative to the largest."""
        values = np.linalg.svd(self.factor[:count, :count], compute_uv=False)
        return max(float(values[-1] / values[0]), _ROUNDING)

    def _vector(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The smallest singular vector of the first columns, and its standard deviations. Each `[count]`"""
        decomposed = np.linalg.svd(self.factor[:count, :count])
        values = np.maximum(decomposed.S, _ROUNDING * decomposed.S[0])
        error = float(values[-1]) / math.sqrt(max(1, self.rows - count))
        spreads = error * np.sqrt(np.square(decomposed.Vh[:-1] / values[:-1, None]).sum(axis=0))
        return decomposed.Vh[-1], np.maximum(spreads, 1e-300)

    def needed(self, count: int) -> np.ndarray:
        """Which of the first columns have a part in what vanishes. `[count]` bool"""
        vector, spreads = self._vector(count)
        return np.asarray(np.abs(vector) > _LEVEL * spreads)

    def surest(self) -> int:
        """The column whose part in what vanishes is known best."""
        vector, spreads = self._vector(self.factor.shape[1])
        return int(np.argmax(np.abs(vector) / spreads))


def vanishing(design: np.ndarray, weights: np.ndarray) -> Fit:
    """The combination of as few columns as elimination reaches that vanishes, the coefficient of one of them 1.

    Args:
        design: columns. `[rows, columns]`
        weights: weights of the rows to begin with. `[rows]`
    """
    columns = np.arange(design.shape[1])
    for _ in range(_PASSES):  # the weights of the rows become those of the terms
        weighted = design[:, columns] * weights[:, None]
        surest = NullSpace(weighted).surest()
        others = np.delete(np.arange(len(columns)), surest)
        fit = compressed(weighted[:, others], -weighted[:, surest]).eliminated(_LEVEL**2)
        columns = columns[np.append(others[fit.columns], surest)]
        coefficients = np.append(fit.coefficients, 1.0)
        weights = row_weights(np.abs(design[:, columns]) @ np.abs(coefficients))
    left = np.square(design[:, columns] @ coefficients * weights).sum()
    return Fit(columns, coefficients, np.append(fit.spreads, 0.0), float(left))


def shortest_multiple(coefficients: np.ndarray, spreads: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Coefficients that may all be multiplied by a number, with that which makes them shortest. `[coefficients]`

    Args:
        coefficients: fitted coefficients. `[coefficients]`
        spreads: standard deviations of them. `[coefficients]`
        first: flags of those that are rather 1 than others, and whose sum is positive. `[coefficients]` bool
    """
    relative = spreads / np.abs(coefficients)
    best: tuple[float, np.ndarray] = math.inf, coefficients
    for pivot in np.argsort(~first, kind="stable").tolist():
        scaled = np.arange(1, _WHOLE)[:, None] * (coefficients / coefficients[pivot])
        rooms = np.abs(scaled) * np.hypot(relative, relative[pivot])
        rooms[:, pivot] = 0.0
        lengths = text_lengths(scaled, rooms).sum(axis=1)
        place = int(lengths.argmin())
        if lengths[place] < best[0]:
            best = float(lengths[place]), shortened(scaled[place], rooms[place])
    found = best[1]
    return -found if found[first].sum() < 0 else found
