"""What the generators of all kinds share: a generator of random numbers, and a problem from its formula's text."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from datamodules.tables.problems import Problem, Uniform
from expressions.parsing import parse

__all__ = ["ROWS", "coefficient", "interval", "number_generator", "posed"]

ROWS = 300
"""Number of rows to search on, and of fresh ones to judge by."""
_INTERVALS = ((-1.0, 1.0), (-3.0, 3.0), (0.5, 2.0), (1.0, 5.0), (0.0, 4.0))


def number_generator(kind: str, number: int, seed: int) -> np.random.Generator:
    """Generator of one problem's random numbers."""
    return np.random.default_rng([seed, zlib.crc32(kind.encode()), number])


def posed(kind: str, number: int, formula: str, low: Sequence[float], high: Sequence[float]) -> Problem:
    """Problem of a formula in x0, x1, …, whose variables are uniform between `low` and `high`."""
    variables = tuple(f"x{column}" for column in range(len(low)))
    return Problem(
        name=f"{kind}-{number + 1:03d}",
        suites=("kinds",),
        formula=formula,
        variables=variables,
        target_name="y",
        truth=parse(formula, variables),
        source=Uniform(tuple(map(float, low)), tuple(map(float, high))),
        train_rows=ROWS,
        test_rows=ROWS,
    )


def coefficient(rng: np.random.Generator) -> float:
    """A number between 0.05 and 9 in size: a third each whole, of two digits, and of as many as a float has."""
    sign = rng.choice([-1.0, 1.0])
    kind = rng.integers(3)
    if kind == 0:
        return float(sign * rng.integers(1, 10))
    if kind == 1:
        return float(sign * round(rng.uniform(0.1, 9.0), 1))
    return float(sign * np.exp(rng.uniform(np.log(0.05), np.log(9.0))))


def interval(rng: np.random.Generator) -> tuple[float, float]:
    """Range of a variable: one of five, about 0 or positive."""
    return _INTERVALS[int(rng.integers(len(_INTERVALS)))]
