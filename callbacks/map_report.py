"""What a trained map of equations looks like, and what lies between two equations in it.

Whether near latents mean near functions is what makes a map worth searching. This callback shows it, and says it
in numbers, at the end of every test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.logging.search_log import SearchLog
from expressions.operators import leading_family
from foundation.errors import UserError
from reports.map_figures import atlas, interpolations
from reports.map_interpolation import (
    Interpolation,
    Map,
    course,
    interpolate,
    interpolation_metrics,
    random_pairs,
)
from reports.map_metrics import Sample, mean_value, neighbour_metrics, principal_components, samples_of
from reports.optional import optional
from runs.record import record_metrics

__all__ = ["MapReport"]

_TRIES = 8  # pairs that are looked at for one that is wanted


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
        samples: Number of test problems in the atlas.
        pairs: Number of pairs of problems with as many columns, to go from one to the other.
        steps: Number of steps of a way, both ends included.
        rows: Number of rows of each of the two tables to compare functions on.
        drawn: Number of ways in the figure, those with the fewest variables first.
        seed: Random seed for the pairs, the control and the starting points of fits.

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
        with optional("atlas and interpolations of the map"):
            metrics, plots = self.report(LatentMap(pl_module.average), found)  # type: ignore[arg-type]
            record_metrics(self.run_dir, metrics)
            self._upload(trainer, metrics, plots)

    def _upload(self, trainer: Trainer, metrics: Mapping[str, float], plots: Sequence[Path]) -> None:
        """Give W&B, where there is one, the metrics and the figures."""
        log = SearchLog(trainer)
        if log.run is not None:
            import wandb

            log.numbers(metrics)
            log.media({f"plots/{path.stem}": wandb.Image(str(path)) for path in plots})

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
        for one, other in random_pairs(samples, _TRIES * self.pairs, rng):
            way = interpolate(latent_map, one, other, self.steps, self.rows, rng)
            if way is not None:
                ways.append(way)
            if len(ways) == self.pairs:
                break
        return ways
