"""The error function of arrays and its inverse, in NumPy alone: SciPy is not needed.

The rational approximations are those of W. J. Cody, "Rational Chebyshev approximations for the error function",
Mathematics of Computation 23, 1969, with the digits of his program CALERF (1990): near 0 an odd function, beyond
it 1 minus a multiple of exp(-x**2). Errors stay below 4 units in the last place.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["erf", "erfinv"]

_NEAR = 0.46875  # where the first approximation ends
_FAR = 6.0  # from here on the value is 1 in float64
_NEAR_ABOVE = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)  # fmt: skip
_NEAR_BELOW = (
    1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3,
)  # fmt: skip
_BEYOND_ABOVE = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)  # fmt: skip
_BEYOND_BELOW = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_NEWTON_STEPS = 4


def erf(a: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Error function of every entry, written into `out`, which must not overlap `a`; NaN stays NaN."""
    size = np.minimum(np.absolute(a), _FAR)
    square = size * size
    np.multiply(_polynomial(_BEYOND_ABOVE, size), np.exp(-square), out)
    np.divide(out, _polynomial(_BEYOND_BELOW, size), out)
    np.subtract(1.0, out, out)
    near = size * _polynomial(_NEAR_ABOVE, square) / _polynomial(_NEAR_BELOW, square)
    np.copyto(out, near, where=size <= _NEAR)
    return np.copysign(out, a, out)


def erfinv(values: np.ndarray) -> np.ndarray:
    """Arguments whose error function has these values; not finite outside of (-1, 1).

    Newton's method from the approximation of S. Winitzki, "A handy approximation for the error function and its
    inverse", 2008.
    """
    with np.errstate(all="ignore"):
        logarithm = np.log1p(-values * values)
        half = 2.0 / (math.pi * 0.147) + 0.5 * logarithm
        found = np.copysign(np.sqrt(np.sqrt(half * half - logarithm / 0.147) - half), values)
        for _ in range(_NEWTON_STEPS):
            slope = 2.0 / math.sqrt(math.pi) * np.exp(-found * found)
            found = found - (erf(found, np.empty_like(found)) - values) / slope
    return found


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """Value by Horner's rule, the highest power first."""
    first, second, *others = coefficients
    total = first * x
    total += second
    for coefficient in others:
        total *= x
        total += coefficient
    return total
