"""What a trained map of equations looks like, and what lies between two equations in it.

Whether near latents mean near functions is what makes a map worth searching. This callback shows it, and says it
in numbers, at the end of every test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.equation_report import SearchLog
from callbacks.run_record import record_metrics
from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.operators import FIRST_VARIABLE, leading_family
from expressions.skeleton import Skeleton
from foundation.errors import UserError
from reports.map_figures import Course, atlas, interpolations

__all__ = ["Interpolation", "Map", "MapReport", "Sample", "interpolate", "interpolation_metrics", "samples_of"]

_ITERATIONS, _STARTS = 10, 4  # of the constants
_LARGEST = 1e8  # of a value, in magnitude
_FEWEST_ROWS = 16  # on which two equations must be defined to be compared
_FLATTEST = 1e-9  # spread of a function over its magnitude, below which it is a constant
_TRIES = 8  # pairs that are looked at for one that is wanted
_POINTS = 200  # of a curve

Table = tuple[np.ndarray, np.ndarray]


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
class Sample:
    """A problem of the test.

    Attributes:
        inputs: `[rows, variables]`, the columns that the table has.
        target: `[rows]`
        skeleton: Of the equation behind it.
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


class MapReport(Callback):
    """Draws an atlas of the map and some ways through it, and measures how smooth these are.

    The atlas (`plots/map_atlas.png`) shows the means of the prior of test problems in the plane of their first
    two principal components, coloured by the functions that the equations have, by their length and by the mean of
    the target over its root mean square. Measured of it, in the whole latent space, are `test/neighbour_family`
    and `test/neighbour_family_chance` (how often the nearest problem of another skeleton has functions of the same
    kind, and how often a random one has), and `test/neighbour_mean_value` (correlation of that mean with the
    nearest one's; with a random one's it is 0).

    The ways (`plots/map_interpolations.png`) lead from the posterior mean of one test problem to that of another,
    in a straight line, decoded greedily at each step. What is measured of them:

    - `test/interpolation_valid`: share of the steps whose equation has a variable and is defined on all rows that
      the pair is compared on (rows of both tables on which both equations are defined).
    - `test/interpolation_smoothness`: the two equations of the pair, with constants fitted to their own tables,
      have standardised values a and b on those rows (the sign of b is chosen to agree with a); step t is asked
      for the blend (1 - t) a + t b, its constants are fitted to it, and smoothness is the mean over consecutive
      steps of |correlation| of the fitted functions, 0 where one is not valid.
    - `test/interpolation_smoothness_control`: the same equations in random order, fitted to the blends at their
      new places: what fitting alone makes smooth. `…_ceiling`: of the blends themselves.
    - `test/interpolation_fit`, `…_fit_control`: median R2 of these fits.
    - `test/interpolation_skeletons`: different skeletons on a way, of `steps`. `…_kept`: share of the steps from
      one to the next that keep the skeleton. `…_ends`: share of the ends that decode to the equation that was
      encoded.

    Example:
        ```yaml
        callbacks:
          - _target_: callbacks.map_report.MapReport
            samples: 1024
        ```

    Args:
        run_dir: The run directory.
        samples: Test problems in the atlas.
        pairs: Of problems, to go from one to the other; both have as many columns.
        steps: Of a way, both ends included.
        rows: Of each of the two tables, to compare functions on.
        drawn: Ways in the figure, those with the fewest variables first.
        seed: Of the pairs, the control and the starting points of fits.

    Raises:
        UserError: A number is too small.
    """

    def __init__(
        self,
        run_dir: str = ".",
        samples: int = 1024,
        pairs: int = 24,
        steps: int = 9,
        rows: int = 64,
        drawn: int = 4,
        seed: int = 0,
    ) -> None:
        for name, value, low in (
            ("samples", samples, 3),
            ("pairs", pairs, 1),
            ("steps", steps, 2),
            ("rows", rows, 8),
        ):
            if value < low:
                raise UserError(f"map_report.{name}={value} must be at least {low}")
        self.run_dir, self.samples, self.pairs, self.steps = Path(run_dir), samples, pairs, steps
        self.rows, self.drawn, self.seed = rows, drawn, seed

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, on the first rank, of the problems that it has tested on."""
        if not trainer.is_global_zero:
            return
        from modules.networks.equation_map.latent_map import LatentMap

        loaders: Any = trainer.test_dataloaders
        found = samples_of(loaders, pl_module.average.vocabulary, self.samples)  # type: ignore[union-attr]
        metrics, plots = self.report(LatentMap(pl_module.average), found)  # type: ignore[arg-type]
        record_metrics(self.run_dir, metrics)
        run = SearchLog(trainer).run
        if run is not None:
            import wandb

            run.log({**metrics, **{f"plots/{path.stem}": wandb.Image(str(path)) for path in plots}})

    def report(self, latent_map: Map, samples: Sequence[Sample]) -> tuple[dict[str, float], list[Path]]:
        """Draw and measure.

        Args:
            latent_map: The map.
            samples: Problems that it has not been trained on.

        Returns:
            Metrics by name, and the figures.
        """
        folder = self.run_dir / "plots"
        mean, _ = latent_map.prior([sample.table for sample in samples])
        kinds = [leading_family(sample.skeleton.tokens) for sample in samples]
        lengths = np.array([len(sample.skeleton) for sample in samples])
        points, shares = principal_components(mean)
        means = np.array([mean_value(sample.target) for sample in samples])
        heading = f"prior means of {len(mean):,} problems"
        plots = [atlas(points, kinds, lengths, means, shares, folder / "map_atlas.png", heading)]
        ways = self._ways(latent_map, samples)
        shown = sorted(ways, key=lambda way: way.variables)[: self.drawn]
        metrics = {
            **neighbour_metrics(mean, [sample.skeleton for sample in samples], means),
            **interpolation_metrics(ways),
        }
        smooth, control = (metrics.get(f"test/interpolation_smoothness{end}", np.nan) for end in ("", "_control"))
        heading = f"between posterior means: smoothness {smooth:.3f}, in random order {control:.3f}"
        courses = [course(way) for way in shown]
        plots.append(interpolations(courses, folder / "map_interpolations.png", heading))
        return metrics, plots

    def _ways(self, latent_map: Map, samples: Sequence[Sample]) -> list[Interpolation]:
        """So many pairs as are asked for, or as there are."""
        rng = np.random.default_rng(self.seed)
        ways: list[Interpolation] = []
        for one, other in _pairs(samples, _TRIES * self.pairs, rng):
            way = interpolate(latent_map, one, other, self.steps, self.rows, rng)
            if way is not None:
                ways.append(way)
            if len(ways) == self.pairs:
                break
        return ways


def samples_of(batches: Iterable[Any], vocabulary: Any, most: int) -> list[Sample]:
    """Problems of the batches of `datamodules.equations.Equations`, at most so many.

    Args:
        batches: Tuples of inputs, target, present and ids.
        vocabulary: Of the ids.
        most: Problems to return.
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


# ------------------------------------------------------------------------------------------------ the atlas


def principal_components(points: np.ndarray, count: int = 2) -> tuple[np.ndarray, list[float]]:
    """Coordinates along the directions of largest variance, and the share of it that each has.

    Args:
        points: `[points, dimensions]`
        count: Directions.

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
        skeletons: `[problems]`
        means: Of the targets, see `mean_value`. `[problems]`
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


# ---------------------------------------------------------------------------------- between two equations


@dataclass(frozen=True)
class Interpolation:
    """A way from one problem to another.

    Attributes:
        inputs: `[rows, variables]` that the functions are compared on.
        skeletons: `[steps]` decoded greedily.
        ends: The two that were encoded.
        blends: `[steps, rows]` what each step is asked for.
        fitted: `[steps]` the equations with constants, outer scale and offset; None where one is not valid.
        values: `[steps, rows]` of them; 0 where one is not valid.
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


def _pairs(samples: Sequence[Sample], most: int, rng: np.random.Generator) -> Iterator[tuple[Sample, Sample]]:
    """Random pairs of problems with as many columns and different skeletons."""
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
        latent_map: The map.
        one, other: Problems with as many columns.
        steps: Both ends included.
        rows: Of each table, to compare functions on.
        rng: Of the rows, the control and the starting points of fits.

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
