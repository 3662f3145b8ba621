"""Confidence intervals of fitted constants: from the Jacobian, and by profile likelihood where that is curved."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from statistics import NormalDist

import numpy as np

from expressions.constant_fitting import fit_constants
from expressions.expression import Expression
from expressions.fitting.reach import gram_of_constants
from expressions.gradient import gradient_by_constants
from expressions.interval_text import interval_text, resolved

__all__ = ["LEVEL", "ConstantIntervals", "constant_intervals"]

LEVEL = 0.95
"""Confidence of every interval, where nobody asks for another."""

_FIT_STEPS = 20
_MOST_FOLLOWED = 10  # constants of an equation whose profiles are followed: of more, hardly any is determined
_PROFILE_STEPS = 40  # of the other constants, while one is held
_CURVED = 0.1  # relative deviation of a rise from that of a parabola, from which a constant's profile is followed
_ROUNDS = 12  # looks at a profile for each end of an interval
_CLOSE = 0.02  # relative deviation of a rise at which an end is found
_FARTHEST = 1e3  # half widths of the parabola at which a profile has no end
_LARGEST_STEP, _SMALLEST_STEP = 3.0, 0.1  # factors from one look to the next
_ROWS_TO_COMPARE = 20  # below which residuals cannot tell whether errors differ
_UNEQUAL = 4.605  # chi square of two degrees of freedom that chance exceeds in one of 10 cases
_LEAST_FREE = 1e-3  # part of a row's residual that its own pull on the equation leaves
_SINGULAR = 1e-10  # eigenvalue of the scaled Gram matrix below which a direction is not determined
_NEARLY_NORMAL = 1_000  # degrees of freedom
_INVOLVED = 1e-2  # part of a constant in such a direction from which it is not determined itself


@dataclass(frozen=True, eq=False)
class ConstantIntervals:
    """How well some rows determine the constants of an equation, and with them what it predicts.

    Attributes:
        constants: constants as the rows have them, in the middle of their intervals. `[constants]`
        ends: lower and upper end for each constant; infinite on a side on which the rows give none, NaN where
            there is nothing to tell from: rows are no more than constants, or the equation or one of its
            derivatives is not finite on some row. `[constants, 2]`
        covariance: covariance of the fitted constants, in the directions that the rows determine.
            `[constants, constants]`
        noise: standard deviation of the rows' errors; of a typical row, where they have different ones.
        freedom: degrees of freedom of that estimate; infinite where the errors are known.
        level: probability that an interval is to hold the true value.
        excess: standard deviation of the errors over the one that was given; NaN where none was.
        unequal: whether errors of different variance were allowed for.
    """

    constants: np.ndarray
    ends: np.ndarray
    covariance: np.ndarray
    noise: float
    freedom: float
    level: float
    excess: float = math.nan
    unequal: bool = False

    @classmethod
    def unknown(cls, expression: Expression, level: float = LEVEL) -> ConstantIntervals:
        """Intervals of an equation of which nothing is known."""
        count = len(expression.constants)
        nothing = np.full((count, count), np.nan)
        return cls(expression.constants, np.full((count, 2), np.nan), nothing, math.nan, 0.0, level)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConstantIntervals):
            return NotImplemented
        pairs = ((getattr(self, each.name), getattr(other, each.name)) for each in fields(self))
        return all(np.array_equal(own, given, equal_nan=True) for own, given in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def quantile(self) -> float:
        """Half width of an interval over its standard error."""
        return _quantile(self.level, self.freedom)

    @property
    def texts(self) -> tuple[str, ...]:
        """Each constant with its interval: `1.613 ± 0.032`."""
        return tuple(interval_text(*row) for row in self._rows())

    @property
    def numbers(self) -> list[tuple[float, float, float]]:
        """Each constant with the ends of its interval, rounded to what that resolves."""
        return [resolved(*row) for row in self._rows()]

    def _rows(self) -> list[tuple[float, float, float]]:
        ends = self.ends.tolist()
        return [(value, low, high) for value, (low, high) in zip(self.constants.tolist(), ends, strict=True)]

    def curve(self, expression: Expression, inputs: np.ndarray) -> np.ndarray:
        """Half widths of the interval for the mean of many measurements at a place, by the delta method.

        Source: Seber and Wild, Nonlinear Regression, 1989, section 5.1.

        Args:
            expression: equation that the intervals belong to.
            inputs: values of the variables. `[rows, variables]`

        Returns:
            Distances from the equation's values, NaN where nothing is known. `[rows]`
        """
        return np.asarray(self.quantile * np.sqrt(self._variances(expression, inputs)))

    def measurement(self, expression: Expression, inputs: np.ndarray) -> np.ndarray:
        """Half widths of the interval for one new measurement, whose own error is that of a typical row.

        Args:
            expression: equation that the intervals belong to.
            inputs: values of the variables. `[rows, variables]`

        Returns:
            Distances from the equation's values, NaN where nothing is known. `[rows]`
        """
        with np.errstate(over="ignore"):
            variances = self._variances(expression, inputs) + np.square(self.noise)
        return np.asarray(self.quantile * np.sqrt(variances))

    def _variances(self, expression: Expression, inputs: np.ndarray) -> np.ndarray:
        """Variances of the equation's values. `[rows]`"""
        slopes = gradient_by_constants(expression, inputs)
        slopes = np.where(
            np.isnan(slopes), 0.0, slopes
        )  # 0/0, as of sqrt(c*x) at 0: the constant does nothing there
        with np.errstate(all="ignore"):
            return np.maximum(np.sum((slopes @ self.covariance) * slopes, axis=1), 0.0)


def constant_intervals(
    expression: Expression,
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    known_errors: bool = False,
    unequal: bool | None = None,
    rows: int | None = None,
    refit: bool = True,
    level: float = LEVEL,
) -> ConstantIntervals:
    """The interval of every constant of an equation, the errors of its rows being normal and independent.

    Student's t gives the width where the errors' variance is estimated (Seber and Wild, Nonlinear Regression,
    1989, section 5.1), the normal distribution where it is known. Where the sum of squares is no parabola, the
    ends are those of the profile likelihood (Bates and Watts, Nonlinear Regression Analysis and Its Applications,
    1988, section 6.1): there, the sum of squares has risen by t squared error variances while all other constants
    are fitted. An equation of more than ten constants has the parabola's ends.

    Args:
        expression: fitted equation.
        inputs: values of the variables. `[rows, variables]`
        target: values that it was fitted to. `[rows]`
        weights: weights of the squared errors, inverse to the errors' variances; None: all alike. `[rows]`
        known_errors: whether the variances are the inverse weights themselves, as they are of standard deviations
            in the target's own unit; else they are so but for one factor, which the residuals tell.
        unequal: whether to allow for errors whose variances differ, other than by the weights, by the sandwich
            HC3 (MacKinnon and White, Journal of Econometrics 29, 1985); None: where the residuals show it, and the
            errors are not known. They show it by a studentised test of their squares against the equation's values
            and their squares, at 10 % (Koenker, Journal of Econometrics 17, 1981).
        rows: number of measurements that the rows stand for, where some stand for several; None: one each. A row
            that stands for several has so many times the weight.
        refit: whether the constants are fitted once more, so that an interval has its middle where the rows have
            it; False where they were fitted to more rows than these, and belong into the middle.
        level: probability that an interval is to hold the true value, in 0 to 1.
    """
    count = len(expression.constants)
    counted = (len(target) if weights is None else int(np.count_nonzero(weights))) if rows is None else rows
    freedom: float = counted - count
    fitted = fit_constants([expression], inputs, target, iterations=_FIT_STEPS, weights=weights)
    if freedom <= 0 or not math.isfinite(fitted.errors[0]):
        return ConstantIntervals.unknown(expression, level)
    profile = _Profile(fitted.expressions[0], inputs, target, weights, None if known_errors else freedom)
    if not np.isfinite(profile.covariance).all():
        return ConstantIntervals.unknown(expression, level)
    found = profile.intervals(_quantile(level, math.inf if known_errors else freedom))
    middle = profile.constants if refit else expression.constants
    residuals = np.asarray(target - profile.fitted(inputs))
    weight = np.ones(len(target)) if weights is None else weights
    noise = math.sqrt(float(np.mean(np.square(residuals[weight > 0]))) * counted / freedom)
    if unequal is None:
        unequal = not known_errors and _differ(profile.fitted(inputs), np.sqrt(weight) * residuals)
    covariance = profile.covariance
    if unequal:
        covariance = profile.sandwich(residuals, weight, counted)
        with np.errstate(all="ignore"):
            wider = np.sqrt(np.diag(covariance) / np.diag(profile.covariance))
        wider = np.where(np.isfinite(wider), wider, 1.0)[:, None]
        found = profile.constants[:, None] + wider * (found - profile.constants[:, None])
    found += (middle - profile.constants)[:, None]
    if not known_errors:
        return ConstantIntervals(middle, found, covariance, noise, freedom, level, unequal=unequal)
    excess = math.sqrt(profile.squares / freedom)
    return ConstantIntervals(middle, found, covariance, noise, math.inf, level, excess, unequal)


def _differ(values: np.ndarray, residuals: np.ndarray) -> bool:
    """Whether squared residuals go with an equation's values by more than chance."""
    rows = len(values)
    if rows < _ROWS_TO_COMPARE:
        return False
    squares = np.square(residuals / np.sqrt(np.mean(np.square(residuals))))
    scaled = (values - values.mean()) / (np.std(values) or 1.0)
    columns = np.column_stack([np.ones(rows), scaled, np.square(scaled)])
    left = squares - columns @ np.linalg.lstsq(columns, squares, rcond=None)[0]
    explained = 1.0 - float(np.sum(np.square(left)) / np.sum(np.square(squares - squares.mean())))
    return rows * explained > _UNEQUAL


@dataclass
class _End:
    """One end of an interval that is being looked for.

    Attributes:
        constant: number of the constant.
        side: -1 for the lower end, 1 for the upper one.
        distance: distance from the fitted value that is looked at next, infinite where there is no end.
        inside: largest distance that was too small.
        outside: smallest distance that was too large.
        fitted: all constants as they were fitted at the last distance that was too small; None: at none yet.
    """

    constant: int
    side: float
    distance: float
    inside: float = 0.0
    outside: float = math.inf
    fitted: np.ndarray | None = None

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
        freedom: float | None,
    ) -> None:
        self.fitted, self.constants = fitted, fitted.constants
        self._data, self._weights = (inputs, target), weights
        nothing_settled = np.zeros(len(fitted.constants), dtype=bool)
        gram, self._total = gram_of_constants(fitted, inputs, target, weights, nothing_settled)
        self.squares = float(gram[-1, -1])
        self._variance = 1.0 if freedom is None else self.squares / freedom
        self.inverse, self._loose = _inverse(gram[:-1, :-1])
        self.covariance = self.inverse * self._variance
        """Covariance of the constants, in the directions that the rows determine. `[constants, constants]`"""

    def intervals(self, quantile: float) -> np.ndarray:
        """Lower and upper end for every constant. `[constants, 2]`"""
        half = quantile * np.sqrt(np.diag(self.covariance))
        half[self._loose] = math.inf
        found = self.constants[:, None] + np.array([-1.0, 1.0]) * half[:, None]
        ends = [
            _End(k, side, float(half[k]))
            for k in range(len(half))
            for side in (-1.0, 1.0)
            if math.isfinite(half[k]) and half[k] > 0
        ]
        for end in self._followed(ends, quantile) if len(half) <= _MOST_FOLLOWED else []:
            found[end.constant, int(end.side > 0)] = self.constants[end.constant] + end.side * end.distance
        return found

    def sandwich(self, residuals: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
        """Covariance of the constants by HC3, whatever the variance of each row's error. `[constants, constants]`

        Args:
            residuals: target minus the equation's values. `[rows]`
            weights: weights of the squared errors. `[rows]`
            count: number of measurements that the rows stand for.
        """
        slopes = gradient_by_constants(self.fitted, self._data[0])
        slopes = np.where(np.isnan(slopes), 0.0, slopes)
        several = count / np.count_nonzero(weights)
        leverage = weights / several * np.sum((slopes @ self.inverse) * slopes, axis=1)
        pushed = slopes * (weights * residuals / np.maximum(1.0 - leverage, _LEAST_FREE))[:, None]
        return np.asarray(self.inverse @ (pushed.T @ pushed / several) @ self.inverse)

    def _followed(self, ends: list[_End], quantile: float) -> list[_End]:
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
        """Roots of the rises of the sum of squares at some ends, over the one that is wanted.

        The other constants start where the parabola has them, and where they were fitted at the last look that was
        too near: far from the fit, either may lead into a valley that is not the deepest.
        """
        held = np.zeros((len(ends), len(self.constants)), dtype=bool)
        starts = np.empty((2, *held.shape))
        for row, end in enumerate(ends):
            held[row, end.constant] = True
            along = self.inverse[:, end.constant] / self.inverse[end.constant, end.constant]
            starts[0, row] = self.constants + end.side * end.distance * along
            starts[1, row] = starts[0, row] if end.fitted is None else end.fitted
            starts[1, row, end.constant] = starts[0, row, end.constant]
        fits = fit_constants(
            [self.fitted.with_constants(start) for start in starts.reshape(-1, held.shape[1])],
            *self._data,
            iterations=_PROFILE_STEPS,
            weights=self._weights,
            fixed=[*held, *held],
        )
        errors = fits.errors.reshape(2, -1)
        best = np.argmin(errors, axis=0)
        rises = np.maximum(errors.min(axis=0) * self._total - self.squares, 0.0)
        with np.errstate(all="ignore"):
            ratios = np.sqrt(rises / self._variance) / quantile
        ratios = np.where(np.isfinite(ratios), ratios, math.inf)
        for row, end in enumerate(ends):
            if ratios[row] < 1.0:
                end.fitted = fits.expressions[best[row] * len(ends) + row].constants
        return ratios.tolist()


def _inverse(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of a Gram matrix in the directions that it determines, and which constants it does not.

    NaN where a derivative is not finite.

    Returns:
        `[constants, constants]` and `[constants]` bool.
    """
    scale = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    if not (np.isfinite(gram).all() and np.isfinite(np.outer(scale, scale)).all()):
        return np.full(gram.shape, np.nan), np.ones(len(gram), dtype=bool)
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    kept = values > _SINGULAR
    found = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T / np.outer(scale, scale)
    return np.asarray(found), np.square(vectors[:, ~kept]).sum(axis=1) > _INVOLVED


def _quantile(level: float, freedom: float) -> float:
    """Quantile of Student's t that is exceeded on both sides together with a probability of 1 - level."""
    upper = (1.0 + level) / 2.0
    if upper >= 1.0:
        return math.inf
    if freedom >= _NEARLY_NORMAL:  # Abramowitz and Stegun 26.7.5, exact to 1e-8 from there on
        z = NormalDist().inv_cdf(upper)
        first, second = (z**2 + 1) / 4, (5 * z**4 + 16 * z**2 + 3) / 96
        return z * (1 + first / freedom + second / freedom / freedom)
    from scipy.special import stdtrit  # not quick to import, and only for this

    return float(stdtrit(freedom, upper))
