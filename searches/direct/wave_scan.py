"""How much a wave of each frequency explains, for all arguments at once: a periodogram by least squares.

After N. Lomb (1976) and J. Scargle (1982), here with a trend projected out, with amplitudes that are functions,
and with products of two waves. A scan only proposes: it is in float32, and frequencies are on a grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from searches.direct.wave_carriers import Amplitude, Carrier
from searches.direct.wave_fitting import Term

__all__ = ["Scan", "chance_gain"]

_SLOW = 8  # frequencies that a trend is like, and for which the scan is exact
_SEEN = 1e-3  # of a wave's length, that a trend must leave of it
_SAFETY = 1000.0  # times as many waves as there are, as frequencies are fitted afterwards
_A_CARRIER = 3  # proposals of one argument
_A_PAIR = 2  # proposals of two


class Scan:
    """Waves of all frequencies in all carriers.

    Args:
        carriers: arguments of waves.
        amplitudes: what they may be multiplied by.
        trend: orthonormal functions that are beside the waves. `[functions, rows]`
    """

    def __init__(self, carriers: Sequence[Carrier], amplitudes: Sequence[Amplitude], trend: np.ndarray) -> None:
        self.carriers, self.amplitudes = carriers, amplitudes
        steps = max(carrier.steps for carrier in carriers)
        values = np.stack([carrier.values for carrier in carriers])
        units = np.array([carrier.unit for carrier in carriers])
        angles = (values * units[:, None]).astype(np.float32)[:, None] * np.arange(1, steps + 1, dtype=np.float32)[
            :, None
        ]
        self.waves = np.empty((len(carriers), 2, steps, values.shape[1]), dtype=np.float32)
        """Sines and cosines, of slow ones what the trend leaves. `[carriers, 2, frequencies, rows]`"""
        np.sin(angles, out=self.waves[:, 0])
        np.cos(angles, out=self.waves[:, 1])
        for number, carrier in enumerate(carriers):
            self.waves[number, :, carrier.steps :] = 0.0
        self._true = self.waves[:, :, :_SLOW].copy()
        self.waves[:, :, :_SLOW] = _apart(self._true.astype(np.float64), trend)
        scanned = np.stack([amplitude.scanned() for amplitude in amplitudes])
        scanned /= np.sqrt(np.square(scanned).sum(axis=1, keepdims=True) / 2.0)
        self._scanned = scanned.astype(np.float32)

    def only_slow(self) -> None:
        """Scan slow frequencies alone from now on."""
        self.waves = np.ascontiguousarray(self.waves[:, :, :_SLOW])

    def count(self, plain: bool) -> int:
        """Number of waves that `single` tries."""
        return (1 if plain else len(self.amplitudes)) * sum(carrier.steps for carrier in self.carriers)

    def single(self, residual: np.ndarray, most: int, plain: bool) -> list[Term]:
        """The waves that explain most of a residual, the best first.

        Args:
            residual: what is left of a target. `[rows]`
            most: largest number of waves.
            plain: whether amplitudes are constant.
        """
        left = (residual / np.linalg.norm(residual)).astype(np.float32)
        scanned = self._scanned[:1] if plain else self._scanned
        gains = np.square(self.waves @ (scanned * left).T).sum(axis=1)  # [carriers, frequencies, amplitudes]
        best = gains.argmax(axis=1)
        peaks = np.take_along_axis(gains, best[:, None], axis=1)[:, 0]
        places = [divmod(place, peaks.shape[1]) for place in np.argsort(-peaks, axis=None).tolist()]
        found: list[Term] = []
        taken = dict.fromkeys(range(len(self.carriers)), 0)
        for number, amplitude in places:
            if taken[number] < _A_CARRIER:
                taken[number] += 1
                found.append(self._term((number, best[number, amplitude]), None, amplitude))
            if len(found) == most:
                break
        return found

    def beside(self, term: Term, residual: np.ndarray, most: int) -> list[Term]:
        """The products with a wave that is known in frequency, see `single`."""
        first = self.carriers[term.first]
        angle = term.frequencies[0] * first.values
        known = 2.0 * np.stack([np.sin(angle), np.cos(angle)]) * residual / np.linalg.norm(residual)
        known /= np.sqrt(len(residual))
        known = known.astype(np.float32)
        products = self.waves @ known.T
        products[:, :, :_SLOW] = self._true @ known.T
        gains = np.square(products).sum(axis=(1, 3))
        gains[term.first] = 0.0
        best = gains.argmax(axis=1)
        order = np.argsort(-gains.max(axis=1))[:most].tolist()
        step = round(term.frequencies[0] / first.unit) - 1
        return [
            self._term((term.first, step), (number, best[number]), 0)
            for number in order
            if self.carriers[number].steps
        ]

    def double(self, residual: np.ndarray, pairs: Iterable[tuple[int, int]], most: int) -> list[Term]:
        """The products of waves in two carriers that explain most of a residual, the best first."""
        left = residual / np.linalg.norm(residual)
        found: list[tuple[float, Term]] = []
        weighted: dict[int, np.ndarray] = {}
        for first, second in pairs:
            if first not in weighted:
                weighted[first] = self._plain(first) * (left * 2.0 / np.sqrt(len(left))).astype(np.float32)
            products = weighted[first] @ self._plain(second).T
            np.square(products, out=products)
            one, other = self.waves.shape[2], self.waves.shape[2]
            gains = products[:one, :other] + products[one:, :other]
            gains += products[:one, other:]
            gains += products[one:, other:]
            for _ in range(_A_PAIR):
                place = int(gains.argmax())
                i, j = divmod(place, other)
                found.append((float(gains[i, j]), self._term((first, i), (second, j), 0)))
                gains[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3] = 0.0
        found.sort(key=lambda one: -one[0])
        return [term for _, term in found[:most]]

    def _plain(self, carrier: int) -> np.ndarray:
        """Sines, then cosines. `[2 * frequencies, rows]`"""
        waves = self.waves[carrier].copy()
        waves[:, :_SLOW] = self._true[carrier]
        return waves.reshape(-1, waves.shape[2])

    def _term(self, one: tuple[int, int], other: tuple[int, int] | None, amplitude: int) -> Term:
        first, second = one[0], -1 if other is None else other[0]
        frequency = float((one[1] + 1) * self.carriers[first].unit)
        another = 0.0 if other is None else float((other[1] + 1) * self.carriers[second].unit)
        return Term(first, second, amplitude, (frequency, another), self.amplitudes[amplitude].rate)


def chance_gain(tried: int, free: int, rows: int) -> float:
    """Share of the squares that the best of so many waves explains of pure noise.

    Args:
        tried: number of waves, as if all were independent.
        free: linear coefficients of each.
        rows: number of rows less the coefficients that were there before.
    """
    power = -2.0 / max(rows - free, 1)
    chance = 1.0 - (_SAFETY * max(tried, 1)) ** power  # exact for two coefficients: Beta(1, (n - 2) / 2)
    return chance if free <= 2 else min(1.0, 1.25 * chance)


def _apart(waves: np.ndarray, trend: np.ndarray) -> np.ndarray:
    """Pairs of waves that are orthogonal to each other and a trend, of squared length n/2.

    `[carriers, 2, frequencies, rows]`
    """
    lengths = np.sqrt(np.square(waves).sum(axis=3, keepdims=True))
    left = waves - (waves @ trend.T) @ trend
    one, other = left[:, 0], left[:, 1]

    def unit(vectors: np.ndarray, length: np.ndarray) -> np.ndarray:
        size = np.sqrt(np.square(vectors).sum(axis=2, keepdims=True))
        return vectors / np.where(size > _SEEN * length, size, np.inf)

    one = unit(one, lengths[:, 0])
    other = unit(other - (other * one).sum(axis=2, keepdims=True) * one, lengths[:, 1])
    return np.stack([one, other], axis=1) * np.sqrt(waves.shape[3] / 2.0)
