"""Frequencies of sums of waves by least squares: amplitudes, phases and trend are solved for, and never guessed.

A batch of sums is iterated together by variable projection (G. Golub and V. Pereyra 1973): the linear coefficients
are solved for at every step, and a Gauss-Newton step of the frequencies is taken beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from searches.direct.wave_carriers import Amplitude, Carrier

__all__ = ["COLUMNS", "EXACT", "FittedSum", "Fitting", "Term"]

COLUMNS = 4
"""Linear coefficients of a term: of sin(a)*sin(b), sin(a)*cos(b), cos(a)*sin(b) and cos(a)*cos(b)."""
EXACT = 1e-20
"""Squared error relative to the variance, below which nothing is left to fit."""
_RIDGE = 1e-13  # of a column's square: columns of zeros, and those that another one equals, get no coefficient
_SHORTEST_STEP = 0.1
_SETTLED = 1e-3  # relative change of the error, below which a fit goes no further


@dataclass(frozen=True)
class Term:
    """A wave, or a product of two.

    Attributes:
        first, second: numbers of the carriers; -1: no second wave.
        amplitude: number of the amplitude.
        frequencies: angular frequencies of both.
        rate: rate of the amplitude's exponential.
    """

    first: int
    second: int
    amplitude: int
    frequencies: tuple[float, float]
    rate: float


@dataclass(frozen=True)
class FittedSum:
    """Terms whose frequencies were fitted, and the squared error that they leave, over the variance."""

    terms: tuple[Term, ...]
    error: float


class Fitting:
    """Fits sums of waves and a trend to one target.

    Args:
        carriers: arguments of waves.
        amplitudes: what they may be multiplied by.
        trend: functions that every sum has beside its waves. `[functions, rows]`
        target: values of ordinary size. `[rows]`
    """

    def __init__(
        self, carriers: Sequence[Carrier], amplitudes: Sequence[Amplitude], trend: np.ndarray, target: np.ndarray
    ) -> None:
        rows = len(target)
        self.carriers, self.amplitudes, self.trend, self.target = carriers, amplitudes, trend, target
        self.scatter = float(np.square(target - target.mean()).sum())
        nothing = np.zeros((1, rows))  # the argument of the wave that is not there; -1 finds it
        self._arguments = np.concatenate([np.stack([carrier.values for carrier in carriers]), nothing])
        self._factors = np.stack([amplitude.values for amplitude in amplitudes])
        self._decaying = np.stack([amplitude.argument for amplitude in amplitudes])
        self._has_rate = np.array([amplitude.variable is not None for amplitude in amplitudes])

    def fitted(self, sums: Sequence[Sequence[Term]], iterations: int, kept: int | None = None) -> list[FittedSum]:
        """The sums with fitted frequencies, the best first.

        Args:
            sums: sums of equally many terms.
            iterations: steps of the fit.
            kept: number of sums that are fitted to the end, after a few steps of all.
        """
        if kept is not None and len(sums) > kept and iterations > 3:
            sums = [one.terms for one in self.fitted(sums, 3)[:kept]]
            return self.fitted(sums, iterations - 3)
        nonlinear, errors = self._iterated(sums, iterations)
        found = [
            FittedSum(tuple(_moved(term, values) for term, values in zip(terms, each, strict=True)), error)
            for terms, each, error in zip(sums, nonlinear, errors.tolist(), strict=True)
        ]
        return sorted(found, key=lambda one: one.error)

    def residuals(self, sums: Sequence[FittedSum]) -> np.ndarray:
        """What the sums leave of the target. `[sums, rows]`"""
        if not sums[0].terms:
            columns = np.broadcast_to(self.trend, (len(sums), *self.trend.shape))
        else:
            batch = _Batch(self, [one.terms for one in sums])
            columns = batch.columns(batch.start)[0]
        return self.target - np.einsum("sc,scn->sn", _solved(columns, self.target), columns)

    def _iterated(self, sums: Sequence[Sequence[Term]], iterations: int) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies and rates `[sums, terms, 3]` and errors `[sums]`."""
        batch = _Batch(self, sums)
        best, lowest = batch.start, np.full(len(sums), np.inf)
        step, length = np.zeros_like(best), np.ones(len(sums))
        for turn in range(iterations + 1):
            trial = best + length[:, None, None] * step
            columns, derivatives = batch.columns(trial)
            linear = _solved(columns, self.target)
            left = self.target - np.einsum("sc,scn->sn", linear, columns)
            error = np.square(left).sum(axis=1) / self.scatter
            better = error < lowest
            settled = (~better | (error > (1.0 - _SETTLED) * lowest)) & (length >= 1.0)
            lowest = np.where(better, error, lowest)
            best = np.where(better[:, None, None], trial, best)
            if turn == iterations or (lowest < EXACT**1.4).all() or (turn > 2 and settled.all()):
                break
            slopes = derivatives(linear[:, len(self.trend) :])
            moved = _solved(np.concatenate([columns, slopes], axis=1), left)[:, columns.shape[1] :]
            moved = np.clip(moved.reshape(best.shape), -batch.most, batch.most)
            step = np.where(better[:, None, None], np.nan_to_num(moved), step)
            length = np.where(better, 1.0, np.maximum(0.3 * length, _SHORTEST_STEP**3))
        return best, lowest


class _Batch:
    """Columns of many sums of as many terms."""

    def __init__(self, fitting: Fitting, sums: Sequence[Sequence[Term]]) -> None:
        first, second, amplitude = (
            np.array([[getattr(term, name) for term in terms] for terms in sums], dtype=int)
            for name in ("first", "second", "amplitude")
        )
        self.trend = np.broadcast_to(fitting.trend, (len(sums), *fitting.trend.shape))
        self.a, self.b = fitting._arguments[first], fitting._arguments[second]
        self.factor, self.decaying = fitting._factors[amplitude], fitting._decaying[amplitude]
        self.start = np.array([[(*term.frequencies, term.rate) for term in terms] for terms in sums])
        widths = np.array([*(carrier.width for carrier in fitting.carriers), np.inf])
        spread = np.ptp(self.decaying, axis=2)
        """Largest steps: a third of a period over the range, or a factor of e. `[sums, terms, 3]`"""
        self.most = np.stack(
            [
                2.0 / widths[first],
                2.0 / widths[second],
                np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0),
            ],
            axis=2,
        )

    def columns(self, nonlinear: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Columns `[sums, trend + 4 * terms, rows]`, and a function that gives the derivatives."""
        wa, wb, rate = (nonlinear[:, :, k, None] for k in range(3))
        angle_a, angle_b = wa * self.a, wb * self.b
        sa, ca, sb, cb = np.sin(angle_a), np.cos(angle_a), np.sin(angle_b), np.cos(angle_b)
        envelope = self.factor * np.exp(-rate * self.decaying)
        esa, eca = envelope * sa, envelope * ca
        waves = np.stack([esa * sb, esa * cb, eca * sb, eca * cb], axis=2)
        sums, terms, _, rows = waves.shape

        def derivatives(linear: np.ndarray) -> np.ndarray:
            c = linear.reshape(sums, terms, COLUMNS, 1)
            by_sine, by_cosine = c[:, :, 0] * sb + c[:, :, 1] * cb, c[:, :, 2] * sb + c[:, :, 3] * cb
            of_a = self.a * (eca * by_sine - esa * by_cosine)
            of_b = self.b * (esa * (c[:, :, 0] * cb - c[:, :, 1] * sb) + eca * (c[:, :, 2] * cb - c[:, :, 3] * sb))
            of_rate = -self.decaying * (esa * by_sine + eca * by_cosine)
            return np.stack([of_a, of_b, of_rate], axis=2).reshape(sums, 3 * terms, rows)

        return np.concatenate([self.trend, waves.reshape(sums, -1, rows)], axis=1), derivatives


def _solved(columns: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Least squares of many problems. `[problems, columns]`

    Args:
        columns: columns of every problem. `[problems, columns, rows]`
        goal: target of all problems, or of each. `[…, rows]`
    """
    size = np.sqrt(np.square(columns).sum(axis=2, keepdims=True))
    scaled = columns / np.where(size > 0, size, np.inf)
    goal = np.broadcast_to(goal, (len(columns), columns.shape[2]))
    gram = scaled @ scaled.transpose(0, 2, 1) + _RIDGE * np.eye(columns.shape[1])
    solved = np.linalg.solve(gram, scaled @ goal[:, :, None])
    left = goal[:, :, None] - scaled.transpose(0, 2, 1) @ solved
    solved += np.linalg.solve(gram, scaled @ left)  # normal equations square what is nearly parallel
    return (solved / np.where(size > 0, size, np.inf))[:, :, 0]


def _moved(term: Term, values: np.ndarray) -> Term:
    first, second, rate = values.tolist()
    return replace(term, frequencies=(first, second), rate=rate)
