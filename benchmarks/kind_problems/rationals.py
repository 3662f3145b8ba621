"""Rational functions of one to four variables: up to three terms over up to three, each of degree 3 at most.

Of every four problems the fourth may have poles between the rows; the divisor of the others keeps its sign.
"""

from __future__ import annotations

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.polynomials import polynomial
from benchmarks.kind_problems.posing import interval, number_generator, posed
from datamodules.tables.problems import Problem
from expressions.parsing import parse

__all__ = ["problem"]

_DEGREE, _TERMS, _VARIABLES = 3, 3, 4  # at most
_CONSTANT = 1e-9  # range relative to the size, below which values are all one
_LOOKED_AT = 2000  # rows that tell what a function is like


def problem(number: int, seed: int) -> Problem:
    """Problem `number`, which depends on each of its variables and is no straight line."""
    rng = number_generator("rationals", number, seed)
    variables = int(rng.integers(1, _VARIABLES + 1))
    low, high = zip(*(interval(rng) for _ in range(variables)), strict=True)
    while True:
        above, below = (_part(rng, variables, fewest) for fewest in (0, 1))
        if number % 4 != 3 and _changes_sign(below, rng.uniform(low, high, (_LOOKED_AT, variables))):
            continue
        found = posed("rationals", number, f"({above})/({below})", low, high)
        if _varies(found) and is_a_question(found):
            return found


def _part(rng: np.random.Generator, variables: int, least_degree: int) -> str:
    """Numerator or denominator, in a random choice of the variables."""
    chosen = rng.choice(variables, int(rng.integers(1, variables + 1)), replace=False).tolist()
    degree = int(rng.integers(least_degree, _DEGREE + 1))
    terms = int(rng.integers(1, _TERMS + 1))
    return polynomial(rng, chosen, degree, min(terms, degree + 1))


def _varies(posed: Problem) -> bool:
    """Whether more than a constant is left once numerator and divisor are divided by one another."""
    values = posed.sample(_LOOKED_AT, np.random.default_rng(0))[1]
    return bool(np.ptp(values) > _CONSTANT * np.abs(values).max())


def _changes_sign(text: str, inputs: np.ndarray) -> bool:
    values = parse(text, [f"x{k}" for k in range(inputs.shape[1])])(inputs)
    return bool(np.ptp(np.sign(values)))
