"""Power laws of one to five variables: alone, with an offset, in two terms, and whole bases with exponents.

Exponents are whole, halves, thirds, or decimals of two digits. Variables span one to three decades. Every fourth
problem has an offset, every fourth two terms (of at most three variables), and every eighth is a product such as
2**x0*3**x1.
"""

from __future__ import annotations

import numpy as np

from benchmarks.generated_problems import is_a_question
from benchmarks.kind_problems.posing import coefficient, number_generator, posed
from datamodules.tables.problems import Problem

__all__ = ["problem"]

_VARIABLES, _VARIABLES_OF_TWO_TERMS = 5, 3  # at most
_BASES = (2, 3, 5, 7, 11)
_LARGEST = 1e12  # ratio of the largest to the smallest value of a term


def problem(number: int, seed: int) -> Problem:
    """Problem `number`: an offset where it leaves 1 by 4, two terms for 3, whole bases where it leaves 2 by 8."""
    rng = number_generator("power laws", number, seed)
    if number % 8 == 2:
        return _of_bases(rng, number)
    most = _VARIABLES_OF_TWO_TERMS if number % 4 == 3 else _VARIABLES
    while True:
        variables = int(rng.integers(1, most + 1))
        decades = rng.uniform(0.5, 1.5, variables)
        centres = 10.0 ** rng.integers(-3, 4, variables)
        low, high = centres / 10.0**decades, centres * 10.0**decades
        terms = [_term(rng, low, high) for _ in range(2 if number % 4 == 3 else 1)]
        formula = " + ".join(f"({float(factor)!r}){term}" for factor, term in terms)
        if number % 4 == 1:
            formula += f" + ({coefficient(rng)!r})"
        found = posed("power_laws", number, formula, low.tolist(), high.tolist())
        if is_a_question(found):
            return found


def _of_bases(rng: np.random.Generator, number: int) -> Problem:
    variables = int(rng.integers(1, len(_BASES) + 1))
    bases = rng.permutation(_BASES)[:variables].tolist()
    formula = "*".join(f"{base}**x{k}" for k, base in enumerate(bases))
    return posed("power_laws", number, formula, [0.0] * variables, [float(rng.integers(4, 10))] * variables)


def _term(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> tuple[float, str]:
    """A factor that makes the term of ordinary size, and the powers."""
    while True:
        exponents = [_exponent(rng) for _ in low]
        if abs(np.array(exponents)) @ np.log(high / low) < np.log(_LARGEST):
            break
    middle = float(np.prod(np.sqrt(low * high) ** np.array(exponents)))
    factor = float(f"{coefficient(rng) / middle:.3g}")
    return factor, "".join(f"*x{k}**({exponent!r})" for k, exponent in enumerate(exponents))


def _exponent(rng: np.random.Generator) -> float:
    sign = rng.choice([-1.0, 1.0])
    kind = rng.integers(4)
    if kind == 0:
        return float(sign * rng.integers(1, 4))
    if kind == 1:
        return float(sign * rng.integers(1, 6) / 2)
    if kind == 2:
        return float(sign * rng.choice([1, 2, 4, 5]) / 3)
    return float(sign * round(rng.uniform(0.1, 3.0), 2))
