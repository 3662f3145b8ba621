"""Where the fit of a constant begins: random numbers on the scale of what the constant multiplies or shifts."""

from __future__ import annotations

import numpy as np

from expressions.fitting.columns import Columns
from expressions.fitting.hashing import uniforms
from expressions.fitting.trees import Trees
from expressions.operators import CONSTANT, OPERATORS, TOKEN

__all__ = ["StartingPoints"]

_WAVES = [TOKEN[row.name] for row in OPERATORS if row.wave]
_OTHER, _FACTOR, _DIVIDEND, _SHIFT, _EXPONENT, _FREQUENCY, _PHASE = range(7)


class StartingPoints:
    """Random constants for given expressions, on the scale of what a constant meets."""

    def __init__(self, trees: Trees, columns: Columns, given: np.ndarray, key: int) -> None:
        self._digest = trees.digest[0] if len(trees.digest) > 1 else np.zeros(0, dtype=np.uint64)
        self._key = key
        self._given = given
        self._trees, self._columns = trees, columns
        self._kind, self._scale = np.zeros(given.shape, dtype=np.int64), np.ones(given.shape)
        self._known = np.zeros(len(given), dtype=bool)

    def draw(self, expression: np.ndarray, number: np.ndarray, starts: int) -> np.ndarray:
        """Constants `[instances, constants]` of start `number` (from 1) of `starts` for every instance."""
        new = np.unique(expression[~self._known[expression]])
        if len(new):  # kinds and scales cost as much as an evaluation: only those that are asked for
            trees, columns = self._trees.select(new), self._columns.select(new)
            self._kind[new], self._scale[new] = _kinds_and_scales(trees, columns, self._given.shape[1])
            self._known[new] = True
        kind, scale = self._kind[expression], self._scale[expression]
        which = np.arange(self._given.shape[1])[None, :]
        u = uniforms(self._key, self._digest[expression, None], number[:, None], 2 * which)
        sign = uniforms(self._key, self._digest[expression, None], number[:, None], 2 * which + 1)
        signed = np.where(sign < 0.5, -1.0, 1.0)
        # Every start takes its own slice of the frequencies: a wrong basin there is never left.
        slices = max(1, starts - 1)
        even = (np.minimum(number[:, None] - 1, slices - 1) % slices + u) / slices
        value = signed * 10.0 ** (2.0 * u - 1.0)
        value = np.where(kind == _FREQUENCY, signed * 0.4 * 40.0**even, value)
        value = np.where(kind == _EXPONENT, 6.0 * u - 3.0, value)
        value = np.where(kind == _PHASE, np.pi * (2.0 * u - 1.0), value)
        return value * scale


def _kinds_and_scales(trees: Trees, columns: Columns, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What every constant does and the size it should have, `[expressions, width]` each.

    A factor of a constant-free column g is measured by 1/rms(g), inside sine and cosine by 1/std(g); a shift
    by std(g); everything else by 1.
    """
    longest, count = len(trees.tokens) - 1, trees.tokens.shape[1]
    tokens, second = trees.tokens, trees.second
    rms, std = _column_sizes(columns)
    kind = np.full((longest + 1, count), _OTHER)
    scale = np.ones((longest + 1, count))
    add, sub, mul, div, power = (TOKEN[name] for name in ("add", "sub", "mul", "div", "pow"))
    inside = _inside_sine(trees)
    parents, owners = np.nonzero(second > 0)
    for is_first in (True, False):
        children, siblings = parents + 1, second[parents, owners]
        if not is_first:
            children, siblings = siblings, children
        at = np.flatnonzero(tokens[children, owners] == CONSTANT)
        child, sibling, above, owner = children[at], siblings[at], parents[at], owners[at]
        parent, turns = tokens[above, owner], inside[above, owner]
        column = columns.slot[sibling, owner]
        known = column >= 0
        size, spread = np.where(known, rms[column], 1.0), np.where(known, std[column], 1.0)
        is_sum = (parent == add) | (parent == sub)
        what = np.full(len(at), _OTHER)
        unit = np.ones(len(at))
        for condition, label, measure in (
            (parent == mul, _FACTOR, 1.0 / size),
            ((parent == mul) & turns, _FREQUENCY, 1.0 / spread),
            ((parent == div), _DIVIDEND, size),
            (is_sum, _SHIFT, spread),
            (is_sum & turns, _PHASE, np.ones(len(at))),
            ((parent == power) & (not is_first), _EXPONENT, np.ones(len(at))),
        ):
            what, unit = np.where(condition, label, what), np.where(condition, measure, unit)
        kind[child, owner], scale[child, owner] = what, unit
    kinds, scales = np.full((count, width), _OTHER), np.ones((count, width))
    position, expression = np.nonzero(trees.is_constant)
    ordinal = trees.ordinal[position, expression]
    kinds[expression, ordinal] = kind[position, expression]
    scales[expression, ordinal] = scale[position, expression]
    return kinds, scales


def _inside_sine(trees: Trees) -> np.ndarray:
    """Where a node is a sine or cosine, or in one through sums and products. `[positions + 1, expressions]`"""
    tokens, second = trees.tokens, trees.second
    inside = np.isin(tokens, _WAVES)
    if not inside.any():
        return inside
    passing = np.isin(tokens, [TOKEN[name] for name in ("add", "sub", "neg", "mul", "div")])
    turning = np.zeros_like(inside)
    for i in range(len(tokens) - 1):
        inside[i] |= passing[i] & turning[i]
        turning[i + 1] |= inside[i]
        at = np.flatnonzero(inside[i] & (second[i] > 0))
        turning[second[i, at], at] = True
    return inside


def _column_sizes(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square and standard deviation of every column, 1 where they are no use as a scale."""
    with np.errstate(all="ignore"):
        values = columns.values.astype(np.float64, copy=False)
        rms, std = np.sqrt(np.mean(values * values, axis=1)), np.std(values, axis=1)
    sizes = []
    for size in (rms, std):
        usable = np.isfinite(size) & (size > 1e-150) & (size < 1e150)
        sizes.append(np.append(np.where(usable, size, 1.0), 1.0))
    return sizes[0], sizes[1]
