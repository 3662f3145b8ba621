"""An endless stream of generated regression problems, addressed by index.

Sample `i` of an epoch is a function of `(seed, epoch, i)` and of the settings alone, whatever the batch size, the
ranks and the worker processes: samples are made in blocks of a fixed number, and a block draws from
`default_rng([seed, split, epoch, block])`. A block has skeletons of about one length and tables of one number of
rows, so that its samples need hardly any padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from datamodules.settings.streams import StreamSettings
from datamodules.streams.point_clouds import KINDS, draw_points
from datamodules.streams.skeleton_pool import SPLITS, SkeletonPool, draw_pool
from expressions.expression import Expression
from expressions.operators import CONSTANT
from expressions.rowwise_evaluation import PAD, evaluate_pairs
from foundation.errors import UserError

__all__ = ["LARGEST_TARGET", "Block", "EquationStream"]

_SPARE_ROWS = 1.2  # rows drawn for one that is wanted: an equation need not be defined on all of them
_SPARE_SAMPLES = 1.1, 0.018  # drawn for one that is wanted, and more a token: many equations are hardly defined
_ROUNDS = 8  # of drawing what is still missing
_GROUPS = 100  # of lengths that are tried for a block, where some have no equation that is defined
LARGEST_TARGET = 1e8  # in magnitude
_FLATTEST = 1e-4  # spread of a target over its magnitude, below which float32 shows rounding
_POOL, _BLOCK = 7, 11  # tell the generators apart


@dataclass(frozen=True)
class Block:
    """Samples that were made together.

    Attributes:
        inputs: `[samples, rows, variables]` float32, 0 in columns that are absent.
        target: `[samples, rows]` float32, with noise.
        present: `[samples, variables]` bool, columns that a table has.
        skeletons: `[samples]` positions in the pool.
        constants: `[samples, longest]` values of all constants at their positions.
        clean: `[samples, rows]` float32, the target without noise.
    """

    inputs: np.ndarray
    target: np.ndarray
    present: np.ndarray
    skeletons: np.ndarray
    constants: np.ndarray
    clean: np.ndarray


class EquationStream:
    """Blocks of samples by epoch and number.

    Args:
        settings: Settings of the samples.
        seed: Random seed for every draw.
        split: Name of the share of the skeletons: `train`, `validation` or `test`.
        block: Number of samples in a block.
        kept: Skeletons of all epochs; None draws new ones every `pool_epochs` epochs.
    """

    def __init__(
        self, settings: StreamSettings, seed: int, split: str, block: int, kept: SkeletonPool | None = None
    ) -> None:
        self.settings, self.seed, self.split, self.block = settings, seed, split, block
        self._kept = kept
        self._pool: tuple[int, SkeletonPool] | None = None
        weights = np.array([settings.kinds.get(kind, 0.0) for kind in KINDS])
        self._shares = weights / weights.sum()

    def pool(self, epoch: int) -> SkeletonPool:
        """The skeletons of an epoch; the newest pool is remembered."""
        if self._kept is not None:
            return self._kept
        number = epoch // self.settings.pool_epochs
        if self._pool is None or self._pool[0] != number:
            rng = np.random.default_rng([self.seed, SPLITS.index(self.split), _POOL, number])
            pool = draw_pool(self.settings.programs, rng, self.settings, self.split)
            if not len(pool):
                raise UserError(
                    f"data.programs={self.settings.programs} random programs leave no skeleton for the "
                    f"{self.split} split: draw more"
                )
            self._pool = (number, pool)
        return self._pool[1]

    def get(self, epoch: int, number: int) -> Block:
        """One block."""
        pool, settings = self.pool(epoch), self.settings
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), _BLOCK, epoch, number])
        rows = round(float(np.exp(rng.uniform(np.log(settings.fewest_rows), np.log(settings.most_rows + 1)))))
        for _ in range(_GROUPS):
            found = self._of_group(pool, *self._lengths(pool, rng), rows, rng)
            if len(found.target) == self.block:
                return found
            if len(found.target):  # hardly ever: then what there is, once more
                return _taken(found, np.resize(np.arange(len(found.target)), self.block))
        raise UserError(
            f"no equation of the {self.split} split is defined on {rows} rows of its table: draw more "
            "data.programs, or other data.points"
        )

    def _of_group(self, pool: SkeletonPool, low: int, high: int, rows: int, rng: np.random.Generator) -> Block:
        """A block of skeletons of one group, or as many samples of it as can be had."""
        parts: list[Block] = []
        missing = self.block
        spare = _SPARE_SAMPLES[0] + _SPARE_SAMPLES[1] * int(pool.lengths[high - 1])
        for _ in range(_ROUNDS):
            found = self._attempt(pool, low, high, rows, int(missing * spare) + 8, rng)
            parts.append(_taken(found, slice(missing)))
            missing -= len(parts[-1].target)
            if not missing:
                break
        if len(parts) == 1:
            return parts[0]
        return Block(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))

    def _lengths(self, pool: SkeletonPool, rng: np.random.Generator) -> tuple[int, int]:
        """Positions in the pool of a group of lengths that has any."""
        edges = np.searchsorted(pool.lengths, [0, *self.settings.length_edges], side="right")
        groups = [(int(low), int(high)) for low, high in pairwise(edges)]
        weights = np.array(self.settings.group_weights) * [high > low for low, high in groups]
        return groups[int(rng.choice(len(groups), p=weights / weights.sum()))]

    def _attempt(
        self, pool: SkeletonPool, low: int, high: int, rows: int, count: int, rng: np.random.Generator
    ) -> Block:
        """So many samples, less those whose equation is not defined on enough rows, or as good as constant."""
        settings = self.settings
        chosen = rng.integers(low, high, count)
        longest = int(pool.lengths[high - 1])
        tokens, fixed = pool.tokens[chosen, :longest], pool.values[chosen, :longest]
        constants = self._constants(tokens, fixed, rng)
        drawn = int(rows * _SPARE_ROWS) + 1
        points = draw_points(count, drawn, settings.variables, self._shares, rng)
        values = evaluate_pairs(tokens, constants, points)
        with np.errstate(all="ignore"):
            defined = np.abs(values) < LARGEST_TARGET  # false for what is not finite
        good = np.flatnonzero(defined.sum(axis=1) >= rows)
        first = _FirstDefined(defined, rows)
        clean = first(values, good)
        spread, size = clean.std(axis=1), np.abs(clean).max(axis=1)
        kept = np.flatnonzero((spread > _FLATTEST * size) & (spread > 1e-30))
        good, clean, spread = good[kept], clean[kept], spread[kept]
        clean = self._with_affine(clean, spread, rng)
        present = np.arange(settings.variables) < pool.columns[chosen[good], None]
        inputs = np.zeros((*clean.shape, settings.variables), dtype=np.float32)
        for variable, column in enumerate(points):
            has = np.flatnonzero(present[:, variable])
            inputs[has, :, variable] = first(column, good[has])
        full = np.zeros((len(good), pool.tokens.shape[1]))
        full[:, :longest] = constants[good]
        return Block(
            inputs,
            self._with_noise(clean, spread, rng),
            present,
            chosen[good],
            full,
            clean,
        )

    def _constants(self, tokens: np.ndarray, fixed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        settings = self.settings
        low, high = np.log(settings.constant_low), np.log(settings.constant_high)
        size = np.exp(rng.uniform(low, high, tokens.shape))
        drawn = np.where(rng.random(tokens.shape) < settings.negative_share, -size, size)
        return np.where(np.isnan(fixed), drawn, fixed) * (tokens == CONSTANT)

    def _with_affine(self, clean: np.ndarray, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The sign and an offset of the target, which are no part of a skeleton; its size is seen by nobody."""
        sign = rng.choice(np.array([-1.0, 1.0]), len(clean))
        offset = rng.normal(0.0, 3.0, len(clean)) * spread * (rng.random(len(clean)) < self.settings.offset_share)
        return clean * sign.astype(np.float32)[:, None] + offset.astype(np.float32)[:, None]

    def _with_noise(self, clean: np.ndarray, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        settings, samples = self.settings, len(clean)
        target = clean.copy()
        noisy = np.flatnonzero(rng.random(samples) < settings.noise_share)
        level = np.exp(rng.uniform(np.log(settings.noise_low), np.log(settings.noise_high), len(noisy)))
        scale = (level * spread[noisy]).astype(np.float32)[:, None]
        target[noisy] += scale * rng.standard_normal((len(noisy), clean.shape[1]), dtype=np.float32)
        outlying = np.flatnonzero(rng.random(samples) < settings.outlier_share)
        sample, row = np.nonzero(rng.random((len(outlying), clean.shape[1])) < 0.05)
        sample = outlying[sample]
        target[sample, row] += (5.0 * spread[sample] * rng.standard_normal(len(sample))).astype(np.float32)
        return target

    def truth(self, epoch: int, block: Block, sample: int) -> Expression:
        """The equation behind a sample, up to the sign of its target."""
        pool = self.pool(epoch)
        tokens = pool.tokens[block.skeletons[sample]]
        tokens = tokens[tokens != PAD]
        return Expression(tokens, block.constants[sample, : len(tokens)][tokens == CONSTANT])


class _FirstDefined:
    """Takes of each sample the first rows on which its equation is defined.

    Args:
        defined: `[samples, drawn]`
        rows: How many; a sample that has fewer must not be asked for.
    """

    def __init__(self, defined: np.ndarray, rows: int) -> None:
        self._rows = rows
        self._gap = np.logical_not(defined[:, :rows].all(axis=1))
        self._place = np.cumsum(self._gap) - 1  # among those that have gaps
        self._order = np.argsort(~defined[self._gap], axis=1, kind="stable")[:, :rows]

    def __call__(self, values: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """`[all samples, drawn]`, `[samples] -> [samples, rows]`"""
        found = values[samples, : self._rows]
        gaps = np.flatnonzero(self._gap[samples])
        which = samples[gaps]
        found[gaps] = np.take_along_axis(values[which], self._order[self._place[which]], axis=1)
        return found


_FIELDS = ("inputs", "target", "present", "skeletons", "constants", "clean")


def _taken(block: Block, samples: np.ndarray | slice) -> Block:
    return Block(*(getattr(block, name)[samples] for name in _FIELDS))
