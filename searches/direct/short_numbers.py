"""Numbers that a person would write in the place of fitted ones: few digits, or simple fractions."""

from __future__ import annotations

import numpy as np

__all__ = ["shortened", "text_lengths"]

_DEVIATIONS = 8.0  # within which a number is as good; those of rounding are not independent of one another
_LAST_BITS = 8e-15  # of a number, which its fit does not tell
_DIGITS, _ALL_DIGITS = 11, 17  # that a shorter number may have, and that a float64 has
_FRACTION_DIGITS = 3  # beyond which a fraction is shorter
_LARGEST_DIVISOR = 12


def shortened(values: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """Numbers of few digits, or simple fractions, that are as good as those of a fit. `[values]`

    Args:
        values: numbers, none of them 0. `[values]`
        spreads: standard deviations of them. `[values]`
    """
    rooms = _rooms(values, spreads)
    digits = _digits_within(values, rooms)
    short = _of_digits(values, digits)
    for divisor in range(_LARGEST_DIVISOR, 2, -1):
        fractions = np.round(values * divisor) / divisor
        near = (fractions != 0) & (np.abs(fractions - values) <= rooms)
        short = np.where(near & (digits > _FRACTION_DIGITS), fractions, short)
    return short


def text_lengths(values: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    """About how many characters each number takes as a factor, where 1 takes none. Of the shape of both"""
    rooms = _rooms(values, spreads)
    digits = _digits_within(values, rooms)
    first = _place(_of_digits(values, digits))
    lengths = np.where(first < 0, digits - first, np.maximum(digits, first + 1))
    return np.where(np.abs(np.abs(values) - 1.0) <= rooms, 0.0, lengths)


def _rooms(values: np.ndarray, spreads: np.ndarray) -> np.ndarray:
    return np.asarray(_DEVIATIONS * spreads + _LAST_BITS * np.abs(values))


def _digits_within(values: np.ndarray, rooms: np.ndarray) -> np.ndarray:
    """How many digits each number needs; those of a float64 where it has no shorter one. Of the shape of both"""
    needed = np.full(values.shape, _ALL_DIGITS)
    for digits in range(_DIGITS, 0, -1):
        short = _of_digits(values, np.full(values.shape, digits))
        needed = np.where(np.abs(short - values) <= rooms, digits, needed)
    return needed


def _of_digits(values: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Numbers rounded to so many digits. Of the shape of both"""
    places = digits - 1 - _place(values)
    unit = 10.0 ** np.abs(places)  # a power of ten above 1 is exact, one below is not
    found = np.where(places >= 0, np.round(values * unit) / unit, np.round(values / unit) * unit)
    return np.where(digits >= _ALL_DIGITS, values, found)


def _place(values: np.ndarray) -> np.ndarray:
    """Power of ten of the first digit. Of the shape of the values"""
    return np.asarray(np.floor(np.log10(np.maximum(np.abs(values), 1e-300))))
