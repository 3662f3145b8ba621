"""Which rows of a table a search looks at: random ones, and the extremes of every column."""

from __future__ import annotations

import numpy as np

__all__ = ["chosen_rows", "evenly_spread"]

_BLOCK = 256  # rows whose smallest and largest values are taken together


def chosen_rows(inputs: np.ndarray, target: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rows to search on: random ones, and the extremes of every column, where equations go wrong first.

    Args:
        inputs: finite values of the columns. `[rows, columns]`
        target: finite values. `[rows]`
        count: number of rows; all where there are fewer.
        rng: random generator for the choice.

    Returns:
        Positions of the rows, rising. `[at most count]`
    """
    rows = len(target)
    if rows <= count:
        return np.arange(rows)
    tail = max(1, count // (20 * (inputs.shape[1] + 1)))
    ends = np.concatenate([_extremes(inputs, tail), _extremes(target[:, None], tail)])
    extremes = np.unique(ends)[: count // 2]
    is_other = np.ones(rows, dtype=bool)
    is_other[extremes] = False
    others = np.flatnonzero(is_other)
    return np.sort(np.concatenate([extremes, rng.choice(others, count - len(extremes), replace=False)]))


def evenly_spread(rows: int, count: int) -> np.ndarray:
    """Positions of so many rows at equal distances; all where there are fewer. `[at most count]`"""
    return np.linspace(0, rows - 1, min(rows, count)).round().astype(int)


def _extremes(table: np.ndarray, tail: int) -> np.ndarray:
    """Rows of the `tail` smallest and the `tail` largest values of every column `[rows, columns]`.

    Of equal small values the first rows count, of equal large ones the last. Columns are not sorted, which takes
    longer than a short search: the `tail` smallest values lie in the `tail` blocks of the smallest minima.
    """
    lows, highs = _of_blocks(table, np.minimum), _of_blocks(table, np.maximum)
    found = []
    for column, low, high in zip(table.T, lows.T, highs.T, strict=True):
        found += [_first(column, low, tail, 1), _first(column, high, tail, -1)]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _of_blocks(table: np.ndarray, smaller: np.ufunc) -> np.ndarray:
    """Minimum or maximum of every block of rows. `[blocks, columns]`"""
    count, columns = len(table) // _BLOCK, table.shape[1]
    whole, rest = table[: count * _BLOCK], table[count * _BLOCK :]
    blocks = smaller.reduce(whole.reshape(count, _BLOCK, columns), axis=1)
    return np.concatenate([blocks, smaller.reduce(rest, axis=0)[None]]) if len(rest) else blocks


def _first(column: np.ndarray, ends: np.ndarray, tail: int, sign: int) -> np.ndarray:
    """Rows of the first `tail` values by (sign * value, sign * row), given the first value of every block."""
    blocks = np.lexsort((sign * np.arange(len(ends)), sign * ends))[:tail]
    rows = (blocks[:, None] * _BLOCK + np.arange(_BLOCK)).ravel()
    rows = rows[rows < len(column)]
    return rows[np.lexsort((sign * rows, sign * column[rows]))[:tail]]
