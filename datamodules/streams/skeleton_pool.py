"""Pools of random skeletons, from which the equations of a training set are made.

Random programs (`expressions.sampling`) are reduced to skeletons, and only those stay that a model should learn:
each once, no longer than allowed, with a variable in them, and none that is equivalent to a benchmark problem
(`expressions.skeleton.fingerprints`: whatever its constants, coefficients and names of variables). A skeleton is
for training, validation or test by a hash of its fingerprint, so none of the last two is ever trained on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from datamodules.settings.streams import OPERATOR_NAMES, PoolSettings
from datamodules.tables.problems import problem, suite
from expressions.expression import Expression
from expressions.operators import ARITY, CONSTANT, FIRST_VARIABLE, OPERATORS, TOKEN
from expressions.sampling import PAD, SamplingSettings, sample_tokens
from expressions.skeleton import INTEGERS, Skeleton, fingerprints, skeleton_of

__all__ = [
    "SPLITS",
    "SkeletonPool",
    "benchmark_fingerprints",
    "draw_pool",
    "split_of",
]

SPLITS = ("train", "validation", "test")
_HELD_OUT = {0: "validation", 1: "test"}
_PARTS = 20  # of which those two are held out
_NESTED = frozenset(TOKEN[row.name] for row in OPERATORS if row.family in ("trigonometric", "exp or log"))


@dataclass(frozen=True)
class SkeletonPool:
    """Skeletons as arrays, in order of their length.

    Attributes:
        tokens: `[skeletons, longest]` int16 programs, padded behind with -1.
        values: `[skeletons, longest]` the number at each position of a fixed constant; NaN elsewhere.
        columns: `[skeletons]` columns that a table for it has: more than the skeleton uses, now and then.
        lengths: `[skeletons]` tokens.
        drawn: How many programs were drawn for it.
        excluded: How many skeletons were left out since they are equivalent to a benchmark problem.
    """

    tokens: np.ndarray
    values: np.ndarray
    columns: np.ndarray
    lengths: np.ndarray
    drawn: int
    excluded: int

    def __len__(self) -> int:
        return len(self.tokens)

    def skeleton(self, index: int) -> Skeleton:
        """One of them."""
        tokens = self.tokens[index, : self.lengths[index]]
        values = self.values[index, : self.lengths[index]][tokens == CONSTANT]
        return Skeleton(tuple(tokens.tolist()), tuple(None if np.isnan(v) else float(v) for v in values))


def draw_pool(count: int, rng: np.random.Generator, settings: PoolSettings, split: str) -> SkeletonPool:
    """Draw programs and keep those skeletons that belong to a split.

    Args:
        count: Programs to draw for `train`; for the others so many more that as many skeletons are left.
        rng: Source of randomness; nothing else decides what comes out.
        settings: What to draw.
        split: `train`, `validation` or `test`.
    """
    candidates: dict[Skeleton, int] = {}
    drawn = 0
    for columns in range(1, settings.variables + 1):
        for program in _programs(_share(count, columns, settings.variables), columns, rng, settings):
            drawn += 1
            skeleton = skeleton_of(program)
            if skeleton not in candidates and _fits(skeleton, settings):
                candidates[skeleton] = _columns(skeleton, columns, rng)
    known = benchmark_fingerprints(settings.exclude)
    keys = fingerprints(list(candidates))
    found = {
        skeleton: columns
        for (skeleton, columns), key in zip(candidates.items(), keys, strict=True)
        if key not in known and split_of(key) == split
    }
    return _as_arrays(found, settings.longest, drawn, sum(key in known for key in keys))


def split_of(key: bytes) -> str:
    """The split that a skeleton of this fingerprint belongs to, the same in every run."""
    return _HELD_OUT.get(zlib.crc32(key) % _PARTS, "train")


@cache
def benchmark_fingerprints(names: tuple[str, ...]) -> frozenset[bytes]:
    """Fingerprints of all problems of some suites."""
    return frozenset(fingerprints([skeleton_of(problem(name).truth) for word in names for name in suite(word)]))


def _share(count: int, columns: int, variables: int) -> int:
    """Programs with so many variables: fewer with one, of which there are not many."""
    weights = np.minimum(np.arange(1, variables + 1), 3)
    return round(count * weights[columns - 1] / weights.sum())


def _programs(count: int, columns: int, rng: np.random.Generator, settings: PoolSettings) -> Iterable[Expression]:
    """Random programs with constants, longer than their skeletons will be."""
    sampling = SamplingSettings(
        operators=settings.operators,
        variables=columns,
        min_size=2,
        max_size=settings.longest + 3,
        constant_probability=settings.constant_share,
    )
    tokens = sample_tokens(count, rng, sampling)
    _use_each_once(tokens, columns, rng.random(count) < settings.once_share, rng)
    lengths = (tokens != PAD).sum(axis=1)
    constants = rng.uniform(0.1, 1.0, tokens.shape)  # a free one has no sign of its own: it is drawn later
    whole = rng.random(tokens.shape) < settings.integer_share
    integers = rng.choice(INTEGERS, tokens.shape, p=_INTEGER_WEIGHTS)
    constants = np.where(whole, integers, constants)
    for row, length, values in zip(tokens, lengths.tolist(), constants, strict=True):
        program = row[:length]
        yield Expression._trusted(program.copy(), values[:length][program == CONSTANT].copy())


_INTEGER_WEIGHTS = np.array([0.08, 0.22, 0.25, 0.25, 0.1, 0.06, 0.04])  # of INTEGERS


def _use_each_once(tokens: np.ndarray, columns: int, chosen: np.ndarray, rng: np.random.Generator) -> None:
    """In the chosen programs give the variables out in turn, in a random order, in place."""
    variable = tokens >= FIRST_VARIABLE
    number = np.cumsum(variable, axis=1) - 1
    order = np.argsort(rng.random((len(tokens), columns)), axis=1)
    turn = np.take_along_axis(order, np.maximum(number, 0) % columns, axis=1) + FIRST_VARIABLE
    at = variable & chosen[:, None]
    tokens[at] = turn[at]


def _fits(skeleton: Skeleton, settings: PoolSettings) -> bool:
    tokens = skeleton.tokens
    if len(tokens) > settings.longest or skeleton.free > settings.most_free:
        return False
    if max(tokens) < FIRST_VARIABLE or not _KNOWN.issuperset(token for token in tokens if token < FIRST_VARIABLE):
        return False
    return _depth(tokens) <= settings.deepest


_KNOWN = frozenset({CONSTANT, *(TOKEN[name] for name in OPERATOR_NAMES)})
_ARITIES: list[int] = ARITY.tolist()


def _depth(tokens: Sequence[int]) -> int:
    """Most transcendental functions inside one another."""
    stack: list[int] = []
    for token in reversed(tokens):
        arity = _ARITIES[min(token, FIRST_VARIABLE)]
        inside = max((stack.pop() for _ in range(arity)), default=0)
        stack.append(inside + (token in _NESTED))
    return stack[0]


def _columns(skeleton: Skeleton, columns: int, rng: np.random.Generator) -> int:
    """Columns of a table: those that the skeleton uses, or all that it was drawn with."""
    used = max(skeleton.tokens) - FIRST_VARIABLE + 1
    return columns if rng.random() < 0.25 else used


def _as_arrays(found: Mapping[Skeleton, int], longest: int, drawn: int, excluded: int) -> SkeletonPool:
    skeletons = sorted(found, key=len)
    tokens = np.full((len(skeletons), longest), PAD, dtype=np.int16)
    values = np.full(tokens.shape, np.nan)
    for row, skeleton in enumerate(skeletons):
        tokens[row, : len(skeleton)] = skeleton.tokens
        at = np.flatnonzero(tokens[row] == CONSTANT)
        values[row, at] = [np.nan if value is None else value for value in skeleton.values]
    return SkeletonPool(
        tokens,
        values,
        np.array([found[skeleton] for skeleton in skeletons], dtype=np.int64),
        np.array([len(skeleton) for skeleton in skeletons], dtype=np.int64),
        drawn,
        excluded,
    )
