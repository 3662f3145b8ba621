"""Values of the subtrees that hold no constant: each distinct one once, for all expressions that share it."""

from __future__ import annotations

import numpy as np

from expressions.fitting.trees import PAD, Trees
from expressions.operators import ARITY, FIRST_VARIABLE, OPERATORS

__all__ = ["Columns", "blocks", "runs"]

_BLOCK_ROWS = 2048


class Columns:
    """Values of the subtrees without constants that the other nodes need, each distinct one once.

    Attributes:
        slot: row of `values` that belongs to the subtree, -1 where none is kept. `[positions + 1, expressions]`
        values: values of the subtrees that are kept. `[columns, rows]`
    """

    def __init__(self, trees: Trees, inputs: np.ndarray) -> None:
        """Evaluate.

        Args:
            trees: expressions, side by side.
            inputs: values of the variables, contiguous, in the type to compute in. `[variables, rows]`
        """
        fixed = (trees.tokens != PAD) & ~trees.varies
        position, column = np.nonzero(fixed)
        _, first, inverse = np.unique(trees.digest[position, column], return_index=True, return_inverse=True)
        identity = np.full(trees.tokens.shape, -1, dtype=np.int64)
        identity[position, column] = inverse
        position, column = position[first], column[first]
        tokens = trees.tokens[position, column].astype(np.int64)
        left = identity[np.minimum(position + 1, len(identity) - 1), column]
        right = identity[trees.second[position, column], column]
        kept = np.unique(identity[_is_needed(trees, fixed)])
        self.values = _evaluate_fixed(tokens, left, right, trees.height[position, column], kept, inputs)
        renumbered = np.full(len(tokens) + 1, -1, dtype=np.int64)  # the last entry answers for identity -1
        renumbered[kept] = np.arange(len(kept))
        self.slot = renumbered[identity]

    def select(self, expressions: np.ndarray) -> Columns:
        """The columns that some of the expressions need. `[selected]`"""
        slot = self.slot[:, expressions]
        used = np.unique(slot[slot >= 0])
        renumbered = np.full(len(self.values) + 1, -1, dtype=np.int64)
        renumbered[used] = np.arange(len(used))
        selected = object.__new__(Columns)
        selected.slot, selected.values = renumbered[slot], self.values[used]
        return selected


def _is_needed(trees: Trees, fixed: np.ndarray) -> np.ndarray:
    """Fixed subtrees that a node with constants takes as its argument, or that are a whole expression."""
    needed = np.zeros_like(fixed)
    needed[0] = fixed[0]
    arity = np.where(trees.varies, ARITY[np.minimum(trees.tokens, FIRST_VARIABLE)], 0)
    needed[1:] |= (arity[:-1] >= 1) & fixed[1:]
    position, column = np.nonzero(arity == 2)
    other = trees.second[position, column]
    needed[other, column] |= fixed[other, column]
    return needed


def _evaluate_fixed(
    tokens: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    height: np.ndarray,
    kept: np.ndarray,
    inputs: np.ndarray,
) -> np.ndarray:
    """Evaluate a directed acyclic graph of `[nodes]` and return the kept nodes' values `[kept, rows]`."""
    order = np.lexsort((tokens, height))
    slot = np.empty_like(order)
    slot[order] = np.arange(len(order))
    steps = []
    key = height[order].astype(np.int64) * (2 * FIRST_VARIABLE) + np.minimum(tokens[order], FIRST_VARIABLE)
    for low, high in runs(key):
        members = order[low:high]
        steps.append((int(min(tokens[members[0]], FIRST_VARIABLE)), low, high, members))
    rows = inputs.shape[1]
    values = np.empty((len(kept), rows), dtype=inputs.dtype)
    for start, stop in blocks(rows):
        work = np.empty((len(tokens), stop - start), dtype=inputs.dtype)
        for token, low, high, members in steps:
            if token == FIRST_VARIABLE:
                work[low:high] = inputs[tokens[members] - FIRST_VARIABLE, start:stop]
                continue
            row = OPERATORS[token - 1]
            arguments = [work[slot[left[members]]]]
            if row.arity == 2:
                arguments.append(work[slot[right[members]]])
            row.numpy(*arguments, out=work[low:high])
        values[:, start:stop] = work[slot[kept]]
    return values


def runs(key: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of every run of equal neighbours."""
    if not len(key):
        return []
    edges = np.flatnonzero(key[1:] != key[:-1]) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(key)], strict=True))


def blocks(rows: int) -> list[tuple[int, int]]:
    """Split `rows` into the fewest nearly equal blocks that fit the cache; it depends on nothing else."""
    count = max(1, -(-rows // _BLOCK_ROWS))
    size = max(1, -(-rows // count))
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]
