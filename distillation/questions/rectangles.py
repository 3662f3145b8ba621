"""Differences over rectangles: whether a function is a sum, or a product, of functions of two groups of inputs.

Four corners, with the inputs of one group from one place and those of the other group from another:

    f(a, b) - f(a', b) - f(a, b') + f(a', b') = 0    where f(a, b) = g(a) + h(b)
    f(a, b) f(a', b') = f(a', b) f(a, b')            where f(a, b) = g(a) h(b)

These are the mixed second derivatives integrated over the rectangle. A trained network knows the values far better
than its second derivatives, which are 0 almost everywhere in a network of ReLU.

Source: S.-M. Udrescu and M. Tegmark, AI Feynman, Science Advances 6, 2020, separability, which asks at two values
only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from distillation.questions.answers import Answers
from distillation.questions.region import Region

__all__ = ["Corners", "corners", "offset_of_products", "product_defect", "rms", "sum_defect"]

_SHRUNK = (1.0, 0.5, 0.25, 0.125, 0.0625)  # of the way to the second place, until all corners are inside
_BEYOND = 0.1  # standard deviations outside the region in which a corner may lie
_LEAST_SCALE = 0.02  # of the output's standard deviation: what changes less is the network's own error


@dataclass(frozen=True)
class Corners:
    """Outputs at the corners of rectangles.

    Attributes:
        values: outputs with neither group moved, the first, the second, both. `[4, rectangles, outputs]`
        reach: mean length of the rectangles' sides, as a share of the distance of two activations.
        size: standard deviation of the outputs over the activations. `[outputs]`
    """

    values: np.ndarray
    reach: float
    size: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """What moving one group changes, the root of the sum of both squares. `[outputs]`"""
        first, second = rms(self.values[1] - self.values[0]), rms(self.values[2] - self.values[0])
        return np.asarray(np.maximum(np.hypot(first, second), _LEAST_SCALE * self.size + 1e-300))


def rms(values: np.ndarray) -> np.ndarray:
    """Root of the mean square over the rows, `[rows, outputs]`. `[outputs]`"""
    return np.asarray(np.sqrt(np.mean(np.square(values), axis=0)))


def corners(
    answers: Answers,
    region: Region,
    size: np.ndarray,
    first: Collection[int],
    second: Collection[int],
    count: int,
    rng: np.random.Generator,
) -> Corners:
    """Ask at the corners of rectangles.

    Args:
        answers: network.
        region: region of its activations.
        size: standard deviation of the outputs. `[outputs]`
        first: inputs of the first group.
        second: inputs of the second group.
        count: number of rectangles.
        rng: random generator.
    """
    here, there = (region.rows[rng.integers(len(region.rows), size=count)] for _ in range(2))
    moved = np.zeros((4, 1, here.shape[1]))
    moved[1, 0, list(first)] = moved[2, 0, list(second)] = 1.0
    moved[3] = moved[1] + moved[2]
    share = np.zeros((count, 1))
    for shrunk in _SHRUNK:
        places = here + moved * shrunk * (there - here)
        inside = region.inside(places[1:], _BEYOND).all(axis=0)
        share[(share[:, 0] == 0) & inside] = shrunk
    share[share == 0] = _SHRUNK[-1]
    return Corners(answers(here + moved * share * (there - here)), float(share.mean()), size)


def sum_defect(found: Corners) -> np.ndarray:
    """How far an output is from a sum: 0 for a sum, about 1 for what has nothing of it. `[outputs]`"""
    a, b, c, d = found.values
    return np.asarray(rms(a - b - c + d) / found.scale)


def product_defect(found: Corners, offset: np.ndarray | float = 0.0) -> np.ndarray:
    """How far an output less an offset is from a product: the fourth corner told from the other three. `[outputs]`

    Args:
        found: outputs at the corners.
        offset: what is taken off the outputs. `[outputs]`
    """
    a, b, c, d = found.values - offset
    largest = np.max(np.abs([a, b, c, d]), axis=0)
    return np.asarray(rms((a * d - b * c) / np.maximum(largest, 1e-300)) / found.scale)


def offset_of_products(found: Corners) -> np.ndarray:
    """The offset with which an output is nearest to a product, by least squares. `[outputs]`"""
    a, b, c, d = found.values
    mixed = a - b - c + d
    return np.asarray(np.sum(mixed * (a * d - b * c), axis=0) / np.maximum(np.sum(mixed * mixed, axis=0), 1e-300))
