"""Programs read for a fit: which of their constants are fitted, and which of those are eliminated."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from expressions.fitting.linear_constants import Linearity, linear_constants
from expressions.fitting.trees import Trees, read_trees
from expressions.operators import CONSTANT, TOKEN

__all__ = ["read"]


def read(
    programs: list[np.ndarray], affine: bool, fixed: list[np.ndarray] | None
) -> tuple[Trees, np.ndarray, Linearity]:
    """The programs side by side, constants to fit, and of them those to eliminate."""
    if len(programs) > 1:
        trees = _trees(programs, affine)
        return trees, *_free_and_linear(trees, affine, fixed)
    held = None if fixed is None else np.asarray(fixed[0], dtype=bool).tobytes()
    return _read_one(programs[0].astype(np.int16).tobytes(), affine, held)


@lru_cache(maxsize=64)
def _read_one(tokens: bytes, affine: bool, held: bytes | None) -> tuple[Trees, np.ndarray, Linearity]:
    """`read` for a single program: reading would be half of what rounding its constants takes."""
    fixed = None if held is None else [np.frombuffer(held, dtype=bool)]
    trees = _trees([np.frombuffer(tokens, dtype=np.int16)], affine)
    return trees, *_free_and_linear(trees, affine, fixed)


def _trees(programs: list[np.ndarray], affine: bool) -> Trees:
    """The programs side by side; with `affine` each as `scale * f + offset`, these constants like all others."""
    if affine:
        return read_trees(programs, before=(TOKEN["add"], TOKEN["mul"], CONSTANT), after=(CONSTANT,))
    return read_trees(programs)


def _free_and_linear(trees: Trees, affine: bool, fixed: list[np.ndarray] | None) -> tuple[np.ndarray, Linearity]:
    """Constants to fit `[positions + 1, expressions]`, and of them those to eliminate."""
    free = trees.is_constant.copy()
    if fixed is not None:
        position, expression = np.nonzero(free)
        held = np.zeros((len(fixed), int(trees.constant_counts.max(initial=0)) + 1), dtype=bool)
        for k, flags in enumerate(fixed):
            held[k, 1 if affine else 0 :][: len(flags)] = flags
        free[position, expression] = ~held[expression, trees.ordinal[position, expression]]
    if affine:
        inner = linear_constants(trees, free, root=3)
        # An offset inside means the same as the one outside, a scale outside the same as those inside.
        free &= ~inner.offset
        free[2] &= ~inner.homogeneous
    return free, linear_constants(trees, free)
