"""Ways through a map from one equation to another, and how smooth they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE
from expressions.skeleton import Skeleton
from reports.map_figures import Course
from reports.map_metrics import Sample, Table

__all__ = ["Interpolation", "Map", "course", "interpolate", "interpolation_metrics", "random_pairs", "smoothness"]

_ITERATIONS, _STARTS = 10, 4  # of the constants
_LARGEST = 1e8  # of a value, in magnitude
_FEWEST_ROWS = 16  # on which two equations must be defined to be compared
_FLATTEST = 1e-9  # spread of a function over its magnitude, below which it is a constant
_POINTS = 200  # of a curve


class Map(Protocol):
    """What is asked of a map; see `modules.networks.equation_map.latent_map.LatentMap`."""

    @property
    def vocabulary(self) -> Any:
        """What equations are written with."""

    def prior(self, tables: Sequence[Table]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each table. `[tables, latents]`"""

    def posterior(self, table: Table, skeletons: Sequence[Skeleton]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each skeleton. `[skeletons, latents]`"""

    def decode(
        self, latents: np.ndarray, variables: int, *, temperature: float = 1.0, seed: int = 0
    ) -> list[Skeleton]:
        """An equation of each latent. `[n, latents]`"""


@dataclass(frozen=True)
class Interpolation:
    """A way from one problem to another.

    Attributes:
        inputs: `[rows, variables]` that the functions are compared on.
        skeletons: `[steps]` decoded greedily.
        ends: The two that were encoded.
        blends: `[steps, rows]` what each step is asked for.
        fitted: `[steps]` the equations with constants, outer scale and offset; None where one is not valid.
        values: `[steps, rows]` of the fitted equations; 0 where one is not valid.
        control: `[steps, rows]` values of the equations in random order, fitted to the blends in theirs.
    """

    inputs: np.ndarray
    skeletons: Sequence[Skeleton]
    ends: tuple[Skeleton, Skeleton]
    blends: np.ndarray
    fitted: Sequence[Expression | None]
    values: np.ndarray
    control: np.ndarray

    @property
    def variables(self) -> int:
        """Columns of the tables."""
        return int(self.inputs.shape[1])

    @property
    def valid(self) -> np.ndarray:
        """`[steps]` bool"""
        return np.array([equation is not None for equation in self.fitted])


def random_pairs(
    samples: Sequence[Sample], most: int, rng: np.random.Generator
) -> Iterator[tuple[Sample, Sample]]:
    """Random pairs of problems with as many columns and different skeletons, at most so many."""
    by_columns: dict[int, list[Sample]] = {}
    for sample in samples:
        by_columns.setdefault(sample.variables, []).append(sample)
    groups = [group for group in by_columns.values() if len({sample.skeleton for sample in group}) > 1]
    if not groups:
        return
    weights = np.array([len(group) for group in groups], dtype=float)
    for _ in range(most):
        group = groups[int(rng.choice(len(groups), p=weights / weights.sum()))]
        first, second = rng.choice(len(group), 2, replace=False)
        if group[first].skeleton != group[second].skeleton:
            yield group[first], group[second]


def interpolate(
    latent_map: Map, one: Sample, other: Sample, steps: int, rows: int, rng: np.random.Generator
) -> Interpolation | None:
    """Go from one problem to another.

    Args:
        latent_map: Map of equations.
        one: Problem to begin at.
        other: Problem with as many columns, to end at.
        steps: Number of steps, both ends included.
        rows: Number of rows of each table to compare functions on.
        rng: Random generator for the rows, the control and the starting points of fits.

    Returns:
        None where the two equations are not defined on enough rows together.
    """
    inputs = np.concatenate([_some(sample.inputs, rows, rng) for sample in (one, other)])
    wanted = [_own_values(sample, inputs, rng) for sample in (one, other)]
    usable = np.isfinite(wanted[0]) & np.isfinite(wanted[1])
    if usable.sum() < _FEWEST_ROWS:
        return None
    inputs = inputs[usable]
    first, last = (_standardised(values[usable]) for values in wanted)
    if not first.any() or not last.any():
        return None
    last = last if first @ last >= 0 else -last
    share = np.linspace(0.0, 1.0, steps)[:, None]
    blends = (1.0 - share) * first + share * last
    places = [latent_map.posterior(sample.table, [sample.skeleton])[0][0] for sample in (one, other)]
    skeletons = latent_map.decode((1.0 - share) * places[0] + share * places[1], one.variables, temperature=0.0)
    order = rng.permutation(steps)
    fits = [_fitted([skeletons[step], skeletons[order[step]]], inputs, blends[step], rng) for step in range(steps)]
    return Interpolation(
        inputs,
        skeletons,
        (one.skeleton, other.skeleton),
        blends,
        [own for own, _ in fits],
        np.stack([_values(own, inputs) for own, _ in fits]),
        np.stack([_values(control, inputs) for _, control in fits]),
    )


def _some(inputs: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    return inputs[rng.permutation(len(inputs))[:rows]]


def _own_values(sample: Sample, inputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A problem's equation, with constants fitted to its own table, on other rows; NaN where it is not defined."""
    (equation,) = _fitted([sample.skeleton], sample.inputs, sample.target, rng)
    if equation is None:
        return np.full(len(inputs), np.nan)
    return _called(equation, inputs)


def _called(equation: Expression, inputs: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = np.broadcast_to(equation(inputs), (len(inputs),)).astype(float)
    return np.where(np.abs(values) < _LARGEST, values, np.nan)


def _fitted(
    skeletons: Sequence[Skeleton], inputs: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> list[Expression | None]:
    """Equations with constants, outer scale and offset; None for one that is not valid."""
    result = fit_constants(
        [skeleton.expression() for skeleton in skeletons],
        inputs,
        target,
        iterations=_ITERATIONS,
        starts=_STARTS,
        rng=rng,
        fixed=[skeleton.fixed for skeleton in skeletons],
        affine=True,
    )
    found: list[Expression | None] = []
    for skeleton, equation, error, scale, offset in zip(
        skeletons, result.expressions, result.errors, result.scale, result.offset, strict=True
    ):
        whole = None
        if np.isfinite(error) and max(skeleton.tokens) >= FIRST_VARIABLE:
            scaled = Expression.apply("mul", Expression.constant(float(scale)), equation)
            whole = Expression.apply("add", scaled, Expression.constant(float(offset)))
        found.append(whole)
    return found


def _values(equation: Expression | None, inputs: np.ndarray) -> np.ndarray:
    values = np.full(len(inputs), np.nan) if equation is None else _called(equation, inputs)
    return values if np.isfinite(values).all() else np.zeros(len(inputs))


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0, variance 1; all 0 for a constant."""
    centred = values - values.mean()
    spread = float(centred.std())
    if not spread > _FLATTEST * max(1e-300, float(np.abs(values).max())):
        return np.zeros_like(values)
    return centred / spread


def smoothness(values: np.ndarray) -> float:
    """Mean |correlation| of consecutive functions; 0 with a constant. `[steps, rows]`"""
    scaled = np.stack([_standardised(own) for own in values])
    return float(np.abs((scaled[:-1] * scaled[1:]).mean(axis=1)).mean())


def interpolation_metrics(ways: Sequence[Interpolation]) -> dict[str, float]:
    """Means over the ways; nothing where there is none."""
    if not ways:
        return {}

    def r2(way: Interpolation, values: np.ndarray) -> np.ndarray:
        spread = np.maximum(way.blends.var(axis=1), 1e-12)
        return 1.0 - ((way.blends - values) ** 2).mean(axis=1) / spread

    def mean(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    def kept(way: Interpolation) -> float:
        return mean(one == other for one, other in zip(way.skeletons, way.skeletons[1:], strict=False))

    measured: Mapping[str, float] = {
        "valid": mean(way.valid.mean() for way in ways),
        "smoothness": mean(smoothness(way.values) for way in ways),
        "smoothness_control": mean(smoothness(way.control) for way in ways),
        "smoothness_ceiling": mean(smoothness(way.blends) for way in ways),
        "fit": float(np.median([r2(way, way.values) for way in ways])),
        "fit_control": float(np.median([r2(way, way.control) for way in ways])),
        "skeletons": mean(len(set(way.skeletons)) for way in ways),
        "kept": mean(kept(way) for way in ways),
        "ends": mean(mean((way.skeletons[0] == way.ends[0], way.skeletons[-1] == way.ends[1])) for way in ways),
    }
    return {f"test/interpolation_{name}": value for name, value in measured.items()}


def course(way: Interpolation) -> Course:
    """A way along the variable that changes the functions most, the others at their medians."""
    inputs = way.inputs
    middle = np.median(inputs, axis=0)
    best, spread = 0, -1.0
    curves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for column in range(way.variables):
        low, high = (float(bound) for bound in np.percentile(inputs[:, column], (5, 95)))
        x = np.linspace(low, high, _POINTS)
        points = np.tile(middle, (_POINTS, 1))
        points[:, column] = x
        values = [
            np.full(_POINTS, np.nan) if equation is None else _called(equation, points) for equation in way.fitted
        ]
        curves[column] = (x, np.stack(values))
        own = float(np.nanmean(np.nanstd(curves[column][1][[0, -1]], axis=1))) if way.valid[[0, -1]].all() else 0.0
        if own > spread:
            best, spread = column, own
    others = ", others at their medians" if way.variables > 1 else ""
    note = (
        f"{way.variables} variable{'s' if way.variables > 1 else ''}{others}; {len(set(way.skeletons))} skeletons"
    )
    names = [skeleton.infix() for skeleton in way.skeletons]
    return Course(*curves[best], names, f"x{best}", note)
