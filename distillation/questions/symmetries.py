"""Symmetries of two inputs: whether only their difference, sum, ratio or product counts, or not which is which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from distillation.questions.answers import Answers
from distillation.questions.rectangles import rms
from distillation.questions.region import Region

__all__ = ["MERGED", "Symmetry", "symmetries_of"]

_SHRUNK = (1.0, 0.5, 0.25, 0.125)
_BEYOND = 0.1
_FEWEST = 16  # moves that stay inside, below which nothing is said
_LEAST_SCALE = 0.02

Move = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""First input, second input and the length of a move, in standard deviations, to both after it."""


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of an output.

    Attributes:
        kind: `difference`, `sum`, `ratio` or `product`, which alone counts; or `exchange`, where both inputs may
            change places.
        first: number of the first input.
        second: number of the second input.
        defect: change of the output under the symmetry, over that by moving one input alone.
    """

    kind: str
    first: int
    second: int
    defect: float

    @property
    def words(self) -> str:
        """The symmetry as a formula."""
        x, z = f"x{self.first}", f"x{self.second}"
        if self.kind == "exchange":
            return f"{x} and {z} may change places"
        return f"only {MERGED[self.kind].format(x, z)} counts"


MERGED: Mapping[str, str] = {
    "difference": "{0} - {1}",
    "sum": "{0} + {1}",
    "ratio": "{0}/{1}",
    "product": "{0}*{1}",
}
"""Name of a symmetry -> what two inputs count by."""


def symmetries_of(
    answers: Answers,
    region: Region,
    size: np.ndarray,
    first: int,
    second: int,
    count: int,
    rng: np.random.Generator,
) -> list[list[Symmetry]]:
    """Every symmetry that could be asked for, with its defect, for each output.

    Args:
        answers: network.
        region: region of its activations.
        size: standard deviation of the outputs. `[outputs]`
        first: number of the first input.
        second: number of the second input.
        count: number of moves.
        rng: random generator.
    """
    places = region.rows[rng.integers(len(region.rows), size=count)]
    length = rng.uniform(0.5, 1.5, count) * rng.choice([-1.0, 1.0], count)
    steady = [
        bool((region.rows[:, each] > 0).all() or (region.rows[:, each] < 0).all()) for each in (first, second)
    ]
    moves: dict[str, Move] = {
        "difference": lambda x, z, h: (x + h * scale, z + h * scale),
        "sum": lambda x, z, h: (x + h * scale, z - h * scale),
    }
    scale = float(np.sqrt(region.scale[first] * region.scale[second]))
    if all(steady):
        widths = [np.log(np.abs(region.rows[:, each])).std() for each in (first, second)]
        wide = float(np.sqrt(widths[0] * widths[1]))
        moves["ratio"] = lambda x, z, h: (x * np.exp(h * wide), z * np.exp(h * wide))
        moves["product"] = lambda x, z, h: (x * np.exp(h * wide), z / np.exp(h * wide))
    found: list[list[Symmetry]] = [[] for _ in size]
    for kind, move in moves.items():
        for output, defect in enumerate(_defects(answers, region, size, places, (first, second), move, length)):
            found[output].append(Symmetry(kind, first, second, defect))
    for output, defect in enumerate(_exchanged(answers, region, size, places, first, second)):
        found[output].append(Symmetry("exchange", first, second, defect))
    return [[each for each in row if np.isfinite(each.defect)] for row in found]


def _defects(
    answers: Answers,
    region: Region,
    size: np.ndarray,
    places: np.ndarray,
    pair: tuple[int, int],
    move: Move,
    length: np.ndarray,
) -> list[float]:
    """Change under a move of both inputs, over that under a move of one; NaN where no move stays inside."""
    moved = np.repeat(places[None], 4, axis=0)
    taken = np.zeros(len(places), dtype=bool)
    for shrunk in _SHRUNK:
        trial = np.repeat(places[None], 4, axis=0)
        x, z = move(places[:, pair[0]], places[:, pair[1]], shrunk * length)
        trial[1, :, pair[0]] = trial[3, :, pair[0]] = x
        trial[2, :, pair[1]] = trial[3, :, pair[1]] = z
        inside = region.inside(trial[1:], _BEYOND).all(axis=0) & ~taken
        moved[:, inside] = trial[:, inside]
        taken |= inside
    if taken.sum() < _FEWEST:
        return [np.nan] * len(size)
    before, first, second, both = answers(moved[:, taken])
    scale = np.hypot(rms(first - before), rms(second - before))
    return (rms(both - before) / np.maximum(scale, _LEAST_SCALE * size + 1e-300)).tolist()


def _exchanged(
    answers: Answers, region: Region, size: np.ndarray, places: np.ndarray, first: int, second: int
) -> list[float]:
    """Change where two inputs change places, over that where each is replaced by the other."""
    swapped, one, two = places.copy(), places.copy(), places.copy()
    swapped[:, [first, second]] = places[:, [second, first]]
    one[:, first], two[:, second] = places[:, second], places[:, first]
    inside = region.inside(np.stack([swapped, one, two]), _BEYOND).all(axis=0)
    if inside.sum() < _FEWEST:
        return [np.nan] * len(size)
    before, both, a, b = answers(np.stack([places, swapped, one, two])[:, inside])
    scale = np.hypot(rms(a - before), rms(b - before))
    return (rms(both - before) / np.maximum(scale, _LEAST_SCALE * size + 1e-300)).tolist()
