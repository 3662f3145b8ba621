"""Arguments of waves, the frequencies that a table can tell apart in them, and what waves are multiplied by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from expressions.expression import Expression
from searches.links.terms import monomial

__all__ = ["PERIODS", "STEPS_A_PERIOD", "Amplitude", "Carrier", "amplitudes", "carriers"]

PERIODS = 100
"""Most periods over the range of an argument."""
STEPS_A_PERIOD = 2
"""Frequencies that are scanned for each period more: half way between two of them, 81 % of a peak are left."""

_MOST = 300  # arguments; products and quotients of two of many variables are left out beyond
_FEWEST_VALUES = 5  # different values of an argument, to tell a wave from a table of numbers
_ON_A_GRID = 1e-6  # of the spacing, within which values are on a grid
_HEAVY = 100.0  # range over the spread between quartiles, beyond which a few rows hold all the periods
_DECAYS = (-2.0, 2.0)  # of an amplitude over the range, from which its fit begins


@dataclass(frozen=True)
class Carrier:
    """A function of the variables in which something waves.

    Attributes:
        expression: the function.
        values: values of the function, less `middle`. `[rows]`
        middle: half way between the smallest and the largest value.
        width: distance of these.
        steps: number of frequencies that can be told apart, of `STEPS_A_PERIOD` a period.
        power: exponent of the function, which orders carriers by how usual they are.
    """

    expression: Expression
    values: np.ndarray
    middle: float
    width: float
    steps: int
    power: int

    @property
    def unit(self) -> float:
        """Angular frequency of the first step."""
        return 2.0 * math.pi / (self.width * STEPS_A_PERIOD)


@dataclass(frozen=True)
class Amplitude:
    """What a wave is multiplied by: `factor * exp(-rate * argument)`.

    Attributes:
        factor: a function; None: 1.
        values: its values. `[rows]`
        variable: number of the variable in the exponent; None: no exponential.
        argument: values of that variable less `mean`; zeros without one. `[rows]`
        mean: mean of that variable.
        rate: first guess of the rate.
    """

    factor: Expression | None
    values: np.ndarray
    variable: int | None
    argument: np.ndarray
    mean: float
    rate: float

    def scanned(self) -> np.ndarray:
        """Values with the first guess of the rate. `[rows]`"""
        return self.values * np.exp(-self.rate * self.argument)


def carriers(inputs: np.ndarray, operators: Collection[str]) -> list[Carrier]:
    """All of them, the simplest first: variables, powers, products, quotients, sums and differences of two.

    Args:
        inputs: values of the variables. `[rows, variables]`
        operators: names of the operators that may occur.
    """
    functions = itertools.islice(_functions(inputs.shape[1], operators), _MOST)
    found = (_carrier(function, function(inputs), power) for function, power in functions)
    return [carrier for carrier in found if carrier is not None]


def _functions(variables: int, operators: Collection[str]) -> Iterator[tuple[Expression, int]]:
    ones = [Expression.variable(variable) for variable in range(variables)]
    pairs = list(itertools.combinations(range(variables), 2))
    for power in (1, 2, 3):
        yield from ((monomial([(variable, power)]), power) for variable in range(variables))
    if "mul" in operators:
        yield from ((monomial([(first, 1), (second, 1)]), 2) for first, second in pairs)
    if "sqrt" in operators:
        yield from ((Expression.apply("sqrt", one), 4) for one in ones)
    if "div" in operators or "inv" in operators:
        yield from ((_inverse(one, operators), 4) for one in ones)
    for name in ("add", "sub"):
        if name in operators:
            yield from ((Expression.apply(name, ones[first], ones[second]), 4) for first, second in pairs)
    if "div" in operators:
        for first, second in pairs:
            yield monomial([(first, 1), (second, -1)]), 4
            yield monomial([(second, 1), (first, -1)]), 4


def _inverse(argument: Expression, operators: Collection[str]) -> Expression:
    """1 over an argument, of the operators there are."""
    if "inv" in operators:
        return Expression.apply("inv", argument)
    return Expression.apply("div", Expression.constant(1.0), argument)


def _carrier(function: Expression, values: np.ndarray, power: int) -> Carrier | None:
    """None where too little can be told about waves in the function."""
    if not np.isfinite(values).all():
        return None
    low, high = float(values.min()), float(values.max())
    middle, width = 0.5 * (low + high), high - low
    if not width > 1e-6 * max(abs(low), abs(high)):
        return None
    steps = min(PERIODS * STEPS_A_PERIOD, _steps_of_grid(values, width))
    quartiles = np.quantile(values, [0.25, 0.75])
    if steps < 2 or width > _HEAVY * (quartiles[1] - quartiles[0]):
        return None
    return Carrier(function, values - middle, middle, width, steps, power)


def _steps_of_grid(values: np.ndarray, width: float) -> int:
    """Steps up to the Nyquist frequency of values on a grid; beyond it, each wave looks like a slower one."""
    unique = np.unique(values)
    gaps = np.diff(unique)
    gaps = gaps[gaps > _ON_A_GRID * width / len(values)]  # others are rounding
    if len(gaps) + 1 < _FEWEST_VALUES:
        return 0
    gap = float(gaps.min())
    places = (unique - unique[0]) / gap
    if np.abs(places - np.round(places)).max() > _ON_A_GRID * places.max():
        return PERIODS * STEPS_A_PERIOD
    return int(STEPS_A_PERIOD * width / (2.0 * gap) + 1e-6)


def amplitudes(inputs: np.ndarray, operators: Collection[str]) -> list[Amplitude]:
    """What waves may be multiplied by: nothing, or a variable, its square, its inverse, its exponential."""
    rows, count = inputs.shape
    none, one = np.zeros(rows), np.ones(rows)
    found = [Amplitude(None, one, None, none, 0.0, 0.0)]
    for variable in range(count):
        values = inputs[:, variable]
        width = float(np.ptp(values))
        if not width > 0:
            continue
        base = Expression.variable(variable)
        factors = [base, monomial([(variable, 2)])]
        if (values > 0).all() or (values < 0).all():
            factors += [_inverse(base, operators)] if "div" in operators or "inv" in operators else []
        found += [Amplitude(factor, factor(inputs), None, none, 0.0, 0.0) for factor in factors]
        if "exp" in operators:
            argument = values - values.mean()
            found += [
                Amplitude(None, one, variable, argument, float(values.mean()), decay / width) for decay in _DECAYS
            ]
    return found
