"""Confidence intervals of fitted constants: from the Jacobian, and by profile likelihood where that is curved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.fitting.reach import gram_of_constants

__all__ = ["constant_intervals"]

_FIT_STEPS = 20
_PROFILE_STEPS = 10  # of the other constants, while one is held
_CURVED = 0.1  # relative deviation of a rise from that of a parabola, from which a constant's profile is followed
_ROUNDS = 12  # looks at a profile for each end of an interval
_CLOSE = 0.02  # relative deviation of a rise at which an end is found
_FARTHEST = 1e3  # half widths of the parabola at which a profile has no end
_LARGEST_STEP, _SMALLEST_STEP = 3.0, 0.1  # factors from one look to the next
_SINGULAR = 1e-10  # eigenvalue of the scaled Gram matrix below which a direction is not determined
_INVOLVED = 1e-2  # part of a constant in such a direction from which it is not determined itself


def constant_intervals(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    level: float = 0.95,
) -> np.ndarray:
    """The interval of every constant of an equation, its errors being normal and of one unknown variance.

    The constants are fitted once more, so that an interval has its middle where the data have it. Student's t
    gives its width (Seber and Wild, Nonlinear Regression, 1989, section 5.1). Where the sum of squares is no
    parabola, the ends are those of the profile likelihood (Bates and Watts, Nonlinear Regression Analysis and Its
    Applications, 1988, section 6.1): there, the sum of squares has risen by t squared error variances while all
    other constants are fitted.

    Args:
        expression: fitted equation.
        inputs: values of the variables. `[rows, variables]`
        target: values that it was fitted to. `[rows]`
        weights: weights of the squared errors, inverse to the errors' variances; None: all alike. `[rows]`
        level: probability that an interval is to hold the true value, in 0 to 1.

    Returns:
        Lower and upper end for each constant; infinite on a side on which the data give none, NaN where rows are
        no more than constants, or the equation is not finite on some row. `[constants, 2]`
    """
    count = len(expression.constants)
    freedom = len(target) - count
    fitted = fit_constants([expression], inputs, target, iterations=_FIT_STEPS, weights=weights)
    if not count or freedom <= 0 or not math.isfinite(fitted.errors[0]):
        return np.full((count, 2), np.nan)
    profile = _Profile(fitted.expressions[0], inputs, target, weights, freedom)
    quantile = _student(level, freedom)
    found = np.repeat(profile.constants[:, None], 2, axis=1)
    half = quantile * profile.errors
    ends = [
        _End(k, side, float(half[k]))
        for k in range(count)
        for side in (-1.0, 1.0)
        if math.isfinite(half[k]) and half[k] > 0
    ]
    found += np.array([-1.0, 1.0]) * half[:, None]
    for end in profile.followed(ends, quantile):
        found[end.constant, int(end.side > 0)] = profile.constants[end.constant] + end.side * end.distance
    return found


@dataclass
class _End:
    """One end of an interval that is being looked for.

    Attributes:
        constant: number of the constant.
        side: -1 for the lower end, 1 for the upper one.
        distance: distance from the fitted value that is looked at next, infinite where there is no end.
        inside: largest distance that was too small.
        outside: smallest distance that was too large.
    """

    constant: int
    side: float
    distance: float
    inside: float = 0.0
    outside: float = math.inf

    def move(self, ratio: float) -> None:
        """Go on from a look.

        Args:
            ratio: root of the rise over the one that is wanted; infinite where the equation is not defined.
        """
        if ratio < 1.0:
            self.inside = self.distance
        else:
            self.outside = self.distance
        step = min(max(1.0 / max(ratio, 1e-9), _SMALLEST_STEP), _LARGEST_STEP)
        following = self.distance * step  # a parabola's root is linear in the distance
        if not self.inside < following < self.outside:
            following = (self.inside + self.outside) / 2.0 if math.isfinite(self.outside) else 2.0 * self.distance
        self.distance = following


class _Profile:
    """The sum of squares near a fit, as a function of one constant while the others are fitted."""

    def __init__(
        self,
        fitted: Expression,
        inputs: np.ndarray,
        target: np.ndarray,
        weights: np.ndarray | None,
        freedom: int,
    ) -> None:
        self.fitted, self.constants = fitted, fitted.constants
        self._data, self._weights = (inputs, target), weights
        nothing_settled = np.zeros(len(fitted.constants), dtype=bool)
        gram, self._total = gram_of_constants(fitted, inputs, target, weights, nothing_settled)
        self._squares = float(gram[-1, -1])
        self._variance = self._squares / freedom
        self._covariance = _inverse(gram[:-1, :-1])
        self.errors = np.sqrt(np.diag(self._covariance) * self._variance)
        """Standard errors of the constants. `[constants]`"""

    def followed(self, ends: list[_End], quantile: float) -> list[_End]:
        """The ends of constants whose profile is no parabola, moved to where they belong."""
        if not ends:
            return []
        first = self._ratios(ends, quantile)
        curved = {end.constant for end, ratio in zip(ends, first, strict=True) if abs(ratio**2 - 1.0) > _CURVED}
        moving = [(end, ratio) for end, ratio in zip(ends, first, strict=True) if end.constant in curved]
        farthest = {id(end): _FARTHEST * end.distance for end, _ in moving}
        done: list[_End] = []
        for _ in range(_ROUNDS):
            done += [end for end, ratio in moving if abs(ratio**2 - 1.0) <= _CLOSE]
            moving = [(end, ratio) for end, ratio in moving if abs(ratio**2 - 1.0) > _CLOSE]
            for end, ratio in moving:
                end.move(ratio)
            lost = [end for end, _ in moving if end.distance > farthest[id(end)]]
            for end in lost:
                end.distance = math.inf
            done += lost
            left = [end for end, _ in moving if math.isfinite(end.distance)]
            if not left:
                return done
            moving = list(zip(left, self._ratios(left, quantile), strict=True))
        for end, _ in moving:
            if not math.isfinite(end.outside):
                end.distance = math.inf
        return done + [end for end, _ in moving]

    def _ratios(self, ends: list[_End], quantile: float) -> list[float]:
        """Roots of the rises of the sum of squares at some ends, over the one that is wanted."""
        held = np.zeros((len(ends), len(self.constants)), dtype=bool)
        starts = []
        for row, end in enumerate(ends):
            held[row, end.constant] = True
            along = self._covariance[:, end.constant] / self._covariance[end.constant, end.constant]
            starts.append(self.fitted.with_constants(self.constants + end.side * end.distance * along))
        fits = fit_constants(
            starts, *self._data, iterations=_PROFILE_STEPS, weights=self._weights, fixed=list(held)
        )
        rises = np.maximum(fits.errors * self._total - self._squares, 0.0)
        with np.errstate(all="ignore"):
            ratios = np.sqrt(rises / self._variance) / quantile
        return np.where(np.isfinite(ratios), ratios, math.inf).tolist()


def _inverse(gram: np.ndarray) -> np.ndarray:
    """The inverse of a Gram matrix; infinite for constants that it does not determine. `[constants, constants]`"""
    scale = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _SINGULAR
    found = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T / np.outer(scale, scale)
    loose = np.square(vectors[:, ~kept]).sum(axis=1) > _INVOLVED
    found[loose, loose] = math.inf
    return np.asarray(found)


def _student(level: float, freedom: int) -> float:
    """Quantile of Student's t that is exceeded on both sides together with a probability of 1 - level."""
    from scipy.special import stdtrit  # not quick to import, and only for this

    return float(stdtrit(freedom, (1.0 + level) / 2.0))
