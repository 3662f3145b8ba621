"""Polynomials under noise: a few monomials out of many, as long as those explain what all of them do.

Monomials of the variables themselves are chosen one after the other, each the one that leaves least (orthogonal
least squares: Chen, Billings and Luo 1989), and then exchanged for better ones. Their number is that of the
extended Bayesian information criterion, which counts among how many they were chosen (J. Chen and Z. Chen,
"Extended Bayesian information criteria for model selection with large model spaces", Biometrika 95, 2008).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

__all__ = ["Sum", "noisy_sums"]

_MOST_TERMS = 12
_SIZES = 3  # sums
_ROUNDS = 2  # of exchanges
_APART = 1e-9  # squared length of what the others do not give of a column of length 1, below which it is no choice
_WORTH = 0.999  # of the error, at which an exchange is one

Sum = tuple[np.ndarray, np.ndarray]
"""Numbers of columns and their factors. Each `[terms]`"""


def noisy_sums(design: np.ndarray, target: np.ndarray, allowed: float) -> Iterator[Sum]:
    """Sums of a few columns: as many as the criterion chooses, and fewer while they are allowed.

    Args:
        design: columns to choose from. `[rows, columns]`
        target: values to be explained. `[rows]`
        allowed: mean squared error above which a sum is none: something better than noise is left.
    """
    lengths = np.linalg.norm(design, axis=0)
    columns = design / np.where(lengths > 0, lengths, 1.0)
    path = _path(columns, target)
    costs = [_cost(error, size + 1, *design.shape) for size, (_, error) in enumerate(path)]
    size = int(np.argmin(costs)) + 1 if costs else 0
    if size == _MOST_TERMS:  # without noise, more terms would still do better
        return
    choices = [_exchanged(columns, target, *path[terms - 1]) for terms in range(size, max(0, size - _SIZES), -1)]
    for chosen, error in choices:
        if error > allowed * (len(target) - len(chosen)):
            return
        factors = np.linalg.lstsq(columns[:, chosen], target, rcond=None)[0] / lengths[chosen]
        if factors.all():
            yield np.array(chosen), factors


def _cost(error: float, terms: int, rows: int, columns: int) -> float:
    return rows * math.log(max(error, 1e-300)) + terms * (math.log(rows) + 2.0 * math.log(columns))


def _path(columns: np.ndarray, target: np.ndarray) -> list[tuple[list[int], float]]:
    """Choices of one column, two and so on, with the sums of squares that they leave."""
    basis = np.empty((len(target), 0))
    left, apart = target, np.ones(columns.shape[1])
    chosen: list[int] = []
    path: list[tuple[list[int], float]] = []
    while len(chosen) < min(_MOST_TERMS, len(target) // 4):
        place = _best(columns, left, apart)
        if place is None:
            break
        direction = _beside(columns[:, place], basis)
        basis = np.column_stack([basis, direction])
        left = left - direction * (direction @ left)
        apart = apart - np.square(direction @ columns)
        chosen = [*chosen, place]
        path.append((chosen, float(left @ left)))
    return path


def _best(columns: np.ndarray, left: np.ndarray, apart: np.ndarray) -> int | None:
    """The column that explains most of what is left; None where none explains anything."""
    gains = np.where(apart > _APART, np.square(left @ columns) / np.maximum(apart, _APART), 0.0)
    place = int(gains.argmax())
    return place if gains[place] > 0 else None


def _beside(column: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What orthonormal columns do not give of another one, of length 1. `[rows]`"""
    for _ in range(2):  # once is not orthogonal to rounding
        column = column - basis @ (basis.T @ column)
    return column / float(np.linalg.norm(column))


def _exchanged(
    columns: np.ndarray, target: np.ndarray, chosen: list[int], error: float
) -> tuple[list[int], float]:
    """The choice, with columns replaced by what is better beside the others, and what it leaves."""
    for _ in range(_ROUNDS):
        before = error
        for place in chosen:
            others = [other for other in chosen if other != place]
            basis = np.linalg.qr(columns[:, others])[0]
            left = target - basis @ (basis.T @ target)
            best = _best(columns, left, 1.0 - np.square(basis.T @ columns).sum(axis=0))
            if best is None or best in others:
                continue
            direction = _beside(columns[:, best], basis)
            after = float(left @ left - (direction @ left) ** 2)
            if after < _WORTH * error:
                chosen, error = [*others, best], after
        if error >= _WORTH * before:
            break
    return chosen, error
