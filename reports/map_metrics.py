"""Measures of where equations lie in a map: principal components, and what near neighbours have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expressions.operators import leading_family
from expressions.skeleton import Skeleton

__all__ = ["Sample", "Table", "mean_value", "neighbour_metrics", "principal_components", "samples_of"]

Table = tuple[np.ndarray, np.ndarray]
"""Inputs `[rows, variables]` and target `[rows]`."""


@dataclass(frozen=True)
class Sample:
    """A problem of the test.

    Attributes:
        inputs: `[rows, variables]`, the columns that the table has.
        target: `[rows]`
        skeleton: Skeleton of the equation behind it.
    """

    inputs: np.ndarray
    target: np.ndarray
    skeleton: Skeleton

    @property
    def table(self) -> Table:
        """Inputs and target."""
        return self.inputs, self.target

    @property
    def variables(self) -> int:
        """Columns of the table."""
        return int(self.inputs.shape[1])


def samples_of(batches: Iterable[Any], vocabulary: Any, most: int) -> list[Sample]:
    """Problems of the batches of `datamodules.equations.Equations`, at most so many.

    Args:
        batches: Tuples of inputs, target, present and ids.
        vocabulary: Vocabulary of the ids.
        most: Largest number of problems.
    """
    samples: list[Sample] = []
    for batch in batches:
        inputs, target, present, ids = (part.cpu().numpy() for part in batch)
        columns = present.sum(axis=1)  # the present ones are always the first
        for row, skeleton in enumerate(vocabulary.decode_skeletons(ids)):
            samples.append(
                Sample(inputs[row, :, : columns[row]].astype(float), target[row].astype(float), skeleton)
            )
        if len(samples) >= most:
            break
    return samples[:most]


def principal_components(points: np.ndarray, count: int = 2) -> tuple[np.ndarray, list[float]]:
    """Coordinates along the directions of largest variance, and the share of it that each has.

    Args:
        points: Points in any space. `[points, dimensions]`
        count: Number of directions.

    Returns:
        `[points, count]`, and `count` shares; 0 where there are fewer directions.
    """
    centred = points - points.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = np.zeros((len(points), count))
    known = min(count, len(values))
    coordinates[:, :known] = left[:, :known] * values[:known]
    shares = values**2 / max(float((values**2).sum()), 1e-300)
    return coordinates, [float(share) for share in shares[:known]] + [0.0] * (count - known)


def mean_value(target: np.ndarray) -> float:
    """Mean over root mean square: -1 to 1, whatever the target's unit; 0 where it is 0 throughout. `[rows]`"""
    largest = float(np.abs(target).max())
    if largest == 0:
        return 0.0
    scaled = target / largest  # whose square stays within float64
    return float(scaled.mean() / np.sqrt(np.mean(scaled**2)))


def neighbour_metrics(mean: np.ndarray, skeletons: Sequence[Skeleton], means: np.ndarray) -> dict[str, float]:
    """What the nearest problem of another skeleton has in common, in kind and in mean value, and a random one has.

    Args:
        mean: Latents of the problems. `[problems, latents]`
        skeletons: Skeletons of the problems. `[problems]`
        means: Mean values of the targets, see `mean_value`. `[problems]`
    """
    _, kind = np.unique([leading_family(skeleton.tokens) for skeleton in skeletons], return_inverse=True)
    number = {skeleton: place for place, skeleton in enumerate(dict.fromkeys(skeletons))}
    own = np.array([number[skeleton] for skeleton in skeletons])
    other = own[:, None] != own
    if not other.any(axis=1).all():
        return {}
    squares = (mean**2).sum(axis=1)
    nearest = np.where(other, squares[:, None] + squares - 2.0 * mean @ mean.T, np.inf).argmin(axis=1)
    alike = kind[:, None] == kind
    measured = {
        "test/neighbour_family": float(alike[np.arange(len(kind)), nearest].mean()),
        "test/neighbour_family_chance": float(alike[other].mean()),
    }
    if min(np.ptp(means), np.ptp(means[nearest])) > 0:
        measured["test/neighbour_mean_value"] = float(np.corrcoef(means, means[nearest])[0, 1])
    return measured
