"""Sums of waves of any frequency: `3*sin(80*x) + cos(7*x**3)*sin(12*z) + 0.5*x`, also of amplitudes that vary.

A gradient does not find a fast wave: half a period beside the right frequency, the error is flat. So all
frequencies are scanned (`searches.direct.wave_scan`) and the best are fitted from their peaks
(`searches.direct.wave_fitting`): one wave after the other, then products of two, by beam search. Where no peak
stands out of what pure noise would have, nothing is fitted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterator

import numpy as np

from expressions.expression import Expression
from searches.direct.wave_carriers import Carrier, amplitudes, carriers
from searches.direct.wave_fitting import COLUMNS, EXACT, FittedSum, Fitting, Term
from searches.direct.wave_scan import Scan, chance_gain
from searches.direct.wave_spelling import spelled_sum

__all__ = ["find"]

_MOST_ROWS = 300  # that are looked at
_FEWEST_ROWS = 24
_GOLDEN = 0.6180339887498949
_TERMS = 4
_BEAM = 3
_PROPOSALS = 10  # waves that are fitted, a sum
_ITERATIONS, _FINISHED = 12, 40  # steps of a fit
_PAIRS = 66  # arguments of products
_SLOW, _STILL_SLOW = (
    1.5,
    4.1,
)  # periods over the range, below which waves and what they leave may be anything smooth
_SMOOTH_TERMS = 2  # slow waves after which the target is some other smooth function


def find(inputs: np.ndarray, target: np.ndarray, operators: Collection[str], ends: float) -> Iterator[Expression]:
    """Equations, see `searches.direct.kinds.Find`."""
    if not {"sin", "cos"} & set(operators) or not {"add", "mul"} <= set(operators) or len(target) < _FEWEST_ROWS:
        return
    rows = _spread(len(target))
    inputs, target = inputs[rows], target[rows]
    arguments = carriers(inputs, operators)
    if not arguments:
        return
    scale = float(np.std(target))
    search = _Search(inputs, target / scale, operators, arguments, ends)
    for found in search.sums():
        equation = spelled_sum(search.fitting, found, inputs, target, operators)
        if equation is not None:
            yield equation


def _spread(rows: int) -> np.ndarray:
    """Which rows are looked at: spread over the table, but on no grid, which would make fast waves look slow."""
    order = np.argsort(np.arange(rows) * _GOLDEN % 1.0, kind="stable")
    return np.sort(order[:_MOST_ROWS])


class _Search:
    """Sums of waves that explain a target.

    Args:
        inputs: values of the variables. `[rows, variables]`
        target: values of ordinary size. `[rows]`
        operators: names of the operators that may occur.
        arguments: what may wave.
        ends: time after which nothing new is begun.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        target: np.ndarray,
        operators: Collection[str],
        arguments: list[Carrier],
        ends: float,
    ) -> None:
        trend = _trend(inputs)
        factors = amplitudes(inputs, operators)
        self.ends = ends
        self.fitting = Fitting(arguments, factors, trend, target)
        self.scan = Scan(arguments, factors, np.linalg.qr(trend.T)[0].T)
        self.most_terms = min(_TERMS, (len(target) // 3 - len(trend)) // COLUMNS)
        usual = [number for number, carrier in enumerate(arguments) if carrier.power <= 3]
        pairs = sorted(
            itertools.combinations_with_replacement(usual, 2),
            key=lambda pair: sum(arguments[number].power for number in pair),
        )
        self.pairs = pairs[:_PAIRS]
        self.products = COLUMNS * sum(arguments[i].steps * arguments[j].steps for i, j in self.pairs)

    def sums(self) -> list[FittedSum]:
        """The best ones of every number of terms; an exact one alone."""
        found: list[FittedSum] = []
        for plain, products in ((True, False), (False, False), (True, True)):
            for one in self._pursued(plain, products):
                found.append(one)
                if one.error < EXACT:
                    return [one]
        return found

    def _pursued(self, plain: bool, products: bool) -> Iterator[FittedSum]:
        """The best sum of one term, of two and so on, as long as a term more is no accident.

        Args:
            plain: whether amplitudes are constant.
            products: whether terms may be products of two waves.
        """
        bare = FittedSum((), 1.0)
        left = self.fitting.residuals([bare])[0]
        beam = [FittedSum((), float(left @ left) / self.fitting.scatter)]
        while len(beam[0].terms) < self.most_terms and time.perf_counter() < self.ends:
            if beam[0].error < EXACT:
                return
            proposals = [
                (*one.terms, term)
                for number, (one, left) in enumerate(zip(beam, self.fitting.residuals(beam), strict=True))
                for term in self._proposed(left, plain, products and number == 0)
            ]
            before = beam[0].error
            beam = _different(self.fitting.fitted(proposals, _ITERATIONS, _PROPOSALS))[:_BEAM]
            if not self._is_no_accident(before, beam[0], plain):
                return
            if beam[0].error < 1e-6:
                beam = self.fitting.fitted([one.terms for one in beam], _FINISHED)
            yield beam[0]
            if len(beam[0].terms) >= _SMOOTH_TERMS and self._is_smooth(beam[0]):
                self.scan.only_slow()
                return

    def _proposed(self, left: np.ndarray, plain: bool, products: bool) -> list[Term]:
        single = self.scan.single(left, _PROPOSALS, plain)
        if not products:
            return single
        beside = [found for term in single[:3] for found in self.scan.beside(term, left, 3)]
        return [*single[:4], *beside, *self.scan.double(left, self.pairs, _PROPOSALS)]

    def _is_no_accident(self, before: float, after: FittedSum, plain: bool) -> bool:
        last = after.terms[-1]
        product = last.second >= 0
        free = COLUMNS if product else 2
        rows = len(self.fitting.target) - len(self.fitting.trend) - free * (len(after.terms) - 1)
        tried = self.products if product else self.scan.count(plain)
        return before - after.error > chance_gain(tried, free, rows) * before

    def _is_smooth(self, found: FittedSum) -> bool:
        """Whether a sum of slow waves leaves what is slow again: so they would do of any smooth function."""
        if found.error < EXACT or not all(self._is_slow(term, _SLOW) for term in found.terms):
            return False
        [left] = self.fitting.residuals([found])
        return self._is_slow(self.scan.single(left, 1, plain=True)[0], _STILL_SLOW)

    def _is_slow(self, term: Term, periods: float) -> bool:
        numbers = [number for number in (term.first, term.second) if number >= 0]
        return all(
            abs(frequency) * self.fitting.carriers[number].width < periods * 2.0 * np.pi
            for number, frequency in zip(numbers, term.frequencies, strict=False)
        )


def _trend(inputs: np.ndarray) -> np.ndarray:
    """Polynomials of low degree that a sum may have beside its waves. `[functions, rows]`"""
    rows, count = inputs.shape
    scaled = ((inputs - inputs.mean(axis=0)) / np.maximum(np.ptp(inputs, axis=0), 1e-300)).T
    powers = [np.ones((1, rows)), scaled]
    if rows > 10 * (2 * count + 1):
        powers.append(scaled**2)
        if count == 1:
            powers.append(scaled**3)
        elif count <= 3:
            powers.append(np.stack([scaled[i] * scaled[j] for i, j in itertools.combinations(range(count), 2)]))
    return np.concatenate(powers)


def _different(sums: list[FittedSum]) -> list[FittedSum]:
    """One of those that have the same error, which are the same sum."""
    kept: dict[str, FittedSum] = {}
    for one in sums:
        kept.setdefault(f"{one.error:.4e}", one)
    return list(kept.values())
