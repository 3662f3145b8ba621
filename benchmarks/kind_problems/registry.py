"""Kinds of laws that the suite `kinds` draws problems of: a file and a line here for each.

The function of a kind takes the number of the problem, counted from 0, and a seed; the same two always give the
same problem.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.kind_problems import (
    compositions,
    heavy_tails,
    offsets,
    piecewise,
    polynomials,
    power_laws,
    rationals,
    separable,
    symmetric,
    waves,
)
from datamodules.tables.problems import Problem

__all__ = ["KIND_PROBLEMS"]

KIND_PROBLEMS: dict[str, Callable[[int, int], Problem]] = {
    "polynomials": polynomials.problem,
    "rationals": rationals.problem,
    "power_laws": power_laws.problem,
    "offsets": offsets.problem,
    "heavy_tails": heavy_tails.problem,
    "piecewise": piecewise.problem,
    "waves": waves.problem,
    "compositions": compositions.problem,
    "symmetric": symmetric.problem,
    "separable": separable.problem,
}
"""Name of a kind -> function of number and seed."""
