"""Sums of waves as a person writes them: no phase where there is none, and no term that the data do not need.

A phase is in (-pi/2, pi/2]; the amplitude is positive where the sine or the cosine allows it. Two waves of the
same size in one argument are a product, and a product of two waves that is one wave is written as that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from expressions.expression import Expression
from expressions.operators import CONSTANT, Operator
from searches.direct.wave_carriers import Amplitude, Carrier
from searches.direct.wave_fitting import FittedSum, Fitting, Term
from searches.links.terms import monomial

__all__ = ["shortened", "spelled_sum", "wave"]

_STEPS = 12
_NEEDED = 3.0  # standard deviations of a coefficient that is needed
_DUST = 1e-9  # of the target, for a term of an exact sum; of a wave, for a phase
_EXACT = 1e-17
_NOTHING = 1e-23  # squared error that rounder constants may have
_FEW, _ALL = 12, 17  # significant digits
_SAME = 1e-7  # relative difference of amplitudes that are equal
_ROUND = 1e-8  # distance of a phase from a decimal of few digits that it is
_DIGITS = 6

Waves = list[tuple[float, Expression, float, float]]
"""Sine and cosine of an argument: `[(angular frequency, argument, coefficient of the sine, of the cosine)]`"""


def spelled_sum(
    fitting: Fitting, found: FittedSum, inputs: np.ndarray, target: np.ndarray, operators: Collection[str]
) -> Expression | None:
    """The equation of a fitted sum; None where it is beyond float64.

    Args:
        fitting: what the numbers of the terms mean.
        found: the sum.
        inputs: values of the variables. `[rows, variables]`
        target: values in their own units. `[rows]`
        operators: names of the operators that may occur.
    """
    names = [name for name in ("sin", "cos") if name in operators]
    last = _LastFit(fitting, found.terms, inputs, target)
    last.pruned()
    if (steady := last.steady()) is not None:
        last = _LastFit(fitting, steady, inputs, target)
        last.pruned()
    if last.error < _EXACT:
        short = _spelled(fitting, last, names, _FEW)
        if short is not None and np.mean(np.square((short(inputs) - target) / last.scale)) < _NOTHING:
            return short
    return _spelled(fitting, last, names, _ALL)


def _spelled(fitting: Fitting, last: _LastFit, names: Sequence[str], digits: int) -> Expression | None:
    """With constants of so many significant digits; None where it is beyond float64."""
    parts: list[Expression] = []
    exact = last.error < _EXACT
    for term, coefficients in _joined(list(zip(last.terms(), last.wave_coefficients(), strict=True)), exact):
        amplitude = fitting.amplitudes[term.amplitude]
        for factor, waves in _term(fitting.carriers, term, coefficients, names):
            factor, waves = _times(amplitude, term.rate, factor, waves)
            parts.append(_product(_short(factor, digits), shortened(waves, digits)))
    for function, coefficient in zip(last.monomials, last.trend_coefficients().tolist(), strict=True):
        if coefficient and function is not None:
            parts.append(_product(_short(coefficient, digits), function))
        elif coefficient:
            parts.append(Expression.constant(_short(coefficient, digits)))
    usable = all(np.isfinite(part.constants).all() for part in parts)
    return Expression.joined("add", parts) if parts and usable else None


def _short(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def shortened(equation: Expression, digits: int) -> Expression:
    """The same with constants of so many significant digits; a factor of 1 is not written."""
    one = equation.with_constants([_short(value, digits) for value in equation.constants.tolist()])

    def combine(row: Operator, *arguments: Expression) -> Expression:
        if row.name == "mul" and len(arguments[0]) == 1 and arguments[0].constants.tolist() == [1.0]:
            return arguments[1]
        return Expression.apply(row.name, *arguments)

    def leaf(token: int, value: float) -> Expression:
        return Expression.constant(value) if token == CONSTANT else Expression([token])

    found: Expression = one.fold(leaf, combine)
    return found


# --- the last fit -----------------------------------------------------------------------------------------------


class _LastFit:
    """A sum with the phases that are printed, and monomials for its trend, without what is not needed.

    Args:
        fitting: what the numbers of the terms mean.
        terms: terms of the sum.
        inputs: values of the variables. `[rows, variables]`
        target: values in their own units. `[rows]`
    """

    def __init__(self, fitting: Fitting, terms: Sequence[Term], inputs: np.ndarray, target: np.ndarray) -> None:
        self.fitting, self._terms = fitting, [_forward(term) for term in terms]
        self.scale = float(np.std(target))
        self.target = target / self.scale
        self.monomials = _monomials(inputs.shape[1], len(fitting.trend))
        trend = [np.ones(len(target)) if each is None else each(inputs) for each in self.monomials]
        self.trend = np.stack(trend, axis=1)
        self.nonlinear = np.array([[*term.frequencies, term.rate] for term in terms])
        products = np.array([term.second >= 0 for term in terms])
        waves = np.stack([products, np.ones_like(products), products, np.ones_like(products)], axis=1)
        self.active = np.concatenate([np.ones(len(trend), dtype=bool), waves.ravel()])
        rates = [fitting.amplitudes[term.amplitude].variable is not None for term in terms]
        self._moving = np.stack([np.ones(len(terms), dtype=bool), products, rates], axis=1).ravel()
        self.linear = np.zeros(len(self.active))
        self.error = self._fit()

    def terms(self) -> list[Term]:
        """With fitted frequencies and rates."""
        return [
            Term(term.first, term.second, term.amplitude, (first, second), rate)
            for term, (first, second, rate) in zip(self._terms, self.nonlinear.tolist(), strict=True)
        ]

    def steady(self) -> list[Term] | None:
        """Terms without exponentials that the data do not need; None where all are needed."""
        terms, changed = self.terms(), False
        for number, need in enumerate(self._needs()[2].tolist()):
            amplitude = self.fitting.amplitudes[terms[number].amplitude]
            reach = abs(terms[number].rate) * float(np.ptp(amplitude.argument))
            if amplitude.variable is not None and (need < _NEEDED or reach < _DUST):
                terms[number], changed = replace(terms[number], amplitude=0, rate=0.0), True
        return terms if changed else None

    def wave_coefficients(self) -> np.ndarray:
        """`[terms, 4]`, see `searches.direct.wave_fitting.COLUMNS`."""
        return self.scale * self.linear[self.trend.shape[1] :].reshape(-1, 4)

    def trend_coefficients(self) -> np.ndarray:
        """`[monomials]`"""
        return self.scale * self.linear[: self.trend.shape[1]]

    def pruned(self) -> None:
        """Leave out coefficients that the data do not need, the least needed first."""
        before = self.active.copy(), self.nonlinear.copy(), self.linear.copy(), self.error
        while self.active.sum() > 1:
            needs, sizes, _ = self._needs()
            unneeded = (needs < _NEEDED) | ((sizes < _DUST) & (self.error < _EXACT))
            if not unneeded.any():
                break
            self.active[np.where(unneeded, needs, np.inf).argmin()] = False
        if self.active.sum() < before[0].sum():
            self.error = self._fit()
            dropped = int(before[0].sum() - self.active.sum())
            if self.error > (1.0 + 10.0 * dropped / len(self.target)) * before[3] + _EXACT:
                self.active, self.nonlinear, self.linear, self.error = before

    def _needs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients over their standard deviations, the root mean square of their terms, rates over theirs.

        `[coefficients]`, `[coefficients]`, `[terms]`
        """
        columns, slopes = self._columns(self.nonlinear, self.linear)
        joint = np.concatenate([columns[:, self.active], slopes[:, self._moving]], axis=1)
        size = np.maximum(np.linalg.norm(joint, axis=0), 1e-300)
        u, s, vt = np.linalg.svd(joint / size, full_matrices=False)
        s = np.maximum(s, 1e-14 * s[0])
        solved = vt.T @ ((u.T @ self.target) / s)
        left = self.target - (joint / size) @ solved
        sigma = math.sqrt(float(left @ left) / max(1, len(left) - joint.shape[1]))
        deviations = sigma * np.sqrt(np.square(vt / s[:, None]).sum(axis=0)) + 1e-300
        count = int(self.active.sum())
        needs, sizes = np.full(len(self.active), np.inf), np.full(len(self.active), np.inf)
        needs[self.active] = np.abs(solved[:count]) / deviations[:count]
        sizes[self.active] = np.abs(solved[:count]) / math.sqrt(len(left))
        uncertain = np.zeros(slopes.shape[1])
        uncertain[self._moving] = deviations[count:] / size[count:]
        rates = np.abs(self.nonlinear[:, 2]) / np.maximum(uncertain.reshape(-1, 3)[:, 2], 1e-300)
        return needs, sizes, rates

    def _fit(self) -> float:
        """Fit frequencies and coefficients; the squared error over the variance."""
        best, lowest, length = self.nonlinear, math.inf, 1.0
        step = np.zeros_like(best)
        for _ in range(_STEPS):
            trial = best + length * step
            columns, _ = self._columns(trial, self.linear)
            linear = np.zeros_like(self.linear)
            error = math.inf
            if np.isfinite(columns).all():
                linear[self.active] = _solved(columns[:, self.active], self.target)
                left = self.target - columns @ linear
                error = float(left @ left) / len(left)
            if not error < lowest:
                length *= 0.25
                if length < 0.01:
                    break
                continue
            settled = error > 0.999 * lowest
            best, lowest, length, self.linear = trial, error, 1.0, linear
            if settled:
                break
            slopes = self._columns(trial, linear)[1]
            joint = np.concatenate([columns[:, self.active], slopes[:, self._moving]], axis=1)
            moved = np.zeros(step.size)
            moved[self._moving] = _solved(joint, left)[int(self.active.sum()) :]
            step = moved.reshape(step.shape)
        self.nonlinear = best
        return lowest

    def _columns(self, nonlinear: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of all linear coefficients, and derivatives by frequencies and rates. Each `[rows, …]`"""
        waves, slopes = [], []
        coefficients = linear[self.trend.shape[1] :].reshape(-1, 4)
        for term, (one, other, rate), c in zip(
            self._terms, nonlinear.tolist(), coefficients.tolist(), strict=True
        ):
            a, b = self._argument(term.first), self._argument(term.second)
            amplitude = self.fitting.amplitudes[term.amplitude]
            envelope = amplitude.values * np.exp(-rate * amplitude.argument)
            sa, ca, sb, cb = np.sin(one * a), np.cos(one * a), np.sin(other * b), np.cos(other * b)
            products = [sa * sb, sa * cb, ca * sb, ca * cb]
            waves += [envelope * product for product in products]
            by_sine, by_cosine = c[0] * sb + c[1] * cb, c[2] * sb + c[3] * cb
            slopes += [
                envelope * a * (ca * by_sine - sa * by_cosine),
                envelope * b * (sa * (c[0] * cb - c[1] * sb) + ca * (c[2] * cb - c[3] * sb)),
                -amplitude.argument * envelope * (sa * by_sine + ca * by_cosine),
            ]
        return np.concatenate([self.trend, np.stack(waves, axis=1)], axis=1), np.stack(slopes, axis=1)

    def _argument(self, number: int) -> np.ndarray:
        if number < 0:
            return np.zeros(len(self.target))
        carrier = self.fitting.carriers[number]
        return carrier.values + carrier.middle


def _forward(term: Term) -> Term:
    """The term with positive frequencies: the signs are in the coefficients."""
    first, second = term.frequencies
    return replace(term, frequencies=(abs(first), abs(second)))


def _monomials(variables: int, count: int) -> list[Expression | None]:
    """Those that span the trend of `searches.direct.waves`, of so many functions; None: 1."""
    found: list[Expression | None] = [None]
    for power in (1, 2):
        found += [monomial([(variable, power)]) for variable in range(variables)]
    if variables == 1:
        found.append(monomial([(0, 3)]))
    found += [monomial([(i, 1), (j, 1)]) for i, j in itertools.combinations(range(variables), 2)]
    return found[:count]


def _solved(columns: np.ndarray, goal: np.ndarray) -> np.ndarray:
    size = np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    solved: np.ndarray = np.linalg.lstsq(columns / size, goal)[0] / size
    return solved


# --- spelling ---------------------------------------------------------------------------------------------------


def wave(sine: float, cosine: float, argument: Expression, names: Sequence[str]) -> tuple[float, Expression]:
    """`sine*sin(argument) + cosine*cos(argument)` as a factor and one wave.

    Args:
        sine, cosine: coefficients, not both 0.
        argument: the argument, without a phase.
        names: `sin`, `cos` or both.
    """
    size = math.hypot(sine, cosine)
    if abs(cosine) <= _DUST * size and "sin" in names:
        return sine, Expression.apply("sin", argument)
    if abs(sine) <= _DUST * size and "cos" in names:
        return cosine, Expression.apply("cos", argument)
    options = []
    for name in names:
        phase = math.atan2(cosine, sine) if name == "sin" else math.atan2(-sine, cosine)
        factor = size
        if not -math.pi / 2 < phase <= math.pi / 2:
            phase, factor = phase - math.copysign(math.pi, phase), -size
        options.append((_digits(phase), factor < 0, name, phase, factor))
    _, _, name, phase, factor = min(options, key=lambda option: option[:2])
    return factor, Expression.apply(name, Expression.apply("add", argument, Expression.constant(phase)))


def _digits(phase: float) -> int:
    """Decimals of a phase; many where there is no end to them."""
    return next((k for k in range(_DIGITS) if abs(round(phase, k) - phase) < _ROUND), _DIGITS)


def _joined(terms: list[tuple[Term, np.ndarray]], exact: bool) -> list[tuple[Term, np.ndarray]]:
    """Terms and their coefficients, two waves in one argument that have the same size as one product."""
    for one, other in itertools.combinations(range(len(terms)), 2) if exact else ():
        (first, some), (second, others) = terms[one], terms[other]
        alike = first.second < 0 and second.second < 0 and first.first == second.first
        plain = first.amplitude == 0 and second.amplitude == 0
        sizes = [math.hypot(float(c[1]), float(c[3])) for c in (some, others)]
        if alike and plain and abs(sizes[0] - sizes[1]) < _SAME * sizes[0]:
            phases = [math.atan2(-float(c[1]), float(c[3])) for c in (some, others)]  # of cosines
            half, rest = (phases[0] + phases[1]) / 2, (phases[0] - phases[1]) / 2
            fast, slow = first.frequencies[0], second.frequencies[0]
            if fast < slow:
                fast, slow, rest = slow, fast, -rest
            product = replace(first, second=first.first, frequencies=((fast + slow) / 2, (fast - slow) / 2))
            sine_cosine = np.outer([-math.sin(half), math.cos(half)], [-math.sin(rest), math.cos(rest)])
            left = [each for number, each in enumerate(terms) if number not in (one, other)]
            return [*_joined(left, exact), (product, 2.0 * sizes[0] * sine_cosine.ravel())]
    return terms


def _term(
    carriers: Sequence[Carrier], term: Term, coefficients: np.ndarray, names: Sequence[str]
) -> list[tuple[float, Expression]]:
    """A term as one or two products of a factor and waves."""
    one, other = term.frequencies
    first = _product(one, carriers[term.first].expression)
    ss, sc, cs, cc = coefficients.tolist()
    if term.second < 0:
        return [wave(sc, cc, first, names)] if sc or cc else []
    second = _product(other, carriers[term.second].expression)
    left, sizes, right = np.linalg.svd(np.array([[ss, sc], [cs, cc]]))
    together = (sc + cs) / 2, (cc - ss) / 2  # of sin(a + b) and cos(a + b)
    apart = (sc - cs) / 2, (cc + ss) / 2  # of sin(a - b) and cos(a - b)
    whole = math.hypot(*together), math.hypot(*apart)
    if not sizes[0] > 0:
        return []
    if sizes[1] / sizes[0] <= min(whole) / max(whole):
        factor, one_wave = wave(float(left[0, 0]), float(left[1, 0]), first, names)
        other_factor, other_wave = wave(float(right[0, 0]), float(right[0, 1]), second, names)
        return [(float(sizes[0]) * factor * other_factor, Expression.apply("mul", one_wave, other_wave))]
    sign = 1.0 if whole[0] >= whole[1] else -1.0
    if term.first == term.second:
        argument = _product(one + sign * other, carriers[term.first].expression)
    else:
        argument = Expression.apply("add", first, _product(sign * other, carriers[term.second].expression))
    return [wave(*(together if sign > 0 else apart), argument, names)]


def _product(factor: float, function: Expression) -> Expression:
    return function if factor == 1.0 else Expression.apply("mul", Expression.constant(factor), function)


def _times(amplitude: Amplitude, rate: float, factor: float, waves: Expression) -> tuple[float, Expression]:
    """A factor and a wave, multiplied by an amplitude."""
    if amplitude.factor is not None:
        waves = Expression.apply("mul", amplitude.factor, waves)
    if amplitude.variable is not None:
        variable = Expression.variable(amplitude.variable)
        decay = Expression.apply("exp", _product(-rate, variable))
        factor *= math.exp(rate * amplitude.mean)
        waves = Expression.apply("mul", decay, waves)
    return factor, waves
