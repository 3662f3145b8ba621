"""Which of many columns a target needs: columns are left out while what is left explains it as well.

Backward elimination by least squares. What it costs to leave a column out is its coefficient's square over the
variance of the coefficient, which the inverse of a triangular factor gives for all columns at once; leaving one
out is a projection of the rows of that inverse. From time to time the factor is computed anew, because what is
left is better conditioned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

__all__ = ["Compressed", "Fit", "compressed"]

_RENEWED = 0.25  # share of the columns that are left out before the factor is computed anew
_PATH = 12  # columns of which one is left out at a time while all sizes are looked at
_DEPENDENT = 1e-14  # length of what others do not give of a column of length 1, below which there is nothing


@dataclass(frozen=True)
class Fit:
    """A least-squares fit on some columns.

    Attributes:
        columns: numbers of the columns. `[chosen]`
        coefficients: factors of the columns. `[chosen]`
        spreads: standard deviations of the factors. `[chosen]`
        error: sum of squares that is left.
    """

    columns: np.ndarray
    coefficients: np.ndarray
    spreads: np.ndarray
    error: float


def compressed(design: np.ndarray, target: np.ndarray) -> Compressed:
    """A design `[rows, columns]` and a target `[rows]` as a triangular factor with the same sums of squares."""
    scale = np.linalg.norm(design, axis=0)
    scale[scale == 0] = 1.0
    factor = np.asarray(np.linalg.qr(np.column_stack([design / scale, target]), mode="r"))
    return Compressed(factor, scale, len(target))


@dataclass(frozen=True)
class Compressed:
    """A least-squares problem without its rows.

    Attributes:
        factor: triangular factor of the columns, each of length 1, and of the target behind them.
            `[columns + 1, columns + 1]`
        scale: lengths of the columns. `[columns]`
        rows: number of rows.
    """

    factor: np.ndarray
    scale: np.ndarray
    rows: int

    def independent(self) -> np.ndarray:
        """Numbers of the columns that those before them do not give."""
        count = len(self.scale)
        return np.flatnonzero(np.abs(np.diagonal(self.factor)[:count]) > _DEPENDENT)

    def fit(self, columns: np.ndarray) -> Fit:
        """The fit on some columns, which do not depend on one another."""
        coefficients, inverse, left = self._solved(columns)
        variance = left / max(1, self.rows - len(columns))
        spreads = np.sqrt(variance * np.square(inverse).sum(axis=1))
        scale = self.scale[columns]
        return Fit(columns, coefficients / scale, spreads / scale, left)

    def eliminated(self, factor: float) -> Fit:
        """The fit on as few columns as elimination reaches while the error rises by no more than a factor."""
        chosen = self.independent()
        allowed = math.nan
        while True:
            coefficients, inverse, left = self._solved(chosen)
            allowed = factor * left if math.isnan(allowed) else allowed
            out = _least_needed(coefficients, inverse, allowed - left)
            if not out or len(chosen) == 1:
                return self.fit(chosen)
            chosen = np.delete(chosen, out[: len(chosen) - 1])

    def cheapest(self, sizes: int, most: int) -> list[Fit]:
        """Fits of a few sizes: that of the lowest Bayesian information criterion (Schwarz 1978), and smaller ones.

        Args:
            sizes: number of fits.
            most: largest number of columns.
        """
        chosen = self.independent()
        path: list[Fit] = []
        while len(chosen):
            if len(chosen) <= most:
                path.append(self.fit(chosen))
            coefficients, inverse, _ = self._solved(chosen)
            out = _least_needed(coefficients, inverse, math.inf)
            chosen = np.delete(chosen, out[: max(1, len(chosen) // _PATH)])
        if not path:
            return []
        best = int(np.argmin([self.cost(fit) for fit in path]))
        return path[best : best + sizes]

    def cost(self, fit: Fit) -> float:
        """The Bayesian information criterion of a fit."""
        return self.rows * math.log(max(fit.error, 1e-300)) + len(fit.columns) * math.log(self.rows)

    def _solved(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Coefficients, the inverse of the triangular factor, and the sum of squares that is left."""
        count = len(columns)
        part = np.asarray(np.linalg.qr(self.factor[:, [*columns.tolist(), -1]], mode="r"))
        corner = part[:count, :count]
        left = float(part[count, count] ** 2) if len(part) > count else 0.0
        return solve_triangular(corner, part[:count, count]), solve_triangular(corner, np.eye(count)), left


def _least_needed(coefficients: np.ndarray, inverse: np.ndarray, room: float) -> list[int]:
    """Places of some columns that are needed least, one after the other.

    Args:
        coefficients: factors of the columns. `[columns]`
        inverse: inverse of the triangular factor. `[columns, columns]`
        room: rise of the sum of squares that is allowed.
    """
    out: list[int] = []
    if not len(coefficients):
        return out
    free = np.zeros(len(coefficients))
    for _ in range(1 + int(_RENEWED * len(coefficients))):
        lengths = np.square(inverse).sum(axis=1)
        costs = np.square(coefficients) / np.where(lengths > 0, lengths, 1.0) + free
        least = int(costs.argmin())
        room -= costs[least]
        if not room >= 0:
            break
        out.append(least)
        free[least] = np.inf
        shares = inverse @ (inverse[least] / lengths[least])
        coefficients = coefficients - shares * coefficients[least]
        inverse = inverse - np.outer(shares, inverse[least])
    return out
