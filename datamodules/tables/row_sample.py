"""A random sample of the rows of a stream, in bounded memory."""

from __future__ import annotations

import numpy as np

__all__ = ["RowSample"]

_PRUNE_ROWS = 1 << 16


class RowSample:
    """At most `limit` rows of a stream, every row with equal chance (those with the smallest of random keys).

    The keys are drawn row by row, so the choice does not depend on how the stream is cut into batches.

    Args:
        columns: number of columns.
        limit: largest number of rows to keep.
        rng: generator of the keys.

    Attributes:
        seen: number of rows offered so far.
    """

    def __init__(self, columns: int, limit: int, rng: np.random.Generator) -> None:
        self.seen = 0
        self._limit, self._rng, self._bound = limit, rng, np.inf
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held, self._columns = 0, columns

    def add(self, values: np.ndarray) -> None:
        """Offer a batch `[batch rows, columns]`."""
        keys = self._rng.random(len(values))
        order = np.arange(self.seen, self.seen + len(values))
        self.seen += len(values)
        if self.seen > self._limit and np.isfinite(self._bound):
            low = keys < self._bound
            keys, order, values = keys[low], order[low], values[low]
        self._parts.append((keys, order, values))
        self._held += len(keys)
        if self._held > 1.5 * self._limit + _PRUNE_ROWS:
            self._prune()

    def _prune(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, order, values = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        if len(keys) > self._limit:
            smallest = np.argpartition(keys, self._limit - 1)[: self._limit]
            keys, order, values = keys[smallest], order[smallest], values[smallest]
            self._bound = float(keys.max())
        self._parts, self._held = [(keys, order, values)], len(keys)
        return keys, order, values

    def rows(self) -> np.ndarray:
        """The rows kept `[rows, columns]`, in the order of the stream."""
        if not self._parts:
            return np.empty((0, self._columns))
        _, order, values = self._prune()
        return values if np.all(order[1:] > order[:-1]) else values[np.argsort(order)]
