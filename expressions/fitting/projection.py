"""Steps of least squares in which the linear constants are always at their best: variable projection.

All of it happens on small Gram matrices of `[J, residual]`, those of many instances along the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Instances", "damped_step", "eliminate", "is_stale", "projected_step", "scaled"]

_SMALLEST_PIVOT = 1e-12  # of a column scaled to length 1: below, it depends on the columns before it
_CANCELLED = 1e-10  # projected against plain error: below, the projection has lost most of its digits


@dataclass
class Instances:
    """State of the instances of a chunk; every array has the instances last, or alone.

    `instances = starts x expressions` of the chunk, those of one expression together. `width` is the largest
    number of free constants.
    """

    expression: np.ndarray  # [instances] index into the fit
    constants: np.ndarray  # [instances, constants], all of them, in prefix order
    which: np.ndarray  # [width, instances] constant that parameter k is, the linear ones first; -1 for none
    linear: np.ndarray  # [width, instances], eliminated
    factors: np.ndarray  # [width, instances], those of them that derivatives by the others depend on
    scaled_by: np.ndarray  # [width, instances], for those below a scale: which parameter that is; -1: none
    stale: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))  # [instances], see `is_stale`
    damping: np.ndarray = field(default_factory=lambda: np.empty(0))  # [instances]
    tableau: np.ndarray = field(default_factory=lambda: np.empty(0))  # [width + 1, width + 1, instances]
    scale: np.ndarray = field(default_factory=lambda: np.empty(0))  # [width + 1, instances]
    error: np.ndarray = field(default_factory=lambda: np.empty(0))  # [instances] squared, linear constants at best

    def select(self, keep: np.ndarray) -> Instances:
        """A copy of some of the instances."""
        return Instances(
            self.expression[keep],
            self.constants[keep],
            self.which[:, keep],
            self.linear[:, keep],
            self.factors[:, keep],
            self.scaled_by[:, keep],
            self.stale[keep],
            self.damping[keep],
            self.tableau[..., keep],
            self.scale[:, keep],
            self.error[keep],
        )

    def store(self, at: np.ndarray, other: Instances) -> None:
        """Write the state of `other` back to the instances `at`."""
        self.constants[at], self.damping[at], self.error[at] = other.constants, other.damping, other.error
        self.stale[at] = other.stale
        self.tableau[..., at], self.scale[:, at] = other.tableau, other.scale

    def moved(self, steps: np.ndarray) -> np.ndarray:
        """Constants after `steps [width, instances]`, `[instances, constants]`."""
        constants = self.constants.copy()
        parameter, instance = np.nonzero(self.which >= 0)
        constants[instance, self.which[parameter, instance]] += steps[parameter, instance]
        return constants


def scaled(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrices `[n, n, instances]` of columns scaled to length 1, and the lengths `[n, instances]`."""
    length = np.sqrt(np.einsum("iik->ik", gram))
    length[length == 0] = 1.0
    return gram / length[:, None] / length[None], length


def eliminate(tableau: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Gauss-Jordan elimination of parameters in place, skipping those that depend on the ones before.

    Afterwards the last column holds, in the rows of the eliminated parameters, the least-squares solution
    with the others at 0, and in its last entry the squared residual that is left. Columns before an eliminated
    one are not kept up: in no instance may one that stays come before one that goes.

    Args:
        tableau: scaled Gram matrices, the right-hand side last. `[width + 1, width + 1, instances]`
        which: flags of the parameters to eliminate. `[width, instances]`

    Returns:
        Flags of the parameters that were eliminated. `[width, instances]`
    """
    done = np.zeros_like(which)
    for k in np.flatnonzero(which.any(axis=1)):
        rest = tableau[:, k:]
        pivot = tableau[k, k]
        usable = which[k] & (pivot > _SMALLEST_PIVOT)
        row = np.where(usable, rest[k] / np.where(usable, pivot, 1.0), 0.0)
        rest -= rest[:, :1] * row
        rest[k] = np.where(usable, row, rest[k])
        done[k] = usable
    return done


def projected_step(instances: Instances) -> np.ndarray:
    """Step `[width, instances]` of the linear constants to their best values, the others staying."""
    solution = instances.tableau[:-1, -1] * (instances.scale[-1] / instances.scale[:-1])
    return _with_moving_scales(instances, np.where(instances.linear & np.isfinite(solution), solution, 0.0))


def _with_moving_scales(instances: Instances, step: np.ndarray) -> np.ndarray:
    """The step `[width, instances]` of constants whose scales move too.

    The expression is affine not in a constant `c` but in its product with the scales `a_i` above it. The linear
    system gives that product's relative change as `dc / c + sum_i da_i / a_i`; with `R` the sum, as it is for the
    scales alone, `c` reaches it by moving by `dc / (1 + R)`. So the linear constants are exactly at their best.
    """
    scaled = instances.scaled_by >= 0
    if not scaled.any():
        return step
    constants = instances.constants[np.arange(step.shape[1]), np.maximum(instances.which, 0)]
    own = np.where(constants == 0, 0.0, step / np.where(constants == 0, 1.0, constants))
    above = np.zeros_like(step)
    for _ in range(len(step)):  # once for every scale that stands below another, and once to see that it is done
        before = above
        above = np.where(scaled, np.take_along_axis(own + before, instances.scaled_by, axis=0), 0.0)
        if np.array_equal(above, before, equal_nan=True):
            break
    moved = step / np.where(above == -1.0, 1.0, 1.0 + above)
    return np.where(scaled & np.isfinite(moved), moved, step)


def is_stale(instances: Instances, tolerance: float) -> np.ndarray:
    """Whether the derivatives were taken too far from the best linear constants `[instances]`.

    A derivative by a nonlinear constant is proportional to some linear constants; where those change by much,
    or change sign, it points the wrong way, and the values must be looked at again before the next step.
    """
    step = projected_step(instances)
    instance = np.arange(step.shape[1])
    best = instances.constants[instance, np.maximum(instances.which, 0)] + step
    nonlinear = ((instances.which >= 0) & ~instances.linear).any(axis=0)
    moved = (instances.factors & (np.abs(step) > tolerance * np.abs(best))).any(axis=0)
    # The same holds where the projected error is lost in the rounding of the error that it was projected from.
    return nonlinear & (moved | (instances.error < _CANCELLED * instances.scale[-1] ** 2))


def damped_step(instances: Instances) -> tuple[np.ndarray, np.ndarray]:
    """One joint step of all constants, the nonlinear ones damped (Kaufman 1975).

    Returns:
        The step `[width, instances]` and the decrease of the squared error that the linearised expression promises
        `[instances]`.
    """
    tableau = instances.tableau.copy()
    nonlinear = (instances.which >= 0) & ~instances.linear
    for k in np.flatnonzero(nonlinear.any(axis=1)):
        tableau[k, k] *= 1.0 + instances.damping * nonlinear[k]
    solved = eliminate(tableau, nonlinear)
    solution = tableau[:-1, -1] * (instances.scale[-1] / instances.scale[:-1])
    step = np.where((solved | instances.linear) & np.isfinite(solution), solution, 0.0)
    step = _with_moving_scales(instances, step)
    promised = (instances.tableau[-1, -1] - tableau[-1, -1]) * instances.scale[-1] ** 2
    return step, promised
