"""Equations of a zoo, drawn at random, each in one of its parts.

No equation of validation or test occurs in the training: a hash of its coefficients decides the part of an
equation, so no other spelling of it and no other seed leaks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from datamodules.zoo.settings import ZooSettings
from expressions.polynomial_grammar import SumVocabulary
from foundation.errors import UserError

__all__ = ["SPLITS", "draw_equations", "equation_values"]

SPLITS = ("train", "validation", "test")
HELD_OUT = 0.05  # of the equations; half of them for validation
_PLENTY = 2000  # equations of a length; of fewer, fewer networks are drawn
_TRIES = 1000

Draw = Callable[[SumVocabulary, np.ndarray, np.random.Generator], np.ndarray]
"""Equations of these lengths, as ids."""


def draw_equations(settings: ZooSettings, split: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Equations of one part of the zoo, as ids with start and end.

    Args:
        settings: settings of the zoo.
        split: name of the part, one of `SPLITS`.
        count: number of equations.
        rng: generator of the draws.

    Returns:
        `[count, longest + 2]`
    """
    vocabulary = settings.vocabulary
    draw = _by_length(vocabulary, split) if settings.equations == "uniform" else _as_the_slides
    ids = np.zeros((count, vocabulary.longest + 2), dtype=np.int64)
    fixed = _lengths(vocabulary, split, count, rng) if settings.equations == "uniform" else np.zeros(count, int)
    candidates = 2 if split == "train" else round(1 / HELD_OUT)
    open_rows = np.arange(count)
    for _ in range(_TRIES):
        tried = draw(vocabulary, np.repeat(fixed[open_rows], candidates), rng)
        fits = _belongs(vocabulary.coefficients(tried), split).reshape(-1, candidates)
        first = fits.argmax(axis=1) + np.arange(len(fits)) * candidates
        found = fits.any(axis=1)
        ids[open_rows[found]] = tried[first[found]]
        open_rows = open_rows[~found]
        if not len(open_rows):
            return ids
    raise UserError(f"the {split} part has no equations: data.degree or data.largest is too small")


def _by_length(vocabulary: SumVocabulary, split: str) -> Draw:
    counts = np.array([vocabulary.count(length) for length in range(vocabulary.longest + 1)])

    def draw(vocabulary: SumVocabulary, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return vocabulary.strings(lengths, rng.integers(counts[lengths]))

    return draw


def _lengths(vocabulary: SumVocabulary, split: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths of strings, each as likely as any other, but for those of which there are few. `[count]`"""
    lengths = np.array(vocabulary.lengths)
    weights = np.array([min(1.0, vocabulary.count(length) / _PLENTY) for length in lengths])
    for place, length in enumerate(lengths):
        number = vocabulary.count(int(length))
        if number <= _PLENTY:  # perhaps none of them is held out
            every = vocabulary.strings(np.full(number, length), np.arange(number))
            weights[place] *= _belongs(vocabulary.coefficients(every), split).any()
    return rng.choice(lengths, count, p=weights / weights.sum())


def _as_the_slides(vocabulary: SumVocabulary, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each coefficient a whole number or one with a decimal, as likely; a term that is 0 is left out but the last.

    So most strings are long, and many have a second spelling, such as `+4.0` beside `+4`.
    """
    shape = (len(lengths), vocabulary.degree + 1)
    whole = rng.random(shape) < 0.5
    most = vocabulary.largest
    tenths = np.where(
        whole, 10 * rng.integers(-most, most + 1, shape), rng.integers(-10 * most, 10 * most + 1, shape)
    )
    plus = rng.random(shape) < 0.5  # of what is 0
    texts = []
    for row in range(len(lengths)):
        parts = []
        for power in range(vocabulary.degree, -1, -1):
            value = int(tenths[row, power])
            if value or power == 0:
                digit, rest = divmod(abs(value), 10)
                sign = "-" if value < 0 or (value == 0 and not plus[row, power]) else "+"
                parts.append(f"{sign}{digit}{'' if whole[row, power] else f'.{rest}'}{'*x' * power}")
        texts.append("".join(parts))
    return vocabulary.encode(texts)


def _belongs(coefficients: np.ndarray, split: str) -> np.ndarray:
    """Whether equations are of a part of the zoo; which one is a hash of what they mean. `[n, terms] -> [n]`"""
    tenths = np.rint(coefficients * 10).astype(np.int64) + 128
    mixed = np.zeros(len(tenths), dtype=np.uint64)
    for column in tenths.T.astype(np.uint64):
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    place = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    begin, end = {"train": (HELD_OUT, 1.0), "validation": (0.0, HELD_OUT / 2), "test": (HELD_OUT / 2, HELD_OUT)}[
        split
    ]
    belongs: np.ndarray = (place >= begin) & (place < end)
    return belongs


def equation_values(vocabulary: SumVocabulary, coefficients: Tensor, x: Tensor) -> Tensor:
    """Values of equations. `[N, terms], [X] -> [N, X]`, in double precision"""
    return coefficients.double() @ torch.from_numpy(vocabulary.basis(x.double().numpy()))
