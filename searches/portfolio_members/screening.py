"""Which columns of a wide table explain its target: greedy regression on functions of one and two columns."""

from __future__ import annotations

import itertools

import numpy as np

from searches.latent_space.tables import relevance

__all__ = ["relevant_columns"]

_PAIRED = 100  # most relevant columns whose products are looked at
_WORTH = 0.01  # smallest share of what is left that a function must explain


def relevant_columns(inputs: np.ndarray, target: np.ndarray, most: int) -> np.ndarray:
    """Columns that explain most of the target together, in the table's order.

    Orthogonal matching pursuit chooses among the columns, their squares and cubes, and the products of two; a
    column of a chosen function is a chosen column. Places that are left go to the columns that are most relevant
    by themselves.

    Args:
        inputs: finite values of the columns. `[rows, columns]`
        target: finite values. `[rows]`
        most: largest number of columns.

    Returns:
        Positions of the columns. `[at most most]`
    """
    count = inputs.shape[1]
    if count <= most:
        return np.arange(count)
    order = np.argsort(-relevance(inputs, target), kind="stable").tolist()
    chosen: dict[int, None] = {}
    for owners in _pursuit(inputs, target, order[:_PAIRED], most):
        if len(chosen.keys() | set(owners)) > most:
            break
        chosen.update(dict.fromkeys(owners))
    for column in order:
        if len(chosen) < most:
            chosen.setdefault(column)
    return np.array(sorted(chosen))


def _pursuit(inputs: np.ndarray, target: np.ndarray, paired: list[int], most: int) -> list[tuple[int, ...]]:
    """Columns of the functions that a matching pursuit chooses, the first choice first."""
    functions, owners = _functions(inputs, paired)
    left = target - target.mean()
    left = left / (float(np.sqrt(left @ left)) or 1.0)
    chosen: list[tuple[int, ...]] = []
    for _ in range(min(most, len(target) // 5)):
        gains = np.square(functions @ left)
        place = int(gains.argmax())
        if not gains[place] > _WORTH * float(left @ left):
            break
        chosen.append(owners[place])
        direction = functions[place].copy()
        left = left - (direction @ left) * direction
        functions -= np.outer(functions @ direction, direction)
        lengths = np.sqrt(np.square(functions).sum(axis=1))
        functions /= np.where(lengths > 1e-3, lengths, np.inf)[:, None]
    return chosen


def _functions(inputs: np.ndarray, paired: list[int]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Functions of one and two columns, centred and of length 1, `[functions, rows]`, and the columns of each."""
    scale = np.abs(inputs).max(axis=0)
    scaled = inputs / np.where(scale > 0, scale, 1.0)
    spread = scaled.std(axis=0)
    z = ((scaled - scaled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32).T
    pairs = list(itertools.combinations(sorted(paired), 2))
    ones, others = (np.array([pair[k] for pair in pairs], dtype=int) for k in (0, 1))
    functions = np.concatenate([z, z**2, z**3, z[ones] * z[others]])
    functions -= functions.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.square(functions).sum(axis=1))
    functions /= np.where(lengths > 0, lengths, np.inf)[:, None]
    owners: list[tuple[int, ...]] = [(column,) for column in range(len(z))]
    return functions, owners * 3 + [*pairs]
