"""Random numbers without a state: each a function of its words alone, so that no order of drawing matters."""

from __future__ import annotations

import numpy as np

__all__ = ["mix", "uniforms"]


def mix(word: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on 64-bit words of any shape."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def uniforms(*words: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1) that depend on the words alone: no state, so no order of drawing.

    Args:
        words: unsigned 64-bit words (or non-negative integers) that broadcast against each other.
    """
    with np.errstate(over="ignore"):
        state: np.ndarray = np.zeros((), dtype=np.uint64)
        for word in words:
            state = mix(np.asarray(state + np.asarray(word, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    return (np.asarray(state) >> np.uint64(11)).astype(np.float64) * 2.0**-53
