"""One part of a sum or a product at a time: the other inputs are held, at several places, and averaged over."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distillation.questions.findings import Split
from distillation.questions.region import Region

__all__ = ["Slices"]

Values = Callable[[np.ndarray], np.ndarray]
_PLACES = 8  # at which the other inputs are held: the network's own error averages out
_BEYOND = 0.2


class Slices:
    """The parts of a function that is a sum or a product of them, each relative to its value at a central place.

    Args:
        values: function of rows. `[rows, inputs] -> [rows]`
        inputs: activations. `[rows, inputs]`
        split: form of the function.
        seed: random seed for the places.
    """

    def __init__(self, values: Values, inputs: np.ndarray, split: Split, *, seed: int) -> None:
        self.values, self.split = values, split
        self.region = Region(inputs, seed=seed)
        self.centre = _nearest_to_centre(self.region)
        rng = np.random.default_rng([seed, 4])
        others = self.region.rows[rng.integers(len(self.region.rows), size=_PLACES - 1)]
        self.places = np.concatenate([self.centre[None], others])

    def part(self, number: int) -> Values:
        """One part, as a function of its own inputs. `[rows, inputs of the part] -> [rows]`"""
        columns = list(self.split.parts[number])

        def held(points: np.ndarray) -> np.ndarray:
            rows = np.repeat(self.places[None], len(points), axis=0)
            rows[:, :, columns] = points[:, None, :]
            usable = self.region.inside(rows, _BEYOND)
            usable[:, 0] |= ~usable.any(axis=1)  # outside everywhere: the centre will do
            found = self.values(rows.reshape(-1, rows.shape[-1])).reshape(usable.shape) - self.split.offset
            return self._averaged(found, usable, base)

        centre = self.places.copy()
        centre[:, columns] = self.centre[columns]
        base = self.values(centre) - self.split.offset
        return held

    def _averaged(self, found: np.ndarray, usable: np.ndarray, base: np.ndarray) -> np.ndarray:
        """The part over the places where it can be asked.

        Args:
            found: values with the other inputs at every place, less the offset. `[rows, places]`
            usable: whether that is inside the region. `[rows, places]`
            base: values with the part's own inputs at the centre. `[places]`
        """
        if self.split.kind == "sum":
            return np.asarray(np.sum((found - base) * usable, axis=1) / usable.sum(axis=1))
        weights = usable * base  # least squares: what is small there says little of the part
        return np.asarray(np.sum(weights * found, axis=1) / np.maximum(np.sum(weights * base, axis=1), 1e-300))


def _nearest_to_centre(region: Region) -> np.ndarray:
    """The activation nearest to the medians of the columns. `[inputs]`"""
    middle = np.median(region.rows, axis=0)
    distances = np.sum(np.square((region.rows - middle) / region.scale), axis=1)
    return np.asarray(region.rows[int(np.argmin(distances))])
