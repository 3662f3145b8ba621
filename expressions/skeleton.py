"""Skeletons: equations up to the values of their constants, and up to an outer scale and offset.

Small integers belong to a skeleton, since `x**2 - 1` says more than `x**2 + c`; every other constant is free, to
be fitted. A factor and an offset of the whole equation are never part of it: they are solved for exactly
(`fit_constants(affine=True)`).

What a decoder writes is less, a *structure*: nothing that goes without saying, neither factors nor signs nor which
number a constant is. What a search fits is more, a structure *completed* by a constant wherever one makes a
difference. So a decoder need not guess what a fit finds out anyway, and one structure stands for all skeletons
that differ in no more than that.

`fingerprints` go further and forget coefficients, signs and the names of the variables: that is how the problems
of a benchmark are kept out of what a model learns from, whatever their constants are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from expressions.canonical_form import without_affine
from expressions.constant_placement import generalised, without_coefficients
from expressions.expression import Expression
from expressions.operators import CONSTANT, FIRST_VARIABLE, TOKEN
from expressions.rowwise_evaluation import PAD, evaluate_pairs

__all__ = ["INTEGERS", "Skeleton", "completed", "fingerprints", "skeleton_of", "structure_of"]

INTEGERS = (-2, -1, 1, 2, 3, 4, 5)
"""Constants that a skeleton keeps."""

_CONSTANT_FREE = 0.7310585786  # stands for a free constant where a number is needed; no integer, no ratio of them


@dataclass(frozen=True)
class Skeleton:
    """An equation whose constants are still to be fitted.

    Attributes:
        tokens: prefix program, numbers as in `expressions.operators`.
        values: value of each constant in prefix order where it is fixed, None where it is free.
    """

    tokens: tuple[int, ...]
    values: tuple[float | None, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def fixed(self) -> np.ndarray:
        """Which constants keep their value. `[constants]` bool"""
        return np.array([value is not None for value in self.values], dtype=bool)

    @property
    def free(self) -> int:
        """How many constants are to be fitted."""
        return self.values.count(None)

    def expression(self, fill: float = 1.0) -> Expression:
        """The equation, with `fill` for every free constant."""
        values = [fill if value is None else value for value in self.values]
        return Expression._trusted(np.array(self.tokens, dtype=np.int16), np.array(values, dtype=np.float64))

    def infix(self, names: Sequence[str] | None = None) -> str:
        """The equation as text; free constants are printed as `c`, so it is for reading only."""
        text = self.expression(_CONSTANT_FREE).infix(names)
        return text.replace(repr(_CONSTANT_FREE), "c")


def skeleton_of(expression: Expression, integers: Sequence[int] = INTEGERS) -> Skeleton:
    """The skeleton of an equation: canonical form without outer scale and offset.

    Args:
        expression: any equation; its constants count as free unless they are one of `integers`.
        integers: constants that are kept.
    """
    plain = without_affine(expression)
    values = plain.constants.tolist()
    return Skeleton(tuple(plain.tokens.tolist()), tuple(value if value in integers else None for value in values))


def completed(skeleton: Skeleton) -> Skeleton:
    """The skeleton with a free constant wherever one makes a difference, see `expressions.constant_placement`."""
    return _all_free(generalised(skeleton.expression()))


def structure_of(skeleton: Skeleton) -> Skeleton:
    """What of a skeleton `completed` would not know by itself."""
    return _all_free(without_coefficients(generalised(skeleton.expression())))


def _all_free(tokens: tuple[int, ...]) -> Skeleton:
    return Skeleton(tokens, (None,) * tokens.count(CONSTANT))


def fingerprints(skeletons: Sequence[Skeleton]) -> list[bytes]:
    """Keys that two skeletons share if they differ only in constants, signs and the names of their variables.

    A skeleton is evaluated with 1 for every constant and with plus for every minus, where one variable differs
    from all others, for each of them in turn, and where two do. Sorted, these values do not depend on the order of
    the variables; scaled to two of them, not on an outer scale and offset. So even spellings that no canonical
    form brings together have the same key. Other skeletons agree by accident only.

    Args:
        skeletons: any skeletons; constants that are not written, as in `x0 - x1`, count as 1.

    Returns:
        One key for each skeleton.
    """
    longest = max(map(len, skeletons), default=1)
    tokens = np.full((len(skeletons), longest), PAD, dtype=np.int16)
    used = np.zeros(len(skeletons), dtype=np.int64)
    for row, skeleton in enumerate(skeletons):
        program = _UNSIGNED[np.minimum(skeleton.tokens, FIRST_VARIABLE)]
        variables, number = np.unique([t for t in skeleton.tokens if t >= FIRST_VARIABLE], return_inverse=True)
        program[program == FIRST_VARIABLE] += number.astype(np.int16)
        program = program[program != PAD]  # a minus that is gone
        tokens[row, : len(program)] = program
        used[row] = len(variables)
    keys = [b""] * len(skeletons)
    for count in np.unique(used).tolist():
        rows = np.flatnonzero(used == count)
        inputs = np.repeat(_probes(count).T[:, None, :], len(rows), axis=1)
        values = evaluate_pairs(tokens[rows], np.ones(tokens[rows].shape), inputs)
        for row, key in zip(rows.tolist(), _keys(values), strict=True):
            keys[row] = bytes([count]) + key
    return keys


def _keys(values: np.ndarray) -> list[bytes]:
    """Keys of values `[skeletons, probes]`; the first two probes are those that nothing distinguishes."""
    with np.errstate(all="ignore"):
        scaled = (values - values[:, :1]) / (values[:, 1:2] - values[:, :1])
        whole = np.isfinite(scaled).all(axis=1, keepdims=True)
        found = np.sort(np.where(whole, scaled, values), axis=1)
        digits = 10.0 ** (6 - np.ceil(np.log10(np.abs(found))))
        rounded = np.where(np.isfinite(digits), np.round(found * digits) / digits, found)
    rounded[~np.isfinite(rounded)] = np.inf
    return [row.tobytes() for row in rounded + 0.0]  # no negative zero


_USUAL, _ODD, _ODDER = 0.3141, 0.5772, 0.6931  # within the domain of every operator


@cache
def _probes(variables: int) -> np.ndarray:
    """`[points, variables]`; permuting the columns permutes the rows behind the first two."""
    rows = [np.full(variables, value) for value in (_USUAL, _ODDER)]
    for first in range(variables):
        for second in range(variables):
            row = np.full(variables, _USUAL)
            row[second] = _ODDER
            row[first] = _ODD
            rows.append(row)
    return np.stack(rows)


_UNSIGNED = np.arange(FIRST_VARIABLE + 1, dtype=np.int16)
_UNSIGNED[TOKEN["sub"]] = TOKEN["add"]
_UNSIGNED[TOKEN["neg"]] = PAD
