"""How smooth a map of equations is: what happens to the decoded equation, and to its error, along a line of
latents.

A search by small steps can only work where near latents mean near equations. This is the instrument that says
whether they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expressions.constant_placement import Tokens
from expressions.skeleton import Skeleton
from searches.common.skeleton_fitting import SkeletonFitter
from searches.latent_cmaes import LatentMap
from searches.latent_space.skeleton_scores import SkeletonScores

__all__ = ["Smoothness", "smoothness"]

_SMALLEST_NMSE = 1e-32
_LARGEST_NMSE = 1.0  # of the mean; also what is not finite is worth that


@dataclass(frozen=True)
class Smoothness:
    """What was seen along a line.

    Attributes:
        programs: what is decoded greedily at each of its points, in canonical form, completed.
        log_nmse: logarithms of their normalised squared errors with the best constants; 0 where an equation is no
            better than the mean. `[points]`
    """

    programs: tuple[Tokens, ...]
    log_nmse: np.ndarray

    @property
    def equal_share(self) -> float:
        """Share of the steps from one point to the next that do not change the program."""
        steps = list(zip(self.programs, self.programs[1:], strict=False))
        return sum(one == other for one, other in steps) / max(1, len(steps))

    @property
    def mean_change(self) -> float:
        """Mean absolute change of the logarithm of the error from one point to the next."""
        return float(np.abs(np.diff(self.log_nmse)).mean()) if len(self.log_nmse) > 1 else 0.0


def smoothness(
    latent_map: LatentMap,
    table: tuple[np.ndarray, np.ndarray],
    line: tuple[np.ndarray, np.ndarray],
    points: int = 64,
    *,
    scores: SkeletonScores | None = None,
    seed: int = 0,
) -> Smoothness:
    """Decode along the line between two latents, and fit what is decoded.

    Args:
        latent_map: the map.
        table: inputs `[rows, variables]` and target `[rows]` to fit to; as many variables as the map knows, or
            fewer.
        line: its two ends, each `[latents]`.
        points: evenly spaced, the ends included; at least 2.
        scores: of this table, where several lines share them; None: new ones.
        seed: of the rows and starting points of the fits.
    """
    if scores is None:
        scores = SkeletonScores(SkeletonFitter(*table, seed=seed, linear_scaling=True), fitted_share=None)
    share = np.linspace(0.0, 1.0, points)[:, None]
    latents = (1.0 - share) * np.asarray(line[0]) + share * np.asarray(line[1])
    decoded: Sequence[Skeleton] = latent_map.decode(latents, table[0].shape[1], temperature=0.0, seed=seed)
    errors = np.minimum(np.maximum(scores.errors(decoded), _SMALLEST_NMSE), _LARGEST_NMSE)
    logarithms = np.array([math.log(error) for error in errors])
    return Smoothness(tuple(scores.program(skeleton) for skeleton in decoded), logarithms)
