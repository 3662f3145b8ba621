"""The region in which a network may be asked: that of its activations, and a little beyond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import qmc

__all__ = ["DesignedPoints", "Region", "designed_points"]

_MOST_ROWS = 4_096  # activations that stand for all
_INSIDE = 0.95  # share of the activations whose nearest other one is no farther than what counts as inside
_POOL = 4  # candidates for each point
_SHARE_OF_BOX = 0.5
_NEIGHBOURS = 8
_SPREAD = 0.05, 0.95  # quantiles whose distance is the size of a column; 3.29 standard deviations


class Region:
    """Where activations lie.

    A place is inside where its nearest activation is no farther than nearly all activations' nearest other one.
    Distances are in standard deviations of the columns.

    Args:
        inputs: activations. `[rows, inputs]`
        seed: random seed for the choice of some of them.
    """

    def __init__(self, inputs: np.ndarray, *, seed: int) -> None:
        table = np.asarray(inputs, dtype=np.float64)
        rng = np.random.default_rng([seed, len(table)])
        rows = rng.permutation(len(table))[:_MOST_ROWS]
        self.rows = table[rows]
        low, high = np.quantile(table, _SPREAD, axis=0)
        spread = np.where(high > low, (high - low) / 3.29, table.std(axis=0))
        self.varies = spread > 0
        self.scale = np.where(self.varies, spread, 1.0)
        self._tree = cKDTree(self.rows / self.scale)
        near = self._tree.query(self.rows / self.scale, k=2)[0][:, -1] if len(self.rows) > 1 else np.zeros(1)
        self.radius = float(np.quantile(near, _INSIDE))

    def distances(self, points: np.ndarray) -> np.ndarray:
        """Distance of every point from its nearest activation. `[points]`"""
        return np.asarray(self._tree.query(points / self.scale)[0])

    def inside(self, points: np.ndarray, beyond: float = 0.0) -> np.ndarray:
        """Whether points `[..., inputs]` are inside, or no more than `beyond` outside. `[...]`"""
        flat = points.reshape(-1, points.shape[-1])
        return np.asarray(self.distances(flat) <= self.radius + beyond + 1e-12).reshape(points.shape[:-1])

    def neighbours(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For every point one of its nearest activations. `[points, inputs]`"""
        count = min(_NEIGHBOURS, len(self.rows))
        found = np.reshape(self._tree.query(points / self.scale, k=count)[1], (len(points), count))
        return np.asarray(self.rows[found[np.arange(len(points)), rng.integers(count, size=len(points))]])


@dataclass(frozen=True)
class DesignedPoints:
    """Places at which a network is asked.

    Attributes:
        points: places. `[points, inputs]`
        beyond: whether each lies outside the region of the activations; a network has learned nothing there.
            `[points]`
    """

    points: np.ndarray
    beyond: np.ndarray

    @property
    def words(self) -> str:
        """Where they lie, as a sentence."""
        outside = int(np.count_nonzero(self.beyond))
        return f"the network was asked at {len(self.points):,} places, {outside:,} of them outside its activations"


def designed_points(inputs: np.ndarray, count: int, *, beyond: float = 0.1, seed: int) -> DesignedPoints:
    """Places that fill the region of the activations more evenly than they do, and a little beyond it.

    Half of the candidates fill the box of the activations evenly (Sobol), half lie between neighbours, where a box
    would hold hardly any activation. What is farther outside than `beyond` is left out.

    Args:
        inputs: activations. `[rows, inputs]`
        count: number of places; fewer come back where the region is thin.
        beyond: how far outside a place may lie, in standard deviations of the columns.
        seed: random seed.
    """
    region = Region(inputs, seed=seed)
    rng = np.random.default_rng([seed, count, 1])
    boxed = _box(region, int(_POOL * count), beyond, seed)
    between = _between(region, int(_POOL * count), beyond, rng)
    boxed = boxed[region.inside(boxed, beyond)][: int(_SHARE_OF_BOX * count)]
    between = between[region.inside(between, beyond)][: count - len(boxed)]
    points = np.concatenate([boxed, between])
    return DesignedPoints(points, ~region.inside(points))


def _box(region: Region, count: int, beyond: float, seed: int) -> np.ndarray:
    """Points of a Sobol sequence in the box of the activations and a margin."""
    low, high = region.rows.min(axis=0), region.rows.max(axis=0)
    margin = beyond * region.scale * region.varies
    power = max(1, int(np.ceil(np.log2(count))))
    unit = qmc.Sobol(region.rows.shape[1], seed=np.random.default_rng([seed, 2])).random_base2(power)[:count]
    return np.asarray(low - margin + unit * (high - low + 2.0 * margin))


def _between(region: Region, count: int, beyond: float, rng: np.random.Generator) -> np.ndarray:
    """Points on the lines from activations through one of their neighbours, and a little aside."""
    first = region.rows[rng.integers(len(region.rows), size=count)]
    second = region.neighbours(first, rng)
    along = rng.uniform(-beyond, 1.0 + beyond, (count, 1))
    aside = rng.normal(size=first.shape) * region.scale * region.varies
    return np.asarray(first + along * (second - first) + 0.5 * beyond * aside / np.sqrt(first.shape[1]))
