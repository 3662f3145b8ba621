"""Prefix programs side by side: what a batch of expressions is read into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.fitting.hashing import mix
from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE

__all__ = ["PAD", "Trees", "read_trees"]

PAD = -1


@dataclass(frozen=True)
class Trees:
    """Prefix programs side by side; every array is `[positions + 1, expressions]`, the last row a sentinel.

    Attributes:
        tokens: tokens, -1 behind the end of a program.
        second: position of the second argument (the first is the next position); 0 without one.
        height: steps before the node can be computed. Subtrees that hold a constant count from their
            constants, the others from their variables.
        varies: whether the subtree holds a constant.
        digest: 64-bit hash of the subtree, constants all alike.
        ordinal: number of constants before the position; at a constant, its index.
        lengths: number of nodes of every program. `[expressions]`
    """

    tokens: np.ndarray
    second: np.ndarray
    height: np.ndarray
    varies: np.ndarray
    digest: np.ndarray
    ordinal: np.ndarray
    lengths: np.ndarray

    def select(self, expressions: np.ndarray) -> Trees:
        """Some of the expressions. `[selected]`"""
        return Trees(
            self.tokens[:, expressions],
            self.second[:, expressions],
            self.height[:, expressions],
            self.varies[:, expressions],
            self.digest[:, expressions],
            self.ordinal[:, expressions],
            self.lengths[expressions],
        )

    @property
    def is_constant(self) -> np.ndarray:
        """Where a constant stands, `[positions + 1, expressions]` bool."""
        return self.tokens == CONSTANT

    @property
    def constant_counts(self) -> np.ndarray:
        """Constants of every expression, `[expressions]`."""
        return self.ordinal[-1]


def read_trees(programs: Sequence[np.ndarray], before: Sequence[int] = (), after: Sequence[int] = ()) -> Trees:
    """Read prefix programs, each put between the same two runs of tokens.

    Args:
        programs: valid prefix programs, an array of tokens each.
        before: tokens put in front of every program.
        after: tokens put behind every program.
    """
    own = np.array([len(program) for program in programs], dtype=np.int64)
    lengths = own + len(before) + len(after)
    count, longest = len(own), int(lengths.max(initial=0))
    tokens = np.full((longest + 1, count), PAD, dtype=np.int16)
    column = np.repeat(np.arange(count), own)
    position = np.arange(int(own.sum())) - np.repeat(np.cumsum(own) - own, own) + len(before)
    if count:
        tokens[position, column] = np.concatenate(programs)
    for i, token in enumerate(before):
        tokens[i] = token
    for i, token in enumerate(after):
        tokens[len(before) + own + i, np.arange(count)] = token

    arity = np.where(tokens == PAD, 0, ARITY[np.minimum(tokens, FIRST_VARIABLE)])
    size = np.ones_like(tokens, dtype=np.int32)
    second = np.zeros_like(size)
    height = np.zeros_like(size)
    varies = tokens == CONSTANT
    with np.errstate(over="ignore"):
        digest = mix(_digest_words(tokens) + np.uint64(0x9E3779B97F4A7C15))
        everyone = np.arange(count)
        for i in np.flatnonzero((arity > 0).any(axis=1))[::-1].tolist():
            unary, binary = arity[i] >= 1, arity[i] == 2
            other = np.where(binary, i + 1 + size[i + 1], 0)
            second[i] = other
            size[i] += unary * size[i + 1] + binary * size[other, everyone]
            varies_1, varies_2 = unary & varies[i + 1], binary & varies[other, everyone]
            varies[i] |= varies_1 | varies_2
            # A node waits only for children of its own kind: the others are ready before it starts.
            waits_1 = unary & (varies_1 == varies[i])
            waits_2 = binary & (varies_2 == varies[i])
            height_1, height_2 = height[i + 1], height[other, everyone]
            height[i] = unary * (1 + np.maximum(waits_1 * height_1, waits_2 * height_2))
            children = digest[i + 1] * np.uint64(0xD6E8FEB86659FD93) + binary * (
                digest[other, everyone] * np.uint64(0xA0761D6478BD642F) + np.uint64(1)
            )
            digest[i] = np.where(unary, mix(digest[i] ^ children), digest[i])
    is_constant = tokens == CONSTANT
    ordinal = np.cumsum(is_constant, axis=0, dtype=np.int32) - is_constant
    return Trees(tokens, second, height, varies, digest, ordinal, lengths)


def _digest_words(tokens: np.ndarray) -> np.ndarray:
    """Tokens with variables numbered from 31, as when the first results were recorded.

    The random starts of a fit are drawn by digest, so this numbering is a part of every result.
    """
    words = tokens.astype(np.int64)
    words -= (tokens >= FIRST_VARIABLE) * np.int64(FIRST_VARIABLE - 31)
    return words.astype(np.uint64)
