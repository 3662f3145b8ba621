"""Which constants of an expression have best values in closed form while the others stand still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expressions.fitting.trees import Trees
from expressions.operators import TOKEN

__all__ = ["Linearity", "linear_constants"]

_ADD, _SUB, _NEG, _MUL, _DIV = (TOKEN[name] for name in ("add", "sub", "neg", "mul", "div"))


@dataclass(frozen=True)
class Linearity:
    """A set of constants that have best values in closed form while the others stand still.

    Attributes:
        chosen: flags of the constants of the set. `[positions + 1, expressions]`
        offset: flags of those that are added to the whole expression, with either sign. As `chosen`
        scale: position of the nearest constant of the set that multiplies this one, 0 without any. As `chosen`
        homogeneous: whether the expression is 0 when the chosen constants are. `[expressions]`
    """

    chosen: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    homogeneous: np.ndarray


def linear_constants(trees: Trees, free: np.ndarray, root: int = 0) -> Linearity:
    """Choose the linear constants by structure.

    A sum offers what both sides offer, a negation what its argument does, a quotient what its numerator does, a
    constant itself, everything else nothing. A product offers what both sides do if one of them is a mere scale,
    such as `c g`, and the other is not 0 with its constants; else the larger offer of the two.

    Below a scale a constant's term has the product of all scales above as its factor: in `a (g + b (h + c k))`
    the terms have the factors `a`, `a b` and `a b c`. Each constant brings a term of its own, so the expression is
    affine in these products, and any values of the products are had by some constants.

    Args:
        trees: expressions, side by side.
        free: flags of the constants that may be chosen at all. `[positions + 1, expressions]`
        root: position of the subtree to look at; what stands outside it is never chosen.
    """
    tokens, second = trees.tokens, trees.second
    longest, count = len(tokens) - 1, tokens.shape[1]
    everyone = np.arange(count)
    offer = (free & trees.is_constant).astype(np.int32)
    vanishes = offer > 0  # the subtree is 0 when what it offers is 0
    only = np.arange(longest + 1)[:, None] * offer  # position of what a mere scale offers
    all_sums, products = (tokens == _ADD) | (tokens == _SUB), tokens == _MUL
    all_first_only = (tokens == _NEG) | (tokens == _DIV)
    all_passing = all_sums | products | all_first_only
    scales_second, scales_first = np.zeros_like(vanishes), np.zeros_like(vanishes)
    inner = np.flatnonzero((all_passing & trees.varies).any(axis=1))
    inner = inner[inner >= root].tolist()
    for i in reversed(inner):
        other, sums, passing = second[i], all_sums[i], all_passing[i]
        offer_1, offer_2 = offer[i + 1], offer[other, everyone]
        zero_1, zero_2 = vanishes[i + 1], vanishes[other, everyone]
        scales_second[i] = products[i] & zero_1 & (offer_1 == 1) & ~zero_2 & (offer_2 > 0)
        scales_first[i] = products[i] & zero_2 & (offer_2 == 1) & ~zero_1 & (offer_1 > 0)
        both = sums | scales_second[i] | scales_first[i]
        second_wins = products[i] & (offer_2 > offer_1)
        got = np.where(both, offer_1 + offer_2, np.where(second_wins, offer_2, offer_1))
        offer[i] = np.where(passing, got, offer[i])
        zero = np.where(sums, zero_1 & zero_2, np.where(second_wins, zero_2, zero_1))
        zero |= scales_second[i] | scales_first[i]
        vanishes[i] = np.where(passing, zero & (got > 0), vanishes[i])
        only[i] = np.where(passing, np.where(second_wins, only[other, everyone], only[i + 1]), only[i])
    chosen, offset = np.zeros_like(vanishes), np.zeros_like(vanishes)
    scale = np.zeros_like(only)
    chosen[root] = offset[root] = True
    passes_offset = all_sums | (tokens == _NEG)
    for i in inner:
        if not chosen[i].any():
            continue
        other, sums = second[i], all_sums[i]
        both = sums | scales_second[i] | scales_first[i]
        to_second = products[i] & (offer[other, everyone] > offer[i + 1])
        to_first = all_passing[i] & (both | ~to_second)
        chosen[i + 1] |= chosen[i] & to_first
        offset[i + 1] |= offset[i] & passes_offset[i]
        above = np.where(scales_first[i], only[other, everyone], scale[i])
        scale[i + 1] = np.where(chosen[i] & to_first, above, scale[i + 1])
        at = np.flatnonzero((both | to_second) & chosen[i])
        chosen[other[at], at] |= chosen[i, at]
        offset[other[at], at] |= offset[i, at] & sums[at]
        scale[other[at], at] = np.where(scales_second[i, at], only[i + 1, at], scale[i, at])
    constant = free & trees.is_constant
    chosen &= constant
    return Linearity(chosen, offset & constant, scale * chosen, vanishes[root])
