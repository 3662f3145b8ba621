"""Where a new measurement would tell two equations apart best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.measurements import Measurements
from searches.common.shifted_intervals import intervals_beside_centres

__all__ = ["DecidingMeasurement", "deciding_measurement"]

_PLACES = 2_000  # that are tried in a box
_BEYOND = 0.25  # of a column's range, on either side, of the wider box
_WORTH_IT = 2.0  # times as many standard deviations, for which a place outside of the data is named
_DIGITS = 3
_FINEST = 1e-3  # of the column's range, to which places are rounded
_TOLD = 1.0  # standard deviations below which a measurement decides nothing


@dataclass(frozen=True)
class DecidingMeasurement:
    """A place for a new measurement.

    Attributes:
        place: value of every column, the median of those that neither equation has. `[columns]`
        columns: columns that the equations have.
        values: what the one equation and the other expect there.
        deviations: their difference, in standard deviations of a measurement and both predictions.
        is_beyond: whether the place lies outside of the columns' ranges.
    """

    place: tuple[float, ...]
    columns: tuple[int, ...]
    values: tuple[float, float]
    deviations: float
    is_beyond: bool


def deciding_measurement(
    one: Expression, other: Expression, measurements: Measurements
) -> DecidingMeasurement | None:
    """The place at which the squared difference of two predictions is largest over its variance.

    T-optimality, with the uncertainty of the fits in the variance (G. Box and W. Hill, Discrimination among
    mechanistic models, Technometrics 1967; A. Atkinson and V. Fedorov, The design of experiments for
    discriminating between two rival models, Biometrika 1975). The box of the data is searched; one that is wider
    by a quarter on either side counts where it tells twice as much.

    Args:
        one: equation that was fitted to the rows.
        other: another one.
        measurements: rows of the fit.

    Returns:
        The place; None where no measurement would tell more than its own error hides, or nothing is known of the
        errors.
    """
    columns = tuple(sorted({*one.variables, *other.variables}))
    if not columns:
        return None
    deviations = _Deviations(one, other, measurements)
    low, high = measurements.inputs.min(axis=0), measurements.inputs.max(axis=0)
    best: DecidingMeasurement | None = None
    for beyond in (0.0, _BEYOND):
        margin = beyond * (high - low)
        # a column of positive numbers, such as a mass, stays positive
        ends = np.where(low > 0, np.maximum(low - margin, low / 2), low - margin), high + margin
        places = _rounded(_places(*ends, columns, np.median(measurements.inputs, axis=0)), low, high)
        places = np.clip(places, *ends)
        found = deviations.at(places)
        top = int(np.argmax(found))
        least = _TOLD if best is None else _WORTH_IT * best.deviations
        if found[top] > least:
            values = tuple(float(equation(places[top : top + 1])[0]) for equation in (one, other))
            best = DecidingMeasurement(
                tuple(places[top].tolist()), columns, (values[0], values[1]), float(found[top]), beyond > 0
            )
    return best


class _Deviations:
    """Differences of two predictions over their standard deviation.

    Args:
        one, other: equations that were fitted to the rows.
        measurements: rows of the fit.
    """

    def __init__(self, one: Expression, other: Expression, measurements: Measurements) -> None:
        self._fits = [(each, intervals_beside_centres(measurements, each)) for each in (one, other)]

    def at(self, places: np.ndarray) -> np.ndarray:
        """Standard deviations; 0 where an equation is not defined, or nothing is known. `[places]`"""
        with np.errstate(all="ignore"):
            first, second = (equation(places) for equation, _ in self._fits)
            variance = sum(np.square(fit.curve(equation, places) / fit.quantile) for equation, fit in self._fits)
            noise = max(fit.noise for _, fit in self._fits)
            found = np.abs(first - second) / np.sqrt(variance + noise**2)
        return np.where(np.isfinite(found), found, 0.0)


def _places(low: np.ndarray, high: np.ndarray, columns: tuple[int, ...], usual: np.ndarray) -> np.ndarray:
    """Places all over a box, its corners among them, the columns of no interest as usual. `[places, columns]`"""
    rng = np.random.default_rng(0)
    some = rng.random((_PLACES, len(columns)))
    edges = rng.random(some.shape) < 0.3  # most is told at the ends of the ranges
    some[edges] = np.round(some[edges])
    places = np.tile(usual, (_PLACES, 1))
    for place, column in enumerate(columns):
        places[:, column] = low[column] + some[:, place] * (high[column] - low[column])
    return places


def _rounded(places: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places with few digits, but no coarser than a thousandth of a range."""
    with np.errstate(divide="ignore"):
        steps = 10.0 ** np.floor(np.log10(np.maximum(_FINEST * (high - low), np.finfo(float).tiny)))
    return np.asarray(np.round(places / steps) * steps)
