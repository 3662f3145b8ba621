"""Where a new measurement would tell two equations apart best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from expressions.measurements import Measurements
from searches.common.shifted_intervals import intervals_beside_centres

__all__ = ["DecidingMeasurement", "deciding_measurement"]

_PLACES = 2_000  # that are tried in a box
_BEYOND = 0.25  # of a column's range, on either side, of the wider box
_WORTH_IT = 2.0  # times as many standard deviations, for which a place outside of the data is named
_EDGES = 0.3  # share of coordinates at an end of their range, where most is told
_FINEST = 1e-3  # of the column's range, to which places are rounded
_TOLD = 1.0  # standard deviations below which a measurement decides nothing


@dataclass(frozen=True)
class DecidingMeasurement:
    """A place for a new measurement.

    Attributes:
        columns: columns that the two equations have; others do not matter.
        place: value of each of these. `[columns]`
        values: what the one equation and the other expect there.
        deviations: their difference, in standard deviations of a measurement and both predictions.
        is_beyond: whether the place lies outside of the columns' ranges.
    """

    columns: tuple[int, ...]
    place: tuple[float, ...]
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
    pair = _Pair(one, other, measurements, columns)
    known = measurements.inputs[:, list(columns)]
    low, high = known.min(axis=0), known.max(axis=0)
    best: DecidingMeasurement | None = None
    for beyond in (0.0, _BEYOND):
        margin = beyond * (high - low)
        # a column of positive numbers, such as a mass, stays positive
        ends = np.where(low > 0, np.maximum(low - margin, low / 2), low - margin), high + margin
        places = np.clip(_rounded(_places(*ends), high - low), *ends)
        found = pair.deviations(places)
        top = int(np.argmax(found))
        if found[top] > (_TOLD if best is None else _WORTH_IT * best.deviations):
            place = places[top]
            best = DecidingMeasurement(
                columns, tuple(place.tolist()), pair.values(place), float(found[top]), beyond > 0
            )
    return best


class _Pair:
    """Two equations, and how sure the rows make their predictions.

    Args:
        one, other: equations that were fitted to the rows.
        measurements: rows of the fit.
        columns: columns that the equations have.
    """

    def __init__(
        self, one: Expression, other: Expression, measurements: Measurements, columns: tuple[int, ...]
    ) -> None:
        self._fits = [(each, intervals_beside_centres(measurements, each)) for each in (one, other)]
        self._columns = list(columns)

    def deviations(self, places: np.ndarray) -> np.ndarray:
        """Differences over their standard deviation; 0 where nothing is known. `[places]`"""
        rows = self._rows(places)
        with np.errstate(all="ignore"):
            first, second = (equation(rows) for equation, _ in self._fits)
            variance = sum(np.square(fit.curve(equation, rows) / fit.quantile) for equation, fit in self._fits)
            noise = max(fit.noise for _, fit in self._fits)
            found = np.abs(first - second) / np.sqrt(variance + noise**2)
        return np.where(np.isfinite(found), found, 0.0)

    def values(self, place: np.ndarray) -> tuple[float, float]:
        """What both equations expect at a place. `[columns]`"""
        rows = self._rows(place[None])
        first, second = (float(np.broadcast_to(equation(rows), 1)[0]) for equation, _ in self._fits)
        return first, second

    def _rows(self, places: np.ndarray) -> np.ndarray:
        """Rows of the table's columns with some places, and 0 where no equation looks. `[places, all columns]`"""
        rows = np.zeros((len(places), self._columns[-1] + 1))
        rows[:, self._columns] = places
        return rows


def _places(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places all over a box, its edges and corners among them. `[places, columns]`"""
    rng = np.random.default_rng(0)
    some = rng.random((_PLACES, len(low)))
    edges = rng.random(some.shape) < _EDGES
    some[edges] = np.round(some[edges])
    return np.asarray(low + some * (high - low))


def _rounded(places: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Places with few digits, but no coarser than a thousandth of a range."""
    rounded = places.copy()
    for column, size in enumerate(ranges.tolist()):
        if size > 0.0:
            rounded[:, column] = np.round(places[:, column], -math.floor(math.log10(_FINEST * size)))
    return rounded
