"""Polynomials: of degree up to 10 in one or two variables, or of up to 8 variables and degree up to 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, interval, number_generator, posed
from datamodules.tables.problems import Problem

__all__ = ["polynomial", "problem"]

_FEWEST, _MOST = 3, 8  # terms
_HIGHEST, _HIGHEST_OF_MANY = 10, 4  # degrees
_TOGETHER = 3  # variables of a term


def problem(number: int, seed: int) -> Problem:
    """Problem `number`: even ones have few variables and a high degree, odd ones three to eight variables."""
    rng = number_generator("polynomials", number, seed)
    if number % 2:
        variables, degree = int(rng.integers(3, 9)), _HIGHEST_OF_MANY
    else:
        variables, degree = int(rng.integers(1, 3)), int(rng.integers(_HIGHEST_OF_MANY, _HIGHEST + 1))
    low, high = zip(*(interval(rng) for _ in range(variables)), strict=True)
    while True:
        terms = max(variables, int(rng.integers(_FEWEST, _MOST + 1)))
        formula = polynomial(rng, range(variables), degree, min(terms, degree + 1) if variables == 1 else terms)
        found = posed("polynomials", number, formula, low, high)
        if is_a_question(found):  # and depends on each of its variables
            return found


def polynomial(rng: np.random.Generator, variables: Sequence[int], degree: int, terms: int) -> str:
    """Text of a random polynomial of that degree with so many different monomials, each of one to three variables.

    Raises:
        ValueError: there are not so many monomials in one variable.
    """
    if terms > degree + 1 and len(variables) == 1:
        raise ValueError(f"there are {degree + 1} monomials of degree {degree} in one variable, not {terms}")
    monomials = {_monomial(rng, variables, degree)}
    while len(monomials) < terms:
        monomials.add(_monomial(rng, variables, int(rng.integers(0, degree + 1))))
    return " + ".join(f"({coefficient(rng)!r}){monomial}" for monomial in sorted(monomials))


def _monomial(rng: np.random.Generator, variables: Sequence[int], degree: int) -> str:
    chosen = rng.choice(variables, int(rng.integers(1, min(_TOGETHER, len(variables)) + 1)), replace=False)
    of_each = np.bincount(rng.choice(chosen, degree), minlength=max(variables) + 1).tolist()
    return "".join(
        f"*x{variable}**{exponent}" if exponent > 1 else f"*x{variable}"
        for variable, exponent in enumerate(of_each)
        if exponent
    )
